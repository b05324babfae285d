package sshproxy_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pkg/sftp"

	"github.com/sekisho/sekisho/recorder"
)

// files is an SFTP client that does exactly what it is told.
func (c *client) files() *sftp.Client {
	c.g.t.Helper()
	conn, err := c.dial(theLogin() + "+db1")
	must(c.g.t, err)
	c.g.t.Cleanup(func() { conn.Close() })
	files, err := sftp.NewClient(conn)
	must(c.g.t, err)
	return files
}

// shutFolder is a folder on the target in which nothing is allowed, beside one in which everything is.
func shutFolder(t *testing.T) (far string, g *gateway) {
	far = farDir(t)
	for name, text := range map[string]string{"shut/secret": "secret", "top/shut/secret": "secret", "open/plain": "plain", "open/d/x": "x"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(far, name)), 0o777))
		must(t, os.WriteFile(filepath.Join(far, name), []byte(text), 0o666))
	}
	must(t, filepath.Walk(far, func(path string, _ os.FileInfo, err error) error {
		if err == nil {
			err = os.Chmod(path, 0o777)
		}
		return err
	}))
	for link, to := range map[string]string{"open/link": "../shut", "open/a": "b", "open/b": "c/../link", "open/c": "d",
		"open/file": far + "/shut/secret", "open/dangling": far + "/shut/made", "open/around": "around"} {
		must(t, os.Symlink(to, filepath.Join(far, link)))
	}
	return far, newGateway(t, setup{overrides: fmt.Sprintf(`
  - {name: opened, vendor: dev, path: %[1]s/**, cells: {read: always, write: always, delete: always}}
  - {name: shut, vendor: dev, path: %[1]s/shut/**, cells: {read: never, write: never, delete: never}}
  - {name: shut-too, vendor: dev, path: %[1]s/top/shut/**, cells: {read: never, write: never, delete: never}}
`, far)})
}

// TestNothingFoolsARuleForAPath: links, dots, renamed folders and other names for a file do not open what is shut.
func TestNothingFoolsARuleForAPath(t *testing.T) {
	far, g := shutFolder(t)
	c := g.client(sora).files()
	at := func(name string) string { return far + "/" + name }
	read := func(name string) error {
		f, err := c.Open(at(name))
		if err != nil {
			return err
		}
		defer f.Close()
		text, err := io.ReadAll(f)
		if err == nil && !strings.Contains(string(text), "secret") {
			err = fmt.Errorf("read %q", text)
		}
		return err
	}
	write := func(name string, flags int) error {
		f, err := c.OpenFile(at(name), flags)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Write([]byte("changed"))
		return err
	}
	list := func(name string) error { _, err := c.ReadDir(at(name)); return err }
	stat := func(name string) error { _, err := c.Stat(at(name)); return err }
	for _, try := range []struct {
		what string
		do   func() error
	}{
		{"reading it", func() error { return read("shut/secret") }},
		{"reading through a link", func() error { return read("open/link/secret") }},
		{"through a link to the file", func() error { return read("open/file") }},
		{"through a chain of links", func() error { return read("open/a/secret") }},
		{"through dots", func() error { return read("open/../shut/./secret") }},
		{"through dots behind a link", func() error { return read("open/link/../shut/secret") }},
		{"through the process's own folder", func() error { return read("open/../../../../../../../../proc/self/root" + far + "/shut/secret") }},
		{"through links without an end", func() error { return read("open/around") }},
		{"by another case", func() error { return read("SHUT/secret") }},
		{"listing through a link", func() error { return list("open/link") }},
		{"what it is like, through a link", func() error { return stat("open/link/secret") }},
		{"writing through a link", func() error { return write("open/file", os.O_WRONLY|os.O_TRUNC) }},
		{"making a file through a link", func() error { return write("open/dangling", os.O_WRONLY|os.O_CREATE) }},
		{"cutting it off through a link", func() error { return c.Truncate(at("open/file"), 0) }},
		{"its mode, through a link", func() error { return c.Chmod(at("open/file"), 0o600) }},
		{"removing below a link", func() error { return c.Remove(at("open/link/secret")) }},
		{"a folder below a link", func() error { return c.Mkdir(at("open/link/made")) }},
		{"renaming it", func() error { return c.Rename(at("shut/secret"), at("open/s1")) }},
		{"renaming below a link", func() error { return c.PosixRename(at("open/link/secret"), at("open/s2")) }},
		{"renaming over it", func() error { return c.PosixRename(at("open/plain"), at("shut/secret")) }},
		{"renaming its folder", func() error { return c.Rename(at("shut"), at("open/s3")) }},
		{"renaming a folder above it", func() error { return c.PosixRename(at("top"), at("open/s4")) }},
		{"renaming a folder into it", func() error { return c.Rename(at("open/d"), at("shut/d")) }},
		{"another name for it", func() error { return c.Link(at("shut/secret"), at("open/s5")) }},
		{"another name for it, by a link", func() error { return c.Link(at("open/link/secret"), at("open/s6")) }},
		{"another name in it", func() error { return c.Link(at("open/plain"), at("shut/p")) }},
		{"a link in it", func() error { return c.Symlink(at("open/plain"), at("shut/l")) }},
		{"a link of one's own", func() error {
			must(t, c.Symlink(at("shut"), at("open/mine")))
			return read("open/mine/secret")
		}},
		{"a link in the place of a folder", func() error {
			must(t, c.Mkdir(at("open/swap")))
			must(t, c.RemoveDirectory(at("open/swap")))
			must(t, c.Symlink("../shut", at("open/swap")))
			return read("open/swap/secret")
		}},
	} {
		if err := try.do(); err == nil {
			t.Errorf("%s was let through", try.what)
		}
	}
	kept := func(name string) {
		if text, err := os.ReadFile(at(name)); err != nil || string(text) != "secret" {
			t.Errorf("%s is %q now: %v", name, text, err)
		}
	}
	kept("shut/secret")
	kept("top/shut/secret")
	names, err := os.ReadDir(at("shut"))
	if err != nil || len(names) != 1 {
		t.Errorf("what is shut holds %v: %v", names, err)
	}
	// And what is open stays so.
	for _, do := range []func() error{
		func() error { return write("open/link2", os.O_WRONLY|os.O_CREATE) },
		func() error { return c.Rename(at("open/link2"), at("open/link3")) },
		func() error { return c.Remove(at("open/link3")) },
		func() error { return c.Remove(at("open/link")) },
		func() error { return list("open/c") },
	} {
		if err := do(); err != nil {
			t.Error("what is open:", err)
		}
	}
}

