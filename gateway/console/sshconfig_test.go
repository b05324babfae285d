package console_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestTheSSHConfigIsWhatStockSSHUnderstands asks ssh itself what it would do.
func TestTheSSHConfigIsWhatStockSSHUnderstands(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("ssh is not installed")
	}
	g := newGateway(t)
	me := must(g.login("hanako").Me(t.Context()))(t)
	file := filepath.Join(t.TempDir(), "ssh_config")
	config := me.SSH.Config("~/.ssh/id_ed25519", "~/.ssh/sekisho-cert.pub", "")
	write(t, file, []byte(config))
	for host, want := range map[string][]string{
		"gateway": {"user hanako\n", "hostname " + me.SSH.Host + "\n", "identitiesonly yes\n", "certificatefile ~/.ssh/sekisho-cert.pub\n"},
		"db1":     {"user app\n", "proxyjump gateway\n"},
	} {
		cmd := exec.Command("ssh", "-G", "-F", file, host)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", host, err, out)
		}
		for _, line := range want {
			if !strings.Contains(string(out), line) {
				t.Errorf("%s: no %q in\n%s", host, line, out)
			}
		}
	}
	marker, hosts, key, _, _, err := ssh.ParseKnownHosts([]byte(me.SSH.KnownHosts + "\n"))
	if err != nil || marker != "cert-authority" || len(hosts) != 1 || string(key.Marshal()) != string(g.authority.HostCA().Marshal()) {
		t.Errorf("known_hosts: %q: %v", me.SSH.KnownHosts, err)
	}
}
