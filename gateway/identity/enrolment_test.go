package identity_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

func TestNothingWorksUntilASecondPersonReleases(t *testing.T) {
	g := newGate(t)
	h := g.certified("hanako", "acme-maintenance")

	c, err := h.client()
	wantErr(t, err, identity.ErrCertified)
	if c.Person != "hanako" || c.Vendor != "acme-maintenance" || c.State != identity.StateCertified {
		t.Fatalf("credential %+v", c)
	}
	_, _, err = g.registry.BeginLogin(g.ctx, c, identity.PurposeLogin, nil)
	wantErr(t, err, identity.ErrCertified)
	_, err = g.registry.AddSSHKey(g.ctx, c, h.sshLine())
	wantErr(t, err, identity.ErrCertified)
	_, err = g.registry.Code(g.ctx, "hanako")
	wantErr(t, err, identity.ErrState)

	must(t, h.register())
	c, err = h.client()
	wantErr(t, err, identity.ErrWaiting)
	_, _, err = g.registry.BeginLogin(g.ctx, c, identity.PurposeLogin, nil)
	wantErr(t, err, identity.ErrWaiting)
	_, _, err = g.registry.BeginRegistration(g.ctx, c)
	wantErr(t, err, identity.ErrWaiting)
	_, err = g.registry.AddSSHKey(g.ctx, c, h.sshLine())
	must(t, err)
	_, err = g.registry.IssueSSH(g.ctx, c, h.fingerprint(), identity.MFA{}, home)
	wantErr(t, err, identity.ErrWaiting)

	e, err := g.registry.Code(g.ctx, "hanako")
	must(t, err)
	must(t, g.registry.Release(g.ctx, "hanako", " "+strings.ToLower(e.Code)+" ", "mika"))
	c, err = h.client()
	must(t, err)
	if c.State != identity.StateActive {
		t.Fatalf("state %s after release", c.State)
	}
	if mfa := h.login(); !mfa.UV || mfa.Method != "webauthn" || mfa.Purpose != identity.PurposeLogin || mfa.At.IsZero() {
		t.Fatalf("mfa %+v", mfa)
	}
}

