package main

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// screen passes on what draws and drops what acts. A recording is a contractor's output, and a terminal obeys some of it:
// it answers queries on its keyboard, writes the clipboard, changes its title or keeps a mode. Text, cursor movement,
// erasing, scrolling and colours pass; strings (OSC, DCS, APC, PM, SOS), queries and unknown modes do not.
type screen struct {
	out   io.Writer
	state screenState
	seq   []byte // of the sequence being read, from ESC on
	clean bytes.Buffer
	moved bool // a sequence passed, so that the terminal may need putting in order
}

type screenState uint8

const (
	ground screenState = iota
	escape             // after ESC
	inCSI              // after ESC [
	inText             // inside a string that ends with BEL or ESC \
	inTextEscape
	charset // after ESC ( and its like: one byte to come
)

const (
	maxSequence = 64
	// drawing are the final bytes of control sequences (ECMA-48) that move, erase, scroll or colour.
	drawing = "@ABCDEFGHIJKLMPSTXZ`abdefgmrsu"
	// resetScreen leaves the watcher's terminal as it was: colours, cursor, main screen, scroll region.
	resetScreen = "\x1b[0m\x1b[?25h\x1b[?1049l\x1b[r\x1b(B"
)

// screenModes are the private modes that only change how things look: cursor keys no, cursor, wrap and the two screens.
var screenModes = []string{"?7", "?25", "?47", "?1047", "?1048", "?1049"}

func newScreen(out io.Writer) *screen { return &screen{out: out} }

// Write filters p; a sequence may be split over several calls.
func (s *screen) Write(p []byte) (int, error) {
	s.clean.Reset()
	for rest := p; len(rest) > 0; {
		size := 1
		// C1 controls (U+0080–U+009F) are ESC sequences in other clothes.
		if r, n := utf8.DecodeRune(rest); s.state == ground && n == 2 && r < 0xa0 {
			rest = rest[n:]
			continue
		} else if s.state == ground && r != utf8.RuneError {
			size = n
		}
		s.step(rest[:size])
		rest = rest[size:]
	}
	_, err := s.out.Write(s.clean.Bytes())
	return len(p), err
}

// Close puts the terminal back in order.
func (s *screen) Close() error {
	if !s.moved {
		return nil
	}
	_, err := io.WriteString(s.out, resetScreen)
	return err
}

func (s *screen) step(c []byte) {
	b := c[0]
	switch s.state {
	case ground:
		s.plain(c)
	case escape:
		s.afterEscape(b)
	case inCSI:
		s.afterCSI(b)
	case charset:
		s.emit(b, b == 'B' || b == '0' || b == 'A')
	case inText:
		switch b {
		case 0x07, 0x18, 0x1a:
			s.state = ground
		case 0x1b:
			s.state = inTextEscape
		}
	case inTextEscape:
		s.state = inText
		if b == '\\' {
			s.state = ground
		}
	}
}

// plain passes text and the controls that move the cursor; a bell may ring.
func (s *screen) plain(c []byte) {
	switch b := c[0]; {
	case b == 0x1b:
		s.state, s.seq = escape, append(s.seq[:0], b)
	case b >= 0x20 && b != 0x7f, strings.IndexByte("\a\b\t\n\v\f\r", b) >= 0:
		s.clean.Write(c)
	}
}

func (s *screen) afterEscape(b byte) {
	s.seq = append(s.seq, b)
	switch {
	case b == '[':
		s.state = inCSI
	case strings.IndexByte("]PX^_", b) >= 0:
		s.state = inText
	case strings.IndexByte("()*+", b) >= 0:
		s.state = charset
	case b == 0x1b:
		s.seq = s.seq[:1]
	default:
		s.seq = s.seq[:len(s.seq)-1]
		s.emit(b, strings.IndexByte("78DEM", b) >= 0)
	}
}

func (s *screen) afterCSI(b byte) {
	switch {
	case b >= 0x40 && b <= 0x7e:
		s.emit(b, s.draws(b))
	case b < 0x20 || b == 0x7f || len(s.seq) >= maxSequence:
		s.state = ground
	default:
		s.seq = append(s.seq, b)
	}
}

// draws tells whether the control sequence read so far, ended by final, only draws.
func (s *screen) draws(final byte) bool {
	parameters := string(s.seq[2:])
	if final == 'h' || final == 'l' {
		for _, mode := range screenModes {
			if parameters == mode {
				return true
			}
		}
		return false
	}
	return strings.IndexByte(drawing, final) >= 0 && strings.Trim(parameters, "0123456789;:") == ""
}

func (s *screen) emit(final byte, pass bool) {
	if pass {
		s.moved = true
		s.clean.Write(s.seq)
		s.clean.WriteByte(final)
	}
	s.state = ground
}
