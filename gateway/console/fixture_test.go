package console_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"iter"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/demo"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

const (
	consoleHost = "console.localhost"
	enrolHost   = "enrol.localhost"
	appHost     = "orders.localhost"
)

const directoryYAML = `
vendors:
  acme:
    name: {en: ACME Maintenance, ja: アクメ保守}
    type: maintenance
    contract: {from: 2020-01-01, until: 2099-12-31}
    networks: [127.0.0.0/8]
    windows: [always]
    targets: [db1, orders]
  advice:
    type: consulting
    contract: {from: 2020-01-01, until: 2099-12-31}
    networks: [203.0.113.0/24]
    windows: [always]
    targets: [db1]
people:
  hanako: {vendor: acme, name: {en: Hanako Sato, ja: 佐藤 花子}}
  taro:   {vendor: acme}
  chie:   {vendor: advice}
  aya:    {vendor: "@staff", roles: [admin]}
  rei:    {vendor: "@staff", roles: [admin, approver]}
  mika:   {vendor: "@staff", roles: [approver]}
  ken:    {vendor: "@staff", roles: [investigator]}
targets:
  db1:
    ssh: {address: "127.0.0.1:1", host_key: "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
    logins: [app]
  orders:
    https: {upstream: "http://127.0.0.1:1", host: orders.localhost}
`

// gateway is a whole console over real TLS, with a real authority, registry, store, policy, door and audit log.
type gateway struct {
	t         *testing.T
	dir       string
	authority *identity.Authority
	registry  *identity.Registry
	directory *directory.Live
	policy    *revision.Live
	engine    *policy.Engine
	audit     *audit.Log
	access    access.Store
	door      *access.Door
	console   *console.Console
	roots     *x509.CertPool
	port      string
	// app serves the app's host; a test may set it before anything is asked.
	app http.Handler
}

func (g *gateway) url(host string) string { return "https://" + host + ":" + g.port }

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), app: http.NotFoundHandler()}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	_, g.port, _ = net.SplitHostPort(listener.Addr().String())
	g.openState()
	g.openDoor()
	g.serve(listener)
	return g
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func (g *gateway) openState() {
	t, ctx := g.t, g.t.Context()
	if err := identity.CreateAuthority(g.dir, identity.KeySource{}, time.Now); err != nil {
		t.Fatal(err)
	}
	g.authority = must(identity.OpenAuthority(g.dir, identity.KeySource{}, time.Now))(t)
	db := must(store.Open(ctx, filepath.Join(g.dir, "state.db")))(t)
	t.Cleanup(func() { db.Close() })
	g.audit = must(audit.Open(audit.Config{Dir: filepath.Join(g.dir, "audit"), Signer: g.authority.EvidenceSigner(), Now: time.Now}))(t)
	t.Cleanup(func() { g.audit.Close() })
	g.openPolicy(db)
	g.directory = must(directory.NewLive(ctx, db.Directory(), directory.Options{Zone: time.UTC,
		HasWindow: func(name string) bool { return g.engine.Revision().HasWindow(name) }}))(t)
	if _, _, err := g.directory.Apply(ctx, []byte(directoryYAML), "test", "setup", 0); err != nil {
		t.Fatal(err)
	}
	g.access = db.Access()
	g.registry = must(identity.NewRegistry(identity.RegistryConfig{Authority: g.authority, Store: db.Identity(), RPID: consoleHost,
		RPName: "sekisho", Origins: []string{g.url(consoleHost)}, Now: time.Now}))(t)
}

// openPolicy puts the shipped policy in force as revision 1.
func (g *gateway) openPolicy(db *store.DB) {
	t, dir := g.t, filepath.Join(g.dir, "policy")
	if err := os.CopyFS(dir, rego.FS); err != nil {
		t.Fatal(err)
	}
	g.policy = must(revision.New(t.Context(), revision.Config{Store: db.Revision(), Signer: g.authority.EvidenceSigner(),
		Append:      g.audit.Append,
		LastApplied: func(context.Context) (e recorder.Event, ok bool, err error) { return e, false, nil },
		Folder:      revision.Folder{Dir: dir, Journal: filepath.Join(g.dir, "policy.forward")}}))(t)
	g.engine = g.policy.Engine()
}

func (g *gateway) openDoor() {
	t := g.t
	g.door = must(access.New(access.Config{Engine: g.engine, Directory: g.directory, Store: g.access, Audit: g.audit,
		Recording: recorder.Config{Dir: filepath.Join(g.dir, "recordings"), Recipient: g.authority.RecordingIdentity().Recipient(),
			Signer: g.authority.EvidenceSigner(), Now: time.Now},
		Zone: time.UTC, Revoked: g.registry.Revoked}))(t)
	g.registry.OnRevoke(g.door.Recheck)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.door.Serve(ctx)
	}()
	t.Cleanup(func() { stop(); <-done })
	g.console = must(console.New(console.Config{Door: g.door, Registry: g.registry, Authority: g.authority, Directory: g.directory,
		Policy: g.policy, Engine: g.engine, Audit: g.audit, Host: consoleHost, EnrolHost: enrolHost, BaseURL: g.url(consoleHost),
		EnrolURL: g.url(enrolHost), SSH: "ssh.localhost:2222"}))(t)
}

