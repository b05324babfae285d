package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// regoMutants changes one thing of a rule at a time. Test files are left alone.
func regoMutants(file string, text []byte) ([]mutant, error) {
	if strings.HasSuffix(file, "_test.rego") {
		return nil, nil
	}
	module, err := ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		return nil, err
	}
	var all []mutant
	count := map[string]int{}
	for _, rule := range module.Rules {
		name := rule.Head.Ref().String()
		count[name]++
		all = append(all, apply(file, fmt.Sprintf("%s %d: ", name, count[name]), text, ruleEdits(rule, text))...)
	}
	return all, nil
}

func ruleEdits(rule *ast.Rule, text []byte) []edit {
	from := rule.Location.Offset
	edits := []edit{{"rule removed", from, from + len(rule.Location.Text), ""}}
	for _, expr := range rule.Body {
		// A rule without a body has its value for one.
		if expr.Location.Offset >= from && !isValue(rule, expr) {
			edits = append(edits, exprEdits(expr)...)
		}
	}
	return append(edits, literalEdits(rule, text)...)
}

func isValue(rule *ast.Rule, expr *ast.Expr) bool {
	return rule.Head.Value != nil && rule.Head.Value.Location != nil && rule.Head.Value.Location.Offset == expr.Location.Offset
}

// comparisons are the operators with those they are mistaken for.
var comparisons = map[string][]string{
	"==": {"!="}, "!=": {"=="}, "<": {"<=", ">="}, "<=": {"<", ">"}, ">": {">=", "<="}, ">=": {">", "<"},
}

var comparison = regexp.MustCompile(` (==|!=|<=|>=|<|>) `)

// exprEdits removes a condition, drops its not or adds one, and turns its comparison.
func exprEdits(expr *ast.Expr) []edit {
	text := string(expr.Location.Text)
	from, to := expr.Location.Offset, expr.Location.Offset+len(text)
	edits := []edit{{"condition removed", from, to, "true"}}
	if after, ok := strings.CutPrefix(text, "not "); ok {
		return append(edits, edit{"not dropped", from, to, after})
	}
	found := comparison.FindStringSubmatchIndex(text)
	if found == nil {
		if _, declares := expr.Terms.(*ast.SomeDecl); !declares && !strings.Contains(text, ":=") {
			edits = append(edits, edit{"condition turned", from, to, "not " + text})
		}
		return edits
	}
	for _, other := range comparisons[text[found[2]:found[3]]] {
		edits = append(edits, edit{"comparison", from + found[2], from + found[3], other})
	}
	return edits
}

// vocabularies are the words that one place takes, by the last name of what is compared with them.
var vocabularies = map[string][]string{
	"certificate": {"valid", "missing", "expired"},
	"mfa":         {"fresh", "missing", "expired", "unverified"},
	"contract":    {"running", "missing", "future", "ended", "exempt"},
	"window":      {"open", "closed", "missing", "exempt"},
	"network":     {"inside", "outside", "missing", "exempt"},
	"target":      {"listed", "unlisted", "gateway"},
	"break_glass": {"none", "declared"},
	"kind":        {"human", "machine", "ssh", "tcp", "https"},
	"method":      {"webauthn", "totp"},
	"cell":        {"always", "approval", "never"},
	"right":       {"read", "write", "execute", "delete", "admin"},
}

// literalEdits swaps each literal of a rule for the others of its vocabulary, or for a word nobody has heard of, and takes
// each element out of each set, array and object. The sentences of reasons are left alone.
func literalEdits(rule *ast.Rule, text []byte) []edit {
	w := &literals{text: text}
	w.skipSentences(rule)
	ast.WalkExprs(rule, func(expr *ast.Expr) bool {
		w.compared(expr)
		return false
	})
	ast.WalkTerms(rule, func(term *ast.Term) bool {
		w.term(term)
		return false
	})
	return w.edits
}

