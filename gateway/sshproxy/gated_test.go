package sshproxy_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// ops is the login on the target whose shell is bash.
func ops(t *testing.T) string {
	t.Helper()
	if realSSHD(t).login != "app" {
		t.Skip("only root can give an sshd of its own a second login")
	}
	return "ops"
}

// TestEachLineOfAShellIsDecided on a target that refuses opaque lines: Hanako maintains (M-2), so she reads and executes,
// writing needs an approval, and deleting is never allowed.
func TestEachLineOfAShellIsDecided(t *testing.T) {
	g := newGateway(t, setup{})
	c, far := g.client(hanako), farDir(t)
	must(t, os.WriteFile(filepath.Join(far, "file"), []byte("text\n"), 0o666))
	s := c.screen(40, 120, "-t", plus(ops(t), "strict"))
	s.shows(`\$ `)
	s.types("cd " + far + "\r")
	s.shows(`\$ $`)
	s.types("cat file\r")
	s.shows(`text\r\n`)
	s.types("rm file\r")
	s.shows(`M-2`)
	s.shows(`delete  ` + far + `/file`)
	s.shows(`\$ $`)
	s.types("eval ls\r")
	s.shows(`opaque because of: eval`)
	s.shows(`\$ $`)
	s.types("false\r")
	s.shows(`\$ $`)
	s.types("exit\r")
	s.ends()
	if _, err := os.Stat(filepath.Join(far, "file")); err != nil {
		t.Error(err)
	}
	got := map[string]any{}
	for _, e := range g.events(recorder.ClassCommand, "command.run") {
		if e.Detail["operation"] == "ssh.line" {
			got[e.Detail["line"].(string)] = e.Detail["exit"]
			if e.Enforced != "parsed" {
				t.Errorf("%v is labelled %s", e.Detail, e.Enforced)
			}
		}
	}
	for _, e := range g.events(recorder.ClassCommand, "command.run") {
		began, _ := e.Detail["began_ms"].(float64)
		ended, _ := e.Detail["ended_ms"].(float64)
		if e.Detail["line"] == "cat file" && (e.Detail["cwd"] != far || began <= 0 || ended < began || e.Detail["screen_differs"] != nil) {
			t.Errorf("the command log: %v", e.Detail)
		}
	}
	if got["cat file"] != 0.0 || got["false"] != 1.0 {
		t.Errorf("the command log: %v", got)
	}
	if len(g.events(recorder.ClassCommand, "command.refused")) != 2 {
		t.Errorf("refusals: %v", g.events(recorder.ClassCommand, "command.refused"))
	}
}

// TestALineWaitsForItsApproval in the terminal, and goes on by itself; Ctrl-C takes the request back.
func TestALineWaitsForItsApproval(t *testing.T) {
	g := newGateway(t, setup{})
	c, far := g.client(hanako), farDir(t)
	s := c.screen(40, 120, "-t", plus(ops(t), "strict"))
	s.shows(`\$ `)
	s.types("touch " + far + "/made\r")
	id := requestID.FindString(s.shows(requestID.String()))
	s.shows(`Ctrl-C cancels`)
	g.sayYes(id)
	s.shows(`\$ $`)
	if _, err := os.Stat(filepath.Join(far, "made")); err != nil {
		t.Error(err)
	}
	s.types("touch " + far + "/other\r")
	s.shows(`Ctrl-C cancels`)
	s.types("\x03")
	s.shows(`withdrawn`)
	s.shows(`\$ $`)
	if _, err := os.Stat(filepath.Join(far, "other")); err == nil {
		t.Error("it ran without its approval")
	}
}

