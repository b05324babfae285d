package sshproxy_test

import (
	"os"
	"path/filepath"
	"testing"

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
