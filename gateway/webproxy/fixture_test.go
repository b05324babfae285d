package webproxy_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/gateway/webproxy"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

const (
	consoleHost = "console.example.com"
	consoleURL  = "https://console.example.com:8443"
	appHost     = "orders.apps.example.com"
	otherHost   = "wiki.apps.example.com"
)

const directoryYAML = `
vendors:
  acme: {type: maintenance, contract: {from: 2020-01-01, until: 2099-12-31}, networks: [127.0.0.0/8], windows: [always], targets: [orders, wiki]}
  advice: {type: consulting, contract: {from: 2020-01-01, until: 2099-12-31}, networks: [127.0.0.0/8], windows: [always], targets: [orders]}
people:
  hanako: {vendor: acme}
  chie: {vendor: advice}
  mika: {vendor: "@staff", roles: [approver]}
  tom: {vendor: "@staff", roles: [admin, investigator]}
targets:
  orders:
    https: {upstream: "%s", host: orders.apps.example.com}
    rules:
      - {match: "POST /search", right: read}
      - {match: "GET /secret/**", right: delete}
    redact: {json: ["$.card.number"]}
  wiki:
    https: {upstream: "%s", host: wiki.apps.example.com}
`

var loopback = netip.MustParseAddrPort("127.0.0.1:50000")

// clock is a time that tests move on top of the real one.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// gate is a whole gateway but for its console: real identity, directory, policy, door, recorder and store, behind TLS.
type gate struct {
	t         testing.TB
	clock     *clock
	authority *identity.Authority
	registry  *identity.Registry
	enrolled  identity.Store
	door      *access.Door
	log       *audit.Log
	tapes     string // folder of recordings
	server    *httptest.Server
	app       *appServer
}

// newGate starts a gateway in front of app; change edits the proxy's configuration.
func newGate(t testing.TB, app http.HandlerFunc, change func(*webproxy.Config)) *gate {
	t.Helper()
	behind := httptest.NewServer(nil)
	t.Cleanup(behind.Close)
	g := &gate{t: t, clock: &clock{}, app: &appServer{Server: behind}}
	behind.Config.Handler = g.app
	g.app.handle(app)
	g.start(behind.URL, change)
	return g
}

// start builds the gateway in front of an upstream address.
func (g *gate) start(upstream string, change func(*webproxy.Config)) {
	t, dir := g.t, g.t.TempDir()
	t.Helper()
	must(t, identity.CreateAuthority(dir, identity.KeySource{}, g.clock.now))
	var err error
	g.authority, err = identity.OpenAuthority(dir, identity.KeySource{}, g.clock.now)
	must(t, err)
	db, err := store.Open(t.Context(), filepath.Join(dir, "state.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	g.enrolled = db.Identity()
	g.registry, err = identity.NewRegistry(identity.RegistryConfig{Authority: g.authority, Store: g.enrolled, RPID: consoleHost,
		Origins: []string{consoleURL}, Now: g.clock.now})
	must(t, err)
	revision, err := policy.Load(rego.FS, 1)
	must(t, err)
	live, err := directory.NewLive(t.Context(), db.Directory(), directory.Options{Zone: time.UTC, HasWindow: revision.HasWindow, Now: g.clock.now})
	must(t, err)
	_, _, err = live.Apply(t.Context(), fmt.Appendf(nil, directoryYAML, upstream, upstream), "tom", "test", 0)
	must(t, err)
	g.log, err = audit.Open(audit.Config{Dir: filepath.Join(dir, "audit"), Signer: g.authority.EvidenceSigner(), Now: g.clock.now})
	must(t, err)
	t.Cleanup(func() { g.log.Close() })
	g.tapes = filepath.Join(dir, "recordings")
	g.door, err = access.New(access.Config{Engine: policy.NewEngine(revision, g.clock.now), Directory: live, Store: db.Access(), Audit: g.log,
		Zone: time.UTC, Revoked: g.registry.Revoked, Now: g.clock.now, Recording: recorder.Config{Dir: g.tapes,
			Recipient: g.authority.RecordingIdentity().Recipient(), Signer: g.authority.EvidenceSigner(), Now: g.clock.now}})
	must(t, err)
	g.registry.OnRevoke(g.door.Recheck)
	g.serve(change)
}

// serve runs door and proxy until the test ends.
func (g *gate) serve(change func(*webproxy.Config)) {
	t := g.t
	t.Helper()
	cfg := webproxy.Config{Door: g.door, Registry: g.registry, Authority: g.authority, Console: consoleURL, Now: g.clock.now}
	if change != nil {
		change(&cfg)
	}
	proxy, err := webproxy.New(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	swept := make(chan error, 1)
	go func() { swept <- g.door.Serve(ctx) }()
	g.server = httptest.NewUnstartedServer(proxy)
	g.server.EnableHTTP2 = true
	g.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: g.authority.ClientCAs(),
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return g.authority.ServerCertificate(hello.ServerName)
		}}
	g.server.StartTLS()
	t.Cleanup(func() {
		cancel()
		<-swept
		g.server.CloseClientConnections()
		g.server.Close()
	})
}

// appServer is the app, whose handler a test may change while it runs.
type appServer struct {
	*httptest.Server
	mu      sync.Mutex
	handler http.HandlerFunc
	seen    []*http.Request
}

func (a *appServer) handle(h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handler = h
}

func (a *appServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.seen = append(a.seen, r)
	h := a.handler
	a.mu.Unlock()
	h(w, r)
}

// requests is what has reached the app.
func (a *appServer) requests() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*http.Request(nil), a.seen...)
}

