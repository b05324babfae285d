package command

import (
	"strings"
	"unicode"

	"mvdan.cc/sh/v3/syntax"
)

// A line is read as bash would, but the target's shell may be dash, ash or zsh. What follows finds text that is inert here
// and runs there; such lines are opaque.

// anotherShell is why.
const anotherShell = "syntax that another shell reads differently"

// control says whether a line holds control characters. Shells take a carriage return for part of a word where the parser
// takes it for the end of a line.
func control(line string) bool {
	return strings.ContainsFunc(line, func(c rune) bool { return unicode.IsControl(c) && c != '\t' && c != '\n' })
}

// doubtfulComment says whether a comment begins or ends where a shell may see none: in a=()# ls it is a word, and behind
// # a\ the next line runs, while the parser goes on with this one.
func doubtfulComment(file *syntax.File, text string) bool {
	for node := range syntax.Preorder(file) {
		c, ok := node.(*syntax.Comment)
		if !ok {
			continue
		}
		at := int(c.Hash.Offset())
		if at > len(text) || at > 0 && strings.IndexByte(" \t\n;", text[at-1]) < 0 || strings.Contains(text[at:], "\\\n") {
			return true
		}
	}
	return false
}

// neighbours looks at parts of a word that mean more together than alone: zsh takes $x[…] for an element, whose index it
// evaluates, and $~x, $^x, $=x and $+x for expansions.
func (r *reader) neighbours(parts []syntax.WordPart) {
	var before syntax.WordPart
	text := ""
	for _, part := range parts {
		lit, ok := part.(*syntax.Lit)
		if !ok {
			before, text = part, ""
			continue
		}
		text += lit.Value
		if zshExpansion(text) || zshElement(before, text) {
			r.opaque(anotherShell)
		}
	}
	// zsh ends { … } at any word } and may go on from there: { echo } always { rm x; }
	if len(parts) == 1 && text == "}" {
		r.opaque(anotherShell)
	}
}

func zshExpansion(text string) bool {
	for i := 0; i+1 < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case text[i] == '$' && strings.IndexByte("~^=+", text[i+1]) >= 0:
			return true
		}
	}
	return false
}

func zshElement(before syntax.WordPart, text string) bool {
	p, ok := before.(*syntax.ParamExp)
	if !ok || !p.Short {
		return false
	}
	return strings.HasPrefix(text, "[") || p.Param != nil && p.Param.Value == "#" && strings.Contains(text, "[")
}

// quotesWithin says whether an expansion that stands in double quotes or in a here-document has quotes of its own. Whether
// those quote or are plain text depends on the shell, and so what runs inside.
func quotesWithin(p *syntax.ParamExp) bool {
	found := false
	syntax.Walk(p, func(node syntax.Node) bool {
		switch node := node.(type) {
		case *syntax.CmdSubst, *syntax.ProcSubst:
			return false // a script with quotes of its own
		case *syntax.SglQuoted, *syntax.DblQuoted:
			found = true
		case *syntax.Lit:
			found = found || strings.ContainsAny(node.Value, `'"`)
		}
		return !found
	})
	return found
}

// document reads a here-document. Where it ends must be beyond doubt: what one shell reads, another runs.
func (r *reader) document(d *syntax.Redirect) {
	quoted, plain := delimiter(d.Word)
	if !plain || r.substituted > 0 || !quoted && strings.Contains(r.text, "\\\n") {
		r.opaque("a here-document whose end is in doubt")
	}
	if d.Hdoc == nil {
		return
	}
	r.neighbours(d.Hdoc.Parts)
	s := &spell{r: r, quoted: true}
	for _, part := range d.Hdoc.Parts {
		if _, ok := part.(*syntax.Lit); !ok {
			s.expansion(part)
		}
	}
}

// delimiter reads the word that ends a here-document: plain when every shell takes it for the same.
func delimiter(w *syntax.Word) (quoted, plain bool) {
	if w == nil || len(w.Parts) != 1 {
		return false, false
	}
	text := ""
	switch part := w.Parts[0].(type) {
	case *syntax.Lit:
		text = part.Value
	case *syntax.SglQuoted:
		if quoted = true; !part.Dollar {
			text = part.Value
		}
	case *syntax.DblQuoted:
		quoted = true
		if lit, ok := onlyLiteral(part); ok && !part.Dollar {
			text = lit
		}
	}
	return quoted, text != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
}

func onlyLiteral(q *syntax.DblQuoted) (string, bool) {
	if len(q.Parts) != 1 {
		return "", false
	}
	lit, ok := q.Parts[0].(*syntax.Lit)
	if !ok {
		return "", false
	}
	return lit.Value, true
}

// conditionalInDash reads [[ … ]] as a shell does that has no such thing: the words of a program named [[, with redirections,
// pipes and lists among them.
func (r *reader) conditionalInDash(x *syntax.BinaryTest) {
	switch x.Op {
	case syntax.TsBefore, syntax.TsAfter:
		r.opaque(anotherShell)
	case syntax.TsReMatch:
		if strings.ContainsAny(r.source(x.Y), "|&;<>") {
			r.opaque(anotherShell)
		}
	case syntax.AndTest, syntax.OrTest:
		if source := r.source(x.Y); len(source) < 2 || source[0] != '-' || source[1] == ' ' {
			r.opaque(anotherShell)
		}
	}
}
