package identity_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/identity"
)

// keyFolder makes an authority with one vendor and returns its folder.
func keyFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, identity.CreateAuthority(dir, identity.KeySource{}, time.Now))
	must(t, openAuthority(t, dir).EnsureVendor("acme"))
	return dir
}

func openAuthority(t *testing.T, dir string) *identity.Authority {
	t.Helper()
	a, err := identity.OpenAuthority(dir, identity.KeySource{}, time.Now)
	must(t, err)
	return a
}

// wantOpenError demands that opening fails and that the error tells the operator each of the words.
func wantOpenError(t *testing.T, dir string, words ...string) {
	t.Helper()
	_, err := identity.OpenAuthority(dir, identity.KeySource{}, time.Now)
	if err == nil {
		t.Fatal("opened")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestAnAuthorityOpensWithTheSameKeys(t *testing.T) {
	dir := keyFolder(t)
	a, b := openAuthority(t, dir), openAuthority(t, dir)
	if string(a.RootPEM()) != string(b.RootPEM()) || !a.EvidenceKey().Equal(b.EvidenceKey()) ||
		a.RecordingIdentity().String() != b.RecordingIdentity().String() || string(a.JWKS()) != string(b.JWKS()) {
		t.Fatal("two openings differ")
	}
	for name, pair := range map[string][2]ssh.PublicKey{
		"ssh-user-ca.pub":     {a.UserCA(), b.UserCA()},
		"ssh-host-ca.pub":     {a.HostCA(), b.HostCA()},
		"ssh-upstream-ca.pub": {a.UpstreamCA(), b.UpstreamCA()},
	} {
		line, err := os.ReadFile(filepath.Join(dir, "keys", name))
		must(t, err)
		if string(line) != string(ssh.MarshalAuthorizedKey(pair[0])) || string(line) != string(ssh.MarshalAuthorizedKey(pair[1])) {
			t.Errorf("%s is not that CA's key", name)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "evidence.pub"))
	must(t, err)
	block, _ := pem.Decode(text)
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	must(t, err)
	if !public.(ed25519.PublicKey).Equal(a.EvidenceKey()) ||
		!ed25519.Verify(public.(ed25519.PublicKey), []byte("m"), ed25519.Sign(b.EvidenceSigner(), []byte("m"))) {
		t.Fatal("evidence.pub is not the evidence key")
	}
}

func TestCreatingTwiceIsRefusedAndAfterACutShortCreationIsNot(t *testing.T) {
	dir := keyFolder(t)
	err := identity.CreateAuthority(dir, identity.KeySource{}, time.Now)
	if err == nil || !strings.Contains(err.Error(), "has keys already") {
		t.Fatalf("got %v", err)
	}
	openAuthority(t, dir)

	must(t, os.Remove(filepath.Join(dir, "keys", "x509-root.key"))) // as if creation had stopped before its last step
	wantOpenError(t, dir, "x509-root.key", "missing")
	must(t, os.RemoveAll(filepath.Join(dir, "keys", "vendors")))
	must(t, identity.CreateAuthority(dir, identity.KeySource{}, time.Now))
	openAuthority(t, dir)
}

func TestNoPrivateKeyStandsReadableOnDisk(t *testing.T) {
	dir := keyFolder(t)
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		must(t, err)
		info, err := d.Info()
		must(t, err)
		if filepath.Ext(path) == ".key" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		sealed := strings.HasPrefix(string(text), "-----BEGIN SEKISHO SEALED KEY-----")
		if filepath.Ext(path) == ".key" && d.Name() != "master.key" && !sealed ||
			strings.Contains(string(text), "PRIVATE KEY") || strings.Contains(string(text), "AGE-SECRET-KEY") {
			t.Errorf("%s is not sealed:\n%s", path, text)
		}
		return nil
	}))
}

func TestAMasterKeyThatOthersCanReadIsRefused(t *testing.T) {
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o620} {
		dir := keyFolder(t)
		path := filepath.Join(dir, "keys", "master.key")
		must(t, os.Chmod(path, mode))
		wantOpenError(t, dir, path, "can be read by others", "chmod 600")
	}
}

