package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
	"github.com/open-policy-agent/opa/v1/types"
)

// weighName is the builtin that the compiler puts behind everything in a rule that makes a value out of others.
const weighName = "internal.weigh"

// weighBuiltin takes an array of values.
var weighBuiltin = &ast.Builtin{Name: weighName, Decl: types.NewFunction(types.Args(types.NewArray(nil, types.A)), types.B)}

// The builtin exists for the evaluator only: no policy may name it (allowedBuiltins).
func init() {
	ast.RegisterBuiltin(weighBuiltin)
	topdown.RegisterBuiltinFunc(weighName, weigh)
}

// weigh charges the budget for values, each counted as often as it is held: what is shared in memory still takes its time
// where it is compared or written out, and doubles with each line that holds it twice.
func weigh(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
	list, err := builtins.ArrayOperand(operands[0].Value, 1)
	if err != nil {
		return err
	}
	bytes := weightOf(list, maxMade)
	if err := pay(bctx, bytes, 0); err != nil {
		return err
	}
	return iter(ast.InternedTerm(true))
}

// What a value takes beside its text, in bytes.
const (
	weightOfTerm = 64
	weightOfPair = 160 // in objects and sets, with the entry that finds it
)

// weightOf is about how many bytes a value takes, counting everything as often as it is held. It stops counting above limit.
func weightOf(v ast.Value, limit int) int {
	weight := weightOfTerm
	add := func(t *ast.Term, own int) bool {
		weight += own
		if weight <= limit {
			weight += weightOf(t.Value, limit-weight)
		}
		return weight > limit
	}
	switch v := v.(type) {
	case ast.String:
		weight += len(v)
	case ast.Number:
		weight += len(v)
	case *ast.Array:
		v.Until(func(t *ast.Term) bool { return add(t, 16) })
	case ast.Set:
		v.Until(func(t *ast.Term) bool { return add(t, weightOfPair) })
	case ast.Object:
		v.Until(func(k, value *ast.Term) bool { return add(k, weightOfPair) || add(value, 0) })
	}
	return weight
}

// weighAll is a stage of the compiler: it has every value weighed that a rule makes out of others, when it is made.
func weighAll(c *ast.Compiler) *ast.Error {
	for _, module := range c.Modules {
		ast.WalkRules(module, func(rule *ast.Rule) bool {
			weighRule(c, rule)
			return false
		})
	}
	return nil
}

func weighRule(c *ast.Compiler, rule *ast.Rule) {
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Rule:
			if x != rule {
				return true // an else, which is walked by itself
			}
		case *ast.ArrayComprehension:
			x.Body = weighBody(c, x.Body, variables(x.Term))
		case *ast.SetComprehension:
			x.Body = weighBody(c, x.Body, variables(x.Term))
		case *ast.ObjectComprehension:
			x.Body = weighBody(c, x.Body, append(variables(x.Key), variables(x.Value)...))
		case *ast.Every:
			x.Body = weighBody(c, x.Body, nil)
		}
		return false
	}).Walk(rule)
	if !rule.Default {
		rule.Body = weighBody(c, rule.Body, headVariables(rule.Head))
	}
}

// headVariables are those that a rule makes its value of. The one variable of a set's element, a function's result or a plain
// value has been weighed where it was made.
func headVariables(head *ast.Head) []*ast.Term {
	if head.RuleKind() == ast.MultiValue {
		return composed(head.Key)
	}
	if len(head.Reference.GroundPrefix()) == len(head.Reference) {
		return composed(head.Value)
	}
	vars := variables(head.Value)
	for _, part := range head.Reference[1:] {
		vars = append(vars, variables(part)...)
	}
	return vars
}

// weighBody has what the expressions of a body make weighed, and last what is made of made.
func weighBody(c *ast.Compiler, body ast.Body, made []*ast.Term) ast.Body {
	weighed := make(ast.Body, 0, len(body)+1)
	for _, expr := range body {
		before, after := weights(c, expr)
		weighed = appendWeighing(weighed, before, expr.Loc())
		weighed = append(weighed, expr)
		weighed = appendWeighing(weighed, after, expr.Loc())
	}
	weighed = appendWeighing(weighed, made, body.Loc())
	for i, expr := range weighed {
		expr.Index = i
	}
	return weighed
}

func appendWeighing(body ast.Body, made []*ast.Term, at *ast.Location) ast.Body {
	if len(made) == 0 {
		return body
	}
	expr := ast.NewExpr([]*ast.Term{ast.NewTerm(weighRef), ast.ArrayTerm(made...)}).SetLocation(at)
	expr.Generated = true
	return append(body, expr)
}

var weighRef = ast.MustParseRef(weighName)

// weights are the variables to weigh before and after an expression: the arguments that a call makes, and what an equation
// makes or finds in whole packages.
func weights(c *ast.Compiler, expr *ast.Expr) (before, after []*ast.Term) {
	terms, ok := expr.Terms.([]*ast.Term)
	if !ok || expr.Negated {
		return nil, nil
	}
	if expr.IsEquality() {
		for i, term := range terms[1:] {
			after = append(after, composed(term)...)
			if wholePackage(c, term) {
				after = append(after, variables(terms[2-i])...)
			}
		}
		return nil, after
	}
	if operator, ok := terms[0].Value.(ast.Ref); ok && operator[0].Equal(ast.DefaultRootDocument) {
		for _, term := range terms[1:min(len(terms), 1+max(c.GetArity(operator), 0))] {
			before = append(before, composed(term)...)
		}
	}
	return before, nil
}

// composed are the variables in an array, object or set, each as often as it stands there.
func composed(term *ast.Term) []*ast.Term {
	switch term.Value.(type) {
	case *ast.Array, ast.Object, ast.Set:
		return variables(term)
	}
	return nil
}

func variables(term *ast.Term) (vars []*ast.Term) {
	switch term.Value.(type) {
	case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
		return nil // weighed from within
	}
	ast.WalkVars(term, func(v ast.Var) bool {
		vars = append(vars, ast.NewTerm(v))
		return false
	})
	return vars
}

// wholePackage tells whether a reference leads to a package or another part of data that is no single rule.
func wholePackage(c *ast.Compiler, term *ast.Term) bool {
	ref, ok := term.Value.(ast.Ref)
	return ok && ref[0].Equal(ast.DefaultRootDocument) && len(c.GetRulesExact(ref.GroundPrefix())) == 0 &&
		len(c.GetRulesWithPrefix(ref.GroundPrefix())) > 0
}
