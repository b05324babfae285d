package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// inputsRead are the parts of the input that rules read, and those that they refer to: input.facts.window. A name that ends
// where a rule goes on by a computed key stands for everything below it; "input" is everything.
func inputsRead(c *ast.Compiler, rules []*ast.Rule) []string {
	read := map[string]bool{}
	for rule := range closure(c, rules) {
		noteInputs(rule, read)
	}
	return slices.Sorted(maps.Keys(read))
}

// noteInputs adds the inputs below a node of Rego.
func noteInputs(node any, read map[string]bool) {
	ast.WalkTerms(node, func(term *ast.Term) bool {
		switch value := term.Value.(type) {
		case ast.Var:
			if value.Equal(ast.InputRootDocument.Value) {
				read["input"] = true
			}
		case ast.Ref:
			if value.HasPrefix(ast.InputRootRef) {
				read[groundName(value)] = true
			}
			for _, part := range value[1:] { // an input may be the key into something else
				noteInputs(part, read)
			}
			return true
		}
		return false
	})
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

// groundName is input.a.b of a reference, up to its first computed key.
func groundName(ref ast.Ref) string {
	name := "input"
	for _, part := range ref[1:] {
		key, ok := part.Value.(ast.String)
		if !ok {
			break
		}
		name += "." + string(key)
	}
	return name
}

// reads says whether reading name reads part, or something of it.
func reads(name, part string) bool {
	return name == part || strings.HasPrefix(part, name+".") || strings.HasPrefix(name, part+".")
}
