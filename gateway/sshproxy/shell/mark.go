package shell

import (
	"bytes"
	"encoding/hex"
	"strconv"
)

// Marks are what the injected start file says to the gateway: OSC 7700 ; TOKEN ; KIND ; SERIAL ; LENGTH ; TEXT BEL. TEXT has
// each control character and % as %XX; LENGTH is that of the text itself, so that what another program wrote in between is
// noticed. SERIAL counts the shell's marks, 0 for those that are not counted. The token is a secret of the channel, so that
// what a program prints is not taken for a mark by chance.
const (
	markAliases  = 'A' // the aliases follow, all of them
	markAlias    = 'a' // NAME=VALUE
	markFunction = 'f' // a word of the line is a function
	markOpaque   = 'o' // why the shell itself says that the line cannot be told
	markExpanded = 'h' // the line is not what the screen shows: its history was expanded
	markDir      = 'd' // the folder that the shell is in
	markTooLong  = 't' // the line that follows is left out
	markLine     = 'l' // the edit buffer when Enter was pressed: an answer is waited for
	markWhole    = 'w' // the same, with the lines before it of a command over several lines
	markAheadOf  = 'B' // a piece of what was typed ahead and read with the answer
	markAhead    = 'b' // its last piece
	markStart    = 's' // a command begins
	markPrompt   = 'p' // a prompt comes: STATUS CWD
	markStopped  = 'u' // a command that was not asked about and did not run

	markBroken = 0 // of ours, and cannot be read; the value is its kind
)

// mark is one that was read.
type mark struct {
	kind   byte
	serial int
	text   []byte
}

// maxMark bounds a mark behind its token, in bytes: a line of 64 KiB that is all control characters.
const maxMark = 200 << 10

// splitter takes the marks out of a terminal's output.
type splitter struct {
	prefix []byte // ESC ] 7700 ; TOKEN ;
	held   []byte // what may be the beginning of a mark
	scrub  scrubber
}

func newSplitter(token string) *splitter {
	return &splitter{prefix: []byte("\x1b]7700;" + token + ";"), scrub: scrubber{token: []byte(token)}}
}

// split hands text and marks on in the order in which they came. text may be called with parts of data; it must not keep
// them.
func (s *splitter) split(data []byte, text func([]byte) error, take func(mark) error) error {
	if n := len(s.held) + len(data) - len(s.prefix); len(s.held) >= len(s.prefix) && n < maxMark && ends(data) < 0 {
		s.held = append(s.held, data...) // a long mark is not looked through again for every piece of it
		return nil
	}
	if len(s.held) > 0 {
		data = append(s.held, data...)
		s.held = nil
	}
	for {
		i := s.find(data)
		if i < 0 {
			return s.scrub.write(data, text)
		}
		if err := s.scrub.write(data[:i], text); err != nil {
			return err
		}
		data = data[i:]
		m, size, state := s.parse(data)
		switch state {
		case markPending:
			s.held = bytes.Clone(data)
			return nil
		case markNone:
			size = 1
			if err := s.scrub.write(data[:1], text); err != nil {
				return err
			}
			if m.text == nil {
				break
			}
			fallthrough // it is a mark of ours that something else got into: shown, without its token
		default:
			if err := take(m); err != nil {
				return err
			}
		}
		data = data[size:]
	}
}

// find is where a mark may begin, -1 for nowhere.
func (s *splitter) find(data []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(data[from:], 0x1b)
		if i < 0 {
			return -1
		}
		from += i
		if begins(data[from:], s.prefix) {
			return from
		}
		from++
	}
}

// flush hands on what is held, because nothing more comes.
func (s *splitter) flush(text func([]byte) error) error {
	held := s.held
	s.held = nil
	if err := s.scrub.write(held, text); err != nil {
		return err
	}
	return s.scrub.flush(text)
}

func send(data []byte, text func([]byte) error) error {
	if len(data) == 0 {
		return nil
	}
	return text(data)
}

// begins says whether data begins with prefix, as far as it goes.
func begins(data, prefix []byte) bool {
	n := min(len(data), len(prefix))
	return bytes.Equal(data[:n], prefix[:n])
}

// How far a mark was read.
type reading uint8

const (
	markRead    reading = iota
	markPending         // more of it must come
	markNone            // it is none, or broken
)

// parse reads what begins like a mark. A broken one comes back as markNone with a markBroken whose text is its kind.
func (s *splitter) parse(data []byte) (m mark, size int, state reading) {
	if len(data) < len(s.prefix) {
		return m, 0, markPending
	}
	body := data[len(s.prefix):]
	end := ends(body[:min(len(body), maxMark)])
	switch {
	case end < 0 && len(body) < maxMark:
		return m, 0, markPending
	case end >= 0 && body[end] == 0x07:
		if m, ok := parseMark(body[:end]); ok {
			return m, len(s.prefix) + end + 1, markRead
		}
	}
	if end >= 0 && end < 2 || body[1] != ';' {
		return mark{}, 0, markNone
	}
	return mark{kind: markBroken, text: bytes.Clone(body[:1])}, 0, markNone
}

// ends is where something other than a mark's text begins, -1 for nowhere.
func ends(body []byte) int {
	return bytes.IndexFunc(body, func(c rune) bool { return c < 0x20 || c == 0x7f })
}

// parseMark reads KIND;SERIAL;LENGTH;TEXT.
func parseMark(body []byte) (mark, bool) {
	fields := bytes.SplitN(body, []byte(";"), 4)
	if len(fields) != 4 || len(fields[0]) != 1 {
		return mark{}, false
	}
	serial, err := strconv.Atoi(string(fields[1]))
	if err != nil || serial < 0 {
		return mark{}, false
	}
	length, err := strconv.Atoi(string(fields[2]))
	if err != nil {
		return mark{}, false
	}
	text, ok := unescape(fields[3])
	return mark{fields[0][0], serial, text}, ok && len(text) == length
}

// unescape reads %XX.
func unescape(s []byte) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for {
		i := bytes.IndexByte(s, '%')
		if i < 0 {
			return append(out, s...), true
		}
		if len(s) < i+3 {
			return nil, false
		}
		var c [1]byte
		if _, err := hex.Decode(c[:], s[i+1:i+3]); err != nil {
			return nil, false
		}
		out = append(append(out, s[:i]...), c[0])
		s = s[i+3:]
	}
}
