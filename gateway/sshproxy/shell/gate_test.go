package shell_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/sekisho/sekisho/gateway/sshproxy/shell"
	"github.com/sekisho/sekisho/policy/command"
)

// terminal is a person at a gated shell.
type terminal struct {
	t    *testing.T
	name string // bash or zsh
	gate *shell.Gate
	pty  *os.File
	cmd  *exec.Cmd
	home string

	mu       sync.Mutex
	changed  *sync.Cond
	screen   strings.Builder // what the person was shown
	asked    []string
	lines    []shell.Line
	ended    []int
	happened []string
	refuse   func(ctx context.Context, line string) error
	ungated  error
}

type running struct{ t *terminal }

func (c running) Ended(status int) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.ended = append(c.t.ended, status)
	c.t.changed.Broadcast()
}

const token = "0123456789abcdef0123456789abcdef"

// each runs a test once for every shell that can be gated.
func each(t *testing.T, test func(t *testing.T, name string)) {
	for _, name := range []string{"bash", "zsh"} {
		t.Run(name, func(t *testing.T) { test(t, name) })
	}
}

// open starts a shell whose start file, written for both, has rc in it.
func open(t *testing.T, name, rc string) *terminal {
	t.Helper()
	p := start(t, name, "PS1='$ '\n"+rc)
	p.until("a prompt", func() bool { return strings.Contains(p.screen.String(), "$ ") })
	p.settles()
	return p
}

func start(t *testing.T, name, rc string) *terminal {
	t.Helper()
	login, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed: apt-get install %[1]s", name)
	}
	home := t.TempDir()
	files := map[string][]string{"bash": {".bash_profile"}, "zsh": {".zshrc"}}
	for _, file := range files[name] {
		must(t, os.WriteFile(filepath.Join(home, file), []byte(rc), 0o600))
	}
	line, ok := shell.Command(login, token)
	if !ok {
		t.Fatal(name, "cannot be gated")
	}
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir, cmd.Env = home, []string{"HOME=" + home, "PATH=/usr/bin:/bin", "TERM=xterm", "LANG=C.UTF-8", "TMPDIR=" + home}
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 200})
	must(t, err)
	p := &terminal{t: t, name: name, pty: tty, cmd: cmd, home: home}
	p.changed = sync.NewCond(&p.mu)
	p.gate = shell.New(t.Context(), shell.Config{Token: token, Patience: time.Second, Incomplete: command.Incomplete, Decide: p.decide,
		Ungated: func(context.Context) error { return p.ungated },
		Happened: func(what shell.Happening, text string) {
			names := []string{"stopped", "within", "back", "disagrees"}
			p.note(&p.happened, strings.TrimSpace(names[what]+" "+text))
		},
		ToClient: p.show,
		Notify:   func(s string) { p.show([]byte("[" + s + "]")) },
		ToTarget: func(data []byte) error { _, err := tty.Write(data); return err }})
	p.reads()
	return p
}

func (p *terminal) reads() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1000)
		for {
			n, err := p.pty.Read(buf)
			if err != nil || p.gate.FromTarget(buf[:n]) != nil {
				return
			}
		}
	}()
	p.t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.pty.Close()
		<-done
		p.gate.Close()
		if s := p.screen.String(); strings.Contains(s, token) {
			p.t.Errorf("the person sees the gate: %q", s)
		}
	})
}

func (p *terminal) decide(ctx context.Context, line shell.Line) (shell.Running, error) {
	p.mu.Lock()
	p.lines = append(p.lines, line)
	refuse := p.refuse
	p.mu.Unlock()
	p.note(&p.asked, line.Text)
	if refuse != nil {
		if err := refuse(ctx, line.Text); err != nil {
			return nil, err
		}
	}
	return running{p}, nil
}

func (p *terminal) note(list *[]string, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*list = append(*list, text)
	p.changed.Broadcast()
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
	const patience = 20 * time.Second
	overdue := time.AfterFunc(patience, func() { p.mu.Lock(); p.changed.Broadcast(); p.mu.Unlock() })
	defer overdue.Stop()
	begun := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !ok() {
		if time.Since(begun) >= patience {
			p.t.Fatalf("no %s; asked %q, ended %v, happened %q, screen %q", what, p.asked, p.ended, p.happened, p.screen.String())
		}
		p.changed.Wait()
	}
}

