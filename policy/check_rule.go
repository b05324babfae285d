package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// The rules that the gateway asks of a package.
var answers = []string{"allow", "approval", "deny"}

// askedPackages are those that the gateway asks: the guardrail, staff and every vendor type.
func askedPackages() []string { return append([]string{guardrailPackage, staffType}, VendorTypes...) }

const (
	rootPackage = "sekisho" // data.sekisho.NAME
	libPackage  = "lib"     // words for rules to use, whether or not some rule uses them today
)

// placeOf is where a node of Rego stands.
func placeOf(at *ast.Location) Place {
	if at == nil {
		return Place{File: ".", Line: 1, Column: 1}
	}
	return Place{File: at.File, Line: max(at.Row, 1), Column: max(at.Col, 1)}
}

// rules looks at what the folder's Rego files say.
func (c *checker) rules(f *folder) error {
	compiler, err := compileRules(f.rules)
	if err != nil {
		return err
	}
	data, err := f.data()
	if err != nil {
		return err
	}
	m, err := parseMatrix(f.tables[matrixFile])
	if err != nil {
		return err
	}
	c.reach(compiler)
	c.shapes(compiler)
	c.open(compiler)
	c.index(compiler)
	words := newVocabulary(m, data, &c.opts)
	for _, name := range slices.Sorted(maps.Keys(compiler.Modules)) {
		c.references(compiler, data, compiler.Modules[name])
		c.words(words, compiler.Modules[name])
	}
	return nil
}

// asked are the rules that decisions begin with.
func asked(c *ast.Compiler) []*ast.Rule {
	var rules []*ast.Rule
	for _, name := range askedPackages() {
		for _, answer := range answers {
			rules = append(rules, c.GetRulesExact(answerRef(name, answer))...)
		}
	}
	return rules
}

func answerRef(name, answer string) ast.Ref {
	return ast.MustParseRef(fmt.Sprintf("data.%s.%s.%s", rootPackage, name, answer))
}

// reach warns about rules that no decision ever comes to.
func (c *checker) reach(compiler *ast.Compiler) {
	reached := closure(compiler, asked(compiler))
	for _, module := range compiler.Modules {
		c.unreached(module, reached)
	}
}

// closure are rules and all that they refer to.
func closure(c *ast.Compiler, rules []*ast.Rule) map[*ast.Rule]bool {
	reached := map[*ast.Rule]bool{}
	for next := slices.Clone(rules); len(next) > 0; {
		rule := next[len(next)-1]
		next = next[:len(next)-1]
		if reached[rule] {
			continue
		}
		reached[rule] = true
		for other := range c.Graph.Dependencies(rule) {
			next = append(next, other.(*ast.Rule))
		}
	}
	return reached
}

func (c *checker) unreached(module *ast.Module, reached map[*ast.Rule]bool) {
	name := packageName(module.Package)
	if name == libPackage {
		return
	}
	for _, rule := range module.Rules {
		called := rule.Head.Ref().String()
		switch {
		case reached[rule] || isTest(called):
		case slices.Contains(askedPackages(), name):
			c.warn(placeOf(rule.Loc()), ruleUnreachable, "no decision asks %s.%s: the gateway asks allow, approval and deny%s",
				name, called, nearest(called))
		default:
			c.warn(placeOf(rule.Loc()), ruleUnreachable, "no decision asks %s: package %s is none of %s, and no rule of theirs refers to it",
				called, strings.TrimPrefix(module.Package.Path.String(), "data."), strings.Join(askedPackages(), ", "))
		}
	}
}

func isTest(rule string) bool {
	return strings.HasPrefix(rule, "test_") || strings.HasPrefix(rule, "todo_test_")
}

// packageName is NAME of data.sekisho.NAME, "" of others.
func packageName(p *ast.Package) string {
	if name, ok := strings.CutPrefix(p.Path.String(), "data."+rootPackage+"."); ok {
		return name
	}
	return ""
}

// nearest asks whether one of the three rules was meant.
func nearest(called string) string {
	for _, answer := range answers {
		if distance(called, answer) <= 2 {
			return fmt.Sprintf("; did you mean %s?", answer)
		}
	}
	return ""
}