func TestAMasterKeyThatIsWrongOrMissingIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		words string
	}{
		"another":       {strings.Repeat("00", 32) + "\n", "sealed with another master key"},
		"short":         {"00ff\n", "64 hexadecimal digits"},
		"not hex":       {strings.Repeat("zz", 32), "64 hexadecimal digits"},
		"with a prefix": {" " + strings.Repeat("00", 32), "64 hexadecimal digits"},
		"empty":         {"", "64 hexadecimal digits"},
		"endless":       {strings.Repeat("0", 1<<20), "64 hexadecimal digits"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := keyFolder(t)
			path := filepath.Join(dir, "keys", "master.key")
			must(t, os.WriteFile(path, []byte(c.text), 0o600))
			wantOpenError(t, dir, path, c.words)
			must(t, os.Remove(path))
			wantOpenError(t, dir, path, "no such file")
		})
	}
	wantOpenError(t, t.TempDir(), "sekisho init")
}

func TestAMasterKeyMayComeFromSystemd(t *testing.T) {
	dir, credentials := t.TempDir(), t.TempDir()
	src := identity.KeySource{Kind: "systemd-credential"}
	err := identity.CreateAuthority(dir, src, time.Now)
	if err == nil || !strings.Contains(err.Error(), "CREDENTIALS_DIRECTORY") {
		t.Fatalf("got %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	err = identity.CreateAuthority(dir, src, time.Now)
	if err == nil || !strings.Contains(err.Error(), "sekisho-master-key") {
		t.Fatalf("got %v", err)
	}
	path := filepath.Join(credentials, "sekisho-master-key")
	must(t, os.WriteFile(path, []byte(strings.Repeat("ab", 32)), 0o440)) // as systemd makes it for a service's user
	must(t, identity.CreateAuthority(dir, src, time.Now))
	_, err = identity.OpenAuthority(dir, src, time.Now)
	must(t, err)
	must(t, os.Chmod(path, 0o444))
	if _, err := identity.OpenAuthority(dir, src, time.Now); err == nil {
		t.Fatal("opened with a credential that the world can read")
	}
	for _, bad := range []identity.KeySource{{Kind: "kms"}, {Kind: "systemd-credential", Path: "../x"}} {
		if _, err := identity.OpenAuthority(dir, bad, time.Now); err == nil {
			t.Errorf("opened with %+v", bad)
		}
	}
}

func TestADamagedKeyFileIsNamed(t *testing.T) {
	damage := map[string]func([]byte) []byte{
		"cut to half":     func(b []byte) []byte { return b[:len(b)/2] },
		"emptied":         func([]byte) []byte { return nil },
		"a flipped bit":   func(b []byte) []byte { b[len(b)/2] ^= 2; return b },
		"doubled":         func(b []byte) []byte { return append(b, b...) },
		"an unknown kind": func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), "Version: 1", "Version: 9")) },
	}
	for _, file := range []string{"x509-root", "x509-server", "ssh-user-ca", "ssh-host-ca", "ssh-upstream-ca", "ssh-host",
		"evidence", "recording", "identity-token", "vendors/acme"} {
		t.Run(file, func(t *testing.T) {
			dir := keyFolder(t)
			path := filepath.Join(dir, "keys", filepath.FromSlash(file)+".key")
			good, err := os.ReadFile(path)
			must(t, err)
			for name, spoil := range damage {
				t.Run(name, func(t *testing.T) {
					must(t, os.WriteFile(path, spoil(append([]byte{}, good...)), 0o600))
					wantOpenError(t, dir, path, "restore it from the backup")
				})
			}
			must(t, os.Remove(path))
			wantOpenError(t, dir, path, "missing", "restore it from the backup")
		})
	}
}

func TestAKeyFilePutInAnothersPlaceIsRefused(t *testing.T) {
	dir := keyFolder(t)
	keys := filepath.Join(dir, "keys")
	text, err := os.ReadFile(filepath.Join(keys, "ssh-host-ca.key"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(keys, "ssh-user-ca.key"), text, 0o600))
	wantOpenError(t, dir, "ssh-user-ca.key", "belongs to another place")
}

func TestACertificateThatIsNotTheKeysIsRefused(t *testing.T) {
	other := keyFolder(t)
	for _, file := range []string{"x509-root.crt", "x509-server.crt", "vendors/acme.crt"} {
		dir := keyFolder(t)
		path := filepath.Join(dir, "keys", filepath.FromSlash(file))
		text, err := os.ReadFile(filepath.Join(other, "keys", filepath.FromSlash(file)))
		must(t, err)
		must(t, os.WriteFile(path, text, 0o644))
		wantOpenError(t, dir, path, "does not belong to")
		must(t, os.WriteFile(path, text[:len(text)/2], 0o644))
		wantOpenError(t, dir, path)
	}
}

