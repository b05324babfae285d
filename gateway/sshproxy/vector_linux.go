package sshproxy

import (
	"io"

	"golang.org/x/sys/unix"
)

// vectored tells whether readv and writev are there.
const vectored = true

// readv reads into a and, when that is full, into b; again means that there is nothing to read yet.
func readv(fd int, a, b []byte) (n int, again bool, err error) {
	n, again, err = retry(func() (int, error) { return unix.Readv(fd, [][]byte{a, b}) })
	if n == 0 && !again && err == nil {
		err = io.EOF
	}
	return n, again, err
}

// writev writes from a and then from b; again means that the kernel takes nothing yet.
func writev(fd int, a, b []byte) (n int, again bool, err error) {
	return retry(func() (int, error) { return unix.Writev(fd, [][]byte{a, b}) })
}

func retry(call func() (int, error)) (n int, again bool, err error) {
	for {
		switch n, err = call(); err {
		case nil:
			return n, false, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, err
		}
	}
}