// last is the newest request that has reached the app.
func (g *gate) last() *http.Request {
	g.t.Helper()
	all := g.app.requests()
	if len(all) == 0 {
		g.t.Fatal("nothing reached the app")
	}
	return all[len(all)-1]
}

// visitor is somebody with a client certificate and, once logged in, a cookie.
type visitor struct {
	gate   *gate
	person string
	issued identity.Issued
	key    *ecdsa.PrivateKey
	cert   tls.Certificate
	client *http.Client
	cookie map[string]string // by host
}

// enrol makes a person with an active certificate who is not logged in.
func (g *gate) enrol(person, vendor string) *visitor {
	g.t.Helper()
	invitation, err := g.registry.Invite(g.t.Context(), person, vendor, "tom")
	must(g.t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(g.t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(g.t, err)
	v := &visitor{gate: g, person: person, key: key, cookie: map[string]string{}}
	v.issued, err = g.registry.Enrol(g.t.Context(), invitation.Token, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	must(g.t, err)
	v.state(identity.StateActive)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(g.t, err)
	v.cert, err = tls.X509KeyPair(append(v.issued.CertPEM, v.issued.ChainPEM...), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	must(g.t, err)
	v.client = g.client(&v.cert, true)
	return v
}

// state moves the enrolment, as registering a security key and a release would.
func (v *visitor) state(s identity.State) {
	v.gate.t.Helper()
	e, err := v.gate.enrolled.Enrolment(v.gate.t.Context(), v.person)
	must(v.gate.t, err)
	e.State = s
	must(v.gate.t, v.gate.enrolled.PutEnrolment(v.gate.t.Context(), e))
}

// client is a browser's way to the gateway for every host; cert may be nil.
func (g *gate) client(cert *tls.Certificate, http2 bool) *http.Client {
	g.t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(g.authority.RootPEM()) {
		g.t.Fatal("no root certificate")
	}
	config := &tls.Config{RootCAs: roots}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: http2, DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, g.server.Listener.Addr().String())
		}}
	if !http2 {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	g.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (v *visitor) credential() identity.Credential {
	block, _ := pem.Decode(v.issued.CertPEM)
	sum := sha256.Sum256(block.Bytes)
	return identity.Credential{Person: v.issued.Person, Vendor: v.issued.Vendor, Serial: v.issued.Serial,
		SHA256: hex.EncodeToString(sum[:]), NotAfter: v.issued.NotAfter, State: identity.StateActive}
}

// handoff logs in at the console and returns the token that opens a session at host.
func (v *visitor) handoff(host string) string {
	g := v.gate
	g.t.Helper()
	mfa := identity.MFA{Method: "webauthn", At: g.clock.now(), UV: true, Purpose: identity.PurposeLogin}
	cookie, err := g.registry.OpenWebSession(g.t.Context(), v.credential(), consoleHost, mfa)
	must(g.t, err)
	session, err := g.registry.WebSession(g.t.Context(), cookie, consoleHost, v.credential())
	must(g.t, err)
	token, err := g.registry.Handoff(g.t.Context(), session, host)
	must(g.t, err)
	return token
}

// login takes the visitor to an app, as the console's page would.
func (v *visitor) login(host string) *visitor {
	v.gate.t.Helper()
	res := v.do(v.form(host, "/.sekisho/session", url.Values{"token": {v.handoff(host)}, "return": {"/"}}))
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 {
		v.gate.t.Fatalf("handoff answered %s, %v: %s", res.Status, res.Header, res.text)
	}
	v.cookie[host] = res.Cookies()[0].Value
	return v
}

func (v *visitor) form(host, path string, values url.Values) *http.Request {
	v.gate.t.Helper()
	r := v.request(http.MethodPost, host, path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	return r
}

// request builds a request with the visitor's cookie.
func (v *visitor) request(method, host, target string, body io.Reader) *http.Request {
	v.gate.t.Helper()
	r, err := http.NewRequestWithContext(v.gate.t.Context(), method, "https://"+host+target, body)
	must(v.gate.t, err)
	if c := v.cookie[host]; c != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-sekisho", Value: c})
	}
	return r
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	text string
}

func (v *visitor) do(r *http.Request) answer {
	v.gate.t.Helper()
	res, err := v.client.Do(r)
	must(v.gate.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(v.gate.t, err)
	return answer{res, string(text)}
}

func (v *visitor) get(target string) answer {
	v.gate.t.Helper()
	return v.do(v.request(http.MethodGet, appHost, target, nil))
}

func (v *visitor) send(method, target, kind, body string) answer {
	v.gate.t.Helper()
	r := v.request(method, appHost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	return v.do(r)
}

// problem is an answer read as application/problem+json.
type problem struct {
	Type, Title, Detail, Right, Resource, Decision, Request, Login string
	Status                                                         int
	Tables                                                         []string
}

func (a answer) problem(t *testing.T) (p problem) {
	t.Helper()
	if kind := a.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Fatalf("%s with type %q: %s", a.Status, kind, a.text)
	}
	must(t, json.Unmarshal([]byte(a.text), &p))
	if p.Status != a.StatusCode {
		t.Fatalf("status %d in a body with %s", p.Status, a.Status)
	}
	return p
}

// events lists the audit events of a kind, oldest first.
func (g *gate) events(kind string) []recorder.Event {
	g.t.Helper()
	var found []recorder.Event
	for e, err := range g.log.Search(context.Background(), audit.Query{Kind: kind}) {
		must(g.t, err)
		found = append(found, e)
	}
	slices.Reverse(found) // a search begins with the newest
	return found
}

// number is a number of an event's detail, as JSON has it.
func number(v any) int64 {
	n, ok := v.(float64)
	if !ok {
		return -1
	}
	return int64(n)
}

// await asks until check says yes; the test fails after ten seconds.
func (g *gate) await(what string, check func() bool) {
	g.t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-deadline:
			g.t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// run is the newest command.run event; it is written when the exchange is over, a moment after its last byte.
func (g *gate) run(n int) recorder.Event {
	g.t.Helper()
	g.await(fmt.Sprintf("command.run event %d", n), func() bool { return len(g.events("command.run")) >= n })
	return g.events("command.run")[n-1]
}

// live is the one session that is open.
func (g *gate) live() string {
	g.t.Helper()
	open := map[string]bool{}
	for _, e := range g.events("session.open") {
		if e.Outcome == recorder.OK {
			open[e.Session] = true
		}
	}
	for _, e := range g.events("session.end") {
		delete(open, e.Session)
	}
	if len(open) != 1 {
		g.t.Fatalf("%d sessions are open", len(open))
	}
	for id := range open {
		return id
	}
	return ""
}

// tape reads a recording as far as it is on disk.
func (g *gate) tape(session string) []recorder.Entry {
	g.t.Helper()
	r, err := recorder.Open(recorder.Path(g.tapes, session), g.authority.RecordingIdentity())
	must(g.t, err)
	defer r.Close()
	var entries []recorder.Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, recorder.ErrCut) {
			return entries
		}
		must(g.t, err)
		e.Data = bytes.Clone(e.Data)
		entries = append(entries, e)
	}
}

// settled ends the visitor's session and returns its whole recording.
func (v *visitor) settled() []recorder.Entry {
	g := v.gate
	g.t.Helper()
	id := g.live()
	res := v.do(v.form(appHost, "/.sekisho/logout", nil))
	if res.StatusCode != http.StatusOK {
		g.t.Fatalf("logout answered %s", res.Status)
	}
	g.await("the session's end", func() bool { return len(g.events("session.end")) > 0 })
	return g.tape(id)
}

// exchanges decodes the exchanges of a recording.
func exchanges(t *testing.T, entries []recorder.Entry) []recorder.Exchange {
	t.Helper()
	var all []recorder.Exchange
	for _, e := range entries {
		if e.Kind == recorder.KindExchange {
			var x recorder.Exchange
			must(t, json.Unmarshal(e.Data, &x))
			all = append(all, x)
		}
	}
	return all
}

// bodies are the stored bodies of a recording by their hash.
func bodies(t *testing.T, entries []recorder.Entry) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, e := range entries {
		if e.Kind != recorder.KindBody {
			continue
		}
		sum := sha256.Sum256(e.Data[32:])
		if !bytes.Equal(sum[:], e.Data[:32]) {
			t.Fatal("a stored body does not match its hash")
		}
		all[hex.EncodeToString(sum[:])] = string(e.Data[32:])
	}
	return all
}

// staff is one of the company's own people at the console.
func (g *gate) staff(person string) identity.Principal {
	g.t.Helper()
	v := g.enrol(person, policy.StaffVendor)
	return v.credential().Principal(identity.MFA{Method: "webauthn", At: g.clock.now(), UV: true}, loopback, "console")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
