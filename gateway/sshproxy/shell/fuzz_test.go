package shell

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

const fuzzToken = "0123456789abcdef0123456789abcdef"

// splitAll splits data in pieces of size bytes, 0 for all at once.
func splitAll(t *testing.T, data []byte, size int) (text []byte, marks []mark) {
	s := newSplitter(fuzzToken)
	keep := func(b []byte) error { text = append(text, b...); return nil }
	take := func(m mark) error { marks = append(marks, m); return nil }
	for len(data) > 0 {
		n := min(len(data), size)
		if size == 0 {
			n = len(data)
		}
		if err := s.split(data[:n], keep, take); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	if err := s.flush(keep); err != nil {
		t.Fatal(err)
	}
	return text, marks
}

// FuzzMarks holds the splitter to this: text without a token comes out as it went in, marks are the same however the output
// is cut, and of a token no more than its first bytes is ever shown.
func FuzzMarks(f *testing.F) {
	for _, seed := range []string{"plain\x1b[1mtext\x1b]0;title\a", "a\x1b]7700;" + fuzzToken + ";l;3;7;echo%0ax\ab",
		"\x1b]7700;" + fuzzToken + ";l;3;7;echo\nx\a", "\x1b]7700;" + fuzzToken + ";l;3;1;", "01234567" + fuzzToken, "\x1b]7700;0123456789",
		fuzzToken[:31] + fuzzToken, "\x1b\x1b]7700;" + fuzzToken + ";s;0;0;\a", "\x1b]7700;" + fuzzToken + ";p;1;2;%3\a"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, marks := splitAll(t, data, 0)
		if !bytes.Contains(data, []byte(fuzzToken)) && !bytes.Equal(whole, data) {
			t.Fatalf("%q came out as %q", data, whole)
		}
		for _, size := range []int{1, 2, 3, 7, 13, 40} {
			text, again := splitAll(t, data, size)
			if len(again) != len(marks) {
				t.Fatalf("in pieces of %d: %d marks, not %d", size, len(again), len(marks))
			}
			for i := range marks {
				if marks[i].kind != again[i].kind || !bytes.Equal(marks[i].text, again[i].text) {
					t.Fatalf("in pieces of %d: mark %d is %+v, not %+v", size, i, again[i], marks[i])
				}
			}
			if rest, ok := withoutLeaks(text, whole); !ok {
				t.Fatalf("in pieces of %d: %q, not %q", size, rest, whole)
			}
		}
	})
}

// withoutLeaks says whether text is whole, but for the first bytes of tokens that were shown before they were recognised.
func withoutLeaks(text, whole []byte) ([]byte, bool) {
	for len(text) > 0 {
		if len(whole) > 0 && text[0] == whole[0] {
			text, whole = text[1:], whole[1:]
			continue
		}
		if strings.IndexByte(fuzzToken, text[0]) < 0 {
			return text, false
		}
		text = text[1:]
	}
	return text, len(whole) == 0
}

// TestMarksSplitAnywhereAreTheSame cuts at every position.
func TestMarksSplitAnywhereAreTheSame(t *testing.T) {
	data := []byte("a\x1b]7700;" + fuzzToken + ";l;3;6;echo%0ax\ab \x1b]7700;x " + fuzzToken + " c")
	for i := range data {
		s := newSplitter(fuzzToken)
		var text []byte
		var marks []string
		for _, piece := range [][]byte{data[:i], data[i:]} {
			err := s.split(piece, func(b []byte) error { text = append(text, b...); return nil },
				func(m mark) error { marks = append(marks, string(m.kind)+string(m.text)); return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		s.flush(func(b []byte) error { text = append(text, b...); return nil })
		want := "ab \x1b]7700;x  c"
		got := string(text)
		if cut := i - strings.LastIndex(string(data), fuzzToken); cut > 0 && cut <= maxShown {
			at := strings.LastIndex(got, fuzzToken[:cut])
			got = got[:at] + got[at+cut:]
		}
		if got != want || len(marks) != 1 || marks[0] != "lecho\nx" {
			t.Fatalf("cut at %d: %q and %q", i, text, marks)
		}
	}
}

type nothing struct{}

func (nothing) Ended(int) {}

// FuzzGate has a shell and a person say anything: nothing panics or hangs, what is typed arrives in its order, and the
// person never sees the token.
func FuzzGate(f *testing.F) {
	mark := func(kind, serial, text string) string {
		return "\x1b]7700;" + fuzzToken + ";" + kind + ";" + serial + text + "\a"
	}
	f.Add([]byte(mark("p", "1", ";3;0 /")), []byte("ls\r"), []byte(mark("l", "2", ";2;ls")+mark("b", "3", ";0;")))
	f.Add([]byte(mark("p", "1", ";3;0 /")), []byte("\x1b[200~a\rb\x1b[201~\r"), []byte(mark("w", "2", ";4;no%0a")+mark("b", "3", ";1;x")+mark("p", "4", ";1;1")))
	f.Add([]byte(mark("l", "1", ";1;x")+mark("l", "9", ";1;x")), []byte("\x03\x03"), []byte(mark("t", "2", ";0;")+mark("l", "3", ";0;")))
	f.Fuzz(func(t *testing.T, first, keys, second []byte) {
		var shown []byte
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		g := New(ctx, Config{Token: fuzzToken, Patience: time.Hour, Incomplete: func(s string) bool { return strings.HasSuffix(s, `\`) },
			Decide: func(_ context.Context, line Line) (Running, error) {
				if strings.Contains(line.Text, "no") {
					return nil, errors.New("no\n")
				}
				return nothing{}, nil
			},
			Ungated:  func(context.Context) error { return errors.New("no") },
			Happened: func(Happening, string) {},
			ToClient: func(data []byte) error { shown = append(shown, data...); return nil },
			Notify:   func(string) {},
			ToTarget: func([]byte) error { return nil }})
		g.FromTarget(first)
		for len(keys) > 0 {
			n := min(3, len(keys))
			g.FromClient(keys[:n])
			keys = keys[n:]
		}
		g.FromTarget(second)
		g.Close()
		if bytes.Contains(shown, []byte(fuzzToken)) {
			t.Fatalf("the token is seen: %q", shown)
		}
		if ctx.Err() != nil {
			t.Fatal("it hangs")
		}
	})
}
