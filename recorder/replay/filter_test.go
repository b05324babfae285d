package replay

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func filtered(parts ...string) string {
	var f filter
	var out []byte
	for _, p := range parts {
		out = f.filter(out, []byte(p))
	}
	return string(out)
}

func TestFilterDrawsButDoesNotAct(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"text and line ends":        {"日本語 ok\r\n\ttab\b", "日本語 ok\r\n\ttab\b"},
		"colours":                   {"\x1b[1;38:2:1:2:3mred\x1b[0m", "\x1b[1;38:2:1:2:3mred\x1b[0m"},
		"cursor and erasing":        {"\x1b[2J\x1b[H\x1b[?K\x1b[3;4H\x1b7\x1b8\x1bM", "\x1b[2J\x1b[H\x1b[?K\x1b[3;4H\x1b7\x1b8\x1bM"},
		"the other screen":          {"\x1b[?1049h\x1b[?25l", "\x1b[?1049h\x1b[?25l"},
		"line drawing":              {"\x1b(0qq\x0eq\x0f\x1b(B", "\x1b(0qq\x0eq\x0f\x1b(B"},
		"a C0 within a sequence":    {"\x1b[3\n1m", "\n\x1b[31m"},
		"the title":                 {"a\x1b]0;title\x07b", "ab"},
		"the clipboard":             {"a\x1b]52;c;cm0gLXJm\x1b\\b", "ab"},
		"a hyperlink":               {"\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"},
		"a device string":           {"a\x1bP$q\"p\x1b\\b", "ab"},
		"a sequence after a string": {"a\x1b]0;x\x1b[31mb", "a\x1b[31mb"},
		"who are you":               {"a\x1b[c\x1b[>c\x1b[=c\x1bZ\x05b", "ab"},
		"where is the cursor":       {"a\x1b[6n\x1b[?6nb", "ab"},
		"report the window":         {"a\x1b[21t\x1b[18tb", "ab"},
		"report a mode":             {"a\x1b[?25$pb", "ab"},
		"the mouse and pasting":     {"a\x1b[?1000h\x1b[?1006h\x1b[?2004h\x1b[?1004hb", "ab"},
		"a full reset":              {"a\x1bcb", "ab"},
		"a mode among harmless":     {"a\x1b[?25;1000hb", "ab"},
		"keyboard protocols":        {"a\x1b[>1u\x1b[=1u\x1b[?ub", "ab"},
		"C1 controls in UTF-8":      {"a\u009d52;c;x\u009cb", "a52;c;xb"},
		"C1 controls as bytes":      {"a\x9d52\x9cb", "a\ufffd52\ufffdb"},
		"a sequence too long":       {"a\x1b[" + strings.Repeat("1", 1000) + "m", "a" + strings.Repeat("1", 1000-maxSequence+1) + "m"},
		"a string that is cut off":  {"a\x1b]0;never ends", "a"},
		"a cancelled sequence":      {"a\x1b[3\x18b", "ab"},
	} {
		if got := filtered(c.in); got != c.want {
			t.Errorf("%s: %q becomes %q, want %q", name, c.in, got, c.want)
		}
		whole := filtered(c.in)
		if split := filtered(strings.Split(c.in, "")...); split != whole && utf8.ValidString(c.in) {
			t.Errorf("%s: byte by byte it becomes %q, want %q", name, split, whole)
		}
	}
}

// FuzzFilter: nothing that comes out could act on a terminal, however the input is split.
func FuzzFilter(f *testing.F) {
	f.Add([]byte("a\x1b]52;c;x\x07b\x1b[31m"), 3)
	f.Add([]byte("\x1b[\x1b[6n\xe5\xa0\xb1\x1b\x1b]x"), 1)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		var whole, split filter
		out := whole.filter(nil, b)
		at = max(0, min(at, len(b)))
		if again := split.filter(split.filter(nil, b[:at]), b[at:]); !bytes.Equal(out, again) {
			t.Fatalf("%q split at %d becomes %q, not %q", b, at, again, out)
		}
		var second filter
		if again := second.filter(nil, out); !bytes.Equal(out, again) {
			t.Fatalf("%q becomes %q, which becomes %q", b, out, again)
		}
		plain := filter{plain: true}
		if text := plain.filter(nil, b); bytes.ContainsAny(text, "\x1b\x07\x00\x0e\u009b") || !utf8.Valid(text) {
			t.Fatalf("%q becomes %q as text", b, text)
		}
	})
}