// settles waits until the line editor takes what is typed.
func (p *terminal) settles() {
	p.t.Helper()
	for begun := time.Now(); !p.gate.Editing(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			p.t.Fatalf("no prompt: %q", p.screen.String())
		}
	}
}

func (p *terminal) typed(text string) {
	p.t.Helper()
	must(p.t, p.gate.FromClient([]byte(text)))
}

// ends is how many lines have ended.
func (p *terminal) ends() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ended)
}

// shows waits until the person has seen text.
func (p *terminal) shows(text string) {
	p.t.Helper()
	p.until("screen with "+text, func() bool { return strings.Contains(p.screen.String(), text) })
}

// wasAsked waits for the questions that were asked so far.
func (p *terminal) wasAsked(want ...string) {
	p.t.Helper()
	p.until("question "+want[len(want)-1], func() bool { return len(p.asked) >= len(want) })
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.asked, want) {
		p.t.Errorf("asked about %q, want %q; screen %q", p.asked, want, p.screen.String())
	}
}

// untouched fails the test when a line that touches made was run, after another one has.
func (p *terminal) untouched() {
	p.t.Helper()
	p.typed("echo sti''ll\r")
	p.shows("still\r\n")
	p.notMade()
}

// notMade fails the test when a file named made is there.
func (p *terminal) notMade() {
	p.t.Helper()
	if _, err := os.Stat(filepath.Join(p.home, "made")); err == nil {
		p.t.Errorf("it ran: %q", p.screen.String())
	}
}

// noTouch refuses lines that touch.
func noTouch(_ context.Context, line string) error {
	if strings.Contains(line, "touch") {
		return errors.New("not that")
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEachLineIsAskedAboutBeforeItRuns(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		p.typed("echo $((40+2))\r")
		p.shows("42\r\n")
		p.until("end", func() bool { return len(p.ended) == 1 && p.ended[0] == 0 })
		p.typed("cd /; false\r")
		p.until("end", func() bool { return len(p.ended) == 2 && p.ended[1] == 1 })
		p.typed("pwd\r")
		p.wasAsked("echo $((40+2))", "cd /; false", "pwd")
		if p.lines[0].Dir != p.home || p.lines[2].Dir != "/" {
			t.Errorf("it said it was in %q and %q", p.lines[0].Dir, p.lines[2].Dir)
		}
		for _, line := range p.lines {
			if line.Differs {
				t.Errorf("%q is not on the screen: %q", line.Text, p.screen.String())
			}
		}
	})
}

func TestARefusedLineDoesNotRun(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		p.refuse = noTouch
		p.typed("touch made\r")
		p.shows("[not that]")
		p.untouched()
	})
}

func TestWhatIsTypedAheadIsAskedAboutInItsTurn(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		p.typed("sleep 0.3; echo one$((1))\recho two$((2))\rread x; echo got-$x\rword\r")
		p.shows("got-word")
		p.wasAsked("sleep 0.3; echo one$((1))", "echo two$((2))", "read x; echo got-$x")
	})
}

func TestACommandOverSeveralLinesIsDecidedWhole(t *testing.T) {
	for name, text := range map[string]string{"a loop": "for i in 1 2; do\necho part\ndone", "a here-document": "cat <<EOF\npart\npart\nEOF",
		"a backslash": "echo part; echo \\\npart", "quotes": "echo 'part\npart'"} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, name string) {
				p := open(t, name, "")
				p.typed(strings.ReplaceAll(text, "\n", "\r") + "\r")
				p.shows("part\r\npart\r\n")
				p.wasAsked(text)
			})
		})
	}
}

func TestHistoryIsExpandedBeforeItIsDecided(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "if [ -n \"$BASH\" ]; then set -o history; fi\n")
		p.typed("echo a$((1))\r")
		p.shows("a1\r\n")
		p.typed("!!\r")
		p.until("end", func() bool { return len(p.ended) == 2 })
		p.typed("^a^b\r")
		p.shows("b1\r\n")
		p.typed("echo 'it is!!' \\!x\r")
		p.shows("it is!! !x\r\n")
		p.wasAsked("echo a$((1))", "echo a$((1))", "echo b$((1))", "echo 'it is!!' \\!x")
		if p.lines[1].Differs {
			t.Error("a history expansion counts as made up")
		}
	})
}

