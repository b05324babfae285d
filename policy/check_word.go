package policy

import (
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// vocabulary knows which words an input can have, by the input's name; NAME[] stands for an element of a list.
type vocabulary map[string]wording

// wording is what one input can say.
type wording struct {
	words []string
	// fits judges a word instead of the list, when there is one.
	fits func(string) bool
	// open says that a word may come to exist without a change of the policy: a vendor, a target.
	open bool
	what string // what the words are, for the message
}

// factWords are the words of input.facts (guardrail.rego).
var factWords = map[string][]string{
	"certificate": {"valid", "missing", "expired"},
	"mfa":         {"fresh", "missing", "expired", "unverified"},
	"contract":    {"running", "missing", "future", "ended", exempt},
	"window":      {"open", "closed", "missing", exempt},
	"network":     {"inside", "outside", "missing", exempt},
	"target":      {"listed", "unlisted", "gateway"},
	"break_glass": {"none", "declared"},
}

var operationName = regexp.MustCompile(`^(ssh|http|sftp|tcp)\.[a-z][a-z0-9-]*$|^gateway\.[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*$`)

// newVocabulary collects the words of the schema (schema.go), of the matrix and of what the caller knows.
func newVocabulary(m *matrix, data map[string]any, opts *CheckOptions) vocabulary {
	v := vocabulary{
		"input.right":              {words: []string{"read", "write", "execute", "delete", "admin", ""}},
		"input.cell":               {words: cellNames[:]},
		"input.vendor.type":        {words: append([]string{staffType}, VendorTypes...)},
		"input.auth.kind":          {words: []string{"human", "machine"}},
		"input.auth.mfa.method":    {words: []string{"webauthn", "totp", ""}},
		"input.target.kind":        {words: []string{"ssh", "https", "tcp", "gateway"}},
		"input.target.enforcement": {words: []string{"kernel", "wire", "parsed", "recorded", ""}},
		"input.action.protocol":    {words: []string{"ssh", "https", "tcp", "gateway"}},
		"input.action.operation":   {fits: operationName.MatchString, what: "an operation as ssh.exec or gateway.policy.apply"},
		"input.source.ip":          {fits: isAddress, what: "a single address"},
		"input.path":               {fits: isCleanPath, what: "a cleaned path: no trailing slash, no . or .."},
		"input.override":           {words: []string{""}, what: "the name of an override in matrix.yaml"},
		"input.windows[]":          {words: sortedKeys(data["windows"]), what: "a window of windows.yaml"},
	}
	for fact, words := range factWords {
		v["input.facts."+fact] = wording{words: words}
	}
	for _, o := range m.overrides {
		w := v["input.override"]
		w.words = append(w.words, o.name)
		v["input.override"] = w
	}
	v.know("a vendor in the directory", opts.Vendors, StaffVendor, "input.vendor.id", "input.person.vendor", "input.chain[]")
	v.know("a target in the directory", opts.Targets, GatewayTarget, "input.target.name")
	v.know("a staff role", opts.Roles, "", "input.person.roles[]")
	return v
}

func (v vocabulary) know(what string, words []string, reserved string, inputs ...string) {
	if words == nil {
		return
	}
	for _, name := range inputs {
		v[name] = wording{words: append([]string{reserved}, words...), open: true, what: what}
	}
}

func sortedKeys(object any) []string {
	m, _ := object.(map[string]any)
	return slices.Sorted(maps.Keys(m))
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || s == ""
}

func isCleanPath(s string) bool {
	return s == "" || s == "?" || path.Clean(s) == s && !strings.HasPrefix(s, "../")
}

func (w wording) has(word string) bool {
	if w.fits != nil {
		return w.fits(word)
	}
	return slices.Contains(w.words, word)
}

// wants tells what would have been a word.
func (w wording) wants() string {
	if w.what != "" {
		return w.what
	}
	quoted := make([]string, len(w.words))
	for i, word := range w.words {
		quoted[i] = `"` + word + `"`
	}
	return "one of " + strings.Join(quoted, ", ")
}

// words looks through all rules of a module for conditions that no input meets, or every input does.
func (c *checker) words(v vocabulary, module *ast.Module) {
	for _, rule := range module.Rules {
		ast.WalkRules(rule, func(rule *ast.Rule) bool {
			s := &wordScan{checker: c, vocabulary: v}
			s.body(rule.Body, map[ast.Var]string{})
			return false
		})
	}
}

// wordScan goes through one rule.
type wordScan struct {
	*checker
	vocabulary vocabulary
}

// body looks at the expressions that have to hold together. Names are the inputs that variables stand for.
func (s *wordScan) body(body ast.Body, names map[ast.Var]string) {
	names = maps.Clone(names)
	said := map[string]*ast.Term{}
	for _, expr := range body {
		s.name(expr, names)
	}
	for _, expr := range body {
		s.constant(expr)
		s.comparison(expr, names, said)
		s.argument(expr)
		s.within(expr, names)
	}
}

// name notes a variable that stands for an input: x := input.facts, or one that the compiler made.
func (s *wordScan) name(expr *ast.Expr, names map[ast.Var]string) {
	if !expr.IsEquality() || expr.Negated {
		return
	}
	a, b := expr.Operand(0), expr.Operand(1)
	for _, pair := range [][2]*ast.Term{{a, b}, {b, a}} {
		variable, ok := pair[0].Value.(ast.Var)
		if input := inputName(pair[1], names); ok && input != "" && names[variable] == "" {
			names[variable] = input
			return
		}
	}
}

// inputName is input.a.b of a reference or of a variable that stands for one; an element of a list is NAME[]. Of all else
// it is "".
func inputName(term *ast.Term, names map[ast.Var]string) string {
	switch value := term.Value.(type) {
	case ast.Var:
		return names[value]
	case ast.Ref:
		root, ok := value[0].Value.(ast.Var)
		if !ok {
			return ""
		}
		name := names[root]
		if root == ast.InputRootDocument.Value.(ast.Var) {
			name = "input"
		}
		if name == "" {
			return ""
		}
		for _, part := range value[1:] {
			if key, ok := part.Value.(ast.String); ok {
				name += "." + string(key)
			} else {
				name += "[]"
			}
		}
		return name
	}
	return ""
}

// constant finds a condition that depends on nothing.
func (s *wordScan) constant(expr *ast.Expr) {
	if expr.Generated {
		return
	}
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		if yes, ok := terms.Value.(ast.Boolean); ok && bool(yes) == expr.Negated {
			s.fail(placeOf(expr.Loc()), ruleNever, "%s is never true, so the rule never says anything", text(expr))
		}
	case []*ast.Term:
		if !expr.IsEquality() || !isScalar(terms[1]) || !isScalar(terms[2]) {
			return
		}
		if (terms[1].Value.Compare(terms[2].Value) == 0) == expr.Negated {
			s.fail(placeOf(expr.Loc()), ruleNever, "%s is never true, so the rule never says anything", text(expr))
		}
	}
}

