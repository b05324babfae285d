package shell_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/sekisho/sekisho/gateway/sshproxy/shell"
)

// terminal is a person at a gated bash.
type terminal struct {
	t    *testing.T
	gate *shell.Gate
	pty  *os.File
	home string

	mu      sync.Mutex
	changed *sync.Cond
	screen  strings.Builder // what the person was shown
	asked   []string
	ended   []int
	skipped []string
	refuse  func(ctx context.Context, line string) error
}

type command struct{ t *terminal }

func (c command) Ended(status int, _ string) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.ended = append(c.t.ended, status)
	c.t.changed.Broadcast()
}

const token = "0123456789abcdef"

func open(t *testing.T, rc string) *terminal {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal("bash is not installed: apt-get install bash")
	}
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".bash_profile"), []byte("PS1='$ '\n"+rc), 0o600); err != nil {
		t.Fatal(err)
	}
	line, ok := shell.Command(bash, token)
	if !ok {
		t.Fatal("bash cannot be gated")
	}
	cmd := exec.Command(bash, "-c", line)
	cmd.Dir, cmd.Env = home, []string{"HOME=" + home, "PATH=/usr/bin:/bin", "TERM=xterm", "LANG=C.UTF-8"}
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{t: t, pty: tty, home: home}
	p.changed = sync.NewCond(&p.mu)
	p.gate = shell.New(t.Context(), shell.Config{
		Token:      token,
		Incomplete: func(s string) bool { return strings.HasSuffix(s, " do") || strings.HasSuffix(s, "do\necho part") },
		Decide: func(ctx context.Context, line shell.Line) (shell.Running, error) {
			p.mu.Lock()
			p.asked = append(p.asked, line.Text)
			p.changed.Broadcast()
			refuse := p.refuse
			p.mu.Unlock()
			if refuse != nil {
				if err := refuse(ctx, line.Text); err != nil {
					return nil, err
				}
			}
			return command{p}, nil
		},
		Skipped:  func(s string) { p.skipped = append(p.skipped, s) },
		ToClient: p.show,
		Notify:   func(s string) { p.show([]byte("[" + s + "]")) },
		ToTarget: func(data []byte) error { _, err := tty.Write(data); return err },
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1000)
		for {
			n, err := tty.Read(buf)
			if err != nil {
				return
			}
			if err := p.gate.FromTarget(buf[:n]); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		tty.Close()
		<-done
		p.gate.Close()
	})
	p.until("a prompt", func() bool { return strings.HasSuffix(p.screen.String(), "$ ") })
	return p
}

func (p *terminal) show(data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.screen.Write(data)
	p.changed.Broadcast()
	return nil
}

// until waits for something to become true of what happened.
func (p *terminal) until(what string, ok func() bool) {
	p.t.Helper()
	overdue := time.AfterFunc(10*time.Second, func() { p.mu.Lock(); p.changed.Broadcast(); p.mu.Unlock() })
	defer overdue.Stop()
	begun := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !ok() {
		if time.Since(begun) > 9*time.Second {
			p.t.Fatalf("no %s; asked %q, ended %v, screen %q", what, p.asked, p.ended, p.screen.String())
		}
		p.changed.Wait()
	}
}

