package directory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on a document, so that a hostile one costs little.
const (
	maxBytes   = 1 << 20
	maxEntries = 20_000 // of block mappings at one indentation
	maxDepth   = 64     // of nested flow collections, and of list dashes on one line
	maxErrors  = 100    // reported at once
)

// decoder turns YAML nodes into values and collects every error with its place. Checks that need the whole document
// wait in later.
type decoder struct {
	file  string
	opts  Options
	errs  []error
	later []func()
}

// value is a node of the document and the place to name in errors about it.
type value struct {
	node ast.Node
	pos  *token.Position
}

// text is the value as text, when it is one.
func (v value) text() (string, bool) {
	n, ok := v.node.(*ast.StringNode)
	if !ok {
		return "", false
	}
	return n.Value, true
}

func at(n ast.Node) value { return value{node: n, pos: position(n)} }

// position is where a node begins. The token of a block mapping is its first colon, so its first key is asked instead.
func position(n ast.Node) *token.Position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return position(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(n.Key)
	}
	return n.GetToken().Position
}

func (d *decoder) errorf(v value, format string, args ...any) {
	d.errorAt(v.pos.Line, v.pos.Column, format, args...)
}

func (d *decoder) errorAt(line, column int, format string, args ...any) {
	if len(d.errs) < maxErrors {
		d.errs = append(d.errs, fmt.Errorf("%s:%d:%d: %s", d.file, line, column, fmt.Sprintf(format, args...)))
	}
}

// decimal reads digits without sign, leading zeros, underscores or another base.
func decimal(s string) (int, bool) {
	i, err := strconv.Atoi(s)
	return i, err == nil && strconv.Itoa(i) == s && i >= 0
}

func (d *decoder) err() error { return errors.Join(d.errs...) }

// document parses the text into its one root node. ok is false when that failed, with the error noted.
func (d *decoder) document(text []byte) (root value, ok bool) {
	if !d.plainText(text) {
		return value{}, false
	}
	tokens := lexer.Tokenize(string(text))
	if !d.plainTokens(tokens) {
		return value{}, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return value{}, false
	}
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			return at(doc.Body), true
		}
	}
	d.errorAt(1, 1, "the document is empty: want the keys vendors, people and targets")
	return value{}, false
}

// plainText refuses documents that are too large, not UTF-8, hold control characters or are indented with tabs.
func (d *decoder) plainText(text []byte) bool {
	if len(text) > maxBytes {
		d.errorAt(1, 1, "the document has %d bytes: want at most %d", len(text), maxBytes)
		return false
	}
	line, column, indent := 1, 1, true
	for rest := text; len(rest) > 0; column++ {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			d.errorAt(line, column, "byte 0x%02x is not UTF-8", rest[0])
			return false
		case r == '\t' && indent:
			d.errorAt(line, column, "a tab cannot indent: use spaces")
			return false
		case unicode.IsControl(r) && r != '\t' && r != '\r' && r != '\n', r == '\ufeff',
			r == '\r' && !bytes.HasPrefix(rest, []byte("\r\n")):
			d.errorAt(line, column, "the character %U is not allowed", r)
			return false
		}
		indent = r == '\n' || indent && r == ' '
		if r == '\n' {
			line, column = line+1, 0
		}
		rest = rest[size:]
	}
	return true
}

// refusedTokens are the parts of YAML that a directory does not need and that make documents mean more than they show.
var refusedTokens = map[token.Type]string{
	token.AnchorType:      "anchors (&) are not allowed",
	token.AliasType:       "aliases (*) are not allowed: quote a text that begins with *",
	token.TagType:         "tags (!) are not allowed: quote a text that begins with !",
	token.DirectiveType:   "directives (%) are not allowed",
	token.MergeKeyType:    "merge keys (<<) are not allowed",
	token.MappingKeyType:  "complex keys (?) are not allowed",
	token.DocumentEndType: "document ends (...) are not allowed: want one document",
}

