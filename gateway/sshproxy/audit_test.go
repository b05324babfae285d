package sshproxy_test

import (
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// graded is a line in which ssh-audit says something of an algorithm; what it has to say besides stands on lines below it.
var graded = regexp.MustCompile(`^\((kex|key|enc|mac)\) (\S+) `)

// newer are the algorithms that Debian's ssh-audit 2.5 does not know yet, which it warns of. Both are from 2023 and later: the
// post-quantum key exchange, and the mark of servers that are safe from Terrapin.
var newer = map[string]bool{"mlkem768x25519-sha256": true, "kex-strict-s-v00@openssh.com": true}

// TestSSHAuditFindsNothing has ssh-audit judge what the gateway offers: no failure and no warning. Its report is read as
// people read it: the JSON of version 2.5 has no grades.
func TestSSHAuditFindsNothing(t *testing.T) {
	path, err := exec.LookPath("ssh-audit")
	if err != nil {
		missing(t, "ssh-audit")
	}
	g := newGateway(t, setup{log: silent}) // ssh-audit breaks its connections off
	host, port, err := net.SplitHostPort(g.addr)
	must(t, err)
	out, _ := exec.Command(path, "-n", "-p", port, host).CombinedOutput() // its exit status counts unknown algorithms too
	seen := map[string]int{}
	algorithm := ""
	for line := range strings.Lines(string(out)) {
		if m := graded.FindStringSubmatch(line); m != nil {
			seen[m[1]]++
			algorithm = m[2]
		}
		known := !newer[algorithm] || !strings.Contains(line, "unknown algorithm")
		if strings.Contains(line, "[fail]") || strings.Contains(line, "[warn]") && known {
			t.Errorf("%s: %s", algorithm, strings.TrimSpace(line))
		}
	}
	for _, kind := range []string{"kex", "key", "enc", "mac"} {
		if seen[kind] == 0 {
			t.Errorf("ssh-audit saw no %s: %s", kind, out)
		}
	}
	for _, trouble := range []string{"(cve)", "(sec)", "[exception]"} {
		if strings.Contains(string(out), trouble) {
			t.Errorf("ssh-audit: %s", out)
		}
	}
}
