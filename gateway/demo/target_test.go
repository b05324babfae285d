package demo_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/pkg/sftp"
	"github.com/sekisho/sekisho/gateway/demo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) {
	demo.ShellMain()
	os.Exit(m.Run())
}

// targetHost is a running demo target and what its users need.
type targetHost struct {
	t      *testing.T
	dir    string // of keys and settings
	home   string
	target *demo.Target
	ca     ssh.Signer
	host   string
	port   string
	logs   *observer.ObservedLogs
	stop   func() // ends the target and waits for it
}

func startTarget(t *testing.T) *targetHost {
	t.Helper()
	// A space in the path and a folder beside HOME that plays the gateway's.
	dir := filepath.Join(t.TempDir(), "demo of mine")
	core, logs := observer.New(zap.WarnLevel)
	h := &targetHost{t: t, dir: dir, home: filepath.Join(dir, "targets", "db1"), ca: newSigner(t), logs: logs}
	write(t, filepath.Join(dir, "keys", "secret.key"), "the gateway's secret\n", 0o600)
	target, err := demo.NewTarget(demo.TargetConfig{
		Dir: h.home, HostKeyFile: filepath.Join(dir, "targets", "db1.key"), UserCA: h.ca.PublicKey(),
		Logins: []string{"app", "batch"}, Hidden: []string{dir}, Log: zap.New(core),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.target = target
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.host, h.port, _ = net.SplitHostPort(ln.Addr().String())
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- target.Serve(ctx, ln) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// identity writes a key and its certificate and returns the key's file.
func (h *targetHost) identity(name string, change func(*ssh.Certificate)) string {
	h.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		h.t.Fatal(err)
	}
	file := filepath.Join(h.dir, name)
	write(h.t, file, string(pem.EncodeToMemory(block)), 0o600)
	cert := h.certificate(private, change)
	write(h.t, file+"-cert.pub", string(ssh.MarshalAuthorizedKey(cert)), 0o644)
	return file
}

func (h *targetHost) certificate(key ed25519.PrivateKey, change func(*ssh.Certificate)) *ssh.Certificate {
	h.t.Helper()
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		h.t.Fatal(err)
	}
	cert := &ssh.Certificate{
		Key: public, CertType: ssh.UserCert, KeyId: "test", ValidPrincipals: []string{"app"},
		ValidAfter: uint64(time.Now().Add(-time.Minute).Unix()), ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
		Permissions: ssh.Permissions{Extensions: map[string]string{"permit-pty": ""}},
	}
	signer := h.ca
	if change != nil {
		change(cert)
	}
	if cert.SignatureKey == nil {
		if err := cert.SignCert(rand.Reader, signer); err != nil {
			h.t.Fatal(err)
		}
	}
	return cert
}

// ssh is the real client on its way to this target, with nothing of the machine's own settings.
func (h *targetHost) ssh(identity string, args ...string) *exec.Cmd {
	h.t.Helper()
	program, err := exec.LookPath("ssh")
	if err != nil {
		missing(h.t, "ssh")
	}
	known := filepath.Join(h.dir, "known_hosts")
	if _, err := os.Stat(known); err != nil {
		// The first connection learns the key; later ones must meet it again.
		write(h.t, known, "", 0o600)
	}
	options := []string{
		"-F", "none", "-p", h.port, "-i", identity, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", `CertificateFile="` + identity + `-cert.pub"`, "-o", `UserKnownHostsFile="` + known + `"`,
		"-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
	}
	cmd := exec.CommandContext(h.t.Context(), program, append(append(options, args[0]+"@"+h.host), args[1:]...)...)
	cmd.Env = append(os.Environ(), "LC_TIME=ja_JP.UTF-8")
	return cmd
}

// missing skips where a test tool cannot be had, and fails under CI, where it must be.
func missing(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed", tool)
	}
	t.Skipf("%s is not installed", tool)
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// result is what a command left behind.
type result struct {
	out, err string
	code     int
}

func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{out.String(), errout.String(), cmd.ProcessState.ExitCode()}
}

