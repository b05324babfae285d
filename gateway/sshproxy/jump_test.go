package sshproxy_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/sshproxy"
	"github.com/sekisho/sekisho/recorder"
)

// direct is the payload of a direct-tcpip channel.
type direct struct {
	Host           string
	Port           uint32
	OriginatorHost string
	OriginatorPort uint32
}

// jump is what OpenSSH's -J announces for a target.
func jump(target string) direct { return direct{target, 22, "127.0.0.1", 65535} }

// channelConn is a channel as the net.Conn that a client inside a jump needs.
type channelConn struct {
	ssh.Channel
	net.Conn
}

func (c channelConn) Read(b []byte) (int, error)  { return c.Channel.Read(b) }
func (c channelConn) Write(b []byte) (int, error) { return c.Channel.Write(b) }
func (c channelConn) Close() error                { return c.Channel.Close() }

// inside opens a direct-tcpip channel and speaks SSH in it as login with these keys.
func (c *client) inside(outer *ssh.Client, d direct, login string, keys ...ssh.Signer) (*ssh.Client, error) {
	channel, requests, err := outer.OpenChannel("direct-tcpip", ssh.Marshal(d))
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	local, remote := net.Pipe()
	remote.Close()
	cfg := &ssh.ClientConfig{User: login, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 20 * time.Second}
	if len(keys) > 0 {
		cfg.Auth = []ssh.AuthMethod{ssh.PublicKeys(keys...)}
	}
	conn, channels, reqs, err := ssh.NewClientConn(channelConn{channel, local}, d.Host, cfg)
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(conn, channels, reqs), nil
}

func (c *client) outer() *ssh.Client {
	c.g.t.Helper()
	outer, err := c.dial("hanako")
	must(c.g.t, err)
	c.g.t.Cleanup(func() { outer.Close() })
	return outer
}

func (c *client) certified() ssh.Signer {
	signer, err := ssh.NewCertSigner(c.cert, c.signer)
	must(c.g.t, err)
	return signer
}