// TestACommandWaitsForItsApproval where there is a terminal.
func TestACommandWaitsForItsApproval(t *testing.T) {
	g := newGateway(t, setup{})
	c, far := g.client(hanako), farDir(t)
	s := c.screen(40, 120, "-t", plus(theLogin(), "db1"), "touch "+far+"/made && cat")
	id := requestID.FindString(s.shows(requestID.String()))
	s.shows(`Ctrl-C cancels`)
	g.sayYes(id)
	s.types("hello\r")
	s.shows(`hello\r\nhello`)
	s.types("\x04")
	if code := s.ends(); code != 0 {
		t.Errorf("exit %d", code)
	}
	s = c.screen(40, 120, "-t", plus(theLogin(), "db1"), "touch "+far+"/other")
	s.shows(`Ctrl-C cancels`)
	s.types("\x03")
	s.shows(`withdrawn`)
	if code := s.ends(); code != 126 {
		t.Errorf("exit %d", code)
	}
}

// another is a target beside the others, for one login of the same sshd.
func another(t *testing.T, name, login, opaque string) string {
	d := realSSHD(t)
	return fmt.Sprintf("%s: {ssh: {address: %q, host_key: %q}, logins: [%s], opaque: %s}", name, d.addr, d.fingerprint, login, opaque)
}

func TestEachLineOfZshIsDecided(t *testing.T) {
	ops(t)
	if _, err := exec.LookPath("zsh"); err != nil {
		missing(t, "zsh")
	}
	g := newGateway(t, setup{targets: []string{another(t, "zed1", "zed", "deny")}})
	c, far := g.client(hanako), farDir(t)
	must(t, os.WriteFile(filepath.Join(far, "file"), []byte("text\n"), 0o666))
	s := c.screen(40, 120, "-t", plus("zed", "zed1"))
	s.shows(`% `)
	s.types("cat " + far + "/file\r")
	s.shows(`text\r\n`)
	s.types("rm " + far + "/file\r")
	s.shows(`M-2`)
	s.types("repeat 2 cat /dev/null\r")
	s.shows(`opaque because of: zsh's repeat`)
	s.types("exit\r")
	s.ends()
	if _, err := os.Stat(filepath.Join(far, "file")); err != nil {
		t.Error(err)
	}
}

