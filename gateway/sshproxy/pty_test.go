package sshproxy_test

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// screen is a person's terminal with ssh in it.
type screen struct {
	t    *testing.T
	tty  *os.File
	cmd  *exec.Cmd
	seen []byte
}

// screen starts ssh in a terminal of this size.
func (c *client) screen(rows, cols uint16, args ...string) *screen {
	c.g.t.Helper()
	cmd := c.command(args...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: cols})
	must(c.g.t, err)
	s := &screen{t: c.g.t, tty: tty, cmd: cmd}
	c.g.t.Cleanup(func() {
		tty.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return s
}

func (s *screen) types(text string) {
	s.t.Helper()
	_, err := s.tty.WriteString(text)
	must(s.t, err)
}

// shows waits until the text matches what has appeared since the last match, and takes it.
func (s *screen) shows(pattern string) string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	must(s.t, s.tty.SetReadDeadline(time.Now().Add(20*time.Second)))
	buf := make([]byte, 4096)
	for {
		if at := re.FindIndex(s.seen); at != nil {
			found := string(s.seen[at[0]:at[1]])
			s.seen = s.seen[at[1]:]
			return found
		}
		n, err := s.tty.Read(buf)
		s.seen = append(s.seen, buf[:n]...)
		if err != nil && re.FindIndex(s.seen) == nil {
			s.t.Fatalf("waiting for %q: %v; on screen: %q", pattern, err, s.seen)
		}
	}
}

// ends waits for ssh to end and returns its exit code.
func (s *screen) ends() int {
	s.t.Helper()
	done := make(chan struct{})
	go func() {
		s.cmd.Wait()
		close(done)
	}()
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := s.tty.Read(buf); err != nil {
				return
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		s.t.Fatal("ssh does not end")
	}
	return s.cmd.ProcessState.ExitCode()
}

func TestATerminalIsTheSameOnTheOtherSide(t *testing.T) {
	needTerminals(t)
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			c.g.t = t
			s := c.screen(33, 111, way)
			s.types("stty size; echo term=$TERM; tty >/dev/null && echo is-a-tty\r")
			s.shows(`33 111\r\n`)
			s.shows(`term=xterm\r\n`)
			s.shows(`is-a-tty\r\n`)
			must(t, pty.Setsize(s.tty, &pty.Winsize{Rows: 50, Cols: 90}))
			s.types("while [ \"$(stty size)\" != '50 90' ]; do :; done; echo re''sized\r")
			s.shows(`resized\r\n`)
			s.types("exit 5\r")
			if code := s.ends(); code != 5 {
				t.Errorf("the shell's exit arrived as %d", code)
			}
		})
	}
}

func TestControlCInterruptsTheProgramAndNotTheSession(t *testing.T) {
	needTerminals(t)
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			c.g.t = t
			s := c.screen(24, 80, way)
			// The inner shell is in the foreground by the time it speaks.
			s.types("sh -c 'echo st\"\"arted; exec sleep 1000'\r")
			s.shows(`started\r\n`)
			s.types("\x03")
			s.shows(`\^C`)
			s.types("echo code=$?\r")
			s.shows(`code=130\r\n`)
			s.types("\x04")
			s.ends()
		})
	}
}

func TestACommandGetsATerminalWhenAsked(t *testing.T) {
	needTerminals(t)
	g := newGateway(t, setup{})
	c := g.client(hanako)
	s := c.screen(24, 80, "-t", plus(theLogin(), "db1"), "stty size; echo err >&2; exit 6")
	s.shows(`24 80\r\n`)
	s.shows(`err\r\n`)
	if code := s.ends(); code != 6 {
		t.Errorf("exit %d", code)
	}
}

func TestAShellWithoutATerminalReadsItsInput(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	got := c.sshWith([]byte("echo one\nexit 2\n"), "-T", plus(theLogin(), "db1"))
	if got.stdout != "one\n" || got.code != 2 {
		t.Error(got)
	}
}

// TestALongListingInATerminalArrivesWhole checks every byte of a terminal's output, whose end overtook it once.
func TestALongListingInATerminalArrivesWhole(t *testing.T) {
	needTerminals(t)
	g := newGateway(t, setup{})
	c := g.client(hanako)
	got := c.ssh("-tt", plus(theLogin(), "db1"), "seq 1 200000")
	lines := strings.Split(strings.TrimSuffix(got.stdout, "\r\n"), "\r\n")
	if len(lines) != 200000 || lines[199999] != "200000" || got.code != 0 {
		t.Errorf("%d lines, the last %q, exit %d: %s", len(lines), lines[len(lines)-1], got.code, got.stderr)
	}
	if bytes.Count([]byte(got.stdout), []byte("\r\n")) != 200000 {
		t.Error("line ends were changed")
	}
}
