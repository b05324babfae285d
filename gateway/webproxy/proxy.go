// Package webproxy carries a contractor's browser or API client to an HTTPS app. For each request it proves who is there,
// asks the door, forwards what was decided and nothing else, and has what came back on record before it is shown. It
// holds no address: access.Session.Dial is its only way to an app.
package webproxy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// ownPath is where the gateway itself answers on an app's host; nothing below it reaches the app.
const ownPath = "/.sekisho"

// Config is what a Proxy is made of. Every field without "optional" is required.
type Config struct {
	Door      *access.Door
	Registry  *identity.Registry
	Authority *identity.Authority
	Console   string           // base URL of the console, where people log in: https://console.example.com
	Now       func() time.Time // optional, time.Now when nil
	Log       *zap.Logger      // optional, silent when nil

	MaxUpload     int64          // bytes of one request body; optional, 1 GiB when 0
	MaxBody       int64          // bytes of a body that are kept on record, at most 4 MiB; optional, 1 MiB when 0
	Idle          time.Duration  // without a request, a person's session at an app ends; optional, 15 min when 0
	HeaderTimeout time.Duration  // how long an app may think before it answers; optional, 60 s when 0
	StallTimeout  time.Duration  // how long a body may stand still on its way from or to a peer; optional, 60 s when 0
	AppCAs        *x509.CertPool // who signs the apps' certificates; optional, the system's when nil
}

// Proxy answers for every app host. It is safe for concurrent use.
type Proxy struct {
	cfg     Config
	console *url.URL
	forward *httputil.ReverseProxy
	failed  *limiter // keeps repeated failures of one peer from flooding the log

	mu     sync.Mutex // guards visits and the visits' counters; never held while calling door, registry or app
	visits map[visitKey]*visit
}

// New checks the configuration.
func New(cfg Config) (*Proxy, error) {
	console, err := url.Parse(cfg.Console)
	switch {
	case cfg.Door == nil:
		return nil, errors.New("webproxy: no door")
	case cfg.Registry == nil:
		return nil, errors.New("webproxy: no registry")
	case cfg.Authority == nil:
		return nil, errors.New("webproxy: no authority")
	case err != nil || console.Scheme != "https" || console.Host == "":
		return nil, fmt.Errorf("webproxy: console %q: want a URL such as https://console.example.com", cfg.Console)
	case cfg.MaxBody > 4<<20:
		return nil, fmt.Errorf("webproxy: at most 4 MiB of a body are kept on record, not %d bytes", cfg.MaxBody)
	}
	cfg.complete()
	p := &Proxy{cfg: cfg, console: console, failed: newLimiter(cfg.Now), visits: make(map[visitKey]*visit)}
	p.forward = &httputil.ReverseProxy{
		Rewrite:      rewrite,
		Transport:    roundTripper{},
		ErrorHandler: p.failedForward,
		BufferPool:   copyBuffers{},
		ErrorLog:     zap.NewStdLog(cfg.Log),
	}
	return p, nil
}

func (c *Config) complete() {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	setDefault(&c.MaxUpload, 1<<30)
	setDefault(&c.MaxBody, 1<<20)
	setDefault(&c.Idle, 15*time.Minute)
	setDefault(&c.HeaderTimeout, time.Minute)
	setDefault(&c.StallTimeout, time.Minute)
}

func setDefault[T ~int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// ServeHTTP answers one request on an app's host. The request's TLS state must carry VerifiedChains when the peer showed
// a certificate.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, ok := hostOf(r)
	if !ok {
		p.show(w, r, misdirected)
		return
	}
	path, query, err := parseTarget(r.RequestURI)
	if err != nil {
		p.show(w, r, badRequest.because(err))
		return
	}
	cred, err := p.cfg.Registry.Client(r.Context(), r.TLS)
	if err != nil {
		p.refuseCertificate(w, r, err)
		return
	}
	if path == ownPath || strings.HasPrefix(path, ownPath+"/") {
		p.serveOwn(w, r, host, path, cred)
		return
	}
	session, ok := p.webSession(r, host, cred)
	if !ok {
		p.askLogin(w, r, path, query)
		return
	}
	p.serveApp(w, r, asked{host: host, path: path, query: query}, session, cred)
}

