package command

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// mask stands for a secret. It is a plain word, so that a masked line reads like the line itself.
const mask = "MASKED"

// Mask replaces the secrets in a command line: passwords and tokens in options, assignments, headers and URLs. What the
// line does stays the same in every other way: classifying the masked line gives the same rights. Masking twice changes
// nothing.
func Mask(line string) string {
	for range maxMaskRounds {
		masked := maskNested(line, 0)
		if masked == line {
			break
		}
		line = masked // what is masked may bring other secrets to light
	}
	return line
}

const maxMaskRounds = 8

func maskNested(line string, depth int) string {
	if !mayHoldSecret(line) {
		return line
	}
	file, _ := parse(line)
	if file == nil || depth > maxNestedMask {
		return maskText(line)
	}
	m := &masker{line: line, depth: depth}
	for node := range syntax.Preorder(file) {
		m.visit(node)
	}
	return m.apply()
}

// maxNestedMask bounds shells within shells.
const maxNestedMask = 4

// masker collects what to replace in a line.
type masker struct {
	line  string
	depth int
	edits []edit
	seen  map[*syntax.Word]bool
}

// edit replaces line[from:to].
type edit struct {
	from, to int
	text     string
}

func (m *masker) visit(node syntax.Node) {
	switch node := node.(type) {
	case *syntax.BinaryCmd:
		m.piped(node)
	case *syntax.CallExpr:
		m.arguments(node.Args)
	case *syntax.Assign:
		m.assignment(node)
	case *syntax.Redirect:
		m.document(node)
	case *syntax.Comment:
		if masked := maskText(node.Text); masked != node.Text {
			m.cut(node, "#"+masked)
		}
	case *syntax.Word:
		m.word(node)
	}
}

// replace puts a masked value where a word stood.
func (m *masker) replace(w *syntax.Word, value string) {
	if !m.seen[w] {
		m.saw(w)
		m.cut(w, quote(value))
	}
}

// saw keeps a word from being looked at again.
func (m *masker) saw(w *syntax.Word) {
	if m.seen == nil {
		m.seen = map[*syntax.Word]bool{}
	}
	m.seen[w] = true
}

func (m *masker) cut(n syntax.Node, text string) {
	from, to := int(n.Pos().Offset()), int(n.End().Offset())
	if from < to && to <= len(m.line) {
		m.edits = append(m.edits, edit{from, to, text})
	}
}

// cutLiteral is cut for text, whose end in a here-document may be behind the closing mark.
func (m *masker) cutLiteral(lit *syntax.Lit, text string) {
	from := int(lit.Pos().Offset())
	if to := from + len(lit.Value); to <= len(m.line) && m.line[from:to] == lit.Value {
		m.edits = append(m.edits, edit{from, to, text})
		return
	}
	m.cut(lit, text)
}

// arguments masks what a command's words make a secret of each other: the word after --password.
func (m *masker) arguments(words []*syntax.Word) {
	values := make([]string, len(words))
	for i, w := range words {
		values[i], _ = static(w)
	}
	masked := maskArguments(values)
	for i, w := range words {
		if value, ok := static(w); ok && masked[i] != value {
			m.replace(w, masked[i])
		}
	}
	m.scripts(words, values)
}

// scripts masks inside the texts that shells get with -c.
func (m *masker) scripts(words []*syntax.Word, values []string) {
	for i := 1; i < len(words); i++ {
		if value, ok := static(words[i]); ok && strings.ContainsAny(value, " \t\n") {
			if masked := maskNested(value, m.depth+1); masked != value {
				m.replace(words[i], masked)
			}
		}
	}
}

// assignment masks PASSWORD=….
func (m *masker) assignment(a *syntax.Assign) {
	if a.Name == nil || a.Value == nil || !secretName(a.Name.Value) {
		return
	}
	if value, ok := static(a.Value); ok && value != "" {
		m.replace(a.Value, mask)
	}
}

