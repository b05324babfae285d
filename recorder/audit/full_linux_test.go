package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { children["fill-disk"] = fillDisk }

// inNamespace gives a child its own mounts, so that it can have a disk of its own that is really full.
func inNamespace(cmd *exec.Cmd) *exec.Cmd {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	return cmd
}

func TestFullDiskIsAnErrorOfAppendUntilThereIsRoomAgain(t *testing.T) {
	c := newConfig(t)
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := inNamespace(child(c, "fill-disk")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fillDisk(c Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", c.Dir, "tmpfs", 0, "size=1m"); err != nil {
		return err
	}
	ballast := filepath.Join(c.Dir, "ballast")
	if err := os.WriteFile(ballast, bytes.Repeat([]byte("x"), 900_000), 0o600); err != nil {
		return err
	}
	l, err := Open(c)
	if err != nil {
		return err
	}
	stored := uint64(0)
	for err == nil {
		_, err = l.Append(context.Background(), command("acme", strings.Repeat("x", 3000)))
		if err == nil {
			stored++
		}
	}
	if !errors.Is(err, unix.ENOSPC) || stored == 0 {
		return fmt.Errorf("%d events were stored, then Append says %w", stored, err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	e, err := l.Append(context.Background(), command("acme", "there is room again"))
	if err != nil || e.VSeq != stored+1 {
		return fmt.Errorf("with room again: vseq %d after %d events, %w", e.VSeq, stored, err)
	}
	if err := l.Close(); err != nil {
		return err
	}
	report, err := Verify(c.Dir, c.public())
	if report.Classes[1].Events != stored+1 {
		return fmt.Errorf("%d events of %d verify", report.Classes[1].Events, stored+1)
	}
	return errors.Join(err, report.Err())
}