func TestAVendorMadeHalfIsMadeAnew(t *testing.T) {
	dir := keyFolder(t)
	must(t, os.Remove(filepath.Join(dir, "keys", "vendors", "acme.crt"))) // the crash came before the certificate
	a := openAuthority(t, dir)
	must(t, a.EnsureVendor("acme"))
	openAuthority(t, dir)
}

// openssl verifies a PEM chain the way OpenSSL sees it; purpose is sslclient or sslserver.
func openssl(t *testing.T, root []byte, purpose string, chain, leaf []byte) error {
	t.Helper()
	needTool(t, "openssl")
	dir := t.TempDir()
	for name, text := range map[string][]byte{"root": root, "chain": chain, "leaf": leaf} {
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	verify := exec.CommandContext(t.Context(), "openssl", "verify", "-x509_strict", "-purpose", purpose,
		"-CAfile", "root", "-untrusted", "chain", "leaf")
	verify.Dir = dir
	if out, err := verify.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestOpenSSLVerifiesOurChains(t *testing.T) {
	g := newGate(t)
	for _, vendor := range []string{"acme-maintenance", "@staff"} {
		h := g.certified("hanako", vendor)
		must(t, openssl(t, g.authority.RootPEM(), "sslclient", h.issued.ChainPEM, h.issued.CertPEM))
		if openssl(t, g.authority.RootPEM(), "sslserver", h.issued.ChainPEM, h.issued.CertPEM) == nil {
			t.Errorf("a client certificate of %s passes for a server's", vendor)
		}
	}
	server, err := g.authority.ServerCertificate(testHost)
	must(t, err)
	leaf, chain := certificatePEM(server.Certificate[0]), certificatePEM(server.Certificate[1])
	must(t, openssl(t, g.authority.RootPEM(), "sslserver", chain, leaf))
	if openssl(t, g.authority.RootPEM(), "sslclient", chain, leaf) == nil {
		t.Error("a server certificate passes for a client's")
	}
}

func TestAVendorsIntermediateCanSignNothingButItsPeople(t *testing.T) {
	g := newGate(t)
	ca, key, err := g.authority.VendorIssuer("acme-maintenance")
	must(t, err)
	if !ca.MaxPathLenZero || ca.MaxPathLen != 0 || len(ca.ExtKeyUsage) != 1 {
		t.Errorf("intermediate: path length %d, usages %v", ca.MaxPathLen, ca.ExtKeyUsage)
	}
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	taro, err := url.Parse("sekisho://other.vendor.sekisho/person/taro")
	must(t, err)
	for name, template := range map[string]*x509.Certificate{
		"a server":                  {DNSNames: []string{testHost}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		"a host":                    {DNSNames: []string{testHost}, ExtKeyUsage: client},
		"a mailbox":                 {EmailAddresses: []string{"mika@example.com"}, ExtKeyUsage: client},
		"an address":                {IPAddresses: []net.IP{{127, 0, 0, 1}}, ExtKeyUsage: client},
		"a person of other vendors": {URIs: []*url.URL{taro}, ExtKeyUsage: client},
		"a CA of its own":           {IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
	} {
		t.Run(name, func(t *testing.T) { wantUnverified(t, g, ca, key, template) })
	}
}

// wantUnverified signs template with a vendor's intermediate and demands that neither Go nor OpenSSL believes it.
func wantUnverified(t *testing.T, g *gate, ca *x509.Certificate, key *ecdsa.PrivateKey, template *x509.Certificate) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = g.clock.now().Add(-time.Hour), g.clock.now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, ca, own.Public(), key)
	must(t, err)
	issuer := own // signs a leaf when template is a CA
	chain, purpose := certificatePEM(ca.Raw), "sslclient"
	if template.IsCA {
		chain = append(chain, certificatePEM(der)...)
		parent, err := x509.ParseCertificate(der)
		must(t, err)
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: template.NotBefore, NotAfter: template.NotAfter,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		der, err = x509.CreateCertificate(rand.Reader, leaf, parent, own.Public(), issuer)
		must(t, err)
		template = leaf
	} else if template.ExtKeyUsage[0] == x509.ExtKeyUsageServerAuth {
		purpose = "sslserver"
	}
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(g.authority.RootPEM())
	intermediates.AppendCertsFromPEM(chain)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: g.clock.now(),
		KeyUsages: template.ExtKeyUsage}); err == nil {
		t.Error("Go believes it")
	}
	if openssl(t, g.authority.RootPEM(), purpose, chain, certificatePEM(der)) == nil {
		t.Error("OpenSSL believes it")
	}
}