// piped masks what is printed into a program that reads a password.
func (m *masker) piped(cmd *syntax.BinaryCmd) {
	if cmd.Op != syntax.Pipe && cmd.Op != syntax.PipeAll || cmd.X == nil || cmd.Y == nil {
		return
	}
	from, ok := cmd.X.Cmd.(*syntax.CallExpr)
	to, ok2 := cmd.Y.Cmd.(*syntax.CallExpr)
	if !ok || !ok2 || len(from.Args) < 2 || !readsPassword(to.Args) {
		return
	}
	if program, _ := static(from.Args[0]); program != "echo" && program != "printf" {
		return
	}
	for _, w := range from.Args[1:] {
		if value, ok := static(w); ok && !strings.HasPrefix(value, "-") && value != "" && !strings.HasPrefix(value, "%") {
			m.replace(w, mask)
		}
	}
}

// word masks secrets that show by themselves, in a word of any kind.
func (m *masker) word(w *syntax.Word) {
	if m.seen[w] {
		return
	}
	if value, ok := static(w); ok {
		if masked := maskText(value); masked != value {
			m.replace(w, masked)
		}
		return
	}
	for _, part := range w.Parts {
		m.part(part, bare)
	}
}

// document masks a here-document's text.
func (m *masker) document(d *syntax.Redirect) {
	if d.Hdoc == nil {
		return
	}
	m.saw(d.Hdoc)
	quoted := d.Word.Lit() == "" || strings.Contains(d.Word.Lit(), "\\")
	for _, part := range d.Hdoc.Parts {
		if quoted {
			m.part(part, verbatim)
		} else {
			m.part(part, inDocument)
		}
	}
}

// escapes are the characters that a backslash makes plain, by where a text stands.
type escapes string

const (
	verbatim   escapes = ""
	inDocument escapes = "$`\\"
	inQuotes   escapes = "$`\"\\"
	bare       escapes = "*" // any character
)

// part masks the literal parts of a word whose value is not known.
func (m *masker) part(part syntax.WordPart, where escapes) {
	switch part := part.(type) {
	case *syntax.Lit:
		value := unescape(part.Value, where)
		if masked := maskText(value); masked != value {
			m.cutLiteral(part, escape(masked, where))
		}
	case *syntax.SglQuoted:
		if masked := maskText(part.Value); masked != part.Value && !part.Dollar {
			m.cut(part, "'"+strings.ReplaceAll(masked, "'", "")+"'")
		}
	case *syntax.DblQuoted:
		for _, inner := range part.Parts {
			m.part(inner, inQuotes)
		}
	}
}

func unescape(text string, where escapes) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && (where == bare || strings.IndexByte(string(where), text[i+1]) >= 0) {
			i++
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

func escape(text string, where escapes) string {
	if where == bare {
		return quote(text)
	}
	var out strings.Builder
	for i := range len(text) {
		if strings.IndexByte(string(where), text[i]) >= 0 {
			out.WriteByte('\\')
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// apply makes the edits from the end to the beginning; of two that overlap the outer one stays.
func (m *masker) apply() string {
	slices.SortStableFunc(m.edits, func(a, b edit) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	var out strings.Builder
	at := 0
	for _, e := range m.edits {
		if e.from < at {
			continue
		}
		out.WriteString(m.line[at:e.from])
		out.WriteString(e.text)
		at = e.to
	}
	out.WriteString(m.line[at:])
	return out.String()
}

// static is a word's value when no expansion is in it.
func static(w *syntax.Word) (string, bool) {
	r := &reader{}
	known := true
	for node := range syntax.Preorder(w) {
		switch node.(type) {
		case nil, *syntax.Word, *syntax.Lit, *syntax.SglQuoted, *syntax.DblQuoted:
		default:
			known = false
		}
	}
	if !known {
		return "", false
	}
	value := r.word(w)
	return value.text, value.fixed() && r.why != unreadableEscape
}