func isScalar(term *ast.Term) bool { return ast.IsScalar(term.Value) }

// text is an expression as it was typed, on one line.
func text(expr *ast.Expr) string {
	if at := expr.Loc(); at != nil && len(at.Text) > 0 {
		return "`" + strings.Join(strings.Fields(string(at.Text)), " ") + "`"
	}
	return "`" + expr.String() + "`"
}

// comparison finds a word that an input never is. Said are the words that an input was already compared with.
func (s *wordScan) comparison(expr *ast.Expr, names map[ast.Var]string, said map[string]*ast.Term) {
	if !expr.IsCall() && !expr.IsEquality() || len(expr.Operands()) < 2 {
		return
	}
	a, b := expr.Operand(0), expr.Operand(1)
	switch operator := expr.Operator().String(); operator {
	case "eq", "equal", "neq":
		if isScalar(a) {
			a, b = b, a
		}
		name := inputName(a, names)
		s.word(name, b, expr, operator == "neq")
		if operator != "neq" && !expr.Negated {
			s.twice(name, b, said)
		}
	case "internal.member_2":
		if isScalar(a) {
			s.word(inputName(b, names)+"[]", a, expr, false)
			return
		}
		members(b, func(member *ast.Term) { s.word(inputName(a, names), member, expr, false) })
	}
}

func members(collection *ast.Term, visit func(*ast.Term)) {
	switch value := collection.Value.(type) {
	case ast.Set:
		value.Foreach(visit)
	case *ast.Array:
		value.Foreach(visit)
	}
}

func (s *wordScan) word(input string, term *ast.Term, expr *ast.Expr, unequal bool) {
	literal, ok := term.Value.(ast.String)
	known, has := s.vocabulary[input]
	if !ok || !has || known.has(string(literal)) {
		return
	}
	at := placeOf(term.Loc())
	if term.Loc() == nil {
		at = placeOf(expr.Loc())
	}
	always := "the condition is never true"
	if unequal != expr.Negated {
		always = "the condition is always true"
	}
	if known.open {
		s.warn(at, ruleUnknown, "%s is never %s, so %s: want %s", input, literal, always, known.wants())
		return
	}
	s.fail(at, ruleWord, "%s is never %s, so %s: want %s", input, literal, always, known.wants())
}

// twice finds two words that one input would have to have at once.
func (s *wordScan) twice(input string, term *ast.Term, said map[string]*ast.Term) {
	if input == "" || strings.Contains(input, "[]") || !isScalar(term) {
		return
	}
	before := said[input]
	said[input] = term
	if before != nil && before.Value.Compare(term.Value) != 0 {
		s.fail(placeOf(term.Loc()), ruleNever, "%s cannot be %s and %s at once, so the rule never says anything", input, before, term)
	}
}

// argument finds texts that the library's questions never fit.
func (s *wordScan) argument(expr *ast.Expr) {
	if !expr.IsCall() || len(expr.Operands()) == 0 {
		return
	}
	given, ok := expr.Operand(0).Value.(ast.String)
	if !ok {
		return
	}
	at := placeOf(expr.Operand(0).Loc())
	switch word := string(given); expr.Operator().String() {
	case "data.sekisho.lib.touches":
		if !isCleanPath(word) || word == "" || word == "?" {
			s.fail(at, ruleWord, "no path is within %q: want a cleaned path as %q", word, path.Clean("/"+word))
		}
	case "data.sekisho.lib.runs":
		if program, _, _ := strings.Cut(word, " "); strings.Contains(program, "/") {
			s.fail(at, ruleWord, "no program is called %q here: leave its folder out and write %q", program, path.Base(program))
		}
	}
}

// within goes on inside comprehensions and every.
func (s *wordScan) within(expr *ast.Expr, names map[ast.Var]string) {
	ast.WalkClosures(expr, func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension:
			s.body(x.Body, names)
		case *ast.SetComprehension:
			s.body(x.Body, names)
		case *ast.ObjectComprehension:
			s.body(x.Body, names)
		case *ast.Every:
			inner := maps.Clone(names)
			if list := inputName(x.Domain, names); list != "" {
				if value, ok := x.Value.Value.(ast.Var); ok {
					inner[value] = list + "[]"
				}
			}
			s.body(x.Body, inner)
		}
		return true
	})
}
