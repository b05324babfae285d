package policy

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// Bounds on what a policy may be, so that neither loading nor evaluating one takes more memory or time than a gateway can
// spare. What people write stays far below.
const (
	maxRego    = 512 << 10 // bytes of all *.rego files, tests included
	maxNesting = 64        // brackets within brackets
	maxRules   = 5000      // of a folder, each else counted
	maxElse    = 100       // of one rule
	maxBody    = 500       // expressions and calls in one rule
	maxDepth   = 1000      // expressions and rules that wait for each other
	maxParts   = 50_000    // of a value that rules make out of others, each part counted as often as it is held
)

// checkSource refuses a text that would take the parser too deep. It counts brackets outside strings and comments.
func checkSource(name string, source []byte) error {
	line, start, depth := 1, 0, 0
	for i := 0; i < len(source); i++ {
		switch source[i] {
		case '\n':
			line, start = line+1, i+1
		case '(', '[', '{':
			if depth++; depth > maxNesting {
				return fmt.Errorf("%s:%d:%d: more than %d brackets within each other; give parts names of their own",
					name, line, i-start+1, maxNesting)
			}
		case ')', ']', '}':
			depth = max(depth-1, 0)
		case '"', '`', '#':
			for end := i + lengthOfText(source[i:]); i < end-1; i++ {
				if source[i] == '\n' {
					line, start = line+1, i+1
				}
			}
		}
	}
	return nil
}

// lengthOfText is that of the string or comment with which text begins. A comment's newline is not part of it.
func lengthOfText(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[0] == '#':
			if text[i] == '\n' {
				return i
			}
		case text[i] == text[0]:
			return i + 1
		case text[0] == '"' && text[i] == '\\':
			i++
		case text[0] == '"' && text[i] == '\n':
			return i // a mistake that the parser reports
		}
	}
	return len(text)
}

// checkSize refuses folders with too many rules, and rules that are too large.
func checkSize(modules map[string]*ast.Module) error {
	var errs []error
	count := 0
	for _, module := range modules {
		for _, rule := range module.Rules {
			branches := 0
			for branch := rule; branch != nil; branch = branch.Else {
				branches++
			}
			if count += branches; count > maxRules {
				return errorAt(rule.Loc(), "more than %d rules; write tables instead", maxRules)
			}
			if branches > maxElse {
				errs = append(errs, errorAt(rule.Loc(), "more than %d times else; write a table instead", maxElse))
				continue
			}
			if err := checkRule(rule); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return joinSorted(errs)
}

// checkRule refuses a rule that is too large, and `with`, which would show rules another input than the gateway's.
func checkRule(rule *ast.Rule) (err error) {
	size := 0
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Expr:
			size++
			if len(x.With) > 0 && err == nil {
				err = errorAt(x.With[0].Loc(), "`with` is for tests; a rule has the one input that the gateway shows it")
			}
		case ast.Call:
			size++
		}
		return false
	}).Walk(rule)
	if err == nil && size > maxBody {
		err = errorAt(rule.Loc(), "a rule of more than %d expressions; split it up", maxBody)
	}
	return err
}

func errorAt(at *ast.Location, format string, args ...any) error {
	return regoError(ast.NewError(ast.CompileErr, at, format, args...))
}

// reach finds out about rules that refer to others, in the compiler and before it works out types, which would itself take
// as long as the largest value has parts.
type reach struct {
	c     *ast.Compiler
	depth map[*ast.Rule]int // expressions and rules on the longest way
	parts map[*ast.Rule]int // of the value
}

// checkReach is a stage of the compiler: it refuses rules that wait for each other too deep and values with too many parts.
func checkReach(c *ast.Compiler) *ast.Error {
	r := &reach{c: c, depth: map[*ast.Rule]int{}, parts: map[*ast.Rule]int{}}
	sorted, ok := c.Graph.Sort() // a rule stands behind all that it refers to
	if !ok {
		return nil // recursion, which the compiler reports
	}
	for _, node := range sorted {
		rule := node.(*ast.Rule)
		if r.depth[rule] = r.depthOf(rule); r.depth[rule] > maxDepth {
			return ast.NewError(ast.CompileErr, rule.Loc(), "rules that wait for each other more than %d deep", maxDepth)
		}
		largest := 0
		if r.parts[rule], largest = r.measure(rule); largest > maxParts {
			return ast.NewError(ast.CompileErr, rule.Loc(), "a value of more than %d parts, each counted as often as it is held", maxParts)
		}
	}
	return nil
}

func (r *reach) depthOf(rule *ast.Rule) int {
	deepest := 0
	for other := range r.c.Graph.Dependencies(rule) {
		deepest = max(deepest, r.depth[other.(*ast.Rule)])
	}
	own := 1
	ast.WalkExprs(rule, func(*ast.Expr) bool { own++; return false })
	return deepest + own
}

// measure counts the parts of a rule's value, and those of the largest value in it. Bodies are flat here and in an order in
// which variables are given before they are used.
func (r *reach) measure(rule *ast.Rule) (value, largest int) {
	vars := map[ast.Var]int{}
	ast.WalkExprs(rule, func(expr *ast.Expr) bool {
		terms, ok := expr.Terms.([]*ast.Term)
		if !ok {
			return false
		}
		size := 1
		for _, term := range terms {
			size = min(size+r.partsOf(term, vars), 2*maxParts)
		}
		largest = max(largest, size)
		if scalar(expr) {
			size = 1
		}
		for _, term := range terms {
			ast.WalkVars(term, func(v ast.Var) bool {
				if _, given := vars[v]; !given {
					vars[v] = size
				}
				return false
			})
		}
		return false
	})
	for _, term := range []*ast.Term{rule.Head.Key, rule.Head.Value} {
		if term != nil {
			value += r.partsOf(term, vars)
		}
	}
	return value, max(value, largest)
}

// scalar tells whether an expression calls a function of OPA's that gives a text, a number or a truth.
func scalar(expr *ast.Expr) bool {
	if !expr.IsCall() || expr.IsEquality() {
		return false
	}
	builtin := ast.BuiltinMap[expr.Operator().String()]
	if builtin == nil {
		return false
	}
	switch builtin.Decl.Result().(type) {
	case types.String, types.Number, types.Boolean:
		return true
	}
	return false
}

// partsOf counts the parts of a term: those of the variables and rules in it, and one for everything else.
func (r *reach) partsOf(term *ast.Term, vars map[ast.Var]int) int {
	parts := 0
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Ref:
			parts += r.partsOfRef(x)
			return true
		case ast.Var:
			parts += vars[x]
		case *ast.Term:
			parts++
		}
		parts = min(parts, 2*maxParts)
		return false
	}).Walk(term)
	return parts
}

// partsOfRef counts the parts of what a reference may lead to.
func (r *reach) partsOfRef(ref ast.Ref) int {
	parts := 1
	if ref[0].Equal(ast.DefaultRootDocument) {
		for _, rule := range r.c.GetRulesDynamicWithOpts(ref, ast.RulesOptions{IncludeHiddenModules: true}) {
			parts = min(parts+r.parts[rule], 2*maxParts)
		}
	}
	return parts
}
