package demo

import (
	"os"

	"golang.org/x/sys/unix"
)

// Tables from RFC 4254 section 8 and RFC 8160 (IUTF8) to the kernel's names.
var (
	ttyChars = map[byte]int{
		1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
		8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT,
		18: unix.VDISCARD,
	}
	ttyInput = map[byte]uint32{
		30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR,
		36: unix.ICRNL, 37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL, 42: unix.IUTF8,
	}
	ttyLocal = map[byte]uint32{
		50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL,
		57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL, 61: unix.ECHOKE, 62: unix.PENDIN,
	}
	ttyOutput = map[byte]uint32{
		70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
	}
)

// setModes makes the terminal what the client's own terminal is; unknown modes are ignored, as the RFC asks.
func setModes(tty *os.File, modes []ttyMode) error {
	t, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	for _, m := range modes {
		if i, ok := ttyChars[m.op]; ok {
			t.Cc[i] = controlChar(m.value)
		}
		set(&t.Iflag, ttyInput[m.op], m.value)
		set(&t.Lflag, ttyLocal[m.op], m.value)
		set(&t.Oflag, ttyOutput[m.op], m.value)
	}
	return unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, t)
}

func set(flags *uint32, bit, value uint32) {
	*flags &^= bit
	if value != 0 {
		*flags |= bit
	}
}

// controlChar is the character, or the kernel's "none" for the protocol's 255.
func controlChar(value uint32) byte {
	if value >= 255 {
		return 0
	}
	return byte(value)
}

// foreground is the process group that the terminal's keyboard reaches, 0 when there is none.
func foreground(tty *os.File) int {
	if tty == nil {
		return 0
	}
	raw, err := tty.SyscallConn()
	if err != nil {
		return 0
	}
	group := 0
	raw.Control(func(fd uintptr) { group, _ = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) })
	return group
}