// literals collects the edits of one rule.
type literals struct {
	text  []byte
	skip  []int            // offsets of sentences
	words map[int][]string // offset of a literal to its vocabulary
	inSet map[int]bool     // offsets of elements, which are taken out instead
	edits []edit
}

// skipSentences finds what a person reads: the last two arguments of lib.reason and the members en and ja.
func (w *literals) skipSentences(rule *ast.Rule) {
	ast.WalkTerms(rule, func(term *ast.Term) bool {
		switch value := term.Value.(type) {
		case ast.Call:
			if name := value[0].String(); strings.HasSuffix(name, "reason") && len(value) == 5 {
				w.skip = append(w.skip, value[3].Location.Offset, value[4].Location.Offset)
			}
		case ast.Object:
			value.Foreach(func(key, value *ast.Term) {
				if name := key.String(); name == `"en"` || name == `"ja"` {
					w.skip = append(w.skip, key.Location.Offset, value.Location.Offset)
				}
			})
		}
		return false
	})
}

// compared notes the vocabulary of a literal by what it is compared with.
func (w *literals) compared(expr *ast.Expr) {
	if !expr.IsCall() || len(expr.Operands()) != 2 {
		return
	}
	for i, side := range expr.Operands() {
		ref, ok := expr.Operand(1 - i).Value.(ast.Ref)
		if !ok || len(ref) == 0 || side.Location == nil {
			continue
		}
		if name, ok := ref[len(ref)-1].Value.(ast.String); ok && vocabularies[string(name)] != nil {
			if w.words == nil {
				w.words = map[int][]string{}
			}
			w.words[side.Location.Offset] = vocabularies[string(name)]
		}
	}
}

func (w *literals) term(term *ast.Term) {
	if term.Location == nil || slices.Contains(w.skip, term.Location.Offset) {
		return
	}
	from, to := term.Location.Offset, term.Location.Offset+len(term.Location.Text)
	switch value := term.Value.(type) {
	case ast.Set:
		value.Foreach(func(element *ast.Term) { w.takeOut(element, element) })
	case *ast.Array:
		if w.text[from] == '[' {
			value.Foreach(func(element *ast.Term) { w.takeOut(element, element) })
		}
	case ast.Object:
		value.Foreach(w.takeOut)
	case ast.String:
		w.swap(from, to, string(value))
	case ast.Boolean:
		if string(w.text[from:to]) == value.String() {
			w.edits = append(w.edits, edit{"literal", from, to, strconv.FormatBool(!bool(value))})
		}
	case ast.Number:
		if n, ok := value.Int(); ok && string(w.text[from:to]) == value.String() {
			w.edits = append(w.edits, edit{"literal", from, to, strconv.Itoa(n + 1)})
		}
	}
}

// takeOut removes an element with its comma.
func (w *literals) takeOut(first, last *ast.Term) {
	from, to := first.Location.Offset, last.Location.Offset+len(last.Location.Text)
	if slices.Contains(w.skip, from) {
		return
	}
	if w.inSet == nil {
		w.inSet = map[int]bool{}
	}
	w.inSet[from] = true
	if rest := strings.TrimLeft(string(w.text[to:]), " \t\n"); strings.HasPrefix(rest, ",") {
		to = len(w.text) - len(rest) + 1
	} else if before := strings.TrimRight(string(w.text[:from]), " \t\n"); strings.HasSuffix(before, ",") {
		from = len(before) - 1
	}
	w.edits = append(w.edits, edit{"element removed", from, to, ""})
}

// swap changes a string as it is written; a name in a path (input.right) is none.
func (w *literals) swap(from, to int, value string) {
	if w.inSet[from] || string(w.text[from:to]) != strconv.Quote(value) {
		return
	}
	words := w.words[from]
	if !slices.Contains(words, value) {
		words = []string{value + "x"}
		if value == "" {
			words = []string{"x"}
		}
	}
	for _, v := range others("literal", value, words...) {
		w.edits = append(w.edits, edit{"literal", from, to, fmt.Sprintf("%q", v.with)})
	}
}
