package sshproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// orders is a TCP target that answers HTTP, and the setup that declares it.
func orders(t *testing.T) (setup, string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "orders\n") }))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	_, port, _ := net.SplitHostPort(address)
	return setup{targets: []string{fmt.Sprintf("orders: {tcp: {address: %q}}", address)}}, port
}

// forwarding runs ssh with an option that listens, until the test ends, and returns once it listens.
func (c *client) forwarding(option, spec, to string) {
	t := c.g.t
	t.Helper()
	cmd := c.command("-v", "-N", "-o", "ExitOnForwardFailure=yes", option, spec, to)
	out, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Entering interactive session") {
			go io.Copy(io.Discard, out)
			return
		}
	}
	t.Fatal("ssh does not listen")
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestADeclaredTCPTargetIsForwardedTo(t *testing.T) {
	s, port := orders(t)
	g := newGateway(t, s)
	c := g.client(hanako)
	local, socks := freePort(t), freePort(t)
	c.forwarding("-L", local+":orders:"+port, "gateway")
	c.forwarding("-D", socks, "gateway")
	curl, err := exec.LookPath("curl")
	if err != nil {
		missing(t, "curl")
	}
	for what, cmd := range map[string]*exec.Cmd{
		"-L": exec.Command(curl, "-s", "http://127.0.0.1:"+local+"/"),
		"-D": exec.Command(curl, "-s", "--socks5-hostname", "127.0.0.1:"+socks, "http://orders:"+port+"/"),
	} {
		if got := run(t, cmd); got.stdout != "orders\n" {
			t.Errorf("%s: %v", what, got)
		}
	}
	if got := c.sshWith([]byte("GET / HTTP/1.0\r\n\r\n"), "-W", "orders:"+port, "gateway"); !strings.HasSuffix(got.stdout, "orders\n") {
		t.Errorf("-W: %v", got)
	}
	eventually(t, "three forwards on record with their bytes", func() bool {
		events := g.events(recorder.ClassCommand, "tcp.forward")
		for _, e := range events {
			if e.Target != "orders" || e.Detail["bytes_received"].(float64) < 100 || e.Detail["bytes_sent"].(float64) < 18 ||
				e.Enforced != "recorded" {
				t.Errorf("on record: %v", e)
			}
		}
		return len(events) == 3
	})
}

func TestWhatIsNotDeclaredIsNotForwardedTo(t *testing.T) {
	s, port := orders(t)
	g := newGateway(t, s)
	for what, w := range map[string]struct{ who, to, say string }{
		"another port":               {hanako, "orders:1", "listens on port"},
		"an address":                 {hanako, "127.0.0.1:" + port, "no such target"},
		"an SSH target":              {hanako, "db1:2222", "no such target"},
		"somebody else's":            {ken, "orders:" + port, "no such target"},
		"a target that is not there": {hanako, "nowhere:80", "no such target"},
	} {
		got := g.client(w.who).ssh("-W", w.to, "gateway")
		if got.code == 0 || !strings.Contains(got.stderr, w.say) {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// TestAForwardEndsWithTheRightToIt: what was forwarded a moment ago is cut within a second.
func TestAForwardEndsWithTheRightToIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(conn, conn)
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	g := newGateway(t, setup{targets: []string{fmt.Sprintf("echo: {tcp: {address: %q}}", l.Addr())}})
	c := g.client(hanako)
	local := freePort(t)
	c.forwarding("-L", local+":echo:"+port, "gateway")
	conn, err := net.Dial("tcp", "127.0.0.1:"+local)
	must(t, err)
	defer conn.Close()
	buf := make([]byte, 5)
	fmt.Fprint(conn, "hello")
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
		t.Fatal(err, buf)
	}
	text := g.document
	_, _, err = g.directory.Apply(t.Context(), []byte(strings.Replace(text, "echo, ", "", 1)), "admin", "no more", 1)
	must(t, err)
	begun := time.Now()
	conn.SetReadDeadline(begun.Add(5 * time.Second))
	if _, err := conn.Read(buf); err == nil || time.Since(begun) > 2*time.Second {
		t.Errorf("still there after %v: %v", time.Since(begun), err)
	}
}