// asked is what a request asks for: the app's host, the decoded path that is decided, and the raw query.
type asked struct{ host, path, query string }

// serveApp takes a request of somebody who is logged in to their session at the app.
func (p *Proxy) serveApp(w http.ResponseWriter, r *http.Request, want asked, session identity.WebSession, cred identity.Credential) {
	principal := cred.Principal(session.MFA, sourceOf(r), clientOf(r))
	key := visitKey{session: session.IDHash, source: principal.Source.Addr()}
	v, err := p.enter(r.Context(), key, principal, want.host, func() bool {
		_, ok := p.webSession(r, want.host, cred)
		return ok
	})
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	defer p.leave(v)
	if err := checkRequest(r, want.query); err != nil {
		p.refuseShape(w, r, v, want, err)
		return
	}
	p.exchange(w, r, v, want)
}

// hostOf is the host name a request is for: the one its connection was made for, or nothing.
func hostOf(r *http.Request) (string, bool) {
	if r.TLS == nil || r.TLS.ServerName == "" {
		return "", false
	}
	host, port, found := strings.Cut(r.Host, ":")
	if found && (port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "") {
		return "", false
	}
	return strings.ToLower(host), strings.EqualFold(host, r.TLS.ServerName)
}

func sourceOf(r *http.Request) netip.AddrPort {
	source, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{} // matches no network: policy refuses
	}
	return netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
}

func clientOf(r *http.Request) string {
	agent := r.UserAgent()
	return agent[:min(len(agent), 128)]
}

// checkRequest refuses what is not carried, before anything is decided.
func checkRequest(r *http.Request, query string) error {
	if err := checkMethod(r); err != nil {
		return err
	}
	if err := checkHeader(r.Header); err != nil {
		return err
	}
	return checkQuery(query)
}

// errNotCarried is wrapped by refusals of whole protocols.
var errNotCarried = errors.New("not carried by this gateway")

func checkMethod(r *http.Request) error {
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return fmt.Errorf("%s: %w", r.Method, errNotCarried)
	case r.Method == "" || strings.Trim(r.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		return fmt.Errorf("method %.20q is not upper case; apps may read it as another", r.Method)
	case r.Header.Get("Upgrade") != "" || r.Header.Get("Sec-WebSocket-Key") != "":
		return fmt.Errorf("upgrading the connection (WebSocket): %w", errNotCarried)
	case strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/grpc"):
		return fmt.Errorf("gRPC: %w", errNotCarried)
	}
	return nil
}

// refuseShape answers and records a request that is refused for its form; no policy was asked.
func (p *Proxy) refuseShape(w http.ResponseWriter, r *http.Request, v *visit, want asked, err error) {
	detail := map[string]any{"operation": "http.request", "method": clip(r.Method, 32), "path": clip(want.path, 1024), "reason": err.Error()}
	if err := v.session.Event(r.Context(), recorder.ClassCommand, "command.refused", recorder.Refused, detail); err != nil {
		p.refuse(w, r, err)
		return
	}
	n := badRequest
	switch {
	case errors.Is(err, errNotCarried):
		n = notCarried
	case errors.Is(err, errTooLarge):
		n = tooLarge
	}
	p.show(w, r, n.because(err))
}

func clip(s string, limit int) string { return s[:min(len(s), limit)] }

// refuse answers with whatever kept a request from its app: a refusal, the session's end, or a failure of the gateway.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *access.Refusal
	var ended *access.Ended
	switch {
	case errors.As(err, &refusal):
		p.showRefusal(w, r, refusal)
	case errors.As(err, &ended):
		p.show(w, r, sessionEnded.told(ended.EN, ended.JA))
	case errors.Is(err, errLoggedOut):
		p.show(w, r, logIn.linked(p.loginURL(r.Host, "/", "")))
	case errors.Is(err, errCrowded):
		p.show(w, r, crowded)
	case errors.Is(err, context.Canceled):
		// The client is gone; nobody reads an answer.
	default:
		p.cfg.Log.Error("a request was refused because the gateway failed", zap.Error(err))
		p.show(w, r, broken)
	}
}
