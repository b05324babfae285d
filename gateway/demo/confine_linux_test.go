package demo_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAShellCannotLeaveItsFolder(t *testing.T) {
	h := startTarget(t)
	if !h.target.Confined() {
		t.Skip("this kernel has no Landlock")
	}
	own := t.TempDir()
	write(t, filepath.Join(own, "private"), "mine\n", 0o644)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	key := h.identity("id", nil)
	for _, c := range []struct {
		name, line string
		works      bool
	}{
		{"writing in HOME", "echo x > notes.txt && mkdir d && mv notes.txt d/ && rm -r d", true},
		{"scratch files", `f=$(mktemp) && echo x > "$f" && rm "$f"`, true},
		{"/dev/null", "echo x > /dev/null", true},
		{"a here document", "cat <<EOF | grep -q x\nx\nEOF", true},
		{"reading system files", "head -c1 /etc/passwd && ls /usr/bin > /dev/null", true},
		{"its own signals", "sleep 1000 & kill $!", true},
		{"writing in /tmp", "echo x > /tmp/sekisho-demo-test", false},
		{"writing beside HOME", "echo x > ../other", false},
		{"making a folder beside HOME", "mkdir ../other", false},
		{"moving a file out of HOME", "touch a && mv a ..", false},
		{"the gateway's keys", "cat ../../keys/secret.key", false},
		{"the gateway's folder", "ls ../..", false},
		{"another folder of the same user", "cat " + own + "/private", false},
		{"deleting it", "rm -f " + own + "/private", false},
		{"the user's own home", "ls " + os.Getenv("HOME"), false},
		{"through a link", "ln -s " + own + "/private link && cat link", false},
		{"through /proc/1", "ls /proc/1/root/", false},
		{"other terminals", "ls /dev/pts", false},
		{"the memory of the gateway", fmt.Sprintf("cat /proc/%d/environ", os.Getpid()), false},
		{"signals to the gateway", fmt.Sprintf("kill -0 %d", os.Getpid()), false},
		{"a hop to the next machine (C-5)", fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d", port), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := c.line
			if strings.Contains(line, "/dev/tcp") {
				line = "bash -c '" + line + "'"
			}
			got := run(t, h.ssh(key, "app", line))
			if works := got.code == 0; works != c.works {
				t.Errorf("works: %v, want %v: %+v", works, c.works, got)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(own, "private")); err != nil {
		t.Error(err)
	}
}

func TestATargetSaysOnceWhetherItsShellsAreConfined(t *testing.T) {
	h := startTarget(t)
	key := h.identity("id", nil)
	run(t, h.ssh(key, "app", "true"))
	run(t, h.ssh(key, "app", "true"))
	want := 1
	if h.target.Confined() {
		want = 0
	}
	if h.logs.Len() != want {
		t.Errorf("%d lines were logged, want %d: %v", h.logs.Len(), want, h.logs.All())
	}
}
