package identity_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/identity"
)

func FuzzCertificateRequest(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "hanako"}, DNSNames: []string{"a.example"}}, key)
	if err != nil {
		f.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		public, err := identity.ParseRequest(text)
		if (public == nil) == (err == nil) {
			t.Fatalf("key %v with error %v", public, err)
		}
	})
}

func FuzzInviteToken(f *testing.F) {
	for _, seed := range []string{"", strings.Repeat("A", 43), strings.Repeat("_", 43), strings.Repeat("A", 42) + "B", "a\nb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		hash, ok := identity.HashToken(token)
		if ok != (len(hash) == 64) {
			t.Fatalf("hash %q, ok %t", hash, ok)
		}
		if _, err := base64.RawURLEncoding.Strict().DecodeString(token); ok && (len(token) != 43 || err != nil) {
			t.Fatalf("accepted %q", token)
		}
	})
}

func FuzzSSHKeyLine(f *testing.F) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(ssh.MarshalAuthorizedKey(key)))
	f.Add(`command="x" ` + string(ssh.MarshalAuthorizedKey(key)))
	f.Add("ssh-rsa AAAA")
	f.Fuzz(func(t *testing.T, line string) {
		key, err := identity.ParseSSHKey(line)
		if err != nil {
			return
		}
		again, err := identity.ParseSSHKey(string(ssh.MarshalAuthorizedKey(key)))
		if err != nil || ssh.FingerprintSHA256(again) != ssh.FingerprintSHA256(key) {
			t.Fatalf("read back as %v, %v", again, err)
		}
	})
}

// FuzzSSHCertificate signs whatever options and extensions the fuzzer finds, sends the certificate over the wire form
// and checks it: what logs in is exactly one canonical source and at most one canonical time.
func FuzzSSHCertificate(f *testing.F) {
	f.Add("source-address", "203.0.113.9/32", identity.WebAuthnAt, "2026-11-22T09:15:02Z")
	f.Add("source-address", "::/0", identity.WebAuthnAt, "2026-11-22T09:15:02+09:00")
	f.Add("source-address", "203.0.113.9/32,::/0", "permit-pty", "")
	f.Add("force-command", "id", identity.WebAuthnAt, "")
	dir := f.TempDir()
	if err := identity.CreateAuthority(dir, identity.KeySource{}, time.Now); err != nil {
		f.Fatal(err)
	}
	a, err := identity.OpenAuthority(dir, identity.KeySource{}, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, option, optionValue, extension, extensionValue string) {
		cert := &ssh.Certificate{Key: key, CertType: ssh.UserCert, ValidPrincipals: []string{"hanako"}, Serial: 1,
			ValidAfter: uint64(time.Now().Add(-time.Minute).Unix()), ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
			Permissions: ssh.Permissions{CriticalOptions: map[string]string{option: optionValue},
				Extensions: map[string]string{extension: extensionValue}}}
		if err := cert.SignCert(rand.Reader, a.UserCASigner()); err != nil {
			t.Fatal(err)
		}
		parsed, err := ssh.ParsePublicKey(cert.Marshal())
		if err != nil {
			return
		}
		source, at, err := identity.ReadSSHCertificate(a, parsed)
		if err != nil {
			return
		}
		if option != "source-address" || source.String() != optionValue || source.Addr().Zone() != "" {
			t.Fatalf("accepted %s=%q as %s", option, optionValue, source)
		}
		if extension == identity.WebAuthnAt && at.Format(time.RFC3339) != extensionValue || at.Location() != time.UTC {
			t.Fatalf("accepted %s=%q as %s", extension, extensionValue, at)
		}
	})
}

// FuzzSSHKeyBlob checks arbitrary bytes offered as a key.
func FuzzSSHKeyBlob(f *testing.F) {
	dir := f.TempDir()
	if err := identity.CreateAuthority(dir, identity.KeySource{}, time.Now); err != nil {
		f.Fatal(err)
	}
	a, err := identity.OpenAuthority(dir, identity.KeySource{}, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	signer, err := a.UpstreamSigner("app", "seed")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signer.PublicKey().Marshal())
	f.Add(a.UserCA().Marshal())
	f.Fuzz(func(t *testing.T, blob []byte) {
		key, err := ssh.ParsePublicKey(blob)
		if err != nil {
			return
		}
		if source, _, err := identity.ReadSSHCertificate(a, key); err == nil || source != (netip.Prefix{}) {
			t.Fatalf("accepted a key that the user CA never signed")
		}
	})
}