func TestWithDownloadsOffFilesAreLookedAtNotTaken(t *testing.T) {
	g := newGateway(t, setup{overrides: "  - {name: look, vendor: dev, obligations: {download: off}}\n"})
	c, far := g.client(sora), farDir(t)
	must(t, os.WriteFile(far+"/file", []byte("text"), 0o666))
	files := c.files()
	if _, err := files.ReadDir(far); err != nil {
		t.Error("listing:", err)
	}
	if _, err := files.Stat(far + "/file"); err != nil {
		t.Error("looking at what it is like:", err)
	}
	if f, err := files.OpenFile(far+"/up", os.O_WRONLY|os.O_CREATE); err != nil {
		t.Error("sending:", err)
	} else {
		f.Close()
	}
	if _, err := files.Open(far + "/file"); err == nil {
		t.Error("a file was opened for reading")
	}
	to := theLogin() + "@db1"
	if got := c.scp(to+":"+far+"/file", c.dir+"/down"); got.code == 0 || !strings.Contains(got.stderr, "not taken away") {
		t.Error("scp:", got)
	}
	if _, err := os.Stat(c.dir + "/down"); err == nil {
		t.Error("the file is here")
	}
	if got := c.ssh(to, "cat "+far+"/file"); got.code != 126 || !strings.Contains(got.stderr, "not taken away") || strings.Contains(got.stdout, "text") {
		t.Error("a command without a terminal:", got)
	}
	needTerminals(t)
	if got := c.ssh("-tt", to, "cat "+far+"/file"); got.code != 0 || !strings.Contains(got.stdout, "text") {
		t.Error("a command at a terminal:", got)
	}
	refused := g.events(recorder.ClassFile, "file.refused")
	if len(refused) != 2 || !slices.ContainsFunc(refused, func(e recorder.Event) bool { return fmt.Sprint(e.Detail["reasons"]) == "[download_off]" }) {
		t.Errorf("%d refusals on record, want 2", len(refused))
	}
}

func TestMaxBytesIsHowMuchATransferCarries(t *testing.T) {
	g := newGateway(t, setup{overrides: "  - {name: little, vendor: dev, obligations: {max_bytes: 100000}}\n"})
	c, far := g.client(sora), farDir(t)
	must(t, os.WriteFile(c.dir+"/small", make([]byte, 60000), 0o600))
	must(t, os.WriteFile(c.dir+"/big", make([]byte, 200000), 0o600))
	to := theLogin() + "@db1"
	if got := c.sftp(to, "put "+c.dir+"/small "+far+"/a", "get "+far+"/a "+c.dir+"/b"); got.code == 0 {
		t.Error("120,000 bytes:", got)
	}
	if got := c.sftp(to, "put "+c.dir+"/small "+far+"/a"); got.code != 0 {
		t.Error("60,000 bytes:", got)
	}
	if got := c.scp(c.dir+"/small", to+":"+far+"/c"); got.code != 0 {
		t.Error("60,000 bytes by scp:", got)
	}
	if got := c.scp(c.dir+"/big", to+":"+far+"/big"); got.code == 0 || !strings.Contains(got.stderr, "max_bytes") {
		t.Error("200,000 bytes by scp:", got)
	}
	if _, err := os.Stat(far + "/big"); err == nil {
		t.Error("the big file is there")
	}
}
