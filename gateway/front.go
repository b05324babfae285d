package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// maxHTTPSConns bounds the connections browsers and API clients hold at once.
const maxHTTPSConns = 4096

// httpsServer is the front of everything that arrives by HTTPS: it terminates TLS, verifies client certificates and hands
// a request to the console, the enrolment pages or an app by its host name.
func (g *Gateway) httpsServer() *http.Server {
	g.HTTPS = netutil.LimitListener(newCrowdListener(g.HTTPS, maxSourceConns), maxHTTPSConns)
	return &http.Server{
		Handler:           g.front(),
		TLSConfig:         g.tlsConfig(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// Somebody who watches a session and whose machine is gone does not count as watching for long.
		HTTP2:    &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second},
		ErrorLog: log.New(zapWriter{g.log.Named("https")}, "", 0),
		// A connection's certificate never changes, so its chain is built once; whether it is revoked is asked every time.
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, proofKey{}, new(proof))
		},
	}
}

// zapWriter sends what net/http has to say about broken handshakes to the debug log.
type zapWriter struct{ log *zap.Logger }

func (w zapWriter) Write(p []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(p)))
	return len(p), nil
}

// tlsConfig asks for a client certificate everywhere but on the enrolment host. It verifies none: a handshake that fails
// leaves the person with a browser's riddle, so the front verifies and explains (verifyClient).
func (g *Gateway) tlsConfig() *tls.Config {
	get := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		host := strings.ToLower(hello.ServerName)
		if !g.serves(host) {
			return nil, fmt.Errorf("no such host %q", clipped(host))
		}
		return g.authority.ServerCertificate(host)
	}
	open := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: get, NextProtos: []string{"h2", "http/1.1"}}
	asking := open.Clone()
	asking.ClientAuth = tls.RequestClientCert
	asking.ClientCAs = g.authority.ClientCAs()
	// A ticket would carry a certificate past its revocation check at the handshake; connections are cheap enough.
	asking.SessionTicketsDisabled = true
	base := asking.Clone()
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if strings.EqualFold(hello.ServerName, g.cfg.EnrolHost) {
			return open, nil
		}
		return asking, nil
	}
	return base
}

// serves tells whether a host name is one of ours.
func (g *Gateway) serves(host string) bool {
	return host == g.cfg.ConsoleHost || host == g.cfg.EnrolHost || g.isApp(host)
}

func (g *Gateway) isApp(host string) bool {
	_, ok := g.directory.Current().TargetByHost(host)
	return ok
}

func clipped(s string) string { return s[:min(len(s), 64)] }

// front routes by host name. A request whose Host is not the name its connection was made for is sent away with 421, so
// that a connection opened (and authenticated) for one name is never used for another.
func (g *Gateway) front() http.Handler {
	consoleHandler, enrolHandler := g.console.Handler(), g.console.EnrolHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(hostOnly(r.Host))
		if r.TLS == nil || !strings.EqualFold(r.TLS.ServerName, host) {
			http.Error(w, "This connection was opened for another host name.", http.StatusMisdirectedRequest)
			return
		}
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		if host == g.cfg.EnrolHost {
			enrolHandler.ServeHTTP(w, r)
			return
		}
		verified, err := g.proved(r)
		if err != nil {
			g.refuseCertificate(w, r, err)
			return
		}
		r.TLS = verified
		if host == g.cfg.ConsoleHost {
			consoleHandler.ServeHTTP(w, r)
			return
		}
		g.web.ServeHTTP(w, r)
	})
}

func hostOnly(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return hostport
}

// proof is what was found out about a connection's client certificate.
type proof struct {
	once  sync.Once
	state *tls.ConnectionState
	err   error
}

type proofKey struct{}

// proved verifies a request's client certificate, once per connection.
func (g *Gateway) proved(r *http.Request) (*tls.ConnectionState, error) {
	p, ok := r.Context().Value(proofKey{}).(*proof)
	if !ok {
		return g.verifyClient(r.TLS)
	}
	p.once.Do(func() { p.state, p.err = g.verifyClient(r.TLS) })
	return p.state, p.err
}

// verifyClient returns the connection's state with VerifiedChains filled, or without them when no certificate was shown.
// The handshake has proved possession of the key; this proves whose certificate it is. Everything behind the front reads
// VerifiedChains only. The intermediates are our own, never those the peer sent.
func (g *Gateway) verifyClient(cs *tls.ConnectionState) (*tls.ConnectionState, error) {
	state := *cs
	state.VerifiedChains = nil
	if len(cs.PeerCertificates) == 0 {
		return &state, nil
	}
	chains, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: g.authority.ClientCAs(),
		Intermediates: g.authority.Intermediates(), CurrentTime: g.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, err
	}
	state.VerifiedChains = chains
	return &state, nil
}

// refuseCertificate explains what is wrong with a certificate and puts the failed login on record.
func (g *Gateway) refuseCertificate(w http.ResponseWriter, r *http.Request, err error) {
	leaf := r.TLS.PeerCertificates[0]
	why, what := "foreign certificate", "This certificate was not issued by this gateway."
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		why = "expired certificate"
		what = fmt.Sprintf("This certificate was valid until %s. Ask for a new invite.", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	source, _ := netip.ParseAddrPort(r.RemoteAddr)
	attempt := access.Attempt{Kind: "login.failed", Outcome: recorder.Failed, Method: "certificate", Reason: why,
		Principal: identity.Principal{Source: source, Client: r.UserAgent()}, Claimed: leaf.Subject.CommonName}
	// Anybody can show any certificate, as often as they like: what one address may write into the log is bounded.
	if g.strangers.allow(source.Addr(), g.now()) {
		if err := g.door.Login(r.Context(), attempt); err != nil {
			g.log.Error("a failed login is not on record", zap.Error(err))
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprintf(w, "sekisho: %s\n", what)
}

// Bounds of what strangers may write into the log.
const (
	strangerBurst = 10               // events of one network at once
	strangerEvery = 10 * time.Second // and then one in this time
	maxStrangers  = 4096             // networks that are told apart
)

// strangers counts the events that peers without a valid certificate cause, per IPv4 address or IPv6 /64.
type strangers struct {
	mu   sync.Mutex
	seen map[netip.Prefix]*rate.Limiter
}

func (s *strangers) allow(from netip.Addr, now time.Time) bool {
	network := networkOf(from)
	if !network.IsValid() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil || len(s.seen) >= maxStrangers {
		s.seen = make(map[netip.Prefix]*rate.Limiter)
	}
	limiter, ok := s.seen[network]
	if !ok {
		limiter = rate.NewLimiter(rate.Every(strangerEvery), strangerBurst)
		s.seen[network] = limiter
	}
	return limiter.AllowN(now, 1)
}
