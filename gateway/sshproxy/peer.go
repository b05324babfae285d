package sshproxy

import (
	"context"
	"crypto/rsa"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gl "github.com/gliderlabs/ssh"
	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// peer is one TCP connection from outside and the SSH connection on it. It is the net.Conn that the SSH library reads, so
// that a client which goes away is noticed even while a login waits for its approval.
type peer struct {
	*wire
	proxy  *Proxy
	source netip.AddrPort
	ctx    context.Context // ends when the connection does
	hangUp context.CancelFunc
	grace  *time.Timer

	greeting greeting // read ahead; of the goroutine that reads

	started, left sync.Once
	opened        atomic.Bool // a channel was opened
	loggedIn      time.Time   // set once before the first channel
	person        string      // who was admitted; of the goroutine that serves

	mu      sync.Mutex // guards the fields below
	claimed string     // the person whose certificate was offered but not proved yet
	outer   *connection
	gone    bool // leave has begun
}

func newPeer(ctx context.Context, p *Proxy, conn net.Conn, source netip.AddrPort) *peer {
	// Not a child of Serve's context: when that ends, sessions still say goodbye.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &peer{wire: newWire(conn), proxy: p, source: source, ctx: own, hangUp: cancel}
	// Deadlines on the connection would be wiped by the SSH library, so the login grace is a timer that closes.
	c.grace = time.AfterFunc(p.cfg.Limits.Grace, func() { c.Close() })
	return c
}

func (c *peer) Read(b []byte) (int, error) {
	if len(c.greeting.line) > 0 {
		return c.greeting.again(b), nil
	}
	n, err := c.wire.Read(b)
	if err != nil {
		c.hangUp()
	}
	return n, err
}

func (c *peer) Close() error {
	c.hangUp()
	return c.wire.Close()
}

// SetDeadline does nothing: the listener shell clears deadlines before every read and write.
func (c *peer) SetDeadline(time.Time) error { return nil }

// serve runs the connection until it is over. gliderlabs/ssh is the shell around it: it makes the server connection and
// hands channels and requests on. Its own session, forwarding and authentication code is never reached.
func (c *peer) serve() {
	c.hear()
	ciphers := c.greeting.ciphers()
	shell := &gl.Server{
		ServerConfigCallback:     func(gl.Context) *ssh.ServerConfig { return c.config(ciphers) },
		ConnectionFailedCallback: func(_ net.Conn, err error) { c.notLoggedIn(err) },
		ChannelHandlers: map[string]gl.ChannelHandler{
			"default": func(_ *gl.Server, sc *ssh.ServerConn, nc ssh.NewChannel, _ gl.Context) { c.serveChannel(sc, nc) },
		},
		RequestHandlers: map[string]gl.RequestHandler{
			"default": func(ctx gl.Context, _ *gl.Server, req *ssh.Request) (bool, []byte) {
				return c.answer(ctx.Value(gl.ContextKeyConn).(*ssh.ServerConn), req), nil
			},
		},
	}
	shell.HandleConn(c)
}

// leave closes whatever the connection holds. Only the first call does anything.
func (c *peer) leave() {
	c.left.Do(func() {
		c.Close()
		c.grace.Stop()
		c.started.Do(func() { c.proxy.gate.started(c.source.Addr()) })
		c.admit("")
		c.proxy.gate.leave()
		c.mu.Lock()
		c.gone = true
		outer := c.outer
		c.mu.Unlock()
		if outer != nil {
			outer.end("disconnected")
		}
		c.proxy.forget(c)
	})
}

// enter is called once the login is complete: the grace is over and the connection no longer counts as starting.
func (c *peer) enter() {
	if !c.grace.Stop() {
		c.Close()
	}
	c.started.Do(func() { c.proxy.gate.started(c.source.Addr()) })
}

// admit counts the connection as the person's, or as nobody's; false when they have too many. An earlier attempt on the
// same connection may have been somebody else's.
func (c *peer) admit(person string) bool {
	if c.person == person {
		return true
	}
	if c.person != "" {
		c.proxy.gate.logOut(c.person)
		c.person = ""
	}
	if person != "" && !c.proxy.gate.logIn(person) {
		return false
	}
	c.person = person
	return true
}

// connection is the SSH connection after its login, made when its first channel opens. Who it is comes from the
// permissions of the attempt that succeeded and from nowhere else: the library's own context keeps what failed attempts
// claimed.
func (c *peer) connection(sc *ssh.ServerConn) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outer == nil {
		proved, ok := sc.Permissions.ExtraData[provedKey{}].(*proof)
		if !ok {
			panic("a connection without a login reached its channels")
		}
		c.outer = newConnection(c.proxy, c.ctx, sc, c.wire, proved.principal)
		c.outer.ended = c.gone
		c.outer.key = proved.key
		c.outer.address, c.outer.named, c.outer.wellFormed = addressOf(sc.User())
	}
	return c.outer
}

// serveChannel takes one channel of the outer connection.
func (c *peer) serveChannel(sc *ssh.ServerConn, nc ssh.NewChannel) {
	defer c.proxy.guard("channel", func() { c.Close() })
	first := c.opened.CompareAndSwap(false, true)
	conn := c.connection(sc)
	if !conn.begin() {
		nc.Reject(ssh.ConnectionFailed, noticeOver.en)
		return
	}
	defer conn.done()
	switch {
	case nc.ChannelType() == "direct-tcpip" && !conn.named:
		conn.serveForward(nc, first && c.proxy.cfg.Now().Sub(c.loggedIn) < jumpWindow)
	default:
		conn.serveChannel(nc)
	}
}

func (c *peer) answer(sc *ssh.ServerConn, req *ssh.Request) bool {
	defer c.proxy.guard("request", func() { c.Close() })
	return c.connection(sc).answer(req)
}

// notLoggedIn looks at a connection that ended before its login. A certificate of ours whose key did not sign is a failed
// login; a client that went away, or had no key of ours, is none.
func (c *peer) notLoggedIn(err error) {
	c.mu.Lock()
	claimed := c.claimed
	c.mu.Unlock()
	c.proxy.cfg.Log.Debug("not logged in", zap.Stringer("source", c.source), zap.Error(err))
	if claimed != "" && badSignature(err) {
		c.proxy.failed(c.ctx, identity.Principal{Source: c.source}, claimed, "the signature did not verify")
	}
}

func badSignature(err error) bool {
	return errors.Is(err, rsa.ErrVerification) || strings.Contains(err.Error(), "signature did not verify")
}

// failed puts a failed login on record.
func (p *Proxy) failed(ctx context.Context, who identity.Principal, claimed, reason string) {
	a := access.Attempt{Kind: "login.failed", Outcome: recorder.Failed, Principal: who, Claimed: claimed,
		Method: methodCertificate, Reason: reason}
	if err := p.cfg.Door.Login(context.WithoutCancel(ctx), a); err != nil {
		p.cfg.Log.Error("a failed login is not on record", zap.Stringer("source", who.Source), zap.Error(err))
	}
}