func TestACommandOnTheTargetKeepsItsOutputErrorsAndExitCode(t *testing.T) {
	h := startTarget(t)
	key := h.identity("id", nil)
	for _, c := range []struct {
		name, line string
		want       result
	}{
		{"output and exit code", "echo hello; exit 3", result{"hello\n", "", 3}},
		{"errors stay apart", "echo out; echo err >&2", result{"out\n", "err\n", 0}},
		{"HOME is the target's folder", `cd; pwd`, result{h.home + "\n", "", 0}},
		{"Japanese names are there", "cat customers/顧客一覧.csv | head -1", result{"id,name,city\n", "", 0}},
		{"the login is USER", `echo $USER $LOGNAME`, result{"app app\n", "", 0}},
		{"the locale is the client's", `echo $LC_TIME`, result{"ja_JP.UTF-8\n", "", 0}},
		{"a small program of the folder runs", "report | tail -1", result{"ERROR 1\n", "", 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := h.ssh(key, "app", c.line)
			cmd.Args = append(cmd.Args[:1], append([]string{"-o", "SendEnv=LC_*"}, cmd.Args[1:]...)...)
			if got := run(t, cmd); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestNothingOfTheUsersOwnEnvironmentReachesAShell(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "do not leak")
	h := startTarget(t)
	got := run(t, h.ssh(h.identity("id", nil), "app", "env"))
	if strings.Contains(got.out, "do not leak") || !strings.Contains(got.out, "HOME="+h.home) {
		t.Errorf("environment of the shell:\n%s", got.out)
	}
}

func TestStdinReachesTheCommandAndEndsWhenTheClientSaysSo(t *testing.T) {
	h := startTarget(t)
	cmd := h.ssh(h.identity("id", nil), "app", "sort")
	cmd.Stdin = strings.NewReader("b\na\n")
	if got := run(t, cmd); got.out != "a\nb\n" || got.code != 0 {
		t.Errorf("sort gave %+v", got)
	}
	// Without a command and without a terminal the shell reads its lines from stdin.
	cmd = h.ssh(h.identity("id2", nil), "app")
	cmd.Stdin = strings.NewReader("echo first\nexit 4\n")
	if got := run(t, cmd); got.out != "first\n" || got.code != 4 {
		t.Errorf("shell gave %+v", got)
	}
}

func TestMuchOutputArrivesWhole(t *testing.T) {
	h := startTarget(t)
	got := run(t, h.ssh(h.identity("id", nil), "app", "head -c 20000000 /dev/zero; echo done >&2"))
	if len(got.out) != 20000000 || got.err != "done\n" {
		t.Errorf("%d bytes and %q arrived", len(got.out), got.err)
	}
}

func TestTheTargetLetsInOnlyCertificatesOfItsCAForOneLogin(t *testing.T) {
	h := startTarget(t)
	other := newSigner(t)
	for _, c := range []struct {
		name, login string
		change      func(*ssh.Certificate)
		in          bool
	}{
		{"its own login", "app", nil, true},
		{"another login of the target", "batch", nil, false},
		{"a login the target does not have", "root", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"root"} }, false},
		{"no principal means nobody", "app", func(c *ssh.Certificate) { c.ValidPrincipals = nil }, false},
		{"two principals", "app", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"app", "batch"} }, false},
		{"expired", "app", func(c *ssh.Certificate) { c.ValidBefore = uint64(time.Now().Add(-time.Second).Unix()) }, false},
		{"a host certificate", "app", func(c *ssh.Certificate) { c.CertType = ssh.HostCert }, false},
		{"another CA", "app", func(c *ssh.Certificate) { sign(t, c, other) }, false},
		{"another source address", "app", func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"source-address": "192.0.2.1/32"}
		}, false},
		{"an option it does not know", "app", func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"force-command": "true"}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := run(t, h.ssh(h.identity("id", c.change), c.login, "echo in"))
			if in := got.out == "in\n"; in != c.in {
				t.Errorf("let in: %v, want %v: %+v", in, c.in, got)
			}
			if !c.in && !strings.Contains(got.err, "Permission denied") {
				t.Errorf("refusal reads %q", got.err)
			}
		})
	}
	t.Run("a bare key", func(t *testing.T) {
		key := h.identity("bare", nil)
		os.Remove(key + "-cert.pub")
		if got := run(t, h.ssh(key, "app", "echo in")); got.code != 255 {
			t.Errorf("a key without certificate got %+v", got)
		}
	})
}

func sign(t *testing.T, c *ssh.Certificate, ca ssh.Signer) {
	t.Helper()
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
}

