package console

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// blank are characters that count as printing and leave nothing, or nothing to tell apart, on the screen.
var blank = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x034f, Hi: 0x034f, Stride: 1}, // combining grapheme joiner
	{Lo: 0x115f, Hi: 0x1160, Stride: 1}, // Hangul fillers
	{Lo: 0x17b4, Hi: 0x17b5, Stride: 1}, // Khmer inherent vowels
	{Lo: 0x2800, Hi: 0x2800, Stride: 1}, // empty Braille pattern
	{Lo: 0x3164, Hi: 0x3164, Stride: 1}, // Hangul filler
	{Lo: 0xffa0, Hi: 0xffa0, Stride: 1}, // halfwidth Hangul filler
}}

// odd tells whether a character does not show what it is: controls, bidirectional and zero-width ones, every space but
// the plain one.
func odd(r rune) bool { return !unicode.IsPrint(r) || unicode.Is(blank, r) }

// visible is what somebody wrote, for a person who decides by it: an odd character stands there as its escape, set off from
// the same characters typed out, and a line end as its escape before the line ends.
func visible(text string) template.HTML { return setOff(text, odd) }

// prose is what somebody wrote in lines: like visible, but for its line ends and tabs.
func prose(text string) template.HTML {
	return setOff(strings.ReplaceAll(text, "\r\n", "\n"), func(r rune) bool { return odd(r) && r != '\n' && r != '\t' })
}

func setOff(text string, odd func(rune) bool) template.HTML {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			mark(&b, fmt.Sprintf(`\x%02x`, text[0]))
		case odd(r):
			quoted := strconv.QuoteRuneToASCII(r)
			mark(&b, quoted[1:len(quoted)-1])
			if r == '\n' {
				b.WriteByte('\n')
			}
		default:
			b.WriteString(template.HTMLEscapeString(text[:size]))
		}
		text = text[size:]
	}
	return template.HTML(b.String())
}

func mark(b *strings.Builder, escape string) {
	b.WriteString(`<mark class="odd">` + template.HTMLEscapeString(escape) + `</mark>`)
}

// plainVisible is visible for what is no HTML.
func plainVisible(text string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		if !odd(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