// plainTokens refuses what the small YAML of a directory has no use for, and what would exhaust the parser: deep nesting,
// and masses of neighbours or missing values, on which it takes quadratic time.
func (d *decoder) plainTokens(tokens token.Tokens) bool {
	tokens = slices.DeleteFunc(slices.Clone(tokens), func(t *token.Token) bool { return t.Type == token.CommentType })
	depth := nesting{entries: map[int]int{}}
	for i, t := range tokens {
		v := value{pos: t.Position}
		depth.step(t, entryOf(tokens, i))
		why, bad := refusedTokens[t.Type]
		switch {
		case bad:
			d.errorf(v, "%s", why)
		case t.Type == token.DocumentHeaderType && i > 0:
			d.errorf(v, "a second document begins here: want one document")
		case depth.flow > maxDepth || depth.dashes > maxDepth:
			d.errorf(v, "nested too deeply")
		case depth.entries[entryOf(tokens, i).Position.Column] > maxEntries:
			d.errorf(v, "more than %d entries at one indentation", maxEntries)
		case depth.flow == 0 && withoutValue(tokens, i):
			d.errorf(value{pos: entryOf(tokens, i).Position}, "the value is missing")
		default:
			continue
		}
		return false
	}
	return true
}

// nesting follows how deep the tokens go: open brackets, list dashes on the line so far, and block entries by their column.
type nesting struct {
	flow, dashes, line int
	entries            map[int]int
}

// step counts the next token; entry is the one its entry begins with.
func (n *nesting) step(t, entry *token.Token) {
	if t.Position.Line != n.line {
		n.line, n.dashes = t.Position.Line, 0
	}
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		n.flow++
	case token.MappingEndType, token.SequenceEndType:
		n.flow--
	case token.SequenceEntryType:
		n.dashes++
	case token.MappingValueType:
		if n.flow == 0 {
			n.entries[entry.Position.Column]++
		}
	}
}

// withoutValue reports whether token i is the colon or the dash of a block entry that the next token does not belong to.
func withoutValue(tokens token.Tokens, i int) bool {
	t := tokens[i]
	if t.Type != token.MappingValueType && t.Type != token.SequenceEntryType {
		return false
	}
	if i+1 == len(tokens) {
		return true
	}
	next, own := tokens[i+1], entryOf(tokens, i).Position.Column
	if next.Position.Line == t.Position.Line {
		return false
	}
	listOfKey := t.Type == token.MappingValueType && next.Type == token.SequenceEntryType
	return next.Position.Column < own || next.Position.Column == own && !listOfKey
}

// entryOf is the token that an entry begins with: the key before a colon, or the dash itself.
func entryOf(tokens token.Tokens, i int) *token.Token {
	if tokens[i].Type == token.MappingValueType && i > 0 {
		return tokens[i-1]
	}
	return tokens[i]
}

// syntax notes a parser's error at its own place.
func (d *decoder) syntax(err error) {
	var bad yaml.Error
	if errors.As(err, &bad) && bad.GetToken() != nil {
		p := bad.GetToken().Position
		d.errorAt(p.Line, p.Column, "%s", bad.GetMessage())
		return
	}
	d.errorAt(1, 1, "%s", firstLine(err.Error()))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// fields names the keys that a mapping may have and what reads each.
type fields map[string]func(value)

// fields reads a mapping with fixed keys, refuses every other key and asks for the required ones. It is false when v is no
// mapping.
func (d *decoder) fields(v value, what string, known fields, required ...string) bool {
	seen := map[string]bool{}
	ok := d.mapping(v, what, func(key string, k, v value) {
		seen[key] = true
		read, ok := known[key]
		if !ok {
			d.errorf(k, "unknown key %q in %s: want %s", key, what, oneOf(sortedKeys(known)))
			return
		}
		read(v)
	})
	for _, key := range required {
		if ok && !seen[key] {
			d.errorf(v, "%s wants the key %q", what, key)
		}
	}
	return ok
}

// mapping calls each with every key of a mapping once, in the document's order. It is false when v is none.
func (d *decoder) mapping(v value, what string, each func(key string, k, v value)) bool {
	var entries []*ast.MappingValueNode
	switch n := v.node.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		d.errorf(v, "%s must be a mapping (key: value), not %s", what, kindOf(v.node))
		return false
	}
	first := map[string]value{}
	for _, e := range entries {
		k := at(e.Key)
		key, ok := keyText(e.Key)
		if !ok {
			d.errorf(k, "a key of %s must be text, not %s", what, kindOf(e.Key))
			continue
		}
		if before, twice := first[key]; twice {
			d.errorf(k, "%q stands twice in %s: first at line %d", key, what, before.pos.Line)
			continue
		}
		first[key] = k
		each(key, k, value{node: e.Value, pos: valuePosition(e)})
	}
	return true
}

