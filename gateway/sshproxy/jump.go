package sshproxy

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// jumpWindow is how long after the login a jump may open its channel. OpenSSH opens it at once. With the condition that it
// is the connection's first channel, it shuts out a neighbour on the contractor's machine who connects to a forwarded
// port from local port 65535, which looks the same.
const jumpWindow = 10 * time.Second

// tunnel is the net.Conn inside a jump. Its remote address is that of the contractor's TCP connection, because that is
// where whoever sits inside comes from.
type tunnel struct {
	ssh.Channel
	local, remote net.Addr

	hangUp   func()        // closes the connection around the jump
	patience time.Duration // how long the client may take to confirm that the channel is closed
	closing  sync.Once
	overdue  *time.Timer // runs out to hangUp; nil until the channel is closed from this side
}

// Close closes the channel. Reading from it goes on until the client confirms that, so a client which does not loses the
// connection around it.
func (t *tunnel) Close() error {
	t.closing.Do(func() { t.overdue = time.AfterFunc(t.patience, t.hangUp) })
	return t.Channel.Close()
}

// confirmed says that the client has closed the channel too.
func (t *tunnel) confirmed() {
	t.closing.Do(func() {})
	if t.overdue != nil {
		t.overdue.Stop()
	}
}

func (t *tunnel) LocalAddr() net.Addr              { return t.local }
func (t *tunnel) RemoteAddr() net.Addr             { return t.remote }
func (t *tunnel) SetDeadline(time.Time) error      { return nil }
func (t *tunnel) SetReadDeadline(time.Time) error  { return nil }
func (t *tunnel) SetWriteDeadline(time.Time) error { return nil }

// serveForward takes a direct-tcpip channel of a connection to the gateway itself: a jump to a target's SSH is terminated
// here, everything else is refused. The target is not looked up before the inner login, so that an unknown one looks like
// one that is not the contractor's.
func (c *connection) serveForward(nc ssh.NewChannel, atStart bool) {
	f, ok := parseForward(nc.ExtraData())
	if !ok {
		nc.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	if !f.ssh() {
		c.serveTCP(nc, f)
		return
	}
	if !c.channels.take() {
		nc.Reject(ssh.ResourceShortage, "too many channels on one connection; close some or open another connection")
		return
	}
	defer c.channels.give()
	channel, requests, err := nc.Accept()
	if err != nil {
		return
	}
	inside := &tunnel{Channel: bulk{channel, c.wire}, local: c.client.LocalAddr(), remote: c.client.RemoteAddr(),
		hangUp: func() { c.client.Close() }, patience: c.proxy.cfg.Limits.Grace}
	var running sync.WaitGroup
	running.Go(func() {
		defer c.proxy.guard("jump", func() { c.client.Close() })
		c.serveInside(inside, f, atStart && f.stdio())
		inside.Close()
	})
	// The channel counts until the client has closed it too.
	ssh.DiscardRequests(requests)
	inside.confirmed()
	running.Wait()
}

// serveInside is the inner SSH connection, from its handshake to its end.
func (c *connection) serveInside(inside *tunnel, f forward, free bool) {
	grace := time.AfterFunc(c.proxy.cfg.Limits.Grace, func() { inside.Close() })
	wire := newWire(inside)
	client, channels, requests, err := ssh.NewServerConn(wire, c.innerConfig(f.Host, free))
	if err != nil {
		grace.Stop()
		c.innerRefused(f, err)
		return
	}
	if !grace.Stop() {
		client.Close()
	}
	ctx, cancel := context.WithCancel(c.ctx)
	inner := newConnection(c.proxy, ctx, client, wire, c.principal)
	inner.principal.Client = clientOf(client)
	inner.address, inner.named = address{login: client.User(), target: f.Host}, true
	inner.wellFormed = client.User() != "" && printable(client.User(), maxName)
	defer inner.end("disconnected")
	defer cancel() // what is still being opened stops first
	inner.serve(channels, requests)
}

// serve hands out channels and requests until the connection is over.
func (c *connection) serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	go func() {
		defer c.proxy.guard("request", func() { c.client.Close() })
		for req := range requests {
			reply(req, c.answer(req))
		}
	}()
	for nc := range channels {
		if !c.begin() {
			nc.Reject(ssh.ConnectionFailed, noticeOver.en)
			continue
		}
		go func() {
			defer c.done()
			defer c.proxy.guard("channel", func() { c.client.Close() })
			c.serveChannel(nc)
		}()
	}
}

// innerConfig is the server side inside a jump to target. free lets OpenSSH's own jump in without another key, bound to
// the outer login; everything else that found its way into the forward must show the key of the outer login.
func (c *connection) innerConfig(target string, free bool) *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		Config:                  transport(serverCiphers),
		ServerVersion:           serverVersion,
		PublicKeyAuthAlgorithms: userKeys,
		NoClientAuth:            true,
		NoClientAuthCallback: func(ssh.ConnMetadata) (*ssh.Permissions, error) {
			if free {
				return &ssh.Permissions{}, nil
			}
			return nil, errNoneAuth
		},
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (_ *ssh.Permissions, err error) {
			defer c.proxy.guard("inner key offer", func() { err = errPanicked })
			return &ssh.Permissions{}, c.sameKey(key)
		},
		VerifiedPublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey, perms *ssh.Permissions, _ string) (_ *ssh.Permissions, err error) {
			defer c.proxy.guard("inner login", func() { err = errPanicked })
			return perms, c.sameKey(key)
		},
	}
	signers, err := c.proxy.cfg.Authority.HostSigners(target)
	if err != nil {
		c.proxy.cfg.Log.Error("no host key for a jump", zap.Error(err))
	}
	for _, signer := range signers {
		cfg.AddHostKey(signer)
	}
	return cfg
}

// sameKey tells whether a key is that of the outer login: the same certificate, or the plain key it was made for.
func (c *connection) sameKey(key ssh.PublicKey) error {
	if cert, ok := key.(*ssh.Certificate); ok {
		if bytes.Equal(cert.Marshal(), c.key.Marshal()) {
			return nil
		}
		return errNotOurs
	}
	if subtle.ConstantTimeCompare(key.Marshal(), c.key.Key.Marshal()) == 1 {
		return nil
	}
	return errNotOurs
}

// innerRefused puts on record that somebody reached a jump's inside without the key of the login it belongs to. The
// person did not fail to log in, so it does not count as a failed login.
func (c *connection) innerRefused(f forward, err error) {
	if !errors.As(err, new(*ssh.ServerAuthError)) {
		c.proxy.cfg.Log.Debug("no inner connection", zap.String("person", c.principal.Person), zap.Error(err))
		return
	}
	attempt := access.Attempt{Kind: "login.ssh", Outcome: recorder.Refused, Claimed: c.principal.Person,
		Principal: identity.Principal{Source: c.principal.Source, Client: c.principal.Client}, Method: methodCertificate,
		Reason: "an inner connection did not show the key of the login it came through",
		Detail: map[string]any{"target": f.Host, "originator": f.OriginatorHost}}
	if err := c.proxy.cfg.Door.Login(context.WithoutCancel(c.ctx), attempt); err != nil {
		c.proxy.cfg.Log.Error("a refused inner login is not on record", zap.Error(err))
	}
}
