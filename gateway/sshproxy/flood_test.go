package sshproxy_test

import (
	"context"
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