func TestCtrlCLeavesALineThatWaits(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
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
		p.shows("on1\r\n")
		p.wasAsked("waits", "echo on$((1))")
	})
}

func TestResizingWhileALineWaitsChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		waiting, go_ := make(chan struct{}), make(chan struct{})
		p.refuse = func(ctx context.Context, line string) error {
			if line == "stty size" {
				close(waiting)
				<-go_
			}
			return nil
		}
		p.typed("stty size\r")
		<-waiting
		must(t, pty.Setsize(p.pty, &pty.Winsize{Rows: 30, Cols: 77}))
		p.typed("echo ne''xt\r")
		close(go_)
		p.shows("30 77\r\n")
		p.shows("next\r\n")
		p.wasAsked("stty size", "echo ne''xt")
	})
}

func TestAQuestionWhoseShellIsInterruptedIsNotAnswered(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		waiting := make(chan struct{})
		p.refuse = func(ctx context.Context, line string) error {
			if strings.Contains(line, "touch") {
				close(waiting)
				<-ctx.Done()
			}
			return nil // an approval that comes too late
		}
		p.typed("touch made\r")
		<-waiting
		go func() { // as when it was typed just before the question; zsh may not be listening yet
			for tick := time.NewTicker(20 * time.Millisecond); p.ends() == 0; <-tick.C {
				p.pty.WriteString("\x03")
			}
		}()
		p.until("end", func() bool { return len(p.ended) == 1 && p.ended[0] == -1 })
		p.untouched()
	})
}

func TestAPasteInBracketsIsOneQuestion(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "if [ -n \"$BASH\" ]; then bind 'set enable-bracketed-paste on'; fi\n")
		for _, piece := range []string{"\x1b", "[20", "0~echo a$((1))\necho b$((2))\x1b[2", "01~"} {
			p.typed(piece)
		}
		p.typed("\r")
		p.shows("b2\r\n")
		p.wasAsked("echo a$((1))\necho b$((2))")
	})
}

// TestALongLine that readline or zle would take minutes to draw key by key comes as a paste.
func TestALongLineIsDecidedUpTo64KiB(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		for _, size := range []int{5 << 10, 60 << 10} {
			line := "echo " + strings.Repeat("x", size) + " >/dev/null"
			p.typed("\x1b[200~" + line + "\x1b[201~\r")
			p.until("question", func() bool { return slices.Contains(p.asked, line) })
			p.until("end", func() bool { return len(p.ended) == len(p.asked) })
		}
		p.typed("\x1b[200~touch made; echo " + strings.Repeat("x", 70<<10) + "\x1b[201~\r")
		p.shows("more than 64 KiB")
		p.untouched()
	})
}

func TestAliasesAndFunctionsAreTold(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "alias l='ls -l'\nalias both='f; l'\nf() { :; }\ng() { :; }\n")
		p.typed("l; f\r")
		p.typed("alias later='rm x'\r")
		p.typed("later; both; \"g\"\r")
		p.until("questions", func() bool { return len(p.asked) == 3 })
		first, last := p.lines[0], p.lines[2]
		if first.Aliases["l"] != "ls -l" || !first.Functions["f"] || last.Aliases["later"] != "rm x" || !last.Functions["f"] ||
			!last.Functions["g"] {
			t.Errorf("it told %+v and %+v", first, last)
		}
	})
}

func TestWhatZshReadsInItsOwnWayIsOpaque(t *testing.T) {
	p := open(t, "zsh", "alias -g G='; rm x'\nalias -s txt=rm\n")
	for line, want := range map[string]string{"echo a G": "global alias", "x.txt": "suffix alias", "repeat 2 touch x": "repeat",
		"echo a # ; touch x": "comment", "echo a >! x": "syntax", "=touch x": "syntax", "ls *(e:'touch x':)": "syntax",
		"ls; noglob touch x": "noglob", "r": "r", "echo 'a (b)' \"=c\" plain": ""} {
		before := len(p.asked)
		p.refuse = func(context.Context, string) error { return errors.New("no") }
		p.typed(line + "\r")
		p.until("question "+line, func() bool { return len(p.asked) > before })
		if got := p.lines[len(p.lines)-1]; got.Text != line || (got.Opaque == "") != (want == "") || !strings.Contains(got.Opaque, want) {
			t.Errorf("%s: %q opaque because of %q, want %q", line, got.Text, got.Opaque, want)
		}
		p.settles()
	}
}

