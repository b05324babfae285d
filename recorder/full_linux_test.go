package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	children["fill-disk"], children["fill-quota"] = fillDisk, fillQuota
}

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

func TestFullDiskIsAnErrorOfWriteAndLosesNothingAccepted(t *testing.T) {
	out, err := inNamespace(child(t, newDesk(t), "fill-disk")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fillDisk records onto a tmpfs of 3 MiB until it is full.
func fillDisk(d desk) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", d.Dir, "tmpfs", 0, "size=3m"); err != nil {
		return err
	}
	for _, mode := range []CommitMode{Interval, BeforeShow} {
		d.Commit = mode
		if err := fillWith(d); err != nil {
			return fmt.Errorf("commit mode %d: %w", mode, err)
		}
	}
	return createOnFull(d)
}

func fillWith(d desk) error {
	defer os.Remove(d.path())
	w, err := Create(d.Config, hanako)
	if err != nil {
		return err
	}
	accepted, err := pour(w, 10_000)
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("the disk is full and Write says %w", err)
	}
	if err := w.Write(output(0, "x")); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("after the failure Write says %w", err)
	}
	if err := <-w.Err(); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("Err delivers %w", err)
	}
	if err := w.Close("disk full"); err != nil {
		return err
	}
	read, err := d.mustRead(accepted, io.EOF)
	if err != nil {
		return err
	}
	if gap := read[accepted]; gap.Kind != KindGap || string(gap.Data) != `{"reason":"disk full","bytes":10001}` {
		return fmt.Errorf("the gap is marked as %d %s", gap.Kind, gap.Data)
	}
	report, err := Verify(d.path(), d.trusted)
	return errors.Join(err, report.Err(), os.Remove(KeyPath(d.path())))
}

// createOnFull checks that no recording, and nothing of one, begins on a full disk.
func createOnFull(d desk) error {
	ballast := bytes.Repeat([]byte("x"), 4<<20)
	if err := os.WriteFile(filepath.Join(d.Dir, "ballast"), ballast, 0o600); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("filling the disk: %w", err)
	}
	if _, err := Create(d.Config, hanako); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("the disk is full and Create says %w", err)
	}
	left, err := os.ReadDir(d.Dir)
	if len(left) != 1 {
		return fmt.Errorf("the recording that did not begin left %v behind", left)
	}
	return err
}

func TestFailedWriteIsStickyAndToldAtOnce(t *testing.T) {
	out, err := child(t, newDesk(t), "fill-quota").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fillQuota records beyond the size that this process may give a file: a failure that no reservation foresees.
func fillQuota(d desk) error {
	const limit = 1 << 20
	signal.Ignore(unix.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	w, err := Create(d.Config, hanako)
	if err != nil {
		return err
	}
	if _, err := pour(w, 100_000); !errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("the file may not grow and Write says %w", err)
	}
	if err := <-w.Err(); !errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("Err delivers %w", err)
	}
	if err := w.Write(output(0, "x")); !errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("after the failure Write says %w", err)
	}
	if err := w.Close("failed"); !errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("Close says %w", err)
	}
	if _, err := d.mustRead(1, ErrCut); err != nil {
		return err
	}
	report, err := Verify(d.path(), d.trusted)
	if err != nil || len(report.Findings) != 1 {
		return fmt.Errorf("verify: %w %w", err, report.Err())
	}
	return nil
}
