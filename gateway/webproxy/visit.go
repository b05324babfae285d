package webproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
)

// Bounds of what people hold open.
const (
	maxVisits      = 2048 // of everybody
	maxOwnVisits   = 32   // of one person
	maxConcurrent  = 64   // exchanges of one visit at once; more wait
	maxIdleConns   = 8    // kept to the app by one visit
	dialTimeout    = 10 * time.Second
	maxAppHeader   = 256 << 10 // bytes of an app's response header
	maxKnownBodies = 1024      // bodies of one visit that are not recorded twice
)

// errCrowded says that the limits above are reached; errLoggedOut that the web session ended a moment ago.
var (
	errCrowded   = errors.New("too many sessions are open")
	errLoggedOut = errors.New("logged out")
)

// Reasons why a visit ends from this side. After any other the person must log in again.
const (
	endIdle   = "idle"
	endLogout = "logged out"
	endMoved  = "made room for a newer session"
)

// visitKey tells visits apart. The source belongs to it, because where somebody comes from is part of the decision (C-3).
type visitKey struct {
	session string // hash of the web session, which is bound to one host and one certificate
	source  netip.Addr
}

// visit is one person's stay at one app: an access session and the connections it keeps to the app.
type visit struct {
	key    visitKey
	person string
	ready  chan struct{} // closed once session or err is set

	// Set before ready is closed, never changed after.
	session *access.Session
	err     error
	app     *http.Transport
	redact  redactor
	slots   chan struct{} // one per exchange that runs

	channel atomic.Uint32
	token   token
	known   knownBodies

	// Guarded by Proxy.mu.
	busy  int
	idle  *time.Timer
	since time.Time // when busy last fell to 0
	gone  bool      // no longer in the map
	ours  string    // why this side ends it, "" while it does not
}

// enter finds or opens the person's visit to the app and marks it busy; leave undoes that. A visit opens only while live
// still says that the web session is: whoever ends a session logs its person out before the visit leaves the map.
func (p *Proxy) enter(ctx context.Context, key visitKey, who identity.Principal, host string, live func() bool) (*visit, error) {
	p.mu.Lock()
	v, ok := p.visits[key]
	var evicted *visit
	if !ok {
		var err error
		if evicted, err = p.makeRoom(who.Person); err != nil {
			p.mu.Unlock()
			return nil, err
		}
		v = &visit{key: key, person: who.Person, ready: make(chan struct{}), slots: make(chan struct{}, maxConcurrent)}
		p.visits[key] = v
	}
	v.busy++
	if v.idle != nil {
		v.idle.Stop()
	}
	p.mu.Unlock()
	if evicted != nil {
		evicted.close()
	}
	if !ok {
		// The visit outlives the request that opens it.
		p.open(context.WithoutCancel(ctx), v, who, host, live)
	}
	select {
	case <-v.ready:
	case <-ctx.Done():
		p.leave(v)
		return nil, ctx.Err()
	}
	if err := v.over(); err != nil {
		p.leave(v)
		return nil, err
	}
	return v, nil
}

// over tells why nothing can be done in a visit any more, nil while it lives.
func (v *visit) over() error {
	if v.err != nil {
		return v.err
	}
	return context.Cause(v.session.Context())
}

// open asks the door for the visit's session.
func (p *Proxy) open(ctx context.Context, v *visit, who identity.Principal, host string, live func() bool) {
	defer close(v.ready)
	if !live() {
		v.err = errLoggedOut
		p.forget(v)
		return
	}
	request := access.Request{Principal: who, Target: p.cfg.Door.AppAt(host), Protocol: "https"}
	session, err := p.cfg.Door.Open(ctx, request)
	if err != nil {
		v.err = err
		p.forget(v)
		return
	}
	v.session = session
	target := session.Target()
	if v.redact, err = newRedactor(target.RedactJSON, p.cfg.MaxBody); err != nil {
		p.cfg.Log.Error("bodies of this app are not recorded: its redact.json cannot be read",
			zap.String("target", target.Name), zap.Error(err))
	}
	v.app = p.newTransport(session)
	context.AfterFunc(session.Context(), func() { p.ended(v) })
}

