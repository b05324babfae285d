package identity_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/identity"
)

func serial(c *ssh.Certificate) string { return strconv.FormatUint(c.Serial, 10) }

func TestACertificateWithARecentWebAuthnLogsInDirectly(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	mfa := h.login()
	cert, err := g.registry.IssueSSH(g.ctx, h.credential(), h.fingerprint(), mfa, netip.MustParseAddr("::ffff:203.0.113.9"))
	must(t, err)
	login, err := g.registry.CheckSSH(g.ctx, cert, home)
	must(t, err)
	p := login.Principal
	if p.Person != "hanako" || p.Vendor != "acme" || p.Serial != serial(cert) || p.Source.Addr() != home ||
		login.Fingerprint != h.fingerprint() {
		t.Fatalf("login %+v", login)
	}
	if !login.Fresh || !p.MFA.At.Equal(mfa.At.Truncate(time.Second)) || !p.MFA.UV {
		t.Fatalf("login %+v", login)
	}
	if life := p.NotAfter.Sub(g.clock.now()); life > 12*time.Hour || life < 11*time.Hour {
		t.Fatalf("certificate ends in %s", life)
	}

	g.clock.pass(15*time.Minute + time.Second)
	login, err = g.registry.CheckSSH(g.ctx, cert, home)
	must(t, err)
	if login.Fresh || login.Principal.MFA != (identity.MFA{}) {
		t.Fatalf("an old WebAuthn still counts: %+v", login)
	}
	g.clock.pass(12 * time.Hour)
	_, err = g.registry.CheckSSH(g.ctx, cert, home)
	wantErr(t, err, identity.ErrExpired)
}

func TestIssuingNeedsAFreshLoginAndOnesOwnKey(t *testing.T) {
	g := newGate(t)
	h, other := g.active("hanako", "acme"), g.active("taro", "acme")
	c, mfa := h.credential(), h.login()
	_, err := g.registry.IssueSSH(g.ctx, c, other.fingerprint(), mfa, home)
	wantErr(t, err, identity.ErrNotEnrolled)
	_, err = g.registry.IssueSSH(g.ctx, c, "SHA256:unknown", mfa, home)
	wantErr(t, err, identity.ErrNotEnrolled)
	_, err = g.registry.IssueSSH(g.ctx, c, h.fingerprint(), mfa, netip.Addr{})
	wantErr(t, err, identity.ErrSource)
	g.clock.pass(16 * time.Minute)
	_, err = g.registry.IssueSSH(g.ctx, c, h.fingerprint(), mfa, home)
	wantErr(t, err, identity.ErrStale)
	must(t, g.registry.RevokeSSHKey(g.ctx, h.fingerprint(), "lost", "mika"))
	_, err = g.registry.IssueSSH(g.ctx, c, h.fingerprint(), h.login(), home)
	wantErr(t, err, identity.ErrNotEnrolled)
}

func TestAnSSHCertificateNeverOutlivesTheClientCertificate(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	g.clock.pass(90*24*time.Hour - time.Hour)
	cert := h.certificate()
	if end := time.Unix(int64(cert.ValidBefore), 0); end.After(h.issued.NotAfter) {
		t.Fatalf("ends %s, the client certificate %s", end, h.issued.NotAfter)
	}
}

type cert = ssh.Certificate

// sign changes a good certificate and signs it anew with ca.
func sign(t *testing.T, good *cert, ca ssh.Signer, change func(*cert)) *cert {
	t.Helper()
	c := *good
	c.CriticalOptions = map[string]string{"source-address": good.CriticalOptions["source-address"]}
	c.Extensions = map[string]string{}
	for k, v := range good.Extensions {
		c.Extensions[k] = v
	}
	change(&c)
	must(t, c.SignCert(rand.Reader, ca))
	return &c
}

