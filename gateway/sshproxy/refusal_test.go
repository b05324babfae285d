package sshproxy_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/recorder"
)

func TestARefusedCommandSaysWhyAndEndsWith126(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(ken)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			got := c.ssh(way, "rm x")
			if got.code != 126 || got.stdout != "" {
				t.Error(got)
			}
			for _, want := range []string{"M-4", "delete", "d-", "拒否"} {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("stderr lacks %q: %s", want, got.stderr)
				}
			}
			// The connection was not at fault.
			if got := c.ssh(way, "echo in"); got.stdout != "in\n" || got.code != 0 {
				t.Error(got)
			}
		})
	}
	refused := g.events(recorder.ClassCommand, "command.refused")
	if len(refused) != 2 || refused[0].Detail["line"] != "rm x" || refused[0].Table != "R-2" {
		t.Errorf("R-2 events %+v", refused)
	}
}

func TestARefusedShellSaysWhyOnTheTerminal(t *testing.T) {
	needTerminals(t)
	g := newGateway(t, setup{})
	c := g.client(ken)
	s := c.screen(24, 100, plus(theLogin(), "db1"))
	s.shows(`sekisho: refused\r\n`)
	s.shows(`M-4`)
	if code := s.ends(); code != 126 {
		t.Errorf("exit %d", code)
	}
}

func TestACommandThatNeedsApprovalNamesItsRequest(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	got := c.ssh(plus(theLogin(), "db1"), "tee /tmp/x")
	if got.code != 126 || got.stdout != "" || !regexp.MustCompile(`r-[0-9A-Z]{26}`).MatchString(got.stderr) || !strings.Contains(got.stderr, "M-2") {
		t.Error(got)
	}
}

// TestATargetThatDoesNotExistLooksLikeOneThatIsNotYours: nobody lists targets by asking.
func TestATargetThatDoesNotExistLooksLikeOneThatIsNotYours(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	masked := func(r result) string {
		// Whether ssh still meets an open connection when it says goodbye is a race of its own.
		r.stderr = regexp.MustCompile(`(?m)^client_loop: .*\n`).ReplaceAllString(r.stderr, "")
		return regexp.MustCompile(`d-[0-9A-Z]{26}`).ReplaceAllString(fmt.Sprint(r), "d-")
	}
	var seen []string
	for _, way := range []string{theLogin() + "@nowhere", theLogin() + "@theirs", "nobody@db1", plus(theLogin(), "nowhere"),
		plus(theLogin(), "theirs"), plus("nobody", "db1")} {
		got := c.ssh(way, "id")
		if got.code != 255 || got.stdout != "" || strings.Contains(got.stderr, "Permission denied") || !strings.Contains(got.stderr, "C-5") {
			t.Errorf("%s: %v", way, got)
		}
		seen = append(seen, masked(got))
	}
	for _, text := range seen[1:] {
		if text != seen[0] {
			t.Errorf("answers differ:\n%s\n%s", seen[0], text)
		}
	}
}

func TestContractorsAreNeverRoot(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for name, way := range map[string]string{"ssh -J gateway": "root@db1", "login+target": plus("root", "db1")} {
		if got := c.ssh(way, "id"); got.code != 255 || got.stdout != "" || !strings.Contains(got.stderr, "sekisho: refused") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAnAddressWithoutLoginOrTargetIsExplained(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for _, user := range []string{"app+", "+db1"} {
		if got := c.ssh("-l", user, "gateway", "id"); got.code != 255 || !strings.Contains(got.stderr, "LOGIN+TARGET") {
			t.Errorf("%q: %v", user, got)
		}
	}
}

func TestForwardingOptionsAreRefusedAndTheSessionGoesOn(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	way := plus(theLogin(), "db1")
	for name, one := range map[string]struct{ options, says []string }{
		"-R": {[]string{"-R", "0:localhost:22"}, []string{"remote forwarding (-R) is not available yet"}},
		"-A": {[]string{"-A"}, []string{"agent forwarding (-A) is not available yet"}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := c.command(append(one.options, way, "echo in")...)
			if name == "-A" {
				agent := startAgent(t)
				cmd.Args = append(cmd.Args[:3:3], append([]string{"-o", "IdentityAgent=" + agent}, cmd.Args[3:]...)...)
				cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+agent)
			}
			got := run(t, cmd)
			if got.stdout != "in\n" || got.code != 0 {
				t.Error(got)
			}
			for _, want := range one.says {
				if strings.Count(got.stderr, want) != 1 {
					t.Errorf("stderr lacks %q: %s", want, got.stderr)
				}
			}
		})
	}
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	session, err := conn.NewSession()
	must(t, err)
	x11 := ssh.Marshal(struct {
		Single       bool
		Auth, Cookie string
		Screen       uint32
	}{false, "MIT-MAGIC-COOKIE-1", "00", 0})
	if ok, err := session.SendRequest("x11-req", true, x11); ok || err != nil {
		t.Errorf("x11: %v %v", ok, err)
	}
}