// distance is how many letters have to be changed, added or left out to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// shapes finds rules whose answer can never be read: allow is true or false, approval and deny are sets of sentences or
// reasons.
func (c *checker) shapes(compiler *ast.Compiler) {
	for _, name := range askedPackages() {
		for _, answer := range answers {
			rules := compiler.GetRulesExact(answerRef(name, answer))
			if len(rules) == 0 {
				continue
			}
			c.keys(name, answer, rules)
			if wrong := wrongShape(answer, rules, compiler.TypeEnv.GetByRef(answerRef(name, answer))); wrong != "" {
				c.fail(placeOf(rules[0].Loc()), ruleShape, "%s.%s %s, which refuses everybody", name, answer, wrong)
			}
		}
	}
}

// keys finds reasons that are no reasons.
func (c *checker) keys(name, answer string, rules []*ast.Rule) {
	for _, rule := range rules {
		key := rule.Head.Key
		if key == nil || !ast.IsScalar(key.Value) {
			continue
		}
		if _, sentence := key.Value.(ast.String); !sentence {
			c.fail(placeOf(key.Loc()), ruleShape,
				"%s.%s holds %s, which refuses everybody: want a sentence or lib.reason(id, table, en, ja)", name, answer, key)
		}
	}
}

func wrongShape(answer string, rules []*ast.Rule, t types.Type) string {
	if answer == "allow" {
		if rules[0].Head.RuleKind() == ast.MultiValue {
			return "is a set: write `allow if …`"
		}
		if !couldBe(t, types.B) {
			return fmt.Sprintf("is %s: want true or false", t)
		}
		return ""
	}
	set, ok := t.(*types.Set)
	if rules[0].Head.RuleKind() != ast.MultiValue && !ok {
		return fmt.Sprintf("is no set: write `%s contains …`", answer)
	}
	if ok && !couldBe(set.Of(), types.S) && !couldBe(set.Of(), types.NewObject(nil, types.NewDynamicProperty(types.S, types.A))) {
		return fmt.Sprintf("holds %s: want a sentence or lib.reason(id, table, en, ja)", set.Of())
	}
	return ""
}

// couldBe says whether a value of type t may be one of the kind.
func couldBe(t, kind types.Type) bool {
	switch t := t.(type) {
	case types.Any:
		return len(t) == 0 || slices.ContainsFunc(t, func(one types.Type) bool { return couldBe(one, kind) })
	case *types.Object:
		_, object := kind.(*types.Object)
		return object
	case nil:
		return true
	}
	return types.Compare(t, kind) == 0
}

// open warns about an allow that asks for nothing.
func (c *checker) open(compiler *ast.Compiler) {
	for _, rule := range asked(compiler) {
		yes := rule.Head.Value == nil || rule.Head.Value.Value.Compare(ast.Boolean(true)) == 0
		if rule.Head.Name == "allow" && yes && len(rule.Body) == 1 && rule.Body[0].Equal(ast.NewExpr(ast.BooleanTerm(true))) {
			c.warn(placeOf(rule.Loc()), ruleOpen, "this allows whatever no rule refuses; give it a condition, as input.cell == \"always\"")
		}
	}
}

// references finds names under `data` that neither the rules nor the tables have: such a reference is silently undefined.
func (c *checker) references(compiler *ast.Compiler, data map[string]any, module *ast.Module) {
	ast.WalkRefs(module, func(ref ast.Ref) bool {
		if !ref.HasPrefix(ast.DefaultRootRef) {
			return false
		}
		known := ref.GroundPrefix()
		if len(known) > 1 && !exists(compiler, data, known) {
			c.fail(placeOf(ref[0].Loc()), ruleNever, "%s is neither a rule nor in %s, so what asks for it is never true", known, matrixFile)
		}
		return false
	})
}

// exists says whether a ground reference leads to or through a rule, to a package, or into the tables.
func exists(compiler *ast.Compiler, data map[string]any, ref ast.Ref) bool {
	if len(compiler.GetRulesForVirtualDocument(ref)) > 0 || len(compiler.GetRulesWithPrefix(ref)) > 0 {
		return true
	}
	var at any = data
	for _, term := range ref[1:] {
		object, ok := at.(map[string]any)
		if !ok {
			return at != nil // into a list or a text: not followed
		}
		key, ok := term.Value.(ast.String)
		if at, ok = object[string(key)]; !ok {
			return false
		}
	}
	return true
}