func TestAnInteractiveShellHasATerminal(t *testing.T) {
	h := startTarget(t)
	term := h.terminal(h.identity("id", nil), 24, 80)
	term.expect("app@db1:~$ ")
	term.send("tty | cut -c1-9; echo size $(stty size) $TERM\n")
	term.expect("/dev/pts/\r\n")
	term.expect("size 24 80 xterm-256color\r\n")
	if err := pty.Setsize(term.tty, &pty.Winsize{Rows: 40, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	// The window change travels beside the keystrokes, so the shell is asked until it knows.
	term.send("until [ \"$(stty size)\" = '40 132' ]; do :; done; echo resized\n")
	term.expect("\rresized\r\n")
	term.send("exit 5\n")
	if code := term.wait(); code != 5 {
		t.Errorf("the shell's exit code is %d, want 5", code)
	}
}

func TestCtrlCInterruptsWhatRunsInTheForeground(t *testing.T) {
	h := startTarget(t)
	term := h.terminal(h.identity("id", nil), 24, 80)
	term.expect("$ ")
	term.send("sh -c 'echo start; exec sleep 1000'\n") // start is said from the foreground, not by the shell on its way
	term.expect("\rstart\r\n")
	term.send("\x03")
	term.expect("$ ")
	term.send("echo still here\n")
	term.expect("\rstill here\r\n")
	term.send("exit\n")
	term.wait()
}

// terminal is a real ssh client in a real terminal.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	seen bytes.Buffer
}

func (h *targetHost) terminal(identity string, rows, cols uint16) *terminal {
	h.t.Helper()
	cmd := h.ssh(identity, "app")
	cmd.Args = append(cmd.Args[:1], append([]string{"-tt"}, cmd.Args[1:]...)...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { tty.Close() })
	return &terminal{t: h.t, cmd: cmd, tty: tty}
}

func (term *terminal) send(keys string) {
	term.t.Helper()
	if _, err := io.WriteString(term.tty, keys); err != nil {
		term.t.Fatal(err)
	}
}

// expect reads until text is on the screen and forgets what came before.
func (term *terminal) expect(text string) {
	term.t.Helper()
	late := time.AfterFunc(20*time.Second, func() { term.cmd.Process.Kill() })
	defer late.Stop()
	buf := make([]byte, 4096)
	for !strings.Contains(term.seen.String(), text) {
		n, err := term.tty.Read(buf)
		term.seen.Write(buf[:n])
		if err != nil {
			term.t.Fatalf("waiting for %q, the terminal shows %q: %v", text, term.seen.String(), err)
		}
	}
	_, rest, _ := strings.Cut(term.seen.String(), text)
	term.seen.Reset()
	term.seen.WriteString(rest)
}

func (term *terminal) wait() int {
	term.t.Helper()
	io.Copy(io.Discard, term.tty)
	term.cmd.Wait()
	return term.cmd.ProcessState.ExitCode()
}

func TestATerminalNeedsTheCertificatesPermission(t *testing.T) {
	h := startTarget(t)
	key := h.identity("id", func(c *ssh.Certificate) { c.Extensions = nil })
	client := h.dial(key)
	session := newSession(t, client)
	if err := session.RequestPty("xterm", 24, 80, nil); err == nil {
		t.Error("a terminal was given to a certificate without permit-pty")
	}
	if out, err := session.Output("echo plain"); err != nil || string(out) != "plain\n" {
		t.Errorf("without a terminal: %q, %v", out, err)
	}
}

// dial is the Go client, for what the ssh program has no option for.
func (h *targetHost) dial(identity string) *ssh.Client {
	h.t.Helper()
	text, err := os.ReadFile(identity)
	if err != nil {
		h.t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		h.t.Fatal(err)
	}
	text, err = os.ReadFile(identity + "-cert.pub")
	if err != nil {
		h.t.Fatal(err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		h.t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(public.(*ssh.Certificate), key)
	if err != nil {
		h.t.Fatal(err)
	}
	client, err := ssh.Dial("tcp", net.JoinHostPort(h.host, h.port), &ssh.ClientConfig{
		User: "app", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if got := ssh.FingerprintSHA256(key); got != h.target.HostKey() {
				return fmt.Errorf("host key %s, want %s", got, h.target.HostKey())
			}
			return nil
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { client.Close() })
	return client
}

func newSession(t *testing.T, client *ssh.Client) *ssh.Session {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

func TestSignalsReachTheProcessGroupAndComeBackAsExitSignal(t *testing.T) {
	h := startTarget(t)
	client := h.dial(h.identity("id", nil))
	for _, c := range []struct {
		name, line string
		signal     ssh.Signal
		want       string
	}{
		{"a signal nobody catches ends the command", "echo ready; sleep 1000", ssh.SIGTERM, "TERM"},
		{"a trap sees it", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done", ssh.SIGUSR1, "status 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			session := newSession(t, client)
			out, err := session.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := session.Start(c.line); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
				t.Fatal(err)
			}
			if err := session.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			var exit *ssh.ExitError
			if err := session.Wait(); !errors.As(err, &exit) {
				t.Fatalf("Wait: %v", err)
			}
			got := exit.Signal()
			if got == "" {
				got = fmt.Sprintf("status %d", exit.ExitStatus())
			}
			if got != c.want {
				t.Errorf("the command ended with %q, want %q", got, c.want)
			}
		})
	}
}

// groupOf lists the processes of a process group that are not zombies.
func groupOf(t *testing.T, group int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Skip("this system shows no processes under /proc")
	}
	var members []int
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		pid, rest, _ := strings.Cut(string(text), " ")
		_, rest, _ = strings.Cut(rest[strings.LastIndexByte(rest, ')'):], " ")
		fields := strings.Fields(rest) // state ppid pgrp …
		if fields[0] != "Z" && fields[2] == strconv.Itoa(group) {
			n, _ := strconv.Atoi(pid)
			members = append(members, n)
		}
	}
	return members
}

// eventually polls for what another process does in its own time.
func eventually(done func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for {
		select {
		case <-tick.C:
			if done() {
				return true
			}
		case <-late:
			return false
		}
	}
}

func TestTheProcessGroupEndsWhenTheChannelGoes(t *testing.T) {
	h := startTarget(t)
	client := h.dial(h.identity("id", nil))
	for _, c := range []struct{ name, line string }{
		{"a plain command and its child", "sleep 1000 & echo $$; wait"},
		{"one that ignores the hangup", "trap '' HUP TERM; echo $$; while :; do sleep 0.05; done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			session := newSession(t, client)
			out, err := session.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := session.Start(c.line); err != nil {
				t.Fatal(err)
			}
			var group int
			if _, err := fmt.Fscan(out, &group); err != nil {
				t.Fatal(err)
			}
			session.Close()
			if !eventually(func() bool { return len(groupOf(t, group)) == 0 }) {
				t.Errorf("processes %v outlived their channel", groupOf(t, group))
			}
		})
	}
}