func TestWhatAnSSHCertificateMustBe(t *testing.T) {
	g := newGate(t)
	h, other := g.active("hanako", "acme"), g.active("taro", "acme")
	n := g.waiting("jiro", "acme")
	good := h.certificate()
	_, strangerKey, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	stranger, err := ssh.NewSignerFromKey(strangerKey)
	must(t, err)
	hosts, err := g.authority.HostSigners("gateway.example.com")
	must(t, err)
	now := func(d time.Duration) uint64 { return uint64(g.clock.now().Add(d).Unix()) }
	const source = "source-address"
	flipped := *good
	flipped.KeyId += "!"

	for name, c := range map[string]struct {
		key  ssh.PublicKey
		from netip.Addr
		want error
	}{
		"is good as issued":              {good, home, nil},
		"is good from the same in IPv6":  {good, netip.MustParseAddr("::ffff:203.0.113.9"), nil},
		"not a plain key":                {h.ssh.PublicKey(), home, identity.ErrNoCertificate},
		"not altered":                    {&flipped, home, identity.ErrForeign},
		"not from another source":        {good, homeToo, identity.ErrSource},
		"not from nowhere":               {good, netip.Addr{}, identity.ErrSource},
		"not by another CA":              {sign(t, good, stranger, func(*cert) {}), home, identity.ErrForeign},
		"not the gateway's own host key": {hosts[0].PublicKey(), home, identity.ErrForeign},
	} {
		t.Run(name, func(t *testing.T) { wantLogin(t, g, c.key, c.from, c.want) })
	}

	// Signed by the very CA, and still not one of ours.
	for name, c := range map[string]struct {
		change func(*cert)
		want   error
	}{
		"not for nobody":                {func(c *cert) { c.ValidPrincipals = nil }, identity.ErrPrincipals},
		"not for an empty name":         {func(c *cert) { c.ValidPrincipals = []string{""} }, identity.ErrPrincipals},
		"not for two people":            {func(c *cert) { c.ValidPrincipals = []string{"hanako", "taro"} }, identity.ErrPrincipals},
		"not for another person":        {func(c *cert) { c.ValidPrincipals = []string{"taro"} }, identity.ErrNotEnrolled},
		"not a host certificate":        {func(c *cert) { c.CertType = ssh.HostCert }, identity.ErrForeign},
		"not over":                      {func(c *cert) { c.ValidBefore = now(0) }, identity.ErrExpired},
		"not to begin later":            {func(c *cert) { c.ValidAfter = now(time.Minute) }, identity.ErrExpired},
		"not without an end":            {func(c *cert) { c.ValidBefore = ssh.CertTimeInfinity }, identity.ErrForeign},
		"not of thirteen hours":         {func(c *cert) { c.ValidBefore = now(13 * time.Hour) }, identity.ErrForeign},
		"not for a key that is unknown": {func(c *cert) { c.Key = stranger.PublicKey() }, identity.ErrNotEnrolled},
		"not for another person's key":  {func(c *cert) { c.Key = other.ssh.PublicKey() }, identity.ErrNotEnrolled},
		"not without source-address":    {func(c *cert) { c.CriticalOptions = nil }, identity.ErrForeign},
		"not with two addresses":        {func(c *cert) { c.CriticalOptions[source] += ",::/0" }, identity.ErrForeign},
		"not with an unknown option":    {func(c *cert) { c.CriticalOptions["force-command"] = "id" }, identity.ErrForeign},
		"not with verify-required":      {func(c *cert) { c.CriticalOptions["verify-required"] = "" }, identity.ErrForeign},
		"not with a WebAuthn in words":  {func(c *cert) { c.Extensions[identity.WebAuthnAt] = "now" }, identity.ErrForeign},
		"not before the release": {func(c *cert) {
			c.Key, c.ValidPrincipals = n.ssh.PublicKey(), []string{"jiro"}
		}, identity.ErrWaiting},
	} {
		t.Run(name, func(t *testing.T) {
			wantLogin(t, g, sign(t, good, g.authority.UserCASigner(), c.change), home, c.want)
		})
	}
}

// wantLogin checks a key and demands success or this error, and that a refused login names nobody.
func wantLogin(t *testing.T, g *gate, key ssh.PublicKey, from netip.Addr, want error) {
	t.Helper()
	login, err := g.registry.CheckSSH(g.ctx, key, from)
	if want == nil {
		must(t, err)
		return
	}
	wantErr(t, err, want)
	if login.Principal.Person != "" {
		t.Fatalf("a refused login names %s", login.Principal.Person)
	}
}

func TestAWebAuthnTimeInTheFutureIsNotFresh(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	ahead := g.clock.now().Add(time.Hour).UTC().Format(time.RFC3339)
	login, err := g.registry.CheckSSH(g.ctx, sign(t, h.certificate(), g.authority.UserCASigner(),
		func(c *ssh.Certificate) { c.Extensions[identity.WebAuthnAt] = ahead }), home)
	must(t, err)
	none, err := g.registry.CheckSSH(g.ctx, sign(t, h.certificate(), g.authority.UserCASigner(),
		func(c *ssh.Certificate) { delete(c.Extensions, identity.WebAuthnAt) }), home)
	must(t, err)
	if login.Fresh || none.Fresh {
		t.Fatalf("fresh: from the future %t, without a time %t", login.Fresh, none.Fresh)
	}
}