func TestInputToARunningProgramIsSaidToBeUndecided(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		p.typed("sh\r")
		p.until("end of the editor", func() bool { return !p.gate.Editing() })
		p.typed("echo in''side; touch made\r")
		p.shows("inside\r\n")
		p.until("note", func() bool { return slices.Contains(p.happened, "within sh") })
		p.typed("exit\r")
		p.until("note", func() bool { return slices.Contains(p.happened, "back") })
		p.typed("echo af''ter\r")
		p.shows("after\r\n")
		p.wasAsked("sh", "echo af''ter")
	})
}

func TestAShellWithoutAGateIsNotTypedInto(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := start(t, name, "PS1='$ ' exec sh\n")
		p.ungated = errors.New("needs execute")
		p.typed("touch made\r")
		for begun := time.Now(); p.gate.FromClient(nil) == nil; time.Sleep(time.Millisecond) {
			if time.Since(begun) > 20*time.Second {
				t.Fatalf("it is typed into: %q", p.screen.String())
			}
		}
		if _, err := os.Stat(filepath.Join(p.home, "made")); err == nil {
			t.Errorf("it ran: %q", p.screen.String())
		}
		p = start(t, name, "PS1='$ ' exec sh\n")
		p.typed("echo un''decided\r")
		p.shows("undecided\r\n")
	})
}

func TestAMadeUpMarkIsNoticed(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		forged := func(token, kind, serial, text string) string {
			return "printf '\\033]7700;" + token[:8] + "''" + token[8:] + ";" + kind + ";" + serial + ";" + "%d;" + text + "\\007' " + "1\r"
		}
		p.typed(forged(strings.Repeat("f", 32), "p", "2", "1"))
		p.until("end", func() bool { return len(p.ended) == 1 })
		if len(p.happened) != 0 {
			t.Errorf("a stranger's mark counts: %q", p.happened)
		}
		p.typed(forged(token, "p", "1", "0"))
		p.until("note", func() bool { return len(p.happened) > 0 && strings.HasPrefix(p.happened[0], "disagrees") })
		p.refuse = noTouch
		p.typed("touch made\r")
		p.untouchedSoon()
	})
}

// untouchedSoon is untouched where the first lines may be refused because marks do not agree.
func (p *terminal) untouchedSoon() {
	p.t.Helper()
	for range 5 {
		p.settles()
		p.typed("echo so''on\r")
		before := len(p.asked)
		p.until("question or refusal", func() bool { return len(p.asked) > before || strings.Contains(p.screen.String(), "does not agree") })
	}
	p.shows("soon\r\n")
	p.notMade()
}

func TestTheTargetClosingInTheMiddleEndsEverything(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		waiting := make(chan struct{})
		p.refuse = func(ctx context.Context, line string) error {
			close(waiting)
			<-ctx.Done()
			return ctx.Err()
		}
		p.typed("waits\r")
		<-waiting
		p.cmd.Process.Signal(syscall.SIGKILL)
		p.gate.Close()
		if p.gate.FromClient([]byte("x")) == nil {
			t.Error("it can still be typed into")
		}
	})
}

func TestOtherShellsAreNotGated(t *testing.T) {
	for _, login := range []string{"/bin/sh", "/bin/dash", "/usr/bin/fish", "", "/bin/bash; rm -rf /", "/bin/tcsh"} {
		if line, ok := shell.Command(login, token); ok {
			t.Errorf("%s: %s", login, line)
		}
	}
}

// TestTheStartFolderOfZshIsGone before the first prompt, and its people find theirs.
func TestTheStartFolderOfZshIsGone(t *testing.T) {
	p := open(t, "zsh", "")
	p.typed("echo dir=${ZDOTDIR-none}=\r")
	p.shows("dir=none=")
	left, err := filepath.Glob(filepath.Join(p.home, "sekisho.*"))
	must(t, err)
	if len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}
