package console

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestATerminalsOutputReadsAsText(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"colours go":                          {"\x1b[1;31mred\x1b[0m end", "red end"},
		"a window title goes":                 {"\x1b]0;root@db1\x07$ ls", "$ ls"},
		"a title ended by ESC backslash goes": {"\x1b]2;t\x1b\\x", "x"},
		"CRLF is one line end":                {"a\r\nb\r\n", "a\nb\n"},
		"a lone CR starts a line":             {"10%\r20%\r", "10%\n20%\n"},
		"Japanese stays":                      {"佐藤 花子\n", "佐藤 花子\n"},
		"bell and backspace go":               {"a\ab\bc", "abc"},
		"character sets go":                   {"\x1b(Bok", "ok"},
		"broken UTF-8 shows":                  {"a\xffb", "a\uFFFDb"},
		"text cannot be turned around":        {"rm \u202etxt.x", "rm txt.x"},
		"a broken sequence eats no text":      {"\x1b[31\nnext", "\nnext"},
	} {
		t.Run(name, func(t *testing.T) {
			var p plainText
			if got := p.clean([]byte(c.in)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAStreamReadsTheSameHoweverItIsCut(t *testing.T) {
	whole := "\x1b[1mこんにちは\x1b[0m\x1b]0;title\x07 done\n"
	var one plainText
	want := one.clean([]byte(whole))
	for cut := 1; cut < len(whole); cut++ {
		var p plainText
		if got := p.clean([]byte(whole[:cut])) + p.clean([]byte(whole[cut:])); got != want {
			t.Errorf("cut at %d: %q, want %q", cut, got, want)
		}
	}
}

func TestWhatWasTypedShowsItsControlKeys(t *testing.T) {
	if got := typed([]byte("ls\r\x03\x1b[A\t\x7f")); got != "ls⏎\n^C^[[A⇥^?" {
		t.Errorf("got %q", got)
	}
}

func FuzzPlainText(f *testing.F) {
	f.Add([]byte("\x1b[1;31mred\x1b[0m"), 3)
	f.Add([]byte("\x1b]0;t\x07\x1bPq\x1b\\\xe3\x81"), 5)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		if cut < 0 || cut > len(data) {
			cut = len(data) / 2
		}
		var p plainText
		text := p.clean(data[:cut]) + p.clean(data[cut:])
		if !utf8.ValidString(text) {
			t.Fatalf("not UTF-8: %q", text)
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' || isBidi(r) }); i >= 0 {
			t.Fatalf("a control character stays: %q", text[i:])
		}
		if len(p.carried) > maxCarried {
			t.Fatalf("%d bytes are carried", len(p.carried))
		}
		typed(data)
	})
}
