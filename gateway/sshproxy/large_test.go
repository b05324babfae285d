package sshproxy_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/recorder"
)

// TestALargeFileGoesUpAndComesBack when SEKISHO_LARGE_MB says how large (600): identical, and beside what the same client does
// without a gateway.
func TestALargeFileGoesUpAndComesBack(t *testing.T) {
	size, err := strconv.Atoi(os.Getenv("SEKISHO_LARGE_MB"))
	if err != nil {
		t.Skip("SEKISHO_LARGE_MB is not set")
	}
	g := newGateway(t, setup{files: "hash"})
	c, far := g.client(sora), farDir(t)
	up := filepath.Join(c.dir, "up")
	sum := randomFile(t, up, int64(size)<<20)
	start := time.Now()
	got := c.sftp(plus(theLogin(), "db1"), "put "+up+" "+far+"/file")
	t.Logf("OpenSSH's sftp, up through the gateway: %.0f MiB/s", rate(size, start))
	start = time.Now()
	if got.code == 0 {
		got = c.sftp(plus(theLogin(), "db1"), "get "+far+"/file "+c.dir+"/down")
	}
	t.Logf("OpenSSH's sftp, down through the gateway: %.0f MiB/s", rate(size, start))
	if got.code != 0 {
		t.Fatal(got)
	}
	for _, name := range []string{far + "/file", c.dir + "/down"} {
		if fileSum(t, name) != sum {
			t.Errorf("%s is another file", name)
		}
	}
	for kind, detail := range map[string]string{"file.write": "sha256_written", "file.read": "sha256_read"} {
		if e := g.events(recorder.ClassFile, kind); len(e) != 1 || e[0].Detail[detail] != sum {
			t.Errorf("%s on record: %d", kind, len(e))
		}
	}
	for way, files := range map[string]*sftp.Client{"through the gateway": c.files(), "straight to sshd": straight(g)} {
		compareLarge(t, way, files, up, far+"/again", size, sum)
	}
}

// compareLarge sends and fetches a file with one client, so that two ways can be told apart.
func compareLarge(t *testing.T, way string, files *sftp.Client, up, to string, size int, sum string) {
	from, err := os.Open(up)
	must(t, err)
	defer from.Close()
	remote, err := files.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	must(t, err)
	start := time.Now()
	_, err = remote.ReadFromWithConcurrency(from, 64)
	must(t, err)
	must(t, remote.Close())
	t.Logf("one and the same client, up %s: %.0f MiB/s", way, rate(size, start))
	remote, err = files.Open(to)
	must(t, err)
	start = time.Now()
	hash := sha256.New()
	_, err = remote.WriteTo(hash)
	must(t, err)
	t.Logf("one and the same client, down %s: %.0f MiB/s", way, rate(size, start))
	if fmt.Sprintf("%x", hash.Sum(nil)) != sum {
		t.Errorf("another file came back %s", way)
	}
	must(t, remote.Close())
}

// straight is an SFTP client with no gateway before the target.
func straight(g *gateway) *sftp.Client {
	signer, err := g.authority.UpstreamSigner(theLogin(), "a test")
	must(g.t, err)
	d := realSSHD(g.t)
	conn, err := ssh.Dial("tcp", d.addr, &ssh.ClientConfig{User: theLogin(), Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), Config: ssh.Config{Ciphers: []string{ssh.CipherAES128GCM}}})
	must(g.t, err)
	g.t.Cleanup(func() { conn.Close() })
	files, err := sftp.NewClient(conn)
	must(g.t, err)
	return files
}

func rate(mib int, start time.Time) float64 { return float64(mib) / time.Since(start).Seconds() }

func randomFile(t *testing.T, name string, size int64) (sum string) {
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	block, hash := make([]byte, 1<<20), sha256.New()
	rand.Read(block)
	for n := int64(0); n < size; n += int64(len(block)) {
		copy(block, fmt.Sprint(n)) // no two blocks are alike
		_, err := io.Copy(io.MultiWriter(f, hash), bytes.NewReader(block))
		must(t, err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

func fileSum(t *testing.T, name string) string {
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	must(t, err)
	return fmt.Sprintf("%x", hash.Sum(nil))
}