// serve puts the console, the enrolment host and the app behind TLS, as the gateway's front does.
func (g *gateway) serve(listener net.Listener) {
	g.roots = x509.NewCertPool()
	g.roots.AppendCertsFromPEM(g.authority.RootPEM())
	conf := &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: g.authority.ClientCAs(), NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return g.authority.ServerCertificate(hello.ServerName)
		}}
	open := conf.Clone()
	open.ClientAuth = tls.NoClientCert
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == enrolHost {
			return open, nil
		}
		return nil, nil
	}
	hosts := map[string]http.Handler{consoleHost: g.console.Handler(), enrolHost: g.console.EnrolHandler()}
	server := &httptest.Server{Listener: listener, EnableHTTP2: true, TLS: conf, Config: &http.Server{
		ErrorLog: log.New(&bytes.Buffer{}, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.Host)
			if h, ok := hosts[host]; ok {
				h.ServeHTTP(w, r)
				return
			}
			g.app.ServeHTTP(w, r)
		})}}
	server.StartTLS()
	g.t.Cleanup(server.Close)
}

// member is somebody with a certificate, an authenticator and a client.
type member struct {
	*console.Client
	g      *gateway
	name   string
	cert   tls.Certificate
	auth   *demo.Authenticator
	issued console.Enrolled
	key    *ecdsa.PrivateKey
}

// client makes one for a certificate, or for a stranger.
func (g *gateway) client(cert *tls.Certificate) *console.Client {
	c := console.NewClient(console.ClientConfig{BaseURL: g.url(consoleHost), EnrolURL: g.url(enrolHost), CAs: g.roots, Certificate: cert})
	g.t.Cleanup(c.Close)
	return c
}

// certify takes somebody as far as a client certificate.
func (g *gateway) certify(person string) *member {
	t := g.t
	t.Helper()
	listed, _ := g.directory.Current().Person(person)
	invitation := must(g.registry.Invite(t.Context(), person, listed.Vendor, "test"))(t)
	m := &member{g: g, name: person, key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)}
	m.issued = must(g.client(nil).Enrol(t.Context(), invitation.Token, csr(t, m.key)))(t)
	m.cert = must(tls.X509KeyPair([]byte(m.issued.Chain), keyPEM(t, m.key)))(t)
	m.auth = must(demo.NewAuthenticator(filepath.Join(t.TempDir(), "authenticator.json")))(t)
	m.Client = g.client(&m.cert)
	return m
}

func csr(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key))(t)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func keyPEM(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))(t)})
}

// register registers the authenticator; the enrolment then waits.
func (m *member) register() {
	t := m.g.t
	t.Helper()
	ceremony := must(m.BeginRegistration(t.Context()))(t)
	response := must(m.auth.Create(m.g.url(consoleHost), ceremony.Options))(t)
	if err := m.FinishRegistration(t.Context(), console.Proof{Ceremony: ceremony.ID, Response: response}); err != nil {
		t.Fatal(err)
	}
}

// enrol takes somebody all the way, released by the folder.
func (g *gateway) enrol(person string) *member {
	g.t.Helper()
	m := g.certify(person)
	m.register()
	status := must(m.Status(g.t.Context()))(g.t)
	if err := g.registry.Release(g.t.Context(), person, status.Code, "test"); err != nil {
		g.t.Fatal(err)
	}
	return m
}

// prove answers a confirmation with the software authenticator.
func (m *member) prove(what console.Confirmation) (console.Proof, error) {
	ceremony, err := m.Begin(m.g.t.Context(), what)
	if err != nil {
		return console.Proof{}, err
	}
	response, err := m.auth.Get(m.g.url(consoleHost), ceremony.Options)
	return console.Proof{Ceremony: ceremony.ID, Response: response}, err
}

// login enrols and logs somebody in.
func (g *gateway) login(person string) *member {
	g.t.Helper()
	m := g.enrol(person)
	m.logIn()
	return m
}

func (m *member) logIn() {
	t := m.g.t
	t.Helper()
	proof := must(m.prove(console.Confirmation{Purpose: console.PurposeLogin}))(t)
	must(m.FinishLogin(t.Context(), proof))(t)
}

// collect reads a list to its end.
func collect[T any](t testing.TB, values iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for value, err := range values {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, value)
	}
	return all
}

// events are the audit log's of one kind, newest first.
func (g *gateway) events(kind string) []recorder.Event {
	g.t.Helper()
	return collect(g.t, g.audit.Search(g.t.Context(), audit.Query{Kind: kind}))
}

// wantProblem checks that an error is a Problem with that status and that its text has all of the words.
func wantProblem(t testing.TB, err error, status int, saying ...string) *console.Problem {
	t.Helper()
	problem, ok := err.(*console.Problem)
	if !ok {
		t.Fatalf("got %v, want a problem with status %d", err, status)
	}
	if problem.Status != status {
		t.Fatalf("status %d (%v), want %d", problem.Status, problem, status)
	}
	for _, word := range saying {
		if !strings.Contains(fmt.Sprint(problem.Error(), problem.Reasons), word) {
			t.Errorf("%q does not say %q", problem.Error(), word)
		}
	}
	return problem
}

// later is a time of a form, so many hours from now.
func (g *gateway) later(hours int) string {
	return time.Now().UTC().Add(time.Duration(hours) * time.Hour).Format("2006-01-02T15:04")
}
