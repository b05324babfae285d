package demo_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/sekisho/sekisho/gateway/demo"
)

// issuing is a CA of the test, with what it needs to sign.
type issuing struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (by *issuing) issue(t *testing.T, template *x509.Certificate) *issuing {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuing{cert, key}
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

func pemOf(certs ...*issuing) string {
	var text strings.Builder
	for _, c := range certs {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
	}
	return text.String()
}

// site is an HTTPS server that asks for client certificates and steps a page through ceremonies.
type site struct {
	t       *testing.T
	config  demo.BrowserConfig
	party   *party
	origin  string
	steps   chan any
	answers chan json.RawMessage
	persons chan string
	failed  chan string
}

const sitePage = `<!doctype html><title>site</title><script>
async function ceremony(step) {
  if (step.create) {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(step.create.publicKey);
    return (await navigator.credentials.create({publicKey})).toJSON();
  }
  if (step.get) {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(step.get.publicKey);
    return (await navigator.credentials.get({publicKey})).toJSON();
  }
  return {};
}
(async () => {
  for (;;) {
    const response = await fetch("/step");
    if (!response.ok) return;
    try {
      const answer = await ceremony(await response.json());
      await fetch("/answer", {method: "POST", body: JSON.stringify(answer)});
    } catch (e) {
      await fetch("/failed", {method: "POST", body: String(e)});
    }
  }
})();
</script>`

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/":
		person := "nobody"
		if len(r.TLS.VerifiedChains) > 0 {
			person = r.TLS.VerifiedChains[0][0].Subject.CommonName
		}
		select {
		case s.persons <- person + " at " + r.Host:
		default:
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, sitePage)
	case "/step":
		select {
		case step := <-s.steps:
			json.NewEncoder(w).Encode(step)
		case <-r.Context().Done():
		}
	case "/answer":
		s.answers <- body
	case "/failed":
		s.failed <- string(body)
	}
}

func newSite(t *testing.T, host string) *site {
	t.Helper()
	root := (*issuing)(nil).issue(t, authority("test root"))
	vendor := root.issue(t, authority("sekisho acme-maintenance"))
	hanako := vendor.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "hanako"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	server := root.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, DNSNames: []string{host, "localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	s := &site{
		t: t, party: newParty(t), steps: make(chan any), answers: make(chan json.RawMessage, 1),
		persons: make(chan string, 1), failed: make(chan string, 1),
	}
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	web := httptest.NewUnstartedServer(s)
	web.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{server.cert.Raw}, PrivateKey: server.key}},
		ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: pool,
	}
	web.Config.ErrorLog = log.New(t.Output(), "", 0) // Chromium opens connections that it does not use
	web.StartTLS()
	t.Cleanup(web.Close)
	_, port, _ := net.SplitHostPort(web.Listener.Addr().String())
	s.origin = "https://" + net.JoinHostPort(host, port)
	var err error
	s.party.web, err = webauthn.New(&webauthn.Config{RPID: host, RPDisplayName: "site", RPOrigins: []string{s.origin}})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "demo of mine")
	key, err := x509.MarshalPKCS8PrivateKey(hanako.key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "client.crt"), pemOf(hanako, vendor), 0o600)
	write(t, filepath.Join(dir, "client.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})), 0o600)
	write(t, filepath.Join(dir, "ca.pem"), pemOf(root), 0o600)
	s.config = demo.BrowserConfig{
		Dir: filepath.Join(dir, "browser"), CertFile: filepath.Join(dir, "client.crt"), KeyFile: filepath.Join(dir, "client.key"),
		CAFile: filepath.Join(dir, "ca.pem"), Hosts: []string{host}, URL: s.origin + "/", Headless: true, Log: t.Output(),
	}
	return s
}

// open runs the browser and returns who came; the browser closes with the test.
func (s *site) open() string {
	s.t.Helper()
	for _, program := range []string{"chromium", "certutil", "pk12util"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(s.t, program)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- demo.Browser(ctx, s.config) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the browser ended with: %v", err)
		}
	})
	select {
	case person := <-s.persons:
		return person
	case err := <-done:
		done <- nil
		s.t.Fatalf("the browser ended with: %v", err)
	case <-time.After(time.Minute):
		s.t.Fatal("no page was asked for within a minute")
	}
	return ""
}

