package sshproxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/sshproxy"
)

// idleBudget is what an idle recorded session may hold of heap and stacks.
const idleBudget = 256 << 10

// TestAnIdleSessionIsSmall opens sessions that print a screen and then do nothing, and weighs the process: heap and stacks in
// use after a collection, which is what the runtime holds for them. Clients and target are another process. There are 100
// sessions, or as many as SEKISHO_IDLE says.
func TestAnIdleSessionIsSmall(t *testing.T) {
	n := 100
	if many := os.Getenv("SEKISHO_IDLE"); many != "" {
		var err error
		n, err = strconv.Atoi(many)
		must(t, err)
	}
	crowd, tell, hear := startCrowd(t)
	var offered crowdTarget
	must(t, hear.Decode(&offered))
	g := newGateway(t, setup{log: silent, perPerson: n,
		limits:  sshproxy.Limits{PerPerson: n, Connections: 2 * n},
		targets: []string{fmt.Sprintf("idle: {ssh: {address: %q, host_key: %q}, logins: [app], opaque: execute}", offered.Addr, offered.Key)}})
	c := g.client(hanako)
	before := weigh()
	must(t, tell.Encode(crowdOrder{Gateway: g.addr, Dir: c.dir, Sessions: n}))
	var ready int
	if err := hear.Decode(&ready); err != nil || ready != n {
		t.Fatalf("%d sessions are open: %v", ready, err)
	}
	// Seconds of idling pass before a recording gives back what it compresses with.
	each := (weigh() - before) / int64(n)
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); {
		time.Sleep(2 * time.Second)
		last := each
		if each = (weigh() - before) / int64(n); each <= idleBudget && each > last-last/50 {
			break
		}
	}
	open := running("sshproxy.(*peer).serve")
	t.Logf("%d sessions, %d goroutines: %d KiB of heap and stacks each, at most %d (in this process; load average %s)",
		open, runtime.NumGoroutine(), each>>10, idleBudget>>10, load())
	if open != n {
		t.Errorf("%d of %d sessions are open", open, n)
	}
	if each > idleBudget {
		t.Errorf("an idle session holds %d bytes", each)
	}
	crowd.Close()
}

// weigh is what the process holds of heap and stacks, in bytes.
func weigh() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func load() string {
	data, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(data), " ")
	return one
}

// crowdTarget is where the crowd's target listens, and its host key.
type crowdTarget struct{ Addr, Key string }

// crowdOrder says whom to connect to and how often.
type crowdOrder struct {
	Gateway, Dir string
	Sessions     int
}

// startCrowd starts a process with a target and clients. It ends when the writer is closed.
func startCrowd(t *testing.T) (io.Closer, *json.Encoder, *json.Decoder) {
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run", "^TestCrowd$", "-test.timeout", "10m")
	cmd.Env = append(os.Environ(), "SEKISHO_CROWD=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return in, json.NewEncoder(in), json.NewDecoder(out)
}

// TestCrowd is no test but the other process of one.
func TestCrowd(t *testing.T) {
	if os.Getenv("SEKISHO_CROWD") == "" {
		t.Skip("the clients of TestAnIdleSessionIsSmall")
	}
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	out := json.NewEncoder(os.Stdout)
	tg := newTarget(t, func(ch ssh.Channel, req *ssh.Request) {
		req.Reply(true, nil)
		ch.Write([]byte(strings.Repeat("a line of the screen that somebody left alone\r\n", 40)))
	})
	must(t, out.Encode(crowdTarget{tg.addr, ssh.FingerprintSHA256(tg.key)}))
	var order crowdOrder
	must(t, in.Decode(&order))
	cfg := crowdClient(t, order.Dir)
	var opened sync.WaitGroup
	turns := make(chan struct{}, 8)
	for range order.Sessions {
		turns <- struct{}{}
		opened.Go(func() {
			defer func() { <-turns }()
			openIdle(t, order.Gateway, cfg)
		})
	}
	opened.Wait()
	must(t, out.Encode(order.Sessions))
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func crowdClient(t *testing.T, dir string) *ssh.ClientConfig {
	key, err := os.ReadFile(dir + "/id")
	must(t, err)
	signer, err := ssh.ParsePrivateKey(key)
	must(t, err)
	line, err := os.ReadFile(dir + "/id-cert.pub")
	must(t, err)
	public, _, _, _, err := ssh.ParseAuthorizedKey(line)
	must(t, err)
	certified, err := ssh.NewCertSigner(public.(*ssh.Certificate), signer)
	must(t, err)
	return &ssh.ClientConfig{User: "app+idle", Auth: []ssh.AuthMethod{ssh.PublicKeys(certified)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()}
}

// openIdle opens a session with a terminal and reads its first screen.
func openIdle(t *testing.T, addr string, cfg *ssh.ClientConfig) {
	client, err := ssh.Dial("tcp", addr, cfg)
	if err != nil {
		t.Error(err)
		return
	}
	session, err := client.NewSession()
	if err != nil {
		t.Error(err)
		return
	}
	output, err := session.StdoutPipe()
	if err != nil {
		t.Error(err)
		return
	}
	if err := session.Start("cat"); err != nil {
		t.Error(err)
		return
	}
	if _, err := io.ReadFull(output, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
}