// newTransport makes the way to the app for one session. A connection made for one session is never used for another.
func (p *Proxy) newTransport(session *access.Session) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			conn, err := session.Dial(ctx)
			if err != nil {
				return nil, &dialError{err}
			}
			return &steadyConn{Conn: conn, stall: p.cfg.StallTimeout}, nil
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.cfg.AppCAs},
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		ResponseHeaderTimeout:  p.cfg.HeaderTimeout,
		MaxResponseHeaderBytes: maxAppHeader,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		MaxConnsPerHost:        maxConcurrent,
		IdleConnTimeout:        time.Minute,
	}
}

// dialError says that the app was not reached at all.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// steadyConn fails a write that stands still: an app that stops reading holds nothing here for long.
type steadyConn struct {
	net.Conn
	stall time.Duration
}

func (c *steadyConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, fmt.Errorf("sending to the app: %w", err)
	}
	return c.Conn.Write(b)
}

// makeRoom keeps the bounds for one more visit of the person; p.mu is held. Their longest idle visit gives way, and the
// caller ends it.
func (p *Proxy) makeRoom(person string) (*visit, error) {
	own := 0
	var oldest *visit
	for _, v := range p.visits {
		if v.person != person {
			continue
		}
		own++
		if v.busy == 0 && (oldest == nil || v.since.Before(oldest.since)) {
			oldest = v
		}
	}
	if own < maxOwnVisits && len(p.visits) < maxVisits {
		return nil, nil
	}
	if oldest == nil {
		return nil, errCrowded
	}
	p.remove(oldest, endMoved)
	return oldest, nil
}

// remove takes a visit off the map; p.mu is held.
func (p *Proxy) remove(v *visit, reason string) {
	if v.gone {
		return
	}
	v.gone, v.ours = true, reason
	delete(p.visits, v.key)
	if v.idle != nil {
		v.idle.Stop()
	}
}

func (p *Proxy) forget(v *visit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(v, "")
}

// leave ends one use of a visit. The last one starts the idle clock, or closes a visit that ended meanwhile.
func (p *Proxy) leave(v *visit) {
	p.mu.Lock()
	v.busy--
	last := v.busy == 0
	if last && !v.gone {
		v.since = p.cfg.Now()
		if v.idle == nil {
			v.idle = time.AfterFunc(p.cfg.Idle, func() { p.rest(v) })
		} else {
			v.idle.Reset(p.cfg.Idle)
		}
	}
	gone := v.gone
	p.mu.Unlock()
	if last && gone && v.session != nil {
		v.close()
	}
}

// rest ends a visit in which nothing has happened for a while.
func (p *Proxy) rest(v *visit) {
	p.mu.Lock()
	still := v.busy == 0 && !v.gone
	if still {
		p.remove(v, endIdle)
	}
	p.mu.Unlock()
	if still {
		v.close()
	}
}

// endVisits ends all visits of a person.
func (p *Proxy) endVisits(person, reason string) {
	var all []*visit
	p.mu.Lock()
	for _, v := range p.visits {
		if v.person == person {
			p.remove(v, reason)
			all = append(all, v)
		}
	}
	p.mu.Unlock()
	for _, v := range all {
		<-v.ready
		if v.session != nil {
			v.close()
		}
	}
}

// close ends the session with the reason it was removed for.
func (v *visit) close() {
	v.session.End(v.ours)
	v.app.CloseIdleConnections()
}

// ended cleans up after a session whose context is over. When the door ended it, the person is logged out first, so that
// a session somebody ended does not open again with the next click.
func (p *Proxy) ended(v *visit) {
	p.mu.Lock()
	ours := v.ours != ""
	p.mu.Unlock()
	if !ours {
		p.logOut(v.person)
	}
	p.mu.Lock()
	idle := v.busy == 0
	p.remove(v, "")
	p.mu.Unlock()
	v.app.CloseIdleConnections()
	if !ours && idle {
		v.session.End("")
	}
}

// logOut closes a person's web sessions on behalf of whoever ended their access.
func (p *Proxy) logOut(person string) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	if err := p.cfg.Registry.CloseWebSessions(ctx, person); err != nil {
		p.cfg.Log.Error("logging out after a session was ended failed", zap.String("person", person), zap.Error(err))
	}
}
