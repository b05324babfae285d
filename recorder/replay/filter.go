package replay

import (
	"strings"
	"unicode/utf8"
)

// filter passes on what draws on a terminal and drops what could act on it: titles, clipboard, hyperlinks, queries that
// the terminal would answer into somebody's shell, modes that make it report mouse, focus or pasted text. The bytes come
// from whoever was recorded. A filter keeps its place between calls, since a sequence may be split over entries.
type filter struct {
	plain bool // drop every sequence, for text that no terminal draws
	state filterState
	seq   []byte // the sequence so far
}

type filterState uint8

const (
	ground     filterState = iota
	escape                 // after ESC
	charset                // after ESC ( and the like: one more byte
	control                // in CSI
	inString               // in OSC, DCS, SOS, PM or APC, which last up to ST
	stringEnds             // ESC within such a string
	utf8Tail               // in a character of several bytes
)

const maxSequence = 256

// filter appends what passes of b to out.
func (f *filter) filter(out, b []byte) []byte {
	for _, c := range b {
		out = f.step(out, c)
	}
	return out
}

func (f *filter) step(out []byte, c byte) []byte {
	if c == 0x18 || c == 0x1a { // CAN and SUB end every sequence
		f.reset()
		return out
	}
	switch f.state {
	case inString, stringEnds:
		return f.inText(out, c)
	case utf8Tail:
		return f.inCharacter(out, c)
	}
	if c == 0x1b {
		f.reset()
		f.state, f.seq = escape, append(f.seq, c)
		return out
	}
	switch f.state {
	case escape:
		return f.afterEscape(out, c)
	case charset:
		return f.finish(out, c, '0' <= c && c <= '~')
	case control:
		return f.inControl(out, c)
	}
	return f.inGround(out, c)
}

func (f *filter) reset() { f.state, f.seq = ground, f.seq[:0] }

// finish ends a sequence with c and passes it on if it may.
func (f *filter) finish(out []byte, c byte, may bool) []byte {
	if may && !f.plain {
		out = append(append(out, f.seq...), c)
	}
	f.reset()
	return out
}

func (f *filter) inGround(out []byte, c byte) []byte {
	switch {
	case c >= 0x20 && c < 0x7f, c == '\t', c == '\n', c == '\r', c == '\b':
		return append(out, c)
	case c == 0x0e, c == 0x0f: // the other character set, line drawing
		return f.finish(out, c, true)
	case c >= 0xc2 && c <= 0xf4:
		f.state, f.seq = utf8Tail, append(f.seq, c)
		return out
	case c >= 0x80:
		return utf8.AppendRune(out, utf8.RuneError)
	}
	return out
}

// inCharacter collects a UTF-8 character. Those from U+0080 to U+009F are control characters in another guise.
func (f *filter) inCharacter(out []byte, c byte) []byte {
	if c&0xc0 != 0x80 { // cut short
		f.reset()
		return f.step(utf8.AppendRune(out, utf8.RuneError), c)
	}
	if f.seq = append(f.seq, c); !utf8.FullRune(f.seq) {
		return out
	}
	if r, _ := utf8.DecodeRune(f.seq); r >= 0xa0 { // U+FFFD too
		out = utf8.AppendRune(out, r)
	}
	f.reset()
	return out
}

func (f *filter) afterEscape(out []byte, c byte) []byte {
	switch {
	case c == '[':
		f.state, f.seq = control, append(f.seq, c)
	case strings.IndexByte("]PX^_", c) >= 0:
		f.state = inString
	case strings.IndexByte("()*+", c) >= 0:
		f.state, f.seq = charset, append(f.seq, c)
	default:
		return f.finish(out, c, strings.IndexByte("78=>DEHM", c) >= 0)
	}
	return out
}

func (f *filter) inText(out []byte, c byte) []byte {
	switch {
	case c == 0x1b:
		f.state = stringEnds
	case f.state == stringEnds && c == '\\', c == 0x07: // ST; BEL ends an OSC
		f.reset()
	case f.state == stringEnds: // another sequence begins
		f.reset()
		f.seq = append(f.seq, 0x1b)
		return f.afterEscape(out, c)
	}
	return out
}

func (f *filter) inControl(out []byte, c byte) []byte {
	switch {
	case c >= 0x40 && c <= 0x7e:
		return f.finish(out, c, drawing(string(f.seq[2:]), c))
	case c >= 0x20 && c < 0x40 && len(f.seq) < maxSequence:
		f.seq = append(f.seq, c)
		return out
	case c < 0x20: // control characters act within a sequence as they do outside it
		return f.inGround(out, c)
	}
	f.reset()
	return out
}

// drawing reports whether the control sequence with these parameters draws, and does no more than that.
func drawing(parameters string, final byte) bool {
	if private, ok := strings.CutPrefix(parameters, "?"); ok {
		switch final {
		case 'h', 'l':
			return drawingModes(private)
		case 'J', 'K':
			return plainParameters(private)
		}
		return false
	}
	return plainParameters(parameters) && strings.IndexByte("@ABCDEFGHIJKLMPSTXZ`abdefghlmrsu", final) >= 0
}

// drawingModes reports whether all these private modes only change how something is drawn: cursor keys, columns, reverse
// screen, origin, wrapping, blinking and hidden cursor, the alternate screen.
func drawingModes(list string) bool {
	for mode := range strings.SplitSeq(list, ";") {
		switch mode {
		case "1", "5", "6", "7", "12", "25", "47", "1047", "1048", "1049":
		default:
			return false
		}
	}
	return true
}

func plainParameters(s string) bool { return strings.Trim(s, "0123456789;:") == "" }