func TestWhatIsTypedIntoAProgramIsOnRecordAsUndecided(t *testing.T) {
	login := ops(t)
	g := newGateway(t, setup{targets: []string{another(t, "loose", login, "execute")}})
	c := g.client(hanako)
	s := c.screen(40, 120, "-t", plus(login, "loose"))
	s.shows(`\$ `)
	s.types("bash --norc\r")
	s.shows(`bash-[0-9.]+\$ `)
	s.types("echo in''side\r")
	s.shows(`inside\r\n`)
	eventually(t, "it is on record", func() bool { return len(g.events(recorder.ClassCommand, "shell.lost")) == 1 })
	s.types("exit\r")
	s.shows(`\$ `)
	eventually(t, "it is on record", func() bool { return len(g.events(recorder.ClassCommand, "shell.back")) == 1 })
	s.types("exit\r")
	s.ends()
	if line := g.events(recorder.ClassCommand, "shell.lost")[0].Detail["line"]; line != "bash --norc" {
		t.Errorf("lost to %v", line)
	}
	eventually(t, "the session has ended", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
	if label := g.events(recorder.ClassCommand, "session.end")[0].Enforced; label != "recorded" {
		t.Errorf("the session is labelled %s", label)
	}
	gaps := 0
	for _, e := range g.entries() {
		if e.Kind == recorder.KindGap && strings.Contains(string(e.Data), "integration lost") {
			gaps++
		}
	}
	if gaps != 1 {
		t.Errorf("%d marks in the recording", gaps)
	}
}

func TestWhatTheTerminalDoesNotShowIsMasked(t *testing.T) {
	login := ops(t)
	for what, way := range map[string]struct{ user, prompt, line string }{
		"in a gated shell": {login, `\$ `, "read -r shown; stty -echo; echo da''rk; read -r x; stty echo; echo go''t\r"},
		"in a command":     {theLogin(), "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGateway(t, setup{targets: []string{another(t, "loose", way.user, "execute")}})
			c := g.client(hanako)
			args := []string{"-t", plus(way.user, "loose")}
			if way.line == "" {
				args = append(args, "echo ready; read shown; stty -echo; echo dark; read x; stty echo; echo got")
			}
			s := c.screen(40, 120, args...)
			if way.line != "" {
				s.shows(way.prompt)
				s.types(way.line)
				s.shows(`\r\n`)
			} else {
				s.shows(`ready\r\n`)
			}
			s.types("in the open\r")
			s.shows(`in the open\r\n`)
			s.shows(`dark\r\n`)
			s.types("s3cretword\r")
			s.shows(`got\r\n`)
			if way.line != "" {
				s.types("exit\r")
			}
			s.ends()
			eventually(t, "the session has ended", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
			input := ""
			for _, e := range g.entries() {
				if e.Kind == recorder.KindInput {
					input += string(e.Data)
				}
			}
			if strings.Contains(input, "s3cret") || !strings.Contains(input, "••••••••\r") || !strings.Contains(input, "in the open") {
				t.Errorf("on record: %q", input)
			}
		})
	}
}

func TestTheLastLoginIsTheGatewaysOwn(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for i := range 2 {
		s := c.screen(40, 120, "-t", plus(ops(t), "strict"))
		if i == 1 {
			s.shows(`Last login: .* from 127\.0\.0\.1\r\n`)
		}
		s.shows(`\$ `)
		s.types("exit\r")
		s.ends()
	}
}

func TestAnotherShellIsSaidToBeRecordedOnly(t *testing.T) {
	ops(t)
	g := newGateway(t, setup{})
	s := g.client(hanako).screen(40, 120, "-t", plus(theLogin(), "db1"))
	s.shows(`recorded, not decided`)
	s.types("exit\r")
	s.ends()
	ken := g.client(ken).ssh("-tt", plus(theLogin(), "db1")) // who only reads, gets no shell that cannot be gated
	if ken.code != 126 || !strings.Contains(ken.stdout+ken.stderr, "M-4") {
		t.Error(ken)
	}
}

// TestALineThatWaitsWhenItsSessionEndsNeverRuns: its request is withdrawn, whatever ended the session.
func TestALineThatWaitsWhenItsSessionEndsNeverRuns(t *testing.T) {
	for what, end := range map[string]func(g *gateway, s *screen){
		"staff end the session": func(g *gateway, s *screen) {
			admin := identity.Principal{Person: "admin", Vendor: "@staff", Serial: "2", NotAfter: g.clock.Now().Add(time.Hour),
				MFA: identity.MFA{Method: "webauthn", At: g.clock.Now(), UV: true}, Source: netip.MustParseAddrPort("127.0.0.1:1")}
			must(t, g.door.EndSession(t.Context(), admin, g.events(recorder.ClassCommand, "session.open")[0].Session, "enough"))
			s.shows(`enough`)
		},
		"the person hangs up": func(_ *gateway, s *screen) { s.cmd.Process.Kill() },
	} {
		t.Run(what, func(t *testing.T) {
			g := newGateway(t, setup{log: silent})
			c, far := g.client(hanako), farDir(t)
			s := c.screen(40, 120, "-t", plus(ops(t), "strict"))
			s.shows(`\$ `)
			s.types("touch " + far + "/made\r")
			id := requestID.FindString(s.shows(requestID.String()))
			s.shows(`Ctrl-C cancels`)
			end(g, s)
			s.ends()
			eventually(t, "the request is withdrawn", func() bool {
				r, err := g.db.Access().Request(t.Context(), id)
				must(t, err)
				return r.Status == access.RequestCancelled
			})
			eventually(t, "the session has ended", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
			if _, err := os.Stat(filepath.Join(far, "made")); err == nil {
				t.Error("it ran")
			}
		})
	}
}
