package shell

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// maxScreen bounds what is kept of an edited line's echo, in bytes. A longer one is not compared.
const maxScreen = 16 << 10

// screen is what the line editor has drawn since the prompt, as far as it can be followed without a terminal emulator: text,
// colours and backspaces over it. What moves the cursor otherwise ends the comparison, which then finds no difference.
type screen struct {
	mu   sync.Mutex
	seen []byte
	lost bool
}

func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.lost = s.seen[:0], false
}

func (s *screen) add(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost = s.lost || len(s.seen)+len(data) > maxScreen; !s.lost {
		s.seen = append(s.seen, data...)
	}
}

// editorReady is what an editor says when it has drawn its prompt, or is about to; zsh does the first, readline the second.
const editorReady = "\x1b[?2004h"

// differs says whether the screen certainly shows something else than line.
func (s *screen) differs(line string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := string(s.seen)
	if i := strings.LastIndex(text, editorReady); i >= 0 {
		text = text[i+len(editorReady):]
	}
	drawn, ok := plain(text)
	if s.lost || !ok || strings.ContainsAny(line, "\n\t") || strings.TrimSpace(line) == "" || !utf8.ValidString(line) {
		return false
	}
	for _, r := range line {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return !strings.HasSuffix(strings.TrimRight(drawn, " "), strings.TrimRight(line, " "))
}

// plain follows text with colours and backspaces; false when anything else is in it.
func plain(text string) (string, bool) {
	var drawn []rune
	for len(text) > 0 {
		if rest, ok := cutColour(text); ok {
			text = rest
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch {
		case r == 0x08 && len(drawn) > 0 && drawn[len(drawn)-1] < 0x80:
			drawn = drawn[:len(drawn)-1]
		case r == 0x07:
		case r < 0x20 || r == 0x7f || r == utf8.RuneError:
			return "", false
		default:
			drawn = append(drawn, r)
		}
	}
	return string(drawn), true
}

// cutColour takes one colour sequence, CSI … m, from the beginning of text.
func cutColour(text string) (rest string, ok bool) {
	body, ok := strings.CutPrefix(text, "\x1b[")
	if !ok {
		return "", false
	}
	rest = strings.TrimLeft(body, "0123456789;:")
	return strings.CutPrefix(rest, "m")
}
