// Package sshproxy speaks SSH with contractors and with targets, and puts an access.Session between the two. A contractor
// logs in with a certificate and a recent WebAuthn, names a target (`ssh -J gateway app@db1` or `ssh app+db1@gateway`) and
// gets what sshd would give: shells, commands, signals and exit codes, byte for byte, with every operation decided and
// every byte on record before it is shown.
package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/sshproxy/sftp"
)

// stopGrace is how long live connections have to say goodbye when the proxy stops.
const stopGrace = time.Second

// Config is what a Proxy is made of. Every field without "optional" is required.
type Config struct {
	Door      *access.Door
	Registry  *identity.Registry
	Authority *identity.Authority
	Console   string           // base URL of the console, where logins are approved: https://console.example.com
	Names     []string         // optional: host names of the gateway, for its SSH host certificate, beside the console's
	Limits    Limits           // optional
	Files     string           // optional: how much of transferred files recordings keep, capped, full or hash; capped when ""
	Now       func() time.Time // optional, time.Now when nil
	Log       *zap.Logger      // optional, silent when nil
}

// Proxy serves SSH. It is made by New and listens only in Serve.
type Proxy struct {
	cfg     Config
	host    string // the console's host name
	gate    *turnstile
	pending slots
	bodies  sftp.Bodies

	mu    sync.Mutex // guards the field below
	peers map[*peer]struct{}
}

// New checks the configuration.
func New(cfg Config) (*Proxy, error) {
	switch {
	case cfg.Door == nil:
		return nil, errors.New("sshproxy: no door")
	case cfg.Registry == nil:
		return nil, errors.New("sshproxy: no identity registry")
	case cfg.Authority == nil:
		return nil, errors.New("sshproxy: no authority")
	}
	bodies, err := sftp.ParseBodies(cfg.Files)
	if err != nil {
		return nil, fmt.Errorf("sshproxy: files: %w", err)
	}
	console, err := url.Parse(cfg.Console)
	if err != nil || console.Scheme != "https" || console.Hostname() == "" {
		return nil, fmt.Errorf("sshproxy: console %q: want a base URL such as https://console.example.com", cfg.Console)
	}
	cfg.Console = strings.TrimSuffix(cfg.Console, "/")
	cfg.Limits.complete()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Proxy{cfg: cfg, host: console.Hostname(), gate: newTurnstile(cfg.Limits), bodies: bodies,
		pending: newSlots(cfg.Limits.Pending), peers: make(map[*peer]struct{})}, nil
}

// Serve accepts connections on l until ctx ends; then it gives sessions a second to say goodbye, closes what is left and
// returns nil once nothing runs any more. It closes l.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var running sync.WaitGroup
	err := p.accept(ctx, l, &running)
	force := time.AfterFunc(stopGrace, p.closeAll)
	if err != nil {
		p.closeAll()
	}
	running.Wait()
	force.Stop()
	return err
}

func (p *Proxy) accept(ctx context.Context, l net.Listener, running *sync.WaitGroup) error {
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				conn.Close()
			}
			return nil
		case err == nil:
			pause = 0
			p.admit(ctx, conn, running)
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting SSH connections: %w", err)
		default:
			// Out of file descriptors, most likely: what is connected goes on, new ones wait.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			p.cfg.Log.Error("accepting a connection failed", zap.Error(err), zap.Duration("pause", pause))
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// admit starts serving a connection, or turns it away when there are too many.
func (p *Proxy) admit(ctx context.Context, conn net.Conn, running *sync.WaitGroup) {
	source := sourceOf(conn.RemoteAddr())
	if !p.gate.enter(source.Addr()) {
		p.cfg.Log.Warn("too many connections; one was turned away", zap.Stringer("source", source.Addr()))
		// Lines before the version are allowed (RFC 4253, 4.2); the send buffer of a new connection takes this one at once.
		conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		fmt.Fprint(conn, "sekisho: too many connections; try again later\r\n")
		conn.Close()
		return
	}
	peer := newPeer(ctx, p, conn, source)
	p.mu.Lock()
	p.peers[peer] = struct{}{}
	p.mu.Unlock()
	running.Go(func() {
		defer p.guard("connection", peer.leave)
		peer.serve()
		peer.leave()
	})
}

func (p *Proxy) forget(peer *peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.peers, peer)
}

func (p *Proxy) closeAll() {
	p.mu.Lock()
	all := make([]*peer, 0, len(p.peers))
	for peer := range p.peers {
		all = append(all, peer)
	}
	p.mu.Unlock()
	for _, peer := range all {
		peer.Close()
	}
}

// guard, deferred at the top of every goroutine and callback that peers can reach, keeps a panic from taking the other
// contractors down with it. undo cleans up what the goroutine held.
func (p *Proxy) guard(what string, undo func()) {
	if r := recover(); r != nil {
		p.cfg.Log.Error("panic; the connection is closed", zap.String("in", what), zap.Any("panic", r),
			zap.ByteString("stack", debug.Stack()))
		undo()
	}
}
