package recorder

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate reserves disk blocks from offset on for n bytes without changing the size of the file.
func allocate(f *os.File, offset, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, offset, n)
		if err != unix.EINTR {
			return err
		}
	}
}

// forget tells the kernel that nobody is about to read this part of f: recordings must not push what the host works with
// out of the page cache, and in a virtual machine reused pages are far cheaper than fresh ones.
func forget(f *os.File, offset, n int64) {
	_ = unix.Fadvise(int(f.Fd()), offset, n, unix.FADV_DONTNEED) // advice: nothing depends on it
}

func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
