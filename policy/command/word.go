package command

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// word is one word of a command as far as it is known before the command runs.
type word struct {
	text    string // the value, or the source where the value is not known
	prefix  string // how the value begins, as far as it is known
	suffix  string // how it ends
	dynamic bool   // holds a variable or another command's output
	wild    bool   // holds a wildcard, braces or a leading tilde: the target's files decide
	loose   bool   // may become several words or none
	pipe    bool   // is a process substitution
}

// fixed says that the value is known.
func (w word) fixed() bool { return !w.dynamic && !w.wild && !w.pipe }

// number says that the value is a number whatever happens.
func (w word) number() bool {
	if !w.fixed() {
		return slices.Contains([]string{"$?", "$#", "$$"}, strings.Trim(w.text, `"`))
	}
	return w.text != "" && strings.Trim(w.text, "0123456789.") == ""
}

// splits says that several words may come out of it, or none.
func (w word) splits() bool { return w.loose || w.wild }

// mayBe says that the value could be this.
func (w word) mayBe(text string) bool {
	if w.fixed() {
		return w.text == text
	}
	return w.loose || strings.HasPrefix(text, w.prefix) && strings.HasSuffix(text[len(w.prefix):], w.suffix)
}

// is says that the word is known to be exactly this.
func (w word) is(text string) bool { return w.fixed() && w.text == text }

// mayBeOption says that a program could take the word for an option.
func (w word) mayBeOption() bool {
	if w.fixed() {
		return len(w.text) > 1 && w.text[0] == '-'
	}
	return w.dynamic && w.loose || w.prefix == "" && !w.pipe || strings.HasPrefix(w.prefix, "-")
}

// literal makes a word of a value.
func literal(text string) word { return word{text: text, prefix: text, suffix: text} }

// unknown is a word of which nothing is known, as a program gets it from somewhere else.
var unknown = word{text: "…", dynamic: true, loose: true}

// spell reads a word's parts.
type spell struct {
	r       *reader
	known   strings.Builder
	word    word
	many    bool // the word has several parts
	quoted  bool // what is read stands in double quotes or in a here-document
	started bool // something unknown was met: known is the suffix from here on
}

// word reads one word and everything that would run inside it.
func (r *reader) word(w *syntax.Word) word {
	r.neighbours(w.Parts)
	s := &spell{r: r}
	s.many = len(w.Parts) > 1
	for i, part := range w.Parts {
		s.part(part, i == 0)
	}
	out := s.word
	out.suffix = s.known.String()
	if !s.started {
		out.prefix = out.suffix
	}
	out.text = out.suffix
	if !out.fixed() {
		out.text = r.source(w)
	}
	return out
}

// gap notes that what comes here is not known.
func (s *spell) gap() {
	if !s.started {
		s.word.prefix, s.started = s.known.String(), true
	}
	s.known.Reset()
}

func (s *spell) part(part syntax.WordPart, first bool) {
	switch part := part.(type) {
	case *syntax.Lit:
		s.bare(part.Value, first)
	case *syntax.SglQuoted:
		s.single(part)
	case *syntax.DblQuoted:
		s.double(part)
	case *syntax.ProcSubst:
		s.r.substitution(part.Stmts)
		s.word.pipe, s.word.dynamic = !s.many, s.word.dynamic || s.many // with more to it, it names a file
		s.known.WriteString("/dev/fd/")
		s.gap()
	case *syntax.ExtGlob:
		s.r.opaque("an extended wildcard")
		s.word.wild = true
		s.gap()
	default:
		s.expansion(part)
		s.word.loose = s.word.loose || !count(part)
	}
}

// count says whether an expansion is always a number: $#, $? and $$.
func count(part syntax.WordPart) bool {
	p, ok := part.(*syntax.ParamExp)
	return ok && p.Short && p.Index == nil && p.Param != nil && strings.Contains("#?$", p.Param.Value)
}

// bare is text outside quotes.
func (s *spell) bare(text string, first bool) {
	if first && strings.HasPrefix(text, "~") {
		s.word.wild = true
	}
	braces := braced(text)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			s.known.WriteByte(text[i])
		case c == '*' || c == '?' || c == '[' && (s.many || strings.Contains(text[i:], "]")) || c == '{' && braces:
			s.word.wild = true
			s.word.loose = s.word.loose || c == '{'
			s.gap()
		case s.word.wild && strings.IndexByte("]},", c) >= 0:
			s.gap() // what came before stands within brackets
		default:
			s.known.WriteByte(c)
		}
	}
}