func TestAKeyFileOfVersionOneOpens(t *testing.T) {
	text, err := os.ReadFile("testdata/sealed-v1.key")
	must(t, err)
	secret, err := identity.OpenSealed(bytes.Repeat([]byte{0x5e}, 32), "golden", text)
	must(t, err)
	if string(secret) != "a key file of version 1" {
		t.Fatalf("got %q", secret)
	}
}

func TestServerCertificatesAreCachedAndRenewedInTime(t *testing.T) {
	g := newGate(t)
	first, err := g.authority.ServerCertificate("Console.Example.com")
	must(t, err)
	same, err := g.authority.ServerCertificate(testHost)
	must(t, err)
	if first != same {
		t.Fatal("made twice for one host")
	}
	g.clock.pass(21 * 24 * time.Hour)
	next, err := g.authority.ServerCertificate(testHost)
	must(t, err)
	if left := next.Leaf.NotAfter.Sub(g.clock.now()); next == first || left < 10*24*time.Hour {
		t.Fatalf("%s left", left)
	}
	ip, err := g.authority.ServerCertificate("127.0.0.1")
	must(t, err)
	must(t, ip.Leaf.VerifyHostname("127.0.0.1"))
	for _, host := range []string{"", "*.example.com", "a b", "-x", "a..b", "example.com:8443", strings.Repeat("a", 300)} {
		if _, err := g.authority.ServerCertificate(host); err == nil {
			t.Errorf("made a certificate for %q", host)
		}
	}
}

func TestAnAppVerifiesTheIdentityTokenWithTheKeySet(t *testing.T) {
	a := openAuthority(t, keyFolder(t))
	token, err := a.SignIdentity(map[string]any{"sub": "hanako", "vendor": "acme"})
	must(t, err)
	var set jose.JSONWebKeySet
	must(t, json.Unmarshal(a.JWKS(), &set))
	if len(set.Keys) != 1 || !set.Keys[0].IsPublic() {
		t.Fatalf("key set %s", a.JWKS())
	}
	parsed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	must(t, err)
	if h := parsed.Signatures[0].Header; h.KeyID != set.Keys[0].KeyID || h.ExtraHeaders["typ"] != "JWT" {
		t.Fatalf("header %+v", h)
	}
	payload, err := parsed.Verify(set.Key(set.Keys[0].KeyID)[0])
	must(t, err)
	if string(payload) != `{"sub":"hanako","vendor":"acme"}` {
		t.Fatalf("payload %s", payload)
	}
	if _, err := a.SignIdentity(map[string]any{"x": make(chan int)}); err == nil {
		t.Fatal("signed what JSON cannot hold")
	}
}

func TestARegistryRefusesAConfigurationThatCannotBeSafe(t *testing.T) {
	a, store := openAuthority(t, keyFolder(t)), openStore(t)
	good := identity.RegistryConfig{Authority: a, Store: store, RPID: testRPID, Origins: []string{testOrigin}}
	_, err := identity.NewRegistry(good)
	must(t, err)
	for name, spoil := range map[string]func(*identity.RegistryConfig){
		"no authority":       func(c *identity.RegistryConfig) { c.Authority = nil },
		"no store":           func(c *identity.RegistryConfig) { c.Store = nil },
		"no relying party":   func(c *identity.RegistryConfig) { c.RPID = "" },
		"an address as one":  func(c *identity.RegistryConfig) { c.RPID = "127.0.0.1" },
		"no origin":          func(c *identity.RegistryConfig) { c.Origins = nil },
		"an origin's path":   func(c *identity.RegistryConfig) { c.Origins = []string{testOrigin + "/"} },
		"an origin over TCP": func(c *identity.RegistryConfig) { c.Origins = []string{"http://console.example.com"} },
		"a wildcard origin":  func(c *identity.RegistryConfig) { c.Origins = []string{"*"} },
	} {
		c := good
		spoil(&c)
		if _, err := identity.NewRegistry(c); err == nil {
			t.Errorf("accepted %s", name)
		}
	}
}
