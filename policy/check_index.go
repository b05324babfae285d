package policy

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// index warns about costly rules that OPA cannot leave out by looking at the input: it keeps an index over the rules of one
// name by what they compare with constants (==, in, startswith), and evaluates those without such a condition every time.
// Staff rules are asked for few decisions and are left alone.
func (c *checker) index(compiler *ast.Compiler) {
	for _, name := range append([]string{guardrailPackage}, VendorTypes...) {
		for _, answer := range answers {
			index := compiler.RuleIndex(answerRef(name, answer))
			if index == nil {
				continue
			}
			found, err := index.Lookup(nothingMatches{})
			if err != nil {
				continue
			}
			for _, rule := range found.Rules {
				c.missed(compiler, rule, name, answer)
			}
		}
	}
}

// nothingMatches answers every question of an index with a text that no rule compares with, so that it returns exactly the
// rules that it knows nothing about.
type nothingMatches struct{}

// Resolve implements ast.ValueResolver.
func (nothingMatches) Resolve(ast.Ref) (ast.Value, error) { return ast.String("\x00"), nil }

func (c *checker) missed(compiler *ast.Compiler, rule *ast.Rule, name, answer string) {
	given := assigned(rule.Body)
	for _, expr := range rule.Body {
		if why := costly(compiler, expr, given); why != "" {
			c.warn(placeOf(expr.Loc()), ruleIndex,
				"%s.%s is evaluated for every decision: %s; put a plain condition beside it that can be looked up, as %s",
				name, answer, why, suggestion(expr))
			return
		}
	}
}

// assigned are the variables that an equation gives a value, as key in object[key] where key := input.right.
func assigned(body ast.Body) ast.VarSet {
	given := ast.NewVarSet()
	for _, expr := range body {
		if !expr.IsEquality() || expr.Negated {
			continue
		}
		for _, operand := range expr.Operands() {
			if v, ok := operand.Value.(ast.Var); ok {
				given.Add(v)
			}
		}
	}
	return given
}

// costly says what about an expression takes more than comparing two values, or "".
func costly(compiler *ast.Compiler, expr *ast.Expr, given ast.VarSet) string {
	switch terms := expr.Terms.(type) {
	case *ast.Every:
		return "`every` goes through a list"
	case *ast.Term:
		if ref, ok := terms.Value.(ast.Ref); ok && virtual(compiler, ref) {
			return negated(expr, fmt.Sprintf("%s is a rule of its own", ref))
		}
		return iterates(terms, given)
	case []*ast.Term:
		if why := call(compiler, expr); why != "" {
			return negated(expr, why)
		}
		for _, operand := range terms[1:] {
			if why := iterates(operand, given); why != "" {
				return negated(expr, why)
			}
			if ref, ok := operand.Value.(ast.Ref); ok && virtual(compiler, ref) {
				return negated(expr, fmt.Sprintf("%s is a rule of its own", ref))
			}
		}
	}
	if expr.Negated {
		return "`not` asks a question of its own"
	}
	return ""
}

func negated(expr *ast.Expr, why string) string {
	if why != "" && expr.Negated {
		return "`not` asks a question of its own, and " + why
	}
	return why
}

// cheap are the builtins that only compare.
var cheap = map[string]bool{"eq": true, "equal": true, "neq": true, "gt": true, "gte": true, "lt": true, "lte": true,
	"assign": true, "internal.member_2": true, "startswith": true, "internal.template_string": true}

func call(compiler *ast.Compiler, expr *ast.Expr) string {
	if !expr.IsCall() {
		return ""
	}
	operator := expr.Operator()
	name := operator.String()
	switch {
	case cheap[name]:
		return ""
	case virtual(compiler, operator):
		if len(operator) == 4 && packageNameOf(operator) == libPackage && (name == "data.sekisho.lib.reason" ||
			name == "data.sekisho.lib.approval" || name == "data.sekisho.lib.never") {
			return "" // words of the answer, not a condition
		}
		return fmt.Sprintf("%s(…) is a rule of its own", name)
	case name == "regex.match":
		return "regex.match goes through a text"
	}
	return fmt.Sprintf("%s(…) has to be computed", name)
}

// packageNameOf is NAME of data.sekisho.NAME.rule.
func packageNameOf(ref ast.Ref) string {
	if len(ref) < 4 {
		return ""
	}
	name, _ := ref[2].Value.(ast.String)
	return string(name)
}

func virtual(compiler *ast.Compiler, ref ast.Ref) bool {
	return ref.HasPrefix(ast.DefaultRootRef) && len(compiler.GetRulesForVirtualDocument(ref.GroundPrefix())) > 0
}

func iterates(term *ast.Term, given ast.VarSet) string {
	switch value := term.Value.(type) {
	case ast.Ref:
		for _, part := range value[1:] {
			if v, ok := part.Value.(ast.Var); ok && !given.Contains(v) {
				return "it goes through a list"
			}
		}
	case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
		return "it builds a list"
	}
	return ""
}

// suggestion is a condition that fits: what runs a program asks for execute, what reads a path for one of the others.
func suggestion(expr *ast.Expr) string {
	if expr.IsCall() && expr.Operator().String() == "data.sekisho.lib.runs" {
		return `input.right == "execute"`
	}
	return `input.right == "write" or input.target.name == "db1"`
}
