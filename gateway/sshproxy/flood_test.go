package sshproxy_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/sshproxy"
)

// narrow is a listener whose connections hold little that was not read yet.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		conn.(*net.TCPConn).SetWriteBuffer(2 << 10)
	}
	return conn, err
}

// deaf is a client's connection that stops reading once it is told to.
type deaf struct {
	net.Conn
	once sync.Once
	ears chan struct{} // closed when it stops
	gone chan struct{} // closed when it is over
}

func (d *deaf) Read(b []byte) (int, error) {
	select {
	case <-d.ears:
		<-d.gone
		return 0, net.ErrClosed
	default:
		return d.Conn.Read(b)
	}
}

func (d *deaf) Close() error {
	d.once.Do(func() { close(d.gone) })
	return d.Conn.Close()
}

// narrowly serves the gateway once more, on a listener whose connections fill up early.
func (g *gateway) narrowly() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(g.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { g.proxy.Serve(ctx, narrow{l}) })
	g.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return l.Addr().String()
}

// running counts the goroutines that are inside a function.
func running(function string) int {
	stacks := make([]byte, 64<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), function+"(")
}

// TestChannelsThatNobodyHearsRefusedDoNotPileUp: refusing a channel writes, and a client that opens channels without
// reading could otherwise make the gateway hold one goroutine for each, without end.
func TestChannelsThatNobodyHearsRefusedDoNotPileUp(t *testing.T) {
	g := newGateway(t, setup{log: silent})
	c := g.client(hanako)
	raw, err := net.Dial("tcp", g.narrowly())
	must(t, err)
	raw.(*net.TCPConn).SetReadBuffer(2 << 10)
	conn := &deaf{Conn: raw, ears: make(chan struct{}), gone: make(chan struct{})}
	defer conn.Close()
	client, channels, requests, err := ssh.NewClientConn(conn, g.addr, c.config("gateway"))
	must(t, err)
	go ssh.DiscardRequests(requests)
	go func() {
		for nc := range channels {
			nc.Reject(ssh.Prohibited, "")
		}
	}()
	close(conn.ears)
	var opening sync.WaitGroup
	for range 4000 {
		opening.Go(func() { client.OpenChannel("nonsense", nil) })
	}
	eventually(t, "the gateway hangs up", func() bool {
		if waiting := running("sshproxy.(*peer).serveChannel"); waiting > 1000 {
			t.Fatalf("%d refusals wait in the gateway", waiting)
		}
		return running("sshproxy.(*peer).serve") == 0
	})
	conn.Close()
	opening.Wait()
}

// TestAJumpThatIsNeverConfirmedClosedIsNotKept: closing a channel needs the client's answer, and one that does not give it
// could otherwise keep a login that never happened, or a session that is over, in the gateway's memory for ever.
func TestAJumpThatIsNeverConfirmedClosedIsNotKept(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{Grace: 200 * time.Millisecond}, log: silent})
	c := g.client(hanako)
	raw, err := net.Dial("tcp", g.addr)
	must(t, err)
	conn := &deaf{Conn: raw, ears: make(chan struct{}), gone: make(chan struct{})}
	client, channels, requests, err := ssh.NewClientConn(conn, g.addr, c.config("gateway"))
	must(t, err)
	outer := ssh.NewClient(client, channels, requests)
	defer outer.Close()
	close(conn.ears)
	opening := make(chan struct{})
	go func() {
		outer.OpenChannel("direct-tcpip", ssh.Marshal(jump("db1")))
		close(opening)
	}()
	eventually(t, "the jump is open", func() bool { return running("sshproxy.(*connection).serveInside") > 0 })
	eventually(t, "the jump is over", func() bool { return running("sshproxy.(*connection).serveInside") == 0 })
	conn.Close()
	<-opening
}

// TestTenThousandChannelsAreRefusedOneByOne: a client that listens hears a refusal for each channel too many, and its
// connection goes on.
func TestTenThousandChannelsAreRefusedOneByOne(t *testing.T) {
	const most = 4
	g := newGateway(t, setup{limits: sshproxy.Limits{Channels: most}})
	client, err := g.client(hanako).dial(theLogin() + "+db1")
	must(t, err)
	defer client.Close()
	var open []ssh.Channel
	for range most {
		ch, requests, err := client.OpenChannel("session", nil)
		must(t, err)
		go ssh.DiscardRequests(requests)
		open = append(open, ch)
	}
	before := runtime.NumGoroutine()
	for range 10000 {
		_, _, err := client.OpenChannel("session", nil)
		refused, ok := errors.AsType[*ssh.OpenChannelError](err)
		if !ok || refused.Reason != ssh.ResourceShortage {
			t.Fatalf("one more channel: %v", err)
		}
	}
	if after := runtime.NumGoroutine(); after > before+10 {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
	open[0].Close()
	eventually(t, "a place is free again", func() bool {
		session, err := client.NewSession()
		if err != nil {
			return false
		}
		out, err := session.Output("echo still here")
		return err == nil && string(out) == "still here\n"
	})
}

// TestALoginThatDripsHasTheSameGrace: bytes that keep coming do not keep a login alive.
func TestALoginThatDripsHasTheSameGrace(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{Grace: 300 * time.Millisecond}, log: silent})
	conn, err := net.Dial("tcp", g.addr)
	must(t, err)
	defer conn.Close()
	drip := time.NewTicker(5 * time.Millisecond)
	defer drip.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := conn.Write([]byte("-")); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a login that drips is kept")
		}
		<-drip.C
	}
}

// TestStartupsOfEverybodyAreBoundedTogether: addresses share the places for connections that have not logged in.
func TestStartupsOfEverybodyAreBoundedTogether(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{Startups: 2}, log: silent})
	from := func(ip string) net.Conn {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		conn, err := dialer.Dial("tcp", g.addr)
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	readVersion(t, from("127.0.0.2"))
	readVersion(t, from("127.0.0.3"))
	if said := readLine(t, from("127.0.0.4")); !strings.Contains(said, "too many connections") {
		t.Errorf("the third was told %q", said)
	}
}
