package sshproxy_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// ways are both forms of addressing a target.
func ways(target string) map[string]string {
	login := theLogin()
	return map[string]string{"ssh -J gateway": login + "@" + target, "login+target": plus(login, target)}
}

func theLogin() string {
	d, err := theSSHD()
	if err != nil {
		return "app"
	}
	return d.login
}

func TestBothWaysToATargetRunACommand(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			got := c.ssh(way, "echo hello; exit 3")
			if got.stdout != "hello\n" || got.stderr != "" || got.code != 3 {
				t.Error(got)
			}
		})
	}
}

func TestOutputAndErrorsStayApart(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			got := c.ssh(way, "echo out; echo err >&2; echo out2; printf '\\0\\r\\n\\377' >&2")
			if got.stdout != "out\nout2\n" || got.stderr != "err\n\x00\r\n\xff" || got.code != 0 {
				t.Error(got)
			}
		})
	}
}

func TestBinaryDataIsTheSameOnTheOtherSide(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	data := randomBytes(6 << 20)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			got := c.sshWith(data, way, "cat")
			if sha256.Sum256([]byte(got.stdout)) != sha256.Sum256(data) || got.code != 0 {
				t.Errorf("%d of %d bytes came back, exit %d: %s", len(got.stdout), len(data), got.code, got.stderr)
			}
			got = c.sshWith(data, way, "cat >&2")
			if sha256.Sum256([]byte(got.stderr)) != sha256.Sum256(data) || got.stdout != "" {
				t.Errorf("%d of %d bytes came back on stderr", len(got.stderr), len(data))
			}
		})
	}
}

// TestDataSurvivesRekeying has the client exchange keys anew every 64 KiB.
func TestDataSurvivesRekeying(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	data := randomBytes(2 << 20)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			got := c.sshWith(data, "-o", "RekeyLimit=64K", way, "cat")
			if got.stdout != string(data) || got.code != 0 {
				t.Errorf("%d of %d bytes came back, exit %d: %s", len(got.stdout), len(data), got.code, got.stderr)
			}
		})
	}
}

func randomBytes(n int) []byte {
	rng := rand.NewChaCha8([32]byte{1})
	data := make([]byte, n)
	rng.Read(data)
	return data
}

func TestEveryExitCodeArrives(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	for code := range 256 {
		session, err := conn.NewSession()
		must(t, err)
		err = session.Run(fmt.Sprintf("exit %d", code))
		got := 0
		if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
			got = exit.ExitStatus()
		} else if err != nil {
			t.Fatalf("exit %d: %v", code, err)
		}
		if got != code {
			t.Errorf("exit %d arrived as %d", code, got)
		}
	}
}

func TestADeathBySignalArrivesAsOne(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	for _, signal := range []string{"TERM", "KILL", "HUP"} {
		session, err := conn.NewSession()
		must(t, err)
		err = session.Run("kill -" + signal + " $$")
		if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.Signal() != signal {
			t.Errorf("a death by %s arrived as %v", signal, err)
		}
	}
}

func TestASignalReachesTheProgram(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	session, err := conn.NewSession()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.Start(`trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done`))
	expect(t, out, "ready\n")
	must(t, session.Signal(ssh.SIGTERM))
	expect(t, out, "caught\n")
	if exit, ok := errors.AsType[*ssh.ExitError](session.Wait()); !ok || exit.ExitStatus() != 9 {
		t.Error("the exit after a signal was lost")
	}
}

// expect reads exactly these bytes.
func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func TestEachSideMayStopWritingBeforeTheOther(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			// The target goes on after the client's EOF.
			got := c.sshWith([]byte("in\n"), way, "cat; echo after; exit 4")
			if got.stdout != "in\nafter\n" || got.code != 4 {
				t.Error(got)
			}
			// The client goes on after the target's EOF.
			got = c.sshWith([]byte("in\n"), way, "exec >&- 2>&-; cat >/dev/null; sleep 1.5; exit 7")
			if got.code != 7 {
				t.Error(got)
			}
		})
	}
}