func (p *terminal) typed(text string) {
	p.t.Helper()
	if err := p.gate.FromClient([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// shows waits until the person has seen text.
func (p *terminal) shows(text string) {
	p.t.Helper()
	p.until("screen with "+text, func() bool { return strings.Contains(p.screen.String(), text) })
}

func (p *terminal) wasAsked(want ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Join(p.asked, "|") != strings.Join(want, "|") {
		p.t.Errorf("asked about %q, want %q; screen %q", p.asked, want, p.screen.String())
	}
}

// notMade fails the test when a file named made is there.
func (p *terminal) notMade() {
	p.t.Helper()
	if _, err := os.Stat(filepath.Join(p.home, "made")); err == nil {
		p.t.Errorf("it ran: %q", p.screen.String())
	}
}

func TestEachLineIsAskedAboutBeforeItRuns(t *testing.T) {
	p := open(t, "")
	p.typed("echo $((40+2))\r")
	p.shows("42\r\n")
	p.until("the end", func() bool { return len(p.ended) == 1 && p.ended[0] == 0 })
	p.typed("false\r")
	p.until("the end", func() bool { return len(p.ended) == 2 && p.ended[1] == 1 })
	p.wasAsked("echo $((40+2))", "false")
	if strings.Contains(p.screen.String(), token) || strings.Contains(p.screen.String(), "7700;") {
		t.Errorf("the person sees the gate: %q", p.screen.String())
	}
}

func TestARefusedLineDoesNotRun(t *testing.T) {
	p := open(t, "")
	p.refuse = func(_ context.Context, line string) error {
		if strings.Contains(line, "touch") {
			return errors.New("not that")
		}
		return nil
	}
	p.typed("touch made\r")
	p.shows("[not that]")
	p.typed("ls -A; echo done$((1))\r")
	p.shows("done1")
	p.notMade()
}

func TestWhatIsTypedAheadIsAskedAboutInItsTurn(t *testing.T) {
	p := open(t, "")
	p.typed("sleep 0.3; echo one$((1))\recho two$((2))\rread x; echo got-$x\rword\r")
	p.shows("got-word")
	p.wasAsked("sleep 0.3; echo one$((1))", "echo two$((2))", "read x; echo got-$x")
}

func TestACommandOverSeveralLinesIsDecidedWhole(t *testing.T) {
	p := open(t, "")
	p.typed("for i in 1 2; do\recho part\rdone\r")
	p.shows("part\r\npart\r\n")
	p.wasAsked("for i in 1 2; do\necho part\ndone")
}

func TestHistoryIsExpandedBeforeItIsDecided(t *testing.T) {
	p := open(t, "set -o history\n")
	p.typed("echo a$((1))\r")
	p.shows("a1\r\n")
	p.typed("!!\r")
	p.until("the second end", func() bool { return len(p.ended) == 2 })
	p.wasAsked("echo a$((1))", "echo a$((1))")
	p.typed("echo 'it is!!' \\!x\r")
	p.shows("it is!! !x\r\n")
	p.typed("!nothing\r")
	p.typed("echo still$((1))\r")
	p.shows("still1")
	p.wasAsked("echo a$((1))", "echo a$((1))", "echo 'it is!!' \\!x", "echo still$((1))")
}

func TestAnotherKeyForEnterRunsNothing(t *testing.T) {
	p := open(t, "")
	p.typed("bind '\"\\C-g\": accept-line'\r")
	p.until("the end", func() bool { return len(p.ended) == 1 })
	p.typed("touch made\x07")
	p.shows("was not asked about")
	p.typed("ls -A; echo done$((1))\r")
	p.shows("done1")
	if len(p.skipped) != 1 || p.skipped[0] != "touch made" {
		t.Errorf("skipped %q", p.skipped)
	}
	p.notMade()
}

func TestCtrlCLeavesALineThatWaits(t *testing.T) {
	p := open(t, "")
	waiting := make(chan struct{})
	p.refuse = func(ctx context.Context, line string) error {
		if line != "waits" {
			return nil
		}
		close(waiting)
		<-ctx.Done()
		return errors.New("cancelled")
	}
	p.typed("waits\r")
	<-waiting
	p.typed("junk\x03")
	p.shows("[cancelled]")
	p.typed("echo on$((1))\r")
	p.shows("on1")
	p.wasAsked("waits", "echo on$((1))")
}

func TestAPasteInBracketsIsOneQuestion(t *testing.T) {
	p := open(t, "bind 'set enable-bracketed-paste on'\n")
	p.typed("\x1b[200~echo a$((1))\necho b$((2))\x1b[201~")
	p.typed("\r")
	p.shows("b2\r\n")
	p.wasAsked("echo a$((1))\necho b$((2))")
}

func TestOtherShellsAreNotGated(t *testing.T) {
	for _, login := range []string{"/bin/sh", "/bin/dash", "/usr/bin/fish", "", "/bin/bash; rm -rf /"} {
		if line, ok := shell.Command(login, token); ok {
			t.Errorf("%s: %s", login, line)
		}
	}
}
