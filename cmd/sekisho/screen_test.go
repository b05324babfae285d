package main

import (
	"bytes"
	"strings"
	"testing"
)

func filtered(parts ...string) string {
	var out bytes.Buffer
	s := newScreen(&out)
	for _, p := range parts {
		s.Write([]byte(p))
	}
	return out.String()
}

func TestAReplayDrawsButDoesNotAct(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"text and newlines":          {"日本語 ok\r\n\ttab", "日本語 ok\r\n\ttab"},
		"colours":                    {"\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"},
		"cursor and erase":           {"\x1b[2J\x1b[H\x1b[K", "\x1b[2J\x1b[H\x1b[K"},
		"the other screen":           {"\x1b[?1049hvi\x1b[?1049l", "\x1b[?1049hvi\x1b[?1049l"},
		"line drawing":               {"\x1b(0qqq\x1b(B", "\x1b(0qqq\x1b(B"},
		"clipboard (OSC 52)":         {"a\x1b]52;c;cm0gLXJm\x07b", "ab"},
		"title, ended by ST":         {"a\x1b]0;title\x1b\\b", "ab"},
		"a device control string":    {"a\x1bP$qm\x1b\\b", "ab"},
		"who are you":                {"a\x1b[cb\x1b[>cb", "abb"},
		"where is the cursor":        {"a\x1b[6nb", "ab"},
		"report the title":           {"a\x1b[21tb", "ab"},
		"mouse and paste modes":      {"a\x1b[?1000h\x1b[?2004hb", "ab"},
		"full reset":                 {"a\x1bcb", "ab"},
		"C1 form of a string":        {"a\u009d52;c;x\u009cb", "a52;c;xb"},
		"a sequence without end":     {"a\x1b[" + strings.Repeat("1;", 100) + "mb", ""},
		"an unfinished string stays": {"a\x1b]52;c;zzz", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			got := filtered(c.in)
			if name == "a sequence without end" {
				if strings.Contains(got, "\x1b") {
					t.Errorf("got %q", got)
				}
				return
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestASequenceSplitOverWritesIsStillOne(t *testing.T) {
	if got := filtered("a\x1b", "]52;", "c;x\x1b", "\\b\x1b[3", "1mc"); got != "ab\x1b[31mc" {
		t.Errorf("got %q", got)
	}
}

func FuzzScreen(f *testing.F) {
	f.Add([]byte("\x1b]52;c;x\x07\x1b[6n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got := filtered(string(in))
		for _, bad := range []string{"\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x1bc", "\x1b[c", "\x1b[6n"} {
			if strings.Contains(got, bad) {
				t.Fatalf("%q let %q through", in, bad)
			}
		}
	})
}
