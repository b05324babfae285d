package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/identity"
)

const (
	testRPID   = "console.example.com"
	testOrigin = "https://console.example.com:8443"
	testHost   = "console.example.com"
	appHost    = "orders.apps.example.com"
)

var (
	home    = netip.MustParseAddr("203.0.113.9")
	homeToo = netip.MustParseAddr("203.0.113.77") // the same /24
	abroad  = netip.MustParseAddr("198.51.100.7")
)

// clock is a time that only tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// gate is a gateway's identity with its own folder, store and clock.
type gate struct {
	t         *testing.T
	ctx       context.Context
	clock     *clock
	store     identity.Store
	authority *identity.Authority
	registry  *identity.Registry
}

func newGate(t *testing.T) *gate {
	t.Helper()
	c := &clock{t: time.Now().Truncate(time.Second)}
	dir := t.TempDir()
	must(t, identity.CreateAuthority(dir, identity.KeySource{}, c.now))
	a, err := identity.OpenAuthority(dir, identity.KeySource{}, c.now)
	must(t, err)
	g := &gate{t: t, ctx: t.Context(), clock: c, store: openStore(t), authority: a}
	g.restart()
	return g
}

// restart makes a new registry on the same store, as a new process would.
func (g *gate) restart() {
	g.t.Helper()
	r, err := identity.NewRegistry(identity.RegistryConfig{
		Authority: g.authority, Store: g.store, RPID: testRPID, Origins: []string{testOrigin}, Now: g.clock.now,
	})
	must(g.t, err)
	g.registry = r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// needTool skips what drives a missing program; under CI that is a failure.
func needTool(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; make tools installs it", program)
	}
	t.Skipf("%s is missing; make tools installs it", program)
}

// holder is a person on their own side: keys, certificate, security key.
type holder struct {
	gate   *gate
	person string
	vendor string
	key    *ecdsa.PrivateKey
	issued identity.Issued
	soft   *softKey
	ssh    ssh.Signer
}

func newRequest(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "mallory", Organization: []string{"@staff"}}}, key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// certified is a person who used an invite and has a certificate, nothing else.
func (g *gate) certified(person, vendor string) *holder {
	g.t.Helper()
	invitation, err := g.registry.Invite(g.ctx, person, vendor, "admin")
	must(g.t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(g.t, err)
	h := &holder{gate: g, person: person, vendor: vendor, key: key, soft: newSoftKey(g.t)}
	h.issued, err = g.registry.Enrol(g.ctx, invitation.Token, newRequest(g.t, key))
	must(g.t, err)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(g.t, err)
	h.ssh, err = ssh.NewSignerFromKey(private)
	must(g.t, err)
	return h
}

// waiting has registered a security key and an SSH key as well.
func (g *gate) waiting(person, vendor string) *holder {
	g.t.Helper()
	h := g.certified(person, vendor)
	must(g.t, h.register())
	_, err := g.registry.AddSSHKey(g.ctx, h.credential(), h.sshLine())
	must(g.t, err)
	return h
}

// active was released by a second person.
func (g *gate) active(person, vendor string) *holder {
	g.t.Helper()
	h := g.waiting(person, vendor)
	e, err := g.registry.Code(g.ctx, person)
	must(g.t, err)
	must(g.t, g.registry.Release(g.ctx, person, e.Code, "admin"))
	return h
}

func (h *holder) sshLine() string { return string(ssh.MarshalAuthorizedKey(h.ssh.PublicKey())) }

func (h *holder) fingerprint() string { return ssh.FingerprintSHA256(h.ssh.PublicKey()) }

// credential is what Client says, whether active or still enrolling.
func (h *holder) credential() identity.Credential {
	h.gate.t.Helper()
	c, err := h.client()
	if err != nil && !errors.Is(err, identity.ErrCertified) && !errors.Is(err, identity.ErrWaiting) {
		h.gate.t.Fatal(err)
	}
	return c
}

func (h *holder) client() (identity.Credential, error) {
	h.gate.t.Helper()
	state, err := h.gate.handshake(h.tlsCertificate())
	must(h.gate.t, err)
	return h.gate.registry.Client(h.gate.ctx, state)
}

func (h *holder) tlsCertificate() tls.Certificate {
	h.gate.t.Helper()
	c := tls.Certificate{PrivateKey: h.key}
	for rest := append(append([]byte{}, h.issued.CertPEM...), h.issued.ChainPEM...); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return c
		}
		c.Certificate = append(c.Certificate, block.Bytes)
	}
}

// handshake makes a real TLS connection with client certificate c and returns what the server saw.
func (g *gate) handshake(c tls.Certificate) (*tls.ConnectionState, error) {
	g.t.Helper()
	server, err := g.authority.ServerCertificate(testHost)
	must(g.t, err)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(g.authority.RootPEM())
	client := tls.Client(far, &tls.Config{RootCAs: roots, ServerName: testHost, Time: g.clock.now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }})
	go io.Copy(io.Discard, client) // reads on, so that a refusal can be sent
	conn := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{*server}, Time: g.clock.now,
		SessionTicketsDisabled: true, ClientCAs: g.authority.ClientCAs(), ClientAuth: tls.VerifyClientCertIfGiven})
	if err := conn.HandshakeContext(g.ctx); err != nil {
		return nil, err
	}
	state := conn.ConnectionState()
	return &state, nil
}

func (h *holder) register() error {
	h.gate.t.Helper()
	c := h.credential()
	id, options, err := h.gate.registry.BeginRegistration(h.gate.ctx, c)
	if err != nil {
		return err
	}
	return h.gate.registry.FinishRegistration(h.gate.ctx, c, id, h.soft.create(options))
}

// login gives a WebAuthn for the purpose.
func (h *holder) login() identity.MFA {
	h.gate.t.Helper()
	c := h.credential()
	id, options, err := h.gate.registry.BeginLogin(h.gate.ctx, c, identity.PurposeLogin, nil)
	must(h.gate.t, err)
	mfa, err := h.gate.registry.FinishLogin(h.gate.ctx, c, id, h.soft.get(options))
	must(h.gate.t, err)
	return mfa
}

// cookie opens a web session on the console's host.
func (h *holder) cookie() string {
	h.gate.t.Helper()
	cookie, err := h.gate.registry.OpenWebSession(h.gate.ctx, h.credential(), testHost, h.login())
	must(h.gate.t, err)
	return cookie
}

// certificate is an SSH certificate issued from home.
func (h *holder) certificate() *ssh.Certificate {
	h.gate.t.Helper()
	cert, err := h.gate.registry.IssueSSH(h.gate.ctx, h.credential(), h.fingerprint(), h.login(), home)
	must(h.gate.t, err)
	return cert
}