func TestAnInviteWorksOnceAndInTimeOnly(t *testing.T) {
	g := newGate(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	request := newRequest(t, key)

	invitation, err := g.registry.Invite(g.ctx, "hanako", "acme", "admin")
	must(t, err)
	if life := invitation.Expires.Sub(g.clock.now()); life > 24*time.Hour {
		t.Fatalf("an invite of %s", life)
	}
	_, err = g.registry.Enrol(g.ctx, invitation.Token, []byte("not a request"))
	wantErr(t, err, identity.ErrRequest) // and the invite is still good
	_, err = g.registry.Enrol(g.ctx, invitation.Token, request)
	must(t, err)
	_, err = g.registry.Enrol(g.ctx, invitation.Token, request)
	wantErr(t, err, identity.ErrInvite)

	late, err := g.registry.Invite(g.ctx, "hanako", "acme", "admin")
	must(t, err)
	g.clock.pass(24 * time.Hour)
	_, err = g.registry.Enrol(g.ctx, late.Token, request)
	wantErr(t, err, identity.ErrInvite)

	first, err := g.registry.Invite(g.ctx, "hanako", "acme", "admin")
	must(t, err)
	_, err = g.registry.Invite(g.ctx, "hanako", "acme", "admin")
	must(t, err)
	_, err = g.registry.Enrol(g.ctx, first.Token, request)
	wantErr(t, err, identity.ErrInvite) // replaced by the second

	for _, token := range []string{"", "x", strings.Repeat("A", 43), invitation.Token + "=", strings.Repeat("A", 1<<20)} {
		_, err := g.registry.Enrol(g.ctx, token, request)
		wantErr(t, err, identity.ErrInvite)
	}
}

func TestTheStoreNeverSeesAnInviteToken(t *testing.T) {
	g := newGate(t)
	invitation, err := g.registry.Invite(g.ctx, "hanako", "acme", "admin")
	must(t, err)
	e, err := g.store.Enrolment(g.ctx, "hanako")
	must(t, err)
	if e.TokenHash == "" || strings.Contains(e.TokenHash, invitation.Token) || len(e.TokenHash) != 64 {
		t.Fatalf("token hash %q", e.TokenHash)
	}
	list, err := g.registry.Enrolments(g.ctx)
	must(t, err)
	if len(list) != 1 || list[0].TokenHash != "" || list[0].Code != "" {
		t.Fatalf("list shows %+v", list)
	}
}

func TestTheCertificateSaysWhatTheDirectorySays(t *testing.T) {
	g := newGate(t)
	h := g.certified("hanako", "acme-maintenance") // its request claims to be mallory of @staff
	cert, err := x509.ParseCertificate(h.tlsCertificate().Certificate[0])
	must(t, err)
	if cert.Subject.CommonName != "hanako" || cert.Subject.Organization[0] != "acme-maintenance" {
		t.Fatalf("subject %s", cert.Subject)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != "sekisho://acme-maintenance.vendor.sekisho/person/hanako" {
		t.Fatalf("names %v", cert.URIs)
	}
	if len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || cert.IsCA {
		t.Fatalf("usage %v, CA %t", cert.ExtKeyUsage, cert.IsCA)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life > 90*24*time.Hour {
		t.Fatalf("lives %s", life)
	}
}

func TestWeakAndMalformedRequestsAreRefused(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	must(t, err)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(t, err)
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	good := newRequest(t, ed)
	block, _ := pem.Decode(good)
	block.Bytes[len(block.Bytes)-1] ^= 1
	for name, c := range map[string]struct {
		request []byte
		ok      bool
	}{
		"Ed25519":                  {good, true},
		"ECDSA P-384":              {newRequest(t, p384), true},
		"ECDSA P-224":              {newRequest(t, p224), false},
		"ECDSA P-521":              {newRequest(t, p521), false},
		"RSA of 2048 bits":         {newRequest(t, rsa2048), false},
		"a flipped bit":            {pem.EncodeToMemory(block), false},
		"two requests":             {append(append([]byte{}, good...), good...), false},
		"bytes after the request":  {append(append([]byte{}, good...), "x"...), false},
		"another kind of PEM":      {[]byte(strings.ReplaceAll(string(good), "CERTIFICATE REQUEST", "CERTIFICATE")), false},
		"nothing":                  {nil, false},
		"more than sixteen KiB":    {append(make([]byte, 16<<10), good...), false},
		"PEM of something else":    {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{1}}), false},
		"a request without a body": {[]byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"), false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := identity.ParseRequest(c.request)
			if c.ok != (err == nil) || err != nil && !errors.Is(err, identity.ErrRequest) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestReleaseNeedsAnotherPersonAndTheirCode(t *testing.T) {
	g := newGate(t)
	g.waiting("hanako", "acme")
	e, err := g.registry.Code(g.ctx, "hanako")
	must(t, err)
	if plain := strings.ReplaceAll(e.Code, "-", ""); len(plain) < 8 {
		t.Fatalf("code %q is too short", e.Code)
	}
	wantErr(t, g.registry.Release(g.ctx, "hanako", e.Code, "hanako"), identity.ErrOwn)
	if err := g.registry.Release(g.ctx, "hanako", e.Code, ""); err == nil {
		t.Fatal("released by nobody")
	}
	wantErr(t, g.registry.Release(g.ctx, "hanako", "", "mika"), identity.ErrWrongCode)
	wantErr(t, g.registry.Release(g.ctx, "taro", e.Code, "mika"), identity.ErrState)
	must(t, g.registry.Release(g.ctx, "hanako", e.Code, "mika"))
	wantErr(t, g.registry.Release(g.ctx, "hanako", e.Code, "mika"), identity.ErrState)
}

func TestTheThirdWrongReleaseCodeVoidsTheEnrolment(t *testing.T) {
	g := newGate(t)
	h := g.waiting("hanako", "acme")
	e, err := g.registry.Code(g.ctx, "hanako")
	must(t, err)
	for range 3 {
		wantErr(t, g.registry.Release(g.ctx, "hanako", "2222-2222", "mika"), identity.ErrWrongCode)
	}
	wantErr(t, g.registry.Release(g.ctx, "hanako", e.Code, "mika"), identity.ErrState)
	_, err = h.client()
	wantErr(t, err, identity.ErrRevoked)
}

func TestReleasingANewEnrolmentRevokesTheOldCredentials(t *testing.T) {
	g := newGate(t)
	old := g.active("hanako", "acme")
	oldCert := old.certificate()
	cookie := old.cookie()

	fresh := g.waiting("hanako", "acme")
	if _, err := old.client(); err != nil {
		t.Fatalf("the old credentials must work until the release: %v", err)
	}
	_, err := g.registry.CheckSSH(g.ctx, oldCert, home)
	must(t, err)
	oldCredential := old.credential()
	e, err := g.registry.Code(g.ctx, "hanako")
	must(t, err)
	announced := 0
	g.registry.OnRevoke(func() { announced++ })
	must(t, g.registry.Release(g.ctx, "hanako", e.Code, "mika"))

	for range 2 { // before and after a restart
		_, err = old.client()
		wantErr(t, err, identity.ErrRevoked)
		_, err = g.registry.CheckSSH(g.ctx, oldCert, home)
		wantErr(t, err, identity.ErrRevoked)
		_, err = g.registry.WebSession(g.ctx, cookie, testHost, oldCredential)
		wantErr(t, err, identity.ErrNoSession)
		if !g.registry.Revoked("x509", old.issued.Serial) || g.registry.Revoked("person", "hanako") {
			t.Fatal("the old certificate is not revoked, or the person is")
		}
		_, err = fresh.client()
		must(t, err)
		g.restart()
	}
	if announced == 0 {
		t.Fatal("nobody was told of the revocation")
	}
	fresh.login()
	_, err = g.registry.AddSSHKey(g.ctx, fresh.credential(), old.sshLine())
	wantErr(t, err, identity.ErrKeyTaken)
}

func TestRevokingAPersonEndsAllAndANewEnrolmentBringsThemBack(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	other := g.active("taro", "acme")
	cert, cookie, credential := h.certificate(), h.cookie(), h.credential()
	pending, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)

	must(t, g.registry.RevokePerson(g.ctx, "hanako", "left the company", "mika"))
	_, err = pending.Wait(g.ctx)
	wantErr(t, err, identity.ErrRevoked)
	for range 2 {
		_, err = h.client()
		wantErr(t, err, identity.ErrRevoked)
		_, err = g.registry.WebSession(g.ctx, cookie, testHost, credential)
		wantErr(t, err, identity.ErrNoSession)
		if !g.registry.Revoked("person", "hanako") || !g.registry.Revoked("x509", h.issued.Serial) {
			t.Fatal("person or certificate is not revoked")
		}
		_, err = g.registry.CheckSSH(g.ctx, cert, home)
		wantErr(t, err, identity.ErrRevoked)
		_, err = other.client()
		must(t, err)
		g.restart()
	}

	again := g.active("hanako", "acme")
	for range 2 {
		_, err = again.client()
		must(t, err)
		if g.registry.Revoked("person", "hanako") {
			t.Fatal("still revoked after a new release")
		}
		_, err = h.client()
		wantErr(t, err, identity.ErrRevoked)
		g.restart()
	}
}

func TestALiveSSHSessionLearnsOfEveryRevocationBehindItsCertificate(t *testing.T) {
	for name, revoke := range map[string]func(*gate, *holder, string) error{
		"the SSH certificate": func(g *gate, h *holder, serial string) error {
			return g.registry.RevokeSerial(g.ctx, serial, "lost", "mika")
		},
		"the SSH key": func(g *gate, h *holder, serial string) error {
			return g.registry.RevokeSSHKey(g.ctx, h.fingerprint(), "lost", "mika")
		},
		"the client certificate": func(g *gate, h *holder, serial string) error {
			return g.registry.RevokeSerial(g.ctx, h.issued.Serial, "lost", "mika")
		},
		"the person": func(g *gate, h *holder, serial string) error {
			return g.registry.RevokePerson(g.ctx, h.person, "left", "mika")
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			h := g.active("hanako", "acme")
			cert := h.certificate()
			g.restart() // the certificate was issued by an earlier process
			login, err := g.registry.CheckSSH(g.ctx, cert, home)
			must(t, err)
			if g.registry.Revoked("ssh-cert", login.Principal.Serial) {
				t.Fatal("revoked too early")
			}
			told := make(chan bool, 8)
			g.registry.OnRevoke(func() { told <- g.registry.Revoked("ssh-cert", login.Principal.Serial) })
			must(t, revoke(g, h, login.Principal.Serial))
			if !<-told {
				t.Fatal("Revoked does not say so when told")
			}
			_, err = g.registry.CheckSSH(g.ctx, cert, home)
			wantErr(t, err, identity.ErrRevoked)
		})
	}
}

func TestRevokingASerialNobodyCanHaveIsAnError(t *testing.T) {
	g := newGate(t)
	for _, serial := range []string{"", "0", "-1", "01", "abc", strings.Repeat("9", 40)} {
		if err := g.registry.RevokeSerial(g.ctx, serial, "lost", "mika"); err == nil {
			t.Errorf("revoked %q", serial)
		}
	}
	if err := g.registry.RevokePerson(g.ctx, "hanako", "left", ""); err == nil {
		t.Error("revoked by nobody")
	}
}

func TestForeignAndForgedClientCertificatesAreTold(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	_, err := g.registry.Client(g.ctx, nil)
	wantErr(t, err, identity.ErrNoCertificate)
	state, err := g.handshake(tls.Certificate{})
	must(t, err)
	_, err = g.registry.Client(g.ctx, state)
	wantErr(t, err, identity.ErrNoCertificate)

	// A certificate that was merely sent counts for nothing.
	leaf, err := x509.ParseCertificate(h.tlsCertificate().Certificate[0])
	must(t, err)
	_, err = g.registry.Client(g.ctx, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
	wantErr(t, err, identity.ErrNoCertificate)

	stranger := newGate(t).active("hanako", "acme")
	if _, err := g.handshake(stranger.tlsCertificate()); err == nil {
		t.Fatal("TLS accepted a certificate of another CA")
	}

	other, otherKey, err := g.authority.VendorIssuer("other")
	must(t, err)
	acme, acmeKey, err := g.authority.VendorIssuer("acme")
	must(t, err)
	root, rootKey := g.authority.RootIssuer()
	name := func(domain, rest string) *url.URL {
		u, err := url.Parse("sekisho://" + domain + ".sekisho" + rest)
		must(t, err)
		return u
	}
	hanako := name("acme.vendor", "/person/hanako")
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for name, forged := range map[string]tls.Certificate{
		"signed by the root itself":           forge(t, g, root, rootKey, client, hanako),
		"with a serial that was never issued": forge(t, g, acme, acmeKey, client, hanako),
		"with a person twice":                 forge(t, g, acme, acmeKey, client, hanako, hanako),
		"with two people":                     forge(t, g, acme, acmeKey, client, hanako, name("acme.vendor", "/person/taro")),
		"with a query behind the person":      forge(t, g, acme, acmeKey, client, name("acme.vendor", "/person/hanako?x")),
		"with a person that is none":          forge(t, g, acme, acmeKey, client, name("acme.vendor", "/person/../x")),
		"for a name under the vendor's":       forge(t, g, acme, acmeKey, client, name("x.acme.vendor", "/person/hanako")),
		"without names":                       forge(t, g, acme, acmeKey, client),
		"for every usage":                     forge(t, g, acme, acmeKey, append(client, x509.ExtKeyUsageAny), hanako),
	} {
		t.Run(name, func(t *testing.T) {
			state, err := g.handshake(forged)
			must(t, err)
			_, err = g.registry.Client(g.ctx, state)
			wantErr(t, err, identity.ErrForeign)
		})
	}
	// Another vendor's intermediate, and names beside the person, are stopped by the name constraints already.
	for name, forged := range map[string]tls.Certificate{
		"signed by another vendor's intermediate": forge(t, g, other, otherKey, client, hanako),
		"for staff": forge(t, g, acme, acmeKey, client, name("staff", "/person/mika")),
	} {
		if _, err := g.handshake(forged); err == nil {
			t.Errorf("TLS accepted a certificate %s", name)
		}
	}
}

// forge signs a client certificate that the gateway never issued.
func forge(t *testing.T, g *gate, ca *x509.Certificate, key *ecdsa.PrivateKey, usage []x509.ExtKeyUsage, names ...*url.URL,
) tls.Certificate {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "hanako"}, URIs: names, ExtKeyUsage: usage,
		NotBefore: g.clock.now().Add(-time.Hour), NotAfter: g.clock.now().Add(time.Hour), BasicConstraintsValid: true,
	}, ca, own.Public(), key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der, ca.Raw}, PrivateKey: own}
}