// step has the page carry out one ceremony.
func (s *site) step(kind string, options any) ([]byte, error) {
	s.t.Helper()
	select {
	case s.steps <- map[string]any{kind: options}:
	case <-time.After(time.Minute):
		s.t.Fatal("the page asks for no step")
	}
	select {
	case answer := <-s.answers:
		return answer, nil
	case why := <-s.failed:
		return nil, fmt.Errorf("%s", why)
	case <-time.After(time.Minute):
		s.t.Fatal("the page does not answer")
		return nil, nil
	}
}

// login is a ceremony of the page, checked as a gateway would.
func (s *site) login() error {
	s.t.Helper()
	request, session, err := s.party.web.BeginLogin(s.party, webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.step("get", request)
	if err != nil {
		return err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return err
	}
	_, err = s.party.check(*session, parsed)
	return err
}

func TestTheBrowserComesWithThePersonsCertificateAndAuthenticator(t *testing.T) {
	s := newSite(t, "localhost")
	a := newAuthenticator(t, filepath.Join(t.TempDir(), "authenticator.json"))
	s.config.Authenticator = a
	register := func(create func(options any) ([]byte, error), options ...webauthn.RegistrationOption) {
		creation, session, err := s.party.web.BeginRegistration(s.party, options...)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := create(creation)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
		if err != nil {
			t.Fatal(err)
		}
		key, err := s.party.web.CreateCredential(s.party, *session, parsed)
		if err != nil {
			t.Fatal(err)
		}
		s.party.keys = []webauthn.Credential{*key}
	}
	register(func(o any) ([]byte, error) { return a.Create(s.origin, marshal(t, o)) })

	if person := s.open(); !strings.HasPrefix(person, "hanako at localhost:") {
		t.Fatalf("%s came", person)
	}
	// The same authenticator in the browser and on the command line, by turns. The browser learns of the command line's
	// logins a moment later, and no sooner does it count on from there.
	for range 5 {
		for range 3 {
			if err := s.login(); err != nil {
				t.Fatalf("in the browser: %v", err)
			}
		}
		for range 5 {
			if _, err := s.party.login(a, s.origin); err != nil {
				t.Fatalf("on the command line: %v", err)
			}
		}
		if !eventually(func() bool { return s.login() == nil }) {
			t.Fatal("the browser's counter never caught up")
		}
	}
	// What is registered in the browser is there on the command line.
	register(func(o any) ([]byte, error) { return s.step("create", o) })
	if !eventually(func() bool { _, err := s.party.login(a, s.origin); return err == nil }) {
		t.Error("a credential made in the browser is unknown to the command line")
	}
}

func TestTheBrowserFindsTheGatewayUnderAnyName(t *testing.T) {
	s := newSite(t, "console.sekisho.example")
	if person := s.open(); !strings.HasPrefix(person, "hanako at console.sekisho.example:") {
		t.Errorf("%s came", person)
	}
	// A second browser in the same profile is refused while the first is open.
	if _, err := demo.PrepareBrowser(t.Context(), s.config); err == nil || !strings.Contains(err.Error(), "open already") {
		t.Errorf("a second browser: %v", err)
	}
}

func TestWhatTheBrowserLacksIsNamed(t *testing.T) {
	s := newSite(t, "localhost")
	program := func(names ...string) string {
		dir := t.TempDir()
		for _, name := range names {
			write(t, filepath.Join(dir, name), "#!/bin/sh\nexit 1\n", 0o755)
		}
		return dir
	}
	snap := program()
	write(t, filepath.Join(snap, "chromium-browser"), "#!/bin/sh\nexec /snap/bin/chromium \"$@\"\n", 0o755)
	for _, c := range []struct{ name, path, want string }{
		{"no Chromium", program(), "apt install chromium"},
		{"a snap", snap, "snap"},
		{"no certutil", program("chromium"), "libnss3-tools"},
		{"certutil fails", program("chromium", "certutil"), "certutil: exit status 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("PATH", c.path)
			if err := demo.Browser(t.Context(), s.config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Run("no display", func(t *testing.T) {
		t.Setenv("PATH", program("chromium"))
		t.Setenv("DISPLAY", "")
		t.Setenv("WAYLAND_DISPLAY", "")
		s.config.Headless = false
		if err := demo.Browser(t.Context(), s.config); err == nil || !strings.Contains(err.Error(), "DISPLAY") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no certificate", func(t *testing.T) {
		s.config.Headless = true
		os.Remove(s.config.CertFile)
		if err := demo.Browser(t.Context(), s.config); err == nil || !strings.Contains(err.Error(), s.config.CertFile) {
			t.Errorf("got %v", err)
		}
	})
}
