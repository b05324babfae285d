package sshproxy

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// farewellTime is how long an ended session may take to show why; the door shuts it for good soon after.
const farewellTime = 500 * time.Millisecond

// maxRefusing is how many channels of one connection may wait to be refused. Refusing writes, so they pile up only when the
// client does not read.
const maxRefusing = 256

// connection is one SSH connection of a contractor who has logged in: the outer one to the gateway, or one inside a jump.
// It carries at most one session and one connection to the target, both made when the first channel needs them.
type connection struct {
	proxy     *Proxy
	ctx       context.Context // ends when the client's connection does
	client    ssh.Conn
	wire      *wire // under client
	principal identity.Principal

	// What the contractor addressed. named is false for the gateway itself; a name that is not well formed gets an
	// explanation instead of a session.
	address           address
	named, wellFormed bool

	key *ssh.Certificate // outer connections: what the login was proved with

	channels slots
	numbers  atomic.Uint32
	handlers sync.WaitGroup // of channels, counted by begin
	handling slots          // the same with a ceiling: channels in use and those being refused
	flooded  sync.Once

	reaching sync.Mutex // held while the session is opened, so that channels opened together share it; taken before mu

	mu        sync.Mutex // guards the fields below
	link      *link
	endpoints map[string]*access.Session // with TCP targets, by name
	ended     bool
	live      map[*channel]struct{}
	notes     []notice // what was asked for and is not available, not yet said
	noted     map[notice]bool
}

func newConnection(p *Proxy, ctx context.Context, client ssh.Conn, wire *wire, who identity.Principal) *connection {
	return &connection{proxy: p, ctx: ctx, client: client, wire: wire, principal: who, channels: newSlots(p.cfg.Limits.Channels),
		handling: newSlots(p.cfg.Limits.Channels + maxRefusing), live: make(map[*channel]struct{}),
		endpoints: make(map[string]*access.Session), noted: make(map[notice]bool)}
}

// addressOf reads what the user name of an outer connection addresses.
func addressOf(user string) (a address, named, wellFormed bool) {
	a, named, ok := parseAddress(user)
	return a, named || !ok, ok
}

// serveChannel takes a channel that the client opens, whatever it is.
func (c *connection) serveChannel(nc ssh.NewChannel) {
	switch nc.ChannelType() {
	case "session":
		c.serveSession(nc)
	case "direct-tcpip":
		f, ok := parseForward(nc.ExtraData())
		switch {
		case !ok:
			nc.Reject(ssh.ConnectionFailed, "malformed request")
		case f.ssh():
			nc.Reject(ssh.Prohibited, forwardRefusal)
		default:
			c.serveTCP(nc, f)
		}
	case "direct-streamlocal@openssh.com":
		nc.Reject(ssh.Prohibited, "sockets of a target cannot be forwarded")
	default:
		nc.Reject(ssh.UnknownChannelType, "this kind of channel is not available")
	}
}

// answer replies to a global request: keepalives want any reply, and everything else is refused.
func (c *connection) answer(req *ssh.Request) bool {
	if req.Type == "tcpip-forward" || req.Type == "streamlocal-forward@openssh.com" {
		c.note(noticeRemote)
	}
	return false
}

// note keeps something to tell on the next channel that starts; each notice once per connection.
func (c *connection) note(n notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.noted[n] {
		c.noted[n] = true
		c.notes = append(c.notes, n)
	}
}

// takeNotes returns what is to be told now.
func (c *connection) takeNotes() []notice {
	c.mu.Lock()
	defer c.mu.Unlock()
	notes := c.notes
	c.notes = nil
	return notes
}

func (c *connection) serveSession(nc ssh.NewChannel) {
	if !c.channels.take() {
		nc.Reject(ssh.ResourceShortage, "too many channels on one connection; close some or open another connection")
		return
	}
	defer c.channels.give()
	if !c.named {
		c.welcome(nc)
		return
	}
	l, err := c.reach()
	if err != nil {
		c.explain(nc, err)
		return
	}
	c.join(nc, l)
}

