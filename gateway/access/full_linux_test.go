package access_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

func TestAFullDiskEndsTheSessionBeforeAnythingUnrecordedIsShown(t *testing.T) {
	small := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
	h := newHouse(t, func(c *access.Config) { c.Recording.Dir = small })
	s := h.open("hanako", "db1")
	conn, err := s.Dial(t.Context())
	check(t, err)
	noise := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	var refused error
	for i := 0; i < 1000 && refused == nil; i++ {
		for j := range noise { // what does not compress
			noise[j] = noise[j]*31 + byte(i*j)
		}
		refused = s.Record(1, recorder.KindOutput, noise)
	}
	if refused == nil {
		t.Fatal("64 MiB were recorded on a disk of 2 MiB")
	}
	if ended := h.ended(s); ended.Reason != "recording failed" {
		t.Errorf("ended because %q", ended.Reason)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("the way to the target is still open")
	}
	s.End("closed")
	os.WriteFile(filepath.Join(small, "filler"), bytes.Repeat([]byte("x"), 4<<20), 0o600) // takes what is left, then fails
	if _, err := h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: "db1", Login: "app", Protocol: "ssh"}); err == nil {
		t.Error("a session opened on a full disk")
	}
}