func TestOnlyOpenSSHsOwnJumpNeedsNoSecondKey(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for _, one := range []struct {
		name string
		d    direct
		in   bool
	}{
		{"ssh -J", jump("db1"), true},
		{"ssh -L used by a program on this machine", direct{"db1", 22, "127.0.0.1", 50000}, false},
		{"ssh -L -g used from the network", direct{"db1", 22, "192.0.2.1", 65535}, false},
		{"ssh -L over IPv6", direct{"db1", 22, "::1", 65535}, false},
		{"a library", direct{"db1", 22, "0.0.0.0", 0}, false},
	} {
		t.Run(one.name, func(t *testing.T) {
			conn, err := c.inside(c.outer(), one.d, theLogin())
			if in := err == nil; in != one.in {
				t.Fatalf("let in without a key: %v (%v)", in, err)
			}
			if err == nil {
				conn.Close()
				return
			}
			conn, err = c.inside(c.outer(), one.d, theLogin(), newSigner(t), c.certified())
			if err != nil {
				t.Fatalf("the key of the outer login was not enough: %v", err)
			}
			defer conn.Close()
			session, err := conn.NewSession()
			must(t, err)
			if out, err := session.Output("echo in"); err != nil || string(out) != "in\n" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

// TestAJumpWithoutAKeyIsTheFirstThingAConnectionDoes shuts out a neighbour who reaches a forwarded port from local port
// 65535, which looks like a jump.
func TestAJumpWithoutAKeyIsTheFirstThingAConnectionDoes(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	outer := c.outer()
	first, err := c.inside(outer, jump("db1"), theLogin())
	must(t, err)
	defer first.Close()
	if second, err := c.inside(outer, jump("db1"), theLogin()); err == nil {
		second.Close()
		t.Error("a second channel of one connection got in without a key")
	}
	second, err := c.inside(outer, jump("db1"), theLogin(), c.certified())
	must(t, err)
	second.Close()

	late := c.outer()
	g.clock.advance(time.Minute)
	if conn, err := c.inside(late, jump("db1"), theLogin()); err == nil {
		conn.Close()
		t.Error("a channel opened a minute after the login got in without a key")
	}
}

func TestAnotherEnrolledPersonsKeyDoesNotOpenTheInside(t *testing.T) {
	g := newGateway(t, setup{})
	h, k := g.client(hanako), g.client(ken)
	if conn, err := h.inside(h.outer(), direct{"db1", 22, "127.0.0.1", 50000}, theLogin(), k.certified(), k.signer, newSigner(t)); err == nil {
		conn.Close()
		t.Fatal("Ken's key opened a connection inside Hanako's login")
	}
	eventually(t, "it is on record", func() bool {
		for _, ev := range g.events(recorder.ClassLogin, "login.ssh") {
			if ev.Outcome == recorder.Refused && ev.Detail["claimed"] == hanako {
				return true
			}
		}
		return false
	})
	if failed := g.events(recorder.ClassLogin, "login.failed"); len(failed) != 0 {
		t.Errorf("it counts as Hanako's failed login: %+v", failed)
	}
	// Her plain key and her certificate do.
	for _, key := range []ssh.Signer{h.signer, h.certified()} {
		conn, err := h.inside(h.outer(), direct{"db1", 22, "127.0.0.1", 50000}, theLogin(), key)
		must(t, err)
		conn.Close()
	}
}

func TestTheInsideOfAJumpComesFromTheContractorsAddress(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	got := c.ssh(theLogin()+"@db1", "true")
	if got.code != 0 {
		t.Fatal(got)
	}
	opened := g.events(recorder.ClassCommand, "session.open")
	if len(opened) != 1 || opened[0].Source == nil || opened[0].Source.IP.String() != "127.0.0.1" || opened[0].Source.Port == 0 {
		t.Errorf("the session comes from %+v", opened)
	}
}

func TestAJumpShowsTheTargetsNameInItsHostCertificate(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	outer := c.outer()
	channel, requests, err := outer.OpenChannel("direct-tcpip", ssh.Marshal(jump("db1")))
	must(t, err)
	go ssh.DiscardRequests(requests)
	local, _ := net.Pipe()
	var shown *ssh.Certificate
	cfg := &ssh.ClientConfig{User: "app", HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { shown, _ = key.(*ssh.Certificate); return nil }}
	conn, _, _, err := ssh.NewClientConn(channelConn{channel, local}, "db1", cfg)
	must(t, err)
	defer conn.Close()
	checker := ssh.CertChecker{IsHostAuthority: func(auth ssh.PublicKey, _ string) bool {
		return string(auth.Marshal()) == string(g.authority.HostCA().Marshal())
	}}
	if shown == nil || checker.CheckHostKey("db1:22", nil, shown) != nil || checker.CheckHostKey("db2:22", nil, shown) == nil {
		t.Errorf("the host certificate is for %v", shown.ValidPrincipals)
	}
}

func TestEverythingElseThatForwardsIsRefusedWithAdvice(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	says := map[string]string{"another port of a target": "no such target", "a socket": "cannot be forwarded",
		"a forward beside login+target": "ssh -J gateway", "a forward from inside a jump": "ssh -J gateway"}
	for name, open := range map[string]func() (ssh.Channel, <-chan *ssh.Request, error){
		"another port of a target": func() (ssh.Channel, <-chan *ssh.Request, error) {
			return c.outer().OpenChannel("direct-tcpip", ssh.Marshal(direct{"db1", 5432, "127.0.0.1", 65535}))
		},
		"a forward beside login+target": func() (ssh.Channel, <-chan *ssh.Request, error) {
			conn, err := c.dial(theLogin() + "+db1")
			must(t, err)
			t.Cleanup(func() { conn.Close() })
			return conn.OpenChannel("direct-tcpip", ssh.Marshal(jump("db1")))
		},
		"a forward from inside a jump": func() (ssh.Channel, <-chan *ssh.Request, error) {
			inner, err := c.inside(c.outer(), jump("db1"), theLogin())
			must(t, err)
			return inner.OpenChannel("direct-tcpip", ssh.Marshal(jump("db1")))
		},
		"a socket": func() (ssh.Channel, <-chan *ssh.Request, error) {
			return c.outer().OpenChannel("direct-streamlocal@openssh.com", ssh.Marshal(struct {
				Path string
				R0   string
				R1   uint32
			}{"/run/docker.sock", "", 0}))
		},
	} {
		_, _, err := open()
		refused, ok := errors.AsType[*ssh.OpenChannelError](err)
		if !ok || refused.Reason != ssh.Prohibited || !strings.Contains(refused.Message, says[name]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := c.outer().OpenChannel("direct-tcpip", []byte("\x00\x00\x00\x03db1")); err == nil {
		t.Error("a malformed forward was accepted")
	}
	if _, _, err := c.outer().OpenChannel("x11", nil); err == nil {
		t.Error("an X11 channel was accepted")
	}
}

func TestChannelsOfOneConnectionAreBounded(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{Channels: 4}})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	var open []*ssh.Session
	for range 4 {
		session, err := conn.NewSession()
		must(t, err)
		open = append(open, session)
	}
	if _, err := conn.NewSession(); err == nil || !strings.Contains(err.Error(), "too many channels") {
		t.Fatalf("a fifth channel: %v", err)
	}
	open[0].Close()
	eventually(t, "a closed channel's place is free", func() bool {
		session, err := conn.NewSession()
		if err == nil {
			session.Close()
		}
		return err == nil
	})
	// Inside a connection to the gateway itself, jumps count the same.
	outer := c.outer()
	for range 4 {
		_, requests, err := outer.OpenChannel("direct-tcpip", ssh.Marshal(jump("db1")))
		must(t, err)
		go ssh.DiscardRequests(requests)
	}
	if _, _, err := outer.OpenChannel("direct-tcpip", ssh.Marshal(jump("db1"))); err == nil {
		t.Error("a fifth jump was opened")
	}
}

func TestAnInnerConnectionThatDoesNotLogInHasAGraceToo(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{Grace: 200 * time.Millisecond}})
	c := g.client(hanako)
	channel, requests, err := c.outer().OpenChannel("direct-tcpip", ssh.Marshal(jump("db1")))
	must(t, err)
	go ssh.DiscardRequests(requests)
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, channel)
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("a silent inner connection is kept")
	}
}

