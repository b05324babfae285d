package console

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxCarried bounds an escape sequence or rune that is split between two chunks.
const maxCarried = 4 << 10

// plainText turns what a terminal was sent into text that can be read without one: escape sequences and control
// characters go, line ends become \n. It is no emulator: what was overwritten on the screen stands in the text as well.
// One plainText reads one stream, in chunks that may be cut anywhere.
type plainText struct{ carried []byte }

// clean returns the text of a chunk.
func (p *plainText) clean(chunk []byte) string {
	data := append(p.carried, chunk...)
	p.carried = nil
	var b strings.Builder
	for len(data) > 0 {
		n, whole := escapeLength(data)
		switch {
		case n > 0:
			data = data[n:]
			continue
		case !whole:
			if len(data) <= maxCarried {
				p.carried = append([]byte(nil), data...)
				return b.String()
			}
			data = data[1:]
			continue
		}
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 && !utf8.FullRune(data) {
			p.carried = append([]byte(nil), data...)
			return b.String()
		}
		writePlain(&b, data, r)
		data = data[size:]
	}
	return b.String()
}

// writePlain writes one character; the line end of \r\n is the \n.
func writePlain(b *strings.Builder, data []byte, r rune) {
	switch {
	case r == '\r':
		if len(data) == 1 || data[1] != '\n' {
			b.WriteByte('\n')
		}
	case r == '\n', r == '\t':
		b.WriteRune(r)
	case unicode.IsControl(r), isBidi(r):
	default:
		b.WriteRune(r)
	}
}

// isBidi is true for characters that reorder text and so could make a transcript read otherwise than it was.
func isBidi(r rune) bool {
	return r == 0x061c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// escapeLength is how many bytes the escape sequence at the start of data takes, 0 when there is none. whole is false
// when its end has not come yet (ECMA-48: CSI, the string sequences, two-byte escapes).
func escapeLength(data []byte) (n int, whole bool) {
	if data[0] != 0x1b {
		return 0, true
	}
	if len(data) == 1 {
		return 0, false
	}
	switch data[1] {
	case '[':
		return until(data, func(b byte) bool { return b >= 0x40 && b <= 0x7e })
	case ']', 'P', 'X', '^', '_':
		return stringLength(data)
	case '(', ')', '*', '+', '#', '%', ' ':
		if len(data) < 3 {
			return 0, false
		}
		return 3, true
	}
	return 2, true
}

func until(data []byte, last func(byte) bool) (int, bool) {
	for i := 2; i < len(data); i++ {
		if last(data[i]) {
			return i + 1, true
		}
		if data[i] < 0x20 || data[i] > 0x7e {
			return i, true // broken off by something that cannot stand in it
		}
	}
	return 0, false
}

// stringLength finds the end of OSC, DCS, SOS, PM and APC: BEL or ESC \.
func stringLength(data []byte) (int, bool) {
	for i := 2; i < len(data); i++ {
		switch {
		case data[i] == 0x07:
			return i + 1, true
		case data[i] == 0x1b && i+1 == len(data):
			return 0, false
		case data[i] == 0x1b && data[i+1] == '\\':
			return i + 2, true
		case data[i] == 0x1b:
			return i, true
		}
	}
	return 0, false
}

// typed shows what somebody typed: control characters in caret notation.
func typed(data []byte) string {
	var b strings.Builder
	for _, r := range string(data) {
		switch {
		case r == '\r' || r == '\n':
			b.WriteString("⏎\n")
		case r == '\t':
			b.WriteString("⇥")
		case r < 0x20:
			b.WriteByte('^')
			b.WriteRune(r + '@')
		case r == 0x7f:
			b.WriteString("^?")
		case unicode.IsControl(r), isBidi(r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