// braced says whether unquoted text may hold a brace expansion.
func braced(text string) bool {
	_, rest, ok := strings.Cut(text, "{")
	return ok && (strings.Contains(rest, ",") || strings.Contains(rest, ".."))
}

const unreadableEscape = "a quoted escape that cannot be read"

func (s *spell) single(part *syntax.SglQuoted) {
	if !part.Dollar {
		s.known.WriteString(part.Value)
		return
	}
	value, err := expand.Literal(nil, &syntax.Word{Parts: []syntax.WordPart{part}})
	if err != nil {
		s.r.opaque(unreadableEscape)
	}
	if strings.Contains(part.Value, `\'`) {
		s.r.opaque(anotherShell) // to dash, $ is a plain character before quotes that end here
	}
	s.known.WriteString(value)
}

func (s *spell) double(part *syntax.DblQuoted) {
	s.r.neighbours(part.Parts)
	if part.Dollar {
		s.r.opaque(anotherShell) // $"…" is a $ and a text to most
	}
	s.quoted = true
	defer func() { s.quoted = false }()
	for _, inner := range part.Parts {
		lit, ok := inner.(*syntax.Lit)
		if !ok {
			s.expansion(inner)
			s.word.loose = s.word.loose || manyWords(inner)
			continue
		}
		for i := 0; i < len(lit.Value); i++ {
			if lit.Value[i] == '\\' && i+1 < len(lit.Value) && strings.IndexByte("$`\"\\", lit.Value[i+1]) >= 0 {
				i++
			}
			s.known.WriteByte(lit.Value[i])
		}
	}
}

// manyWords says whether an expansion makes several words even inside double quotes.
func manyWords(part syntax.WordPart) bool {
	p, ok := part.(*syntax.ParamExp)
	if !ok {
		return false
	}
	if p.Param != nil && p.Param.Value == "@" {
		return true
	}
	return p.Index != nil || p.Excl
}

// expansion is a part whose value only the shell knows when it runs.
func (s *spell) expansion(part syntax.WordPart) {
	s.word.dynamic = true
	if count(part) {
		s.known.WriteByte('0') // some digit
	}
	s.gap()
	switch part := part.(type) {
	case *syntax.ParamExp:
		if s.quoted && quotesWithin(part) {
			s.r.opaque(anotherShell)
		}
		s.r.parameter(part)
	case *syntax.CmdSubst:
		if part.TempFile || part.ReplyVar {
			s.r.opaque("a ksh substitution")
		}
		s.r.substitution(part.Stmts)
	case *syntax.ArithmExp:
		s.r.arithmetic(part.X)
	default:
		s.r.opaque("an expansion that cannot be read")
	}
}

// substitution reads what runs inside $(…) or <(…).
func (r *reader) substitution(stmts []*syntax.Stmt) {
	r.substituted++
	r.stmts(stmts)
	r.substituted--
}

// resource is how a need names the file that a word stands for.
func (r *reader) resource(w word) string {
	switch {
	case w.dynamic:
		return r.hash
	case w.wild:
		return w.text
	}
	return quoteWild(w.text)
}

// quoteWild keeps a name that only looks like a wildcard, a variable or a hash apart from what it looks like.
func quoteWild(text string) string {
	if text == "" || strings.ContainsAny(text, "$`*?[{~\\'\"") || strings.HasPrefix(text, "sha256:") {
		return quote(text)
	}
	return text
}

// quote makes a text one word of a command, leaving alone what needs no quotes.
func quote(text string) string {
	if text == "[" || text != "" && strings.Trim(text, unquoted) == "" {
		return text
	}
	quoted, err := syntax.Quote(text, syntax.LangBash)
	if err != nil {
		return "'" + strings.NewReplacer("'", "", "\x00", "").Replace(text) + "'"
	}
	return quoted
}

// unquoted are the characters that mean themselves anywhere but at the beginning of a line.
const unquoted = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-]"

// source is a node as written.
func (r *reader) source(n syntax.Node) string {
	from, to := int(n.Pos().Offset()), int(n.End().Offset())
	if from < 0 || to > len(r.text) || from > to {
		return "…"
	}
	return r.text[from:to]
}