func TestStoppingWaitsForWhatRunsInsideJumps(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	inner, err := c.inside(c.outer(), jump("db1"), theLogin())
	must(t, err)
	session, err := inner.NewSession()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.Start("echo started; sleep 1000"))
	expect(t, out, "started\n")
	left := make(chan int, 1)
	stopped := func() {
		live, err := g.db.Access().Sessions(t.Context(), access.SessionQuery{Live: true})
		must(t, err)
		left <- len(live)
	}
	g.stopThen(stopped)
	if n := <-left; n != 0 {
		t.Errorf("%d sessions were still live when serving had ended", n)
	}
}

// TestAPanicCostsOneConnection has the clock fail inside a channel handler.
func TestAPanicCostsOneConnection(t *testing.T) {
	var g *gateway
	broken := make(chan struct{})
	now := func() time.Time {
		select {
		case <-broken:
			if calledFrom("serveChannel") {
				panic("the clock broke")
			}
		default:
		}
		return time.Now()
	}
	g = newGateway(t, setup{now: now, log: silent})
	c := g.client(hanako)
	other, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer other.Close()
	session, err := other.NewSession()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err)
	in, err := session.StdinPipe()
	must(t, err)
	must(t, session.Start("echo ready; cat"))
	expect(t, out, "ready\n")

	outer := c.outer()
	close(broken)
	if _, _, err := outer.OpenChannel("direct-tcpip", ssh.Marshal(jump("db1"))); err == nil {
		t.Error("the handler did not panic, so this test shows nothing")
	}
	if err := outer.Wait(); err == nil {
		t.Error("the connection of the panic goes on")
	}
	in.Write([]byte("still here\n"))
	expect(t, out, "still here\n")
}