// TestAClientThatWaitsForEOFGetsIt closes its input only after the target has closed its output.
func TestAClientThatWaitsForEOFGetsIt(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	session, err := conn.NewSession()
	must(t, err)
	in, err := session.StdinPipe()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.Start("echo out; exec >&- 2>&-; cat >/dev/null; exit 8"))
	got, err := io.ReadAll(out)
	if err != nil || string(got) != "out\n" {
		t.Errorf("read %q, %v", got, err)
	}
	in.Close()
	if exit, ok := errors.AsType[*ssh.ExitError](session.Wait()); !ok || exit.ExitStatus() != 8 {
		t.Error("the exit status was lost")
	}
}

// TestAReaderThatStopsEndsTheProgram is `ssh db1 yes | head -1`: without eow@openssh.com it would run for ever.
func TestAReaderThatStopsEndsTheProgram(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			cmd := c.command(way, "yes")
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			expect(t, out, "y\n")
			out.Close()
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				cmd.Process.Kill()
				t.Error("yes goes on although nobody reads")
			}
		})
	}
}

// TestNoExitCodeIsLost runs many quick commands, over one connection and over many, against a target that closes as early
// as it can: the close must not overtake the answer to exec or the exit status.
func TestNoExitCodeIsLost(t *testing.T) {
	target := newTarget(t, func(ch ssh.Channel, req *ssh.Request) {
		req.Reply(true, nil)
		ch.Write([]byte("x"))
		ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{3}))
		ch.Close()
	})
	g := newGateway(t, setup{targets: []string{target.yaml("other")}})
	c := g.client(hanako)
	const connections, runs = 8, 60
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			conn, err := c.dial("app+other")
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for range runs {
				runQuick(t, conn)
			}
		})
	}
	all.Wait()
	for range 40 {
		conn, err := c.dial("app+other")
		must(t, err)
		runQuick(t, conn)
		conn.Close()
	}
}

func runQuick(t *testing.T, conn *ssh.Client) {
	session, err := conn.NewSession()
	if err != nil {
		t.Error(err)
		return
	}
	out, err := session.Output("true")
	if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.ExitStatus() != 3 || string(out) != "x" {
		t.Errorf("a quick command ended with %q, %v", out, err)
	}
}

func TestOnlyTheLocaleTravels(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	got := c.ssh("-o", "SetEnv=LC_TIME=ja_JP.UTF-8 LD_PRELOAD=/tmp/x.so FOO=bar", plus(theLogin(), "db1"),
		`echo "$LC_TIME|$FOO|$LD_PRELOAD"`)
	if got.stdout != "ja_JP.UTF-8||\n" || got.stderr != "" {
		t.Error(got)
	}
}

