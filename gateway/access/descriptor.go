package access

import (
	"errors"
	"syscall"
)

// SyscallConn gives access to the connection's descriptor, so that several buffers are read or written at once.
func (c *trackedConn) SyscallConn() (syscall.RawConn, error) {
	if conn, ok := c.Conn.(syscall.Conn); ok {
		return conn.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