func TestATargetThatStopsLeavesNoShellBehind(t *testing.T) {
	h := startTarget(t)
	session := newSession(t, h.dial(h.identity("id", nil)))
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("echo $$; sleep 1000"); err != nil {
		t.Fatal(err)
	}
	var group int
	if _, err := fmt.Fscan(out, &group); err != nil {
		t.Fatal(err)
	}
	if len(groupOf(t, group)) == 0 {
		t.Fatal("the command was gone before the target stopped")
	}
	h.stop()
	if left := groupOf(t, group); len(left) != 0 {
		t.Errorf("processes %v outlived the target", left)
	}
}

// TestFilesAreServedBelowTheHomeOnly: the kernel confines the SFTP server like a shell.
func TestFilesAreServedBelowTheHomeOnly(t *testing.T) {
	h := startTarget(t)
	files, err := sftp.NewClient(h.dial(h.identity("id", nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	f, err := files.Create("made")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("text")); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if info, err := files.Stat("made"); err != nil || info.Size() != 4 {
		t.Errorf("%v %v", info, err)
	}
	home, err := files.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := files.ReadDir(filepath.Dir(home)); err == nil && h.target.Confined() {
		t.Errorf("what stands beside the home is listed: %v", entries)
	}
}

func TestOtherSubsystemsAndForwardingAreRefused(t *testing.T) {
	h := startTarget(t)
	client := h.dial(h.identity("id", nil))
	if err := newSession(t, client).RequestSubsystem("netconf"); err == nil {
		t.Error("a subsystem was accepted")
	}
	if conn, err := client.Dial("tcp", "127.0.0.1:22"); err == nil {
		conn.Close()
		t.Error("a forward was accepted")
	}
	if ln, err := client.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
		t.Error("a remote forward was accepted")
	}
}

func TestOneSessionRunsOneProgram(t *testing.T) {
	h := startTarget(t)
	session := newSession(t, h.dial(h.identity("id", nil)))
	exec := ssh.Marshal(struct{ Command string }{"cat"})
	if ok, err := session.SendRequest("exec", true, exec); err != nil || !ok {
		t.Fatalf("exec: %v, %v", ok, err)
	}
	for _, r := range []struct {
		kind    string
		payload []byte
	}{
		{"exec", exec},
		{"shell", nil},
		{"env", ssh.Marshal(struct{ Name, Value string }{"LANG", "C"})},
		{"pty-req", ssh.Marshal(struct {
			Term                         string
			Columns, Rows, Width, Height uint32
			Modes                        string
		}{"xterm", 80, 24, 0, 0, ""})},
	} {
		if ok, err := session.SendRequest(r.kind, true, r.payload); err != nil || ok {
			t.Errorf("after the program started, %s was answered %v, %v", r.kind, ok, err)
		}
	}
}

func TestOnlyTheLocaleMayBeSetFromOutside(t *testing.T) {
	h := startTarget(t)
	session := newSession(t, h.dial(h.identity("id", nil)))
	for _, name := range []string{"LD_PRELOAD", "PATH", "BASH_ENV", "LC_", "LC_x", "LANGUAGE"} {
		err := session.Setenv(name, "x")
		if accepted := err == nil; accepted != (name == "LC_") {
			t.Errorf("variable %s accepted: %v", name, accepted)
		}
	}
	if err := session.Setenv("LC_ALL", strings.Repeat("x", 2000)); err == nil {
		t.Error("a value of 2000 bytes was accepted")
	}
}