func TestAPeerThatSendsNoIntermediateCanBeProvedWithOurs(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	leaf, err := x509.ParseCertificate(h.tlsCertificate().Certificate[0])
	must(t, err)
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: g.authority.ClientCAs(), Intermediates: g.authority.Intermediates(),
		CurrentTime: g.clock.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	must(t, err)
	c, err := g.registry.Client(g.ctx, &tls.ConnectionState{VerifiedChains: chains})
	must(t, err)
	source := netip.AddrPortFrom(home, 51324)
	p := c.Principal(h.login(), source, "curl/8")
	if p.Person != "hanako" || p.Vendor != "acme" || p.Serial != h.issued.Serial || p.Source != source || !p.MFA.UV ||
		!p.NotAfter.Equal(h.issued.NotAfter) {
		t.Fatalf("principal %+v", p)
	}
}

func TestAnExpiredClientCertificateIsRefusedOnAnOldConnectionToo(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	state, err := g.handshake(h.tlsCertificate())
	must(t, err)
	credential := h.credential()
	g.clock.pass(90 * 24 * time.Hour)
	_, err = g.registry.Client(g.ctx, state)
	wantErr(t, err, identity.ErrExpired)
	_, _, err = g.registry.BeginLogin(g.ctx, credential, identity.PurposeLogin, nil)
	wantErr(t, err, identity.ErrExpired)
	if _, err := g.handshake(h.tlsCertificate()); err == nil {
		t.Fatal("TLS accepted an expired certificate")
	}
}

func TestIDsThatCouldEscapeAFileOrANameAreRefused(t *testing.T) {
	g := newGate(t)
	for _, id := range []string{
		"", ".", "..", "../x", "a/b", "a b", "a:b", "-x", "日本", "a\n", "Hanako", "a.b", "@", strings.Repeat("a", 64),
	} {
		if _, err := g.registry.Invite(g.ctx, id, "acme", "admin"); err == nil {
			t.Errorf("invited person %q", id)
		}
		if err := g.authority.EnsureVendor(id); err == nil {
			t.Errorf("made vendor %q", id)
		}
	}
	must(t, g.authority.EnsureVendor("@staff"))
}
