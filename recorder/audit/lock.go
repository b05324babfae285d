package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

const (
	ownerLock  = "lock"
	commitLock = "commit"
)

// ErrLocked: another process writes to this log.
var ErrLocked = errors.New("another process holds the audit log open")

// lockOwner makes this process the only one that writes to the log.
func lockOwner(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		f.Close()
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w (%s)", ErrLocked, path)
	}
	return f, err
}

// lockForReading keeps commits out until release is called. A copy of a log may lack the file: nobody commits there.
func lockForReading(path string) (release func(), err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := flock(f, syscall.LOCK_SH); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			return err
		}
	}
}
