package shell

import (
	"bytes"
	"encoding/hex"
)

// Marks are what the injected start file says to the gateway: OSC 7700 ; TOKEN ; KIND ; HEX BEL. The token is a secret of
// the channel, so that what a program prints is not taken for one by chance.
const (
	markAlias    = 'a' // NAME=VALUE
	markFunction = 'f' // names of functions, one in a line
	markLine     = 'l' // the edit buffer when Enter was pressed: an answer is waited for
	markAhead    = 'b' // what was typed ahead and read with the answer
	markStart    = 's' // a command begins
	markPrompt   = 'p' // a prompt comes: STATUS CWD
	markSkipped  = 'u' // a command that was not asked about and was skipped
)

// maxMark bounds one mark's HEX. A longer one is not a mark.
const maxMark = 512 << 10

// splitter takes the marks out of a terminal's output.
type splitter struct {
	prefix []byte // ESC ] 7700 ; TOKEN ;
	held   []byte // what may be the beginning of a mark
}

func newSplitter(token string) *splitter {
	return &splitter{prefix: []byte("\x1b]7700;" + token + ";")}
}

// split hands text and marks on in the order in which they came. text may be called with parts of data; it must not keep
// them.
func (s *splitter) split(data []byte, text func([]byte) error, mark func(kind byte, value []byte) error) error {
	if len(s.held) > 0 {
		data = append(s.held, data...)
		s.held = nil
	}
	for {
		i := bytes.IndexByte(data, 0x1b)
		for i >= 0 && !begins(data[i:], s.prefix) {
			next := bytes.IndexByte(data[i+1:], 0x1b)
			if next < 0 {
				i = -1
				break
			}
			i += 1 + next
		}
		if i < 0 {
			return send(data, text)
		}
		if err := send(data[:i], text); err != nil {
			return err
		}
		data = data[i:]
		kind, value, rest, complete := s.parse(data)
		switch {
		case !complete:
			s.held = bytes.Clone(data)
			return nil
		case kind == 0:
			// It only looked like one.
			if err := send(data[:1], text); err != nil {
				return err
			}
			data = data[1:]
		default:
			if err := mark(kind, value); err != nil {
				return err
			}
			data = rest
		}
	}
}

// flush hands on what is held, because nothing more comes.
func (s *splitter) flush(text func([]byte) error) error {
	held := s.held
	s.held = nil
	return send(held, text)
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

// parse reads a mark at the beginning of data. kind is 0 for what is none.
func (s *splitter) parse(data []byte) (kind byte, value, rest []byte, complete bool) {
	body := data[min(len(data), len(s.prefix)):]
	end := bytes.IndexByte(body, 0x07)
	if end < 0 {
		if len(body) > 2+maxMark || len(body) > 2 && !isHex(body[2:]) {
			return 0, nil, nil, true
		}
		return 0, nil, nil, false
	}
	if end < 2 || end > 2+maxMark || body[1] != ';' {
		return 0, nil, nil, true
	}
	value = make([]byte, hex.DecodedLen(end-2))
	if _, err := hex.Decode(value, body[2:end]); err != nil {
		return 0, nil, nil, true
	}
	return body[0], value, body[end+1:], true
}

func isHex(data []byte) bool {
	for _, c := range data {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
