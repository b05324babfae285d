package demo

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// ptyRequest is a pty-req (RFC 4254 section 6.2).
type ptyRequest struct {
	name  string // TERM
	size  windowSize
	modes []ttyMode
}

// windowSize is the body of a window-change and a part of a pty-req.
type windowSize struct{ Columns, Rows, Width, Height uint32 }

// winsize clamps to what the kernel's sixteen bits hold.
func (w windowSize) winsize() *unix.Winsize {
	clamp := func(v uint32) uint16 { return uint16(min(v, 1<<16-1)) }
	return &unix.Winsize{Col: clamp(w.Columns), Row: clamp(w.Rows), Xpixel: clamp(w.Width), Ypixel: clamp(w.Height)}
}

// resize may race with the terminal's Close, so it never asks for the bare descriptor as pty.Setsize does.
func resize(tty *os.File, size windowSize) error {
	raw, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size.winsize()) })
	return errors.Join(err, failed)
}

// ttyMode is one encoded terminal mode (RFC 4254 section 8).
type ttyMode struct {
	op    byte
	value uint32
}

// parsePtyRequest is strict: trailing bytes, a cut list of modes or a TERM that is no name refuse the terminal.
func parsePtyRequest(payload []byte) (*ptyRequest, error) {
	var m struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return nil, err
	}
	if !termName(m.Term) {
		return nil, errors.New("TERM is not the name of a terminal")
	}
	modes, err := parseModes([]byte(m.Modes))
	if err != nil {
		return nil, err
	}
	return &ptyRequest{m.Term, windowSize{m.Columns, m.Rows, m.Width, m.Height}, modes}, nil
}

func termName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+"
	return len(name) <= 64 && strings.Trim(name, letters) == ""
}

// parseModes reads opcode and value pairs up to the end mark. Opcodes from 160 on have no defined length and end the
// list, as the RFC says.
func parseModes(list []byte) ([]ttyMode, error) {
	var modes []ttyMode
	for len(list) > 0 && list[0] != 0 && list[0] < 160 {
		if len(list) < 5 {
			return nil, errors.New("the list of terminal modes is cut")
		}
		modes = append(modes, ttyMode{list[0], binary.BigEndian.Uint32(list[1:5])})
		list = list[5:]
	}
	return modes, nil
}

// splitAddr gives host and port, or two unknowns.
func splitAddr(a net.Addr) [2]string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return [2]string{"UNKNOWN", "0"}
	}
	return [2]string{host, port}
}