func TestWhichSSHKeysCanBeEnrolled(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	line := func(key any) string {
		t.Helper()
		public, err := ssh.NewPublicKey(key)
		must(t, err)
		return string(ssh.MarshalAuthorizedKey(public))
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	rsa3072, err := rsa.GenerateKey(rand.Reader, 3072)
	must(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	for name, c := range map[string]struct {
		line string
		want error
	}{
		"ECDSA P-256":        {line(p256.Public()), nil},
		"RSA of 3072 bits":   {line(rsa3072.Public()), nil},
		"with a comment":     {strings.TrimSpace(line(ed)) + " hanako@laptop\n", nil},
		"RSA of 2048 bits":   {line(rsa2048.Public()), identity.ErrRequest},
		"with options":       {`command="id" ` + line(ed), identity.ErrRequest},
		"two lines":          {line(ed) + line(p256.Public()), identity.ErrRequest},
		"a certificate":      {string(ssh.MarshalAuthorizedKey(h.certificate())), identity.ErrRequest},
		"nothing":            {"", identity.ErrRequest},
		"a very long line":   {strings.Repeat("A", 1<<20), identity.ErrRequest},
		"somebody's already": {h.sshLine(), identity.ErrKeyTaken},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := g.registry.AddSSHKey(g.ctx, h.credential(), c.line)
			if c.want != nil {
				wantErr(t, err, c.want)
				return
			}
			must(t, err)
			if k.Person != "hanako" || !strings.HasPrefix(k.Fingerprint, "SHA256:") || strings.Contains(k.PublicKey, "laptop") {
				t.Fatalf("stored %+v", k)
			}
		})
	}
	for i := 4; i < identity.MaxSSHKeys; i++ { // one from enrolment and three above
		public, _, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		_, err = g.registry.AddSSHKey(g.ctx, h.credential(), line(public))
		must(t, err)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	_, err = g.registry.AddSSHKey(g.ctx, h.credential(), line(public))
	wantErr(t, err, identity.ErrLimit)
}

// keygen shows a certificate as OpenSSH reads it.
func keygen(t *testing.T, key ssh.PublicKey) string {
	t.Helper()
	needTool(t, "ssh-keygen")
	path := filepath.Join(t.TempDir(), "key-cert.pub")
	must(t, os.WriteFile(path, ssh.MarshalAuthorizedKey(key), 0o600))
	out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-L", "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return string(out)
}

func wantLines(t *testing.T, out string, lines ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(out), " ")
	for _, line := range lines {
		if !strings.Contains(flat, line) {
			t.Errorf("OpenSSH does not see %q in\n%s", line, out)
		}
	}
}

func TestOpenSSHReadsOurCertificates(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	user := h.certificate()
	wantLines(t, keygen(t, user),
		"ssh-ed25519-cert-v01@openssh.com user certificate",
		"Signing CA: ED25519 "+ssh.FingerprintSHA256(g.authority.UserCA()),
		"Serial: "+serial(user),
		"Principals: hanako Critical Options: source-address 203.0.113.9/32 Extensions:",
		"permit-port-forwarding permit-pty", identity.WebAuthnAt)

	hosts, err := g.authority.HostSigners("gateway.example.com", "db1")
	must(t, err)
	if len(hosts) != 2 || hosts[1].PublicKey().Type() != ssh.KeyAlgoED25519 {
		t.Fatalf("host signers %v", hosts)
	}
	wantLines(t, keygen(t, hosts[0].PublicKey()), "host certificate",
		"Signing CA: ED25519 "+ssh.FingerprintSHA256(g.authority.HostCA()), "Principals: gateway.example.com db1 Critical")

	upstream, err := g.authority.UpstreamSigner("app", "session s-1 hanako")
	must(t, err)
	wantLines(t, keygen(t, upstream.PublicKey()), "user certificate", `Key ID: "session s-1 hanako"`,
		"Signing CA: ED25519 "+ssh.FingerprintSHA256(g.authority.UpstreamCA()),
		"Principals: app Critical Options: (none) Extensions: permit-pty")
	first := upstream.PublicKey().(*cert)
	if left := time.Unix(int64(first.ValidBefore), 0).Sub(g.clock.now()); left > 2*time.Minute {
		t.Fatalf("an upstream certificate of %s", left)
	}
	again, err := g.authority.UpstreamSigner("app", "session s-1 hanako")
	must(t, err)
	if ssh.FingerprintSHA256(again.PublicKey().(*cert).Key) == ssh.FingerprintSHA256(first.Key) {
		t.Fatal("the upstream key is used twice")
	}
}

func TestAClientThatTrustsTheHostCAAcceptsATargetsCertificate(t *testing.T) {
	g := newGate(t)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	target, err := ssh.NewSignerFromKey(private)
	must(t, err)
	cert, err := g.authority.SignTargetHostKey(target.PublicKey(), []string{"db1"})
	must(t, err)
	check := ssh.CertChecker{Clock: g.clock.now, IsHostAuthority: func(k ssh.PublicKey, _ string) bool {
		return string(k.Marshal()) == string(g.authority.HostCA().Marshal())
	}}
	must(t, check.CheckHostKey("db1:22", nil, cert))
	if check.CheckHostKey("db2:22", nil, cert) == nil {
		t.Fatal("the certificate of db1 stands for db2")
	}
	for name, names := range map[string][]string{"no name": nil, "an empty name": {"db1", ""}} {
		if _, err := g.authority.SignTargetHostKey(target.PublicKey(), names); err == nil {
			t.Errorf("signed a host certificate for %s", name)
		}
	}
	if _, err := g.authority.SignTargetHostKey(cert, []string{"db1"}); err == nil {
		t.Error("signed a certificate of a certificate")
	}
	if _, err := g.authority.UpstreamSigner("", "x"); err == nil {
		t.Error("made an upstream certificate for every login")
	}
}