// startAgent runs an empty ssh-agent and returns its socket.
func startAgent(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ssh-agent")
	if err != nil {
		missing(t, "ssh-agent")
	}
	socket := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command(path, "-D", "-a", socket)
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "the agent listens", func() bool { return exec.Command("test", "-S", socket).Run() == nil })
	return socket
}

func TestALineThatCannotBeDecidedIsNotRun(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	for _, line := range []string{"echo a\x00; id", "echo \xff", strings.Repeat("a", 200<<10)} {
		session, err := conn.NewSession()
		must(t, err)
		var stderr strings.Builder
		session.Stderr = &stderr
		out, err := session.Output(line)
		if exit, ok := err.(*ssh.ExitError); !ok || exit.ExitStatus() != 126 || len(out) != 0 || !strings.Contains(stderr.String(), "UTF-8") {
			t.Errorf("%.10q: %q, %v, %s", line, out, err, stderr.String())
		}
	}
}

func TestASecondCommandOnOneChannelIsNotRun(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	ch, requests, err := conn.OpenChannel("session", nil)
	must(t, err)
	go ssh.DiscardRequests(requests)
	exec := func(line string) bool {
		ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{line}))
		must(t, err)
		return ok
	}
	if !exec("echo first; cat") || exec("rm -rf /tmp/second") {
		t.Error("want the first command alone")
	}
	if ok, _ := ch.SendRequest("shell", true, nil); ok {
		t.Error("a shell was started beside a command")
	}
	if ok, _ := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); ok {
		t.Error("a subsystem was started beside a command")
	}
	ch.Close()
	eventually(t, "only the first is on record", func() bool { return len(g.events(recorder.ClassCommand, "command.run")) == 1 })
}

// TestAChannelAsksTheTargetOnce: a second try after one that the target did not start would run without an end on record.
func TestAChannelAsksTheTargetOnce(t *testing.T) {
	var asked atomic.Int64
	tg := newTarget(t, func(ch ssh.Channel, req *ssh.Request) {
		if asked.Add(1) == 1 {
			req.Reply(false, nil)
			return
		}
		hello(ch, req)
	})
	g := newGateway(t, setup{targets: []string{tg.yaml("other")}})
	conn, err := g.client(hanako).dial("app+other")
	must(t, err)
	defer conn.Close()
	ch, requests, err := conn.OpenChannel("session", nil)
	must(t, err)
	go ssh.DiscardRequests(requests)
	for range 2 {
		if ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{"ls"})); ok || err != nil {
			t.Errorf("started: %v, %v", ok, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the target was asked %d times", n)
	}
	if runs := g.events(recorder.ClassCommand, "command.run"); len(runs) != 1 || runs[0].Outcome != recorder.Failed {
		t.Errorf("on record: %+v", runs)
	}
}

// TestARefusedConnectionIsClosed: ssh -N would otherwise stay for ever.
func TestARefusedConnectionIsClosed(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial("app+nowhere")
	must(t, err)
	defer conn.Close()
	session, err := conn.NewSession()
	must(t, err)
	if err := session.Run("id"); err == nil {
		t.Fatal("a command ran")
	}
	closed := make(chan struct{})
	go func() { conn.Wait(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is kept")
	}
}