// valuePosition is where an entry's value begins; a missing value is reported at its key.
func valuePosition(e *ast.MappingValueNode) *token.Position {
	if n, null := e.Value.(*ast.NullNode); null && n.GetToken().Type == token.ImplicitNullType {
		return position(e.Key)
	}
	return position(e.Value)
}

func keyText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.BoolNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// list calls each with every element of a sequence.
func (d *decoder) list(v value, what string, each func(value)) {
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		d.errorf(v, "%s must be a list ([a, b]), not %s", what, kindOf(v.node))
		return
	}
	for _, element := range n.Values {
		each(at(element))
	}
}

// strings reads a list of texts in which none stands twice; read checks and returns each.
func (d *decoder) strings(v value, what string, read func(value) (string, bool)) []string {
	var out []string
	d.list(v, what, func(v value) {
		s, ok := read(v)
		if !ok {
			return
		}
		if slices.Contains(out, s) {
			d.errorf(v, "%q stands twice in %s", s, what)
			return
		}
		out = append(out, s)
	})
	return out
}

// scalar reads a text. Numbers, booleans and null have to be quoted to be one.
func (d *decoder) scalar(v value) (string, bool) {
	if s, ok := v.text(); ok {
		return s, true
	}
	switch v.node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.errorf(v, "want a text, not %s: put it in quotes", kindOf(v.node))
	default:
		d.errorf(v, "want a text, not %s", kindOf(v.node))
	}
	return "", false
}

// text reads one line of text with up to limit characters, for people to read.
func (d *decoder) text(v value, limit int) string {
	s, ok := d.scalar(v)
	switch {
	case !ok:
		return ""
	case strings.TrimSpace(s) == "":
		d.errorf(v, "want a text that is not empty")
	case utf8.RuneCountInString(s) > limit:
		d.errorf(v, "the text is too long: want at most %d characters", limit)
	case strings.ContainsFunc(s, unprintable):
		d.errorf(v, "the text holds a line break or an invisible character: want one plain line")
	default:
		return s
	}
	return ""
}

// unprintable characters include the Unicode format class, which can turn the direction of what is shown.
func unprintable(r rune) bool { return !unicode.IsPrint(r) && r != '\u3000' }

// number reads a decimal integer between low and high.
func (d *decoder) number(v value, low, high int) (int, bool) {
	n, ok := v.node.(*ast.IntegerNode)
	if !ok {
		d.errorf(v, "want a number from %d to %d, not %s", low, high, kindOf(v.node))
		return 0, false
	}
	i, ok := decimal(n.GetToken().Value)
	if !ok || i < low || i > high {
		d.errorf(v, "%s is not a whole decimal number from %d to %d", n.GetToken().Value, low, high)
		return 0, false
	}
	return i, true
}

// choice reads one of a few words.
func (d *decoder) choice(v value, words ...string) string {
	s, ok := d.scalar(v)
	if ok && !slices.Contains(words, s) {
		d.errorf(v, "%q is not known here: want %s", s, oneOf(words))
		return ""
	}
	return s
}

func oneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.LiteralNode:
		return "a text block"
	case *ast.StringNode:
		return "a text"
	}
	return "this"
}