// join opens a channel on the target for one of the client's and carries the two until both are closed.
func (c *connection) join(nc ssh.NewChannel, l *link) {
	upstream, answers, err := l.client.OpenChannel("session", nil)
	if refused, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
		c.passRefusal(nc, l, refused)
		return
	}
	if err != nil {
		c.explain(nc, l.lost())
		return
	}
	client, requests, err := nc.Accept()
	if err != nil {
		upstream.Close()
		go ssh.DiscardRequests(answers)
		return
	}
	ch := newChannel(c, l, bulk{client, c.wire}, bulk{upstream, l.wire})
	c.enlist(ch)
	defer c.delist(ch)
	ch.run(requests, answers)
}

// passRefusal tells why the target does not open a channel, in its own words once they are on record.
func (c *connection) passRefusal(nc ssh.NewChannel, l *link, refused *ssh.OpenChannelError) {
	words := clean("the target: "+refused.Message, 512)
	if err := l.session.Record(c.numbers.Add(1), recorder.KindStderr, []byte(words+"\n")); err != nil {
		words = "the target refuses"
	}
	nc.Reject(refused.Reason, words)
}

// begin counts one more channel handler, whose end calls done; false once the connection has ended. A client that opens
// channels faster than it hears them refused loses the connection.
func (c *connection) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	if !c.handling.take() {
		c.flooded.Do(func() { go c.client.Close() })
		return false
	}
	c.handlers.Add(1)
	return true
}

func (c *connection) done() {
	c.handling.give()
	c.handlers.Done()
}

// enlist makes a channel part of the session, so that it is told when that ends.
func (c *connection) enlist(ch *channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[ch] = struct{}{}
}

func (c *connection) delist(ch *channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.live, ch)
}

// reach returns the connection's way to its target, opening the session and dialling at the first call.
func (c *connection) reach() (*link, error) {
	c.reaching.Lock()
	defer c.reaching.Unlock()
	c.mu.Lock()
	l, ended := c.link, c.ended
	c.mu.Unlock()
	switch {
	case ended:
		return nil, told{noticeOver}
	case l != nil:
		return l, nil
	case !c.wellFormed:
		return nil, told{noticeAddress}
	}
	session, err := c.proxy.cfg.Door.Open(c.ctx, access.Request{Principal: c.principal, Target: c.address.target,
		Login: c.address.login, Protocol: "ssh"})
	if err != nil {
		return nil, err
	}
	l, err = c.dial(session)
	if err != nil {
		session.End("target not reached")
		return nil, err
	}
	if !c.adopt(l) {
		l.client.Close()
		session.End("disconnected")
		return nil, told{noticeOver}
	}
	return l, nil
}

// adopt makes a link the connection's own, unless the client has left meanwhile.
func (c *connection) adopt(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.link = l
	l.session.OnWarning(c.warn)
	context.AfterFunc(l.session.Context(), func() {
		defer c.proxy.guard("end of session", func() { c.client.Close() })
		c.over(l.session)
	})
	return true
}

// over says goodbye on every channel and closes the connection: the door has ended the session.
func (c *connection) over(session *access.Session) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	all := make([]*channel, 0, len(c.live))
	for ch := range c.live {
		all = append(all, ch)
	}
	c.mu.Unlock()
	force := time.AfterFunc(farewellTime, func() { c.client.Close() })
	defer force.Stop()
	var parting sync.WaitGroup
	for _, ch := range all {
		parting.Go(func() {
			defer c.proxy.guard("farewell", func() {})
			ch.farewell(causeOf(session))
		})
	}
	parting.Wait()
	c.client.Close()
}

// causeOf is why a session's context ended.
func causeOf(session *access.Session) *access.Ended {
	if ended, ok := errors.AsType[*access.Ended](context.Cause(session.Context())); ok {
		return ended
	}
	return &access.Ended{Reason: "ended", EN: "it is over", JA: "終了しました"}
}

// end closes the session after the client's connection is gone, and returns when nothing of the connection runs any more.
// Only the first call does anything.
func (c *connection) end(reason string) {
	c.mu.Lock()
	l, before := c.link, c.ended
	c.ended = true
	c.mu.Unlock()
	if before {
		return
	}
	if l != nil {
		l.client.Close()
	}
	c.handlers.Wait()
	if l != nil {
		l.session.End(reason)
	}
	for _, session := range c.endpoints {
		session.End(reason)
	}
}