// TestAnApprovedLineMeansTheSameFileTomorrow: a lease holds for the very line that was approved, and a variable from the
// client must not let that line mean another file.
func TestAnApprovedLineMeansTheSameFileTomorrow(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	const line = `cp -f /dev/null "$LC_TIME"`
	got := c.ssh(plus(theLogin(), "db1"), line)
	id := regexp.MustCompile(`r-[0-9A-Z]{26}`).FindString(got.stderr)
	mika := identity.Principal{Person: "mika", Vendor: "@staff", Serial: "77", NotAfter: time.Now().Add(time.Hour),
		MFA: identity.MFA{Method: "webauthn", At: time.Now(), UV: true}, Source: netip.MustParseAddrPort("127.0.0.1:1")}
	if _, err := g.door.Approve(t.Context(), mika, id, access.Consent{Minutes: 30, Reason: "a locale"}); err != nil {
		t.Fatal(err, got)
	}
	dir, err := os.MkdirTemp("", "orders-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755)) // the target's account is another
	file := filepath.Join(dir, "orders")
	must(t, os.WriteFile(file, []byte("orders"), 0o666))
	must(t, os.Chmod(file, 0o666))
	got = c.ssh("-o", "SetEnv=LC_TIME="+file, plus(theLogin(), "db1"), line)
	if strings.Contains(got.stderr, "sekisho:") {
		t.Fatal(got)
	}
	if kept, err := os.ReadFile(file); string(kept) != "orders" {
		t.Errorf("the lease emptied a file that nobody approved: %q, %v, %v", kept, err, got)
	}
}

func TestTheVariablesOfACommandAreOnRecord(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	if got := c.ssh("-o", "SetEnv=LC_TIME=ja_JP.UTF-8 FOO=bar", plus(theLogin(), "db1"), "true"); got.code != 0 {
		t.Fatal(got)
	}
	eventually(t, "the session has ended", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
	for _, e := range g.entries() {
		if e.Kind == recorder.KindStart && !strings.Contains(string(e.Data), `"env":{"LC_TIME":"ja_JP.UTF-8"}`) {
			t.Errorf("on record: %s", e.Data)
		}
	}
}

func TestManyChannelsShareOneConnectionAndOneSession(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			session, err := conn.NewSession()
			if err != nil {
				t.Error(err)
				return
			}
			want := strings.Repeat(fmt.Sprintf("line of %d\n", i), 2000)
			session.Stdin = strings.NewReader(want)
			if got, err := session.Output("cat"); err != nil || string(got) != want {
				t.Errorf("channel %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
	if opened := len(g.events("command", "session.open")); opened != 1 {
		t.Errorf("%d sessions were opened", opened)
	}
}

func TestKeepalivesAreAnswered(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	if _, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Error(err)
	}
	session, err := conn.NewSession()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.Start("echo ready; cat"))
	expect(t, out, "ready\n")
	if _, err := session.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Error(err)
	}
}

// TestOpenSSHMultiplexesOverTheGateway is ControlMaster, as many people have it in their configuration.
func TestOpenSSHMultiplexesOverTheGateway(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "mux")
			must(t, err)
			defer os.RemoveAll(dir)
			mux := []string{"-o", "ControlMaster=auto", "-o", "ControlPath=" + filepath.Join(dir, "%C"), "-o", "ControlPersist=30"}
			for i := range 3 {
				got := c.ssh(append(mux, way, fmt.Sprintf("echo %d; exit %d", i, i))...)
				if got.stdout != fmt.Sprintf("%d\n", i) || got.code != i {
					t.Error(got)
				}
			}
			c.ssh(append(mux, "-O", "exit", way)...)
		})
	}
}

func TestGitWorksThroughTheGateway(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		missing(t, "git")
	}
	d := realSSHD(t)
	repo := filepath.Join(d.home, "repo.git")
	if d.login != "app" {
		repo = filepath.Join(t.TempDir(), "repo.git")
	}
	defer os.RemoveAll(repo)
	work := t.TempDir()
	inDir := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.Command(git, append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "safe.directory=*"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	inDir(work, "init", "-q", "-b", "main")
	must(t, os.WriteFile(filepath.Join(work, "blob"), randomBytes(1<<20), 0o644))
	inDir(work, "add", ".")
	inDir(work, "commit", "-q", "-m", "one")
	inDir(work, "clone", "-q", "--bare", work, repo)
	if d.login == "app" {
		must(t, exec.Command("chown", "-R", "61234:61234", repo).Run())
	}
	g := newGateway(t, setup{})
	c := g.client(hanako)
	clone := filepath.Join(t.TempDir(), "clone")
	cmd := exec.Command(git, "clone", "-q", theLogin()+"@db1:"+repo, clone)
	cmd.Env = append(os.Environ(), "GIT_SSH_COMMAND=ssh -F "+filepath.Join(c.dir, "ssh_config"))
	if got := run(t, cmd); got.code != 0 {
		t.Fatal(got)
	}
	got, err := os.ReadFile(filepath.Join(clone, "blob"))
	must(t, err)
	if !bytes.Equal(got, randomBytes(1<<20)) {
		t.Error("the clone differs")
	}
}
