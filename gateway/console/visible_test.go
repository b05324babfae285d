package console

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWhatDoesNotShowWhatItIsIsSetOff(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"plain text stays":                        {"bin/report --all 顧客", "bin/report --all 顧客"},
		"markup is text":                          {"<b>&", "&lt;b&gt;&amp;"},
		"a text turned around":                    {"a\u202eb", `a<mark class="odd">\u202e</mark>b`},
		"a terminal's escape":                     {"\x1b[2J", `<mark class="odd">\x1b</mark>[2J`},
		"a second line":                           {"a\nb", "a<mark class=\"odd\">\\n</mark>\nb"},
		"a space that is none":                    {"rm\u00a0x", `rm<mark class="odd">\u00a0</mark>x`},
		"a letter nobody sees":                    {"rm\u3164x", `rm<mark class="odd">\u3164</mark>x`},
		"nothing between two letters":             {"r\u200bm", `r<mark class="odd">\u200b</mark>m`},
		"bytes that are no text":                  {"a\xff", `a<mark class="odd">\xff</mark>`},
		"an escape that was typed is not set off": {`\u202e`, `\u202e`},
	} {
		if got := string(visible(c.text)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestProseKeepsItsLines(t *testing.T) {
	if got := string(prose("a\r\n\tb\u202e")); got != "a\n\tb<mark class=\"odd\">\\u202e</mark>" {
		t.Errorf("%q", got)
	}
}

// FuzzVisible looks for text that reaches the page as markup or as a character that acts.
func FuzzVisible(f *testing.F) {
	for _, seed := range []string{"", "ls", "\u202e<script>", "\x1b[0m", "\xff\xfe", "a\r\nb"} {
		f.Add(seed)
	}
	marks := regexp.MustCompile(`<mark class="odd">[\\a-z0-9A-Z]+</mark>`)
	f.Fuzz(func(t *testing.T, text string) {
		shown := string(visible(text))
		bare := marks.ReplaceAllString(shown, "")
		if strings.ContainsAny(bare, "<>\"'") || !utf8.ValidString(shown) {
			t.Fatalf("%q becomes %q", text, shown)
		}
		for _, r := range html.UnescapeString(bare) {
			if r != '\n' && odd(r) {
				t.Fatalf("%q shows %U", text, r)
			}
		}
	})
}
