package sshproxy_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// sftp runs a batch through OpenSSH's sftp.
func (c *client) sftp(to string, batch ...string) result {
	c.g.t.Helper()
	c.write("batch", strings.Join(batch, "\n")+"\n")
	path, err := exec.LookPath("sftp")
	if err != nil {
		missing(c.g.t, "sftp")
	}
	cmd := c.command()
	cmd.Path, cmd.Args = path, append([]string{"sftp"}, "-F", filepath.Join(c.dir, "ssh_config"), "-b", filepath.Join(c.dir, "batch"), to)
	return run(c.g.t, cmd)
}

var requestID = regexp.MustCompile(`r-[0-9A-Z]{26}`)

// sayYes answers a request as Mika, for half an hour.
func (g *gateway) sayYes(id string) {
	g.t.Helper()
	mika := identity.Principal{Person: "mika", Vendor: "@staff", Serial: "1", NotAfter: g.clock.Now().Add(time.Hour),
		MFA: identity.MFA{Method: "webauthn", At: g.clock.Now(), UV: true}, Source: netip.MustParseAddrPort("127.0.0.1:1")}
	_, err := g.door.Approve(g.t.Context(), mika, id, access.Consent{Minutes: 30, Reason: "for the test"})
	must(g.t, err)
}

// farDir is an empty folder on the target.
func farDir(t *testing.T) string {
	t.Helper()
	d := realSSHD(t)
	dir, err := os.MkdirTemp(d.home, "files-")
	must(t, err)
	must(t, os.Chmod(dir, 0o777))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestFilesGoUpAndComeBackAsTheyWere(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(sora)
	far := farDir(t)
	sent := make([]byte, 3<<20+17)
	rand.Read(sent)
	must(t, os.WriteFile(filepath.Join(c.dir, "up"), sent, 0o600))
	for _, to := range []string{theLogin() + "@db1", plus(theLogin(), "db1")} {
		got := c.sftp(to, fmt.Sprintf("put %s/up %s/file", c.dir, far), fmt.Sprintf("get %s/file %s/down", far, c.dir),
			fmt.Sprintf("ls -l %s", far))
		if got.code != 0 {
			t.Fatal(got)
		}
		back, err := os.ReadFile(filepath.Join(c.dir, "down"))
		must(t, err)
		if !bytes.Equal(sent, back) || !strings.Contains(got.stdout, "file") {
			t.Error("the file is another one now, or not listed", got)
		}
	}
	written, read := g.events(recorder.ClassFile, "file.write"), g.events(recorder.ClassFile, "file.read")
	if len(written) != 2 || len(read) != 2 {
		t.Fatalf("%d writes and %d reads on record, want 2 and 2", len(written), len(read))
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(sent))
	for _, e := range append(written, read...) {
		way := strings.Replace(strings.TrimPrefix(e.Kind, "file."), "write", "written", 1)
		if e.Outcome != recorder.OK || e.Detail["path"] != far+"/file" || e.Detail["bytes_"+way] != float64(len(sent)) ||
			e.Detail["sha256_"+way] != sum || e.Enforced != "wire" || e.Table != "R-3" {
			t.Errorf("on record: %s %s %s %v", e.Kind, e.Outcome, e.Enforced, e.Detail)
		}
	}
}

func TestARefusedFileOperationSaysWhyAndTheTransferGoesOn(t *testing.T) {
	g := newGateway(t, setup{})
	far := farDir(t)
	must(t, os.WriteFile(filepath.Join(far, "file"), []byte("kept"), 0o666))
	got := g.client(sora).sftp(theLogin()+"@db1", "-rm "+far+"/file", "ls "+far)
	if got.code != 0 || !strings.Contains(got.stderr, "M-1") || !hasJapanese(got.stderr) || !strings.Contains(got.stdout, "file\n") {
		t.Error(got)
	}
	if _, err := os.Stat(filepath.Join(far, "file")); err != nil {
		t.Error(err)
	}
	refused := g.events(recorder.ClassFile, "file.refused")
	if len(refused) != 1 || refused[0].Outcome != recorder.Refused || refused[0].Decision == "" {
		t.Errorf("on record: %v", refused)
	}
}

func TestWritingNeedsAnApprovalWhereTheMatrixSaysSo(t *testing.T) {
	g := newGateway(t, setup{})
	c, far := g.client(hanako), farDir(t)
	c.write("up", "text")
	put := fmt.Sprintf("put %s/up %s/file", c.dir, far)
	got := c.sftp(theLogin()+"@db1", put)
	id := requestID.FindString(got.stderr)
	if got.code == 0 || id == "" {
		t.Fatal(got)
	}
	g.sayYes(id)
	if got := c.sftp(theLogin()+"@db1", put); got.code != 0 {
		t.Error(got)
	}
}

func TestAFileOfThisSessionIsRenamedWithoutTheRightToDelete(t *testing.T) {
	g := newGateway(t, setup{})
	c, far := g.client(sora), farDir(t)
	c.write("up", "text")
	must(t, os.WriteFile(filepath.Join(far, "old"), []byte("kept"), 0o666))
	put := fmt.Sprintf("put %s/up %s/new.part", c.dir, far)
	if got := c.sftp(theLogin()+"@db1", put, fmt.Sprintf("rename %[1]s/new.part %[1]s/new", far)); got.code != 0 {
		t.Error("uploading as WinSCP does:", got)
	}
	for what, rename := range map[string]string{
		"a file of somebody else":    fmt.Sprintf("rename %[1]s/old %[1]s/other", far),
		"a file that is there":       fmt.Sprintf("rename %[1]s/new.part %[1]s/old", far),
		"its own in another session": fmt.Sprintf("rename %[1]s/new %[1]s/other", far),
	} {
		batch := []string{rename}
		if what == "a file that is there" {
			batch = []string{put, rename}
		}
		if got := c.sftp(theLogin()+"@db1", batch...); got.code == 0 || !strings.Contains(got.stderr, "M-1") {
			t.Errorf("%s: %v", what, got)
		}
	}
	if data, err := os.ReadFile(filepath.Join(far, "old")); err != nil || string(data) != "kept" {
		t.Error("the old file is another one now", err)
	}
}

// scp runs OpenSSH's scp with its old protocol.
func (c *client) scp(args ...string) result {
	c.g.t.Helper()
	path, err := exec.LookPath("scp")
	if err != nil {
		missing(c.g.t, "scp")
	}
	cmd := c.command()
	cmd.Path, cmd.Args = path, append([]string{"scp", "-O", "-F", filepath.Join(c.dir, "ssh_config")}, args...)
	return run(c.g.t, cmd)
}

func TestTheOldScpProtocolIsCheckedFileByFile(t *testing.T) {
	g := newGateway(t, setup{})
	c, far := g.client(sora), farDir(t)
	tree := filepath.Join(c.dir, "tree")
	must(t, os.MkdirAll(filepath.Join(tree, "sub dir"), 0o755))
	sent := make([]byte, 1<<20+3)
	rand.Read(sent)
	must(t, os.WriteFile(filepath.Join(tree, "a'b"), sent, 0o644))
	must(t, os.WriteFile(filepath.Join(tree, "sub dir", "空"), []byte("text"), 0o600))
	to := theLogin() + "@db1:"
	for _, got := range []result{
		c.scp("-pr", tree, to+far),
		c.scp("-r", to+far+"/tree", c.dir+"/back"),
		c.scp(to+far+"/tree/a\\'b", c.dir+"/one"),
	} {
		if got.code != 0 {
			t.Error(got)
		}
	}
	for name, want := range map[string]string{"back/a'b": string(sent), "back/sub dir/空": "text", "one": string(sent)} {
		if data, err := os.ReadFile(filepath.Join(c.dir, name)); err != nil || string(data) != want {
			t.Errorf("%s came back as something else: %v", name, err)
		}
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(sent))
	if e := g.events(recorder.ClassFile, "file.write"); len(e) != 2 {
		t.Errorf("%d files written are on record, want 2", len(e))
	}
	read := g.events(recorder.ClassFile, "file.read")
	if len(read) != 3 || read[0].Detail["sha256_read"] != sum || read[0].Detail["path"] != far+"/tree/a'b" {
		t.Errorf("files read on record: %v", read)
	}
}

func TestARefusedScpSaysWhyAndSkipsTheFile(t *testing.T) {
	g := newGateway(t, setup{})
	c, far := g.client(ken), farDir(t)
	c.write("up", "text")
	got := c.scp(c.dir+"/up", theLogin()+"@db1:"+far+"/new")
	if got.code == 0 || !strings.Contains(got.stderr, "M-4") {
		t.Error("going up:", got)
	}
	if _, err := os.Stat(far + "/new"); err == nil {
		t.Error("the file is there")
	}
	h := g.client(hanako)
	if got := h.scp(h.dir+"/ssh_config", theLogin()+"@db1:"+far); got.code == 0 || requestID.FindString(got.stderr) == "" {
		t.Error("without its approval:", got)
	}
	for _, path := range []string{far + "/*", "$HOME/x", "`id`", "a b"} {
		if got := c.scp(theLogin()+"@db1:"+path, c.dir+"/x"); got.code == 0 {
			t.Errorf("%s: %v", path, got)
		}
	}
}
