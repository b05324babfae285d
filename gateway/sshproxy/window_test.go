package sshproxy_test

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestAClientWithASmallWindowGetsEverything: plink that also forwards gives each channel a window of 16 KiB, less than what
// the gateway collects before it writes.
func TestAClientWithASmallWindowGetsEverything(t *testing.T) {
	for _, tool := range []string{"plink", "puttygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool)
		}
	}
	g := newGateway(t, setup{})
	c := g.client(hanako)
	key := filepath.Join(c.dir, "id.ppk")
	if out, err := exec.Command("puttygen", filepath.Join(c.dir, "id"), "-o", key).CombinedOutput(); err != nil {
		t.Fatalf("puttygen: %v: %s", err, out)
	}
	host, port, err := net.SplitHostPort(g.addr)
	must(t, err)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, free.Close())
	var want strings.Builder
	for i := range 200000 {
		fmt.Fprintln(&want, i+1)
	}
	cmd := exec.CommandContext(t.Context(), "plink", "-batch", "-ssh", "-i", key, "-cert", filepath.Join(c.dir, "id-cert.pub"),
		"-hostkey", ssh.FingerprintSHA256(g.hostKey()), "-L", free.Addr().String()+":db1:22", "-P", port,
		theLogin()+"+db1@"+host, "seq 1 200000")
	cmd.Env = []string{"HOME=" + c.dir}
	got := run(t, cmd)
	if got.stdout != want.String() || got.code != 0 {
		t.Errorf("%d of %d bytes came, exit %d: %s", len(got.stdout), want.Len(), got.code, got.stderr)
	}
}
