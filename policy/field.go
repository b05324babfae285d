package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// fields is a set of parts of the input. Rules are shown only the parts that they read, and their answers are remembered
// by these alone: what a rule does not see cannot make a remembered answer wrong.
type fields uint64

const (
	fieldPersonID fields = 1 << iota
	fieldPersonVendor
	fieldRoles
	fieldStaff
	fieldVendorID
	fieldVendorType
	fieldOwn
	fieldRisk
	fieldChain
	fieldAuthKind
	fieldMethod
	fieldUV
	fieldIP
	fieldTargetName
	fieldTargetKind
	fieldLogin
	fieldLabels
	fieldSensitivity
	fieldEnforcement
	fieldProtocol
	fieldOperation
	fieldCommand
	fieldOpaque
	fieldCertificate
	fieldMFA
	fieldContract
	fieldWindow
	fieldNetwork
	fieldListed
	fieldBreakGlass
	fieldCutOff
	fieldWindows
	fieldRight
	fieldResource
	fieldPath
	fieldCell
	fieldOverride
	fieldsEnd

	allFields = fieldsEnd - 1
)

// fieldNames are the names below input of each field, in order.
var fieldNames = [...]string{
	"person.id", "person.vendor", "person.roles", "person.staff", "vendor.id", "vendor.type", "vendor.own", "vendor.risk",
	"chain", "auth.kind", "auth.mfa.method", "auth.mfa.uv", "source.ip", "target.name", "target.kind", "target.login",
	"target.labels", "target.sensitivity", "target.enforcement", "action.protocol", "action.operation", "action.command",
	"action.opaque", "facts.certificate", "facts.mfa", "facts.contract", "facts.window", "facts.network", "facts.target",
	"facts.break_glass", "facts.cut_off", "windows", "right", "resource", "path", "cell", "override",
}

// has says whether any of these is in the set.
func (f fields) has(some fields) bool { return f&some != 0 }

// fieldsRead are the fields that rules read, and all rules that they may refer to. A reference that stops above a field
// (input.person) or goes on by a computed key reads everything below it.
func fieldsRead(c *ast.Compiler, rules []*ast.Rule) fields {
	var read fields
	seen := map[*ast.Rule]bool{}
	for next := slices.Clone(rules); len(next) > 0; {
		rule := next[len(next)-1]
		next = next[:len(next)-1]
		if rule == nil || seen[rule] {
			continue
		}
		seen[rule] = true
		read |= fieldsIn(rule)
		next = append(next, rule.Else)
		for other := range c.Graph.Dependencies(rule) {
			next = append(next, other.(*ast.Rule))
		}
	}
	return read
}

// fieldsIn are the fields that a rule, or a part of one, names.
func fieldsIn(x any) fields {
	var read fields
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Ref:
			if x[0].Equal(ast.InputRootDocument) {
				read |= fieldsBelow(x)
				for _, part := range x[1:] { // an input may be the key into another
					read |= fieldsIn(part)
				}
				return true
			}
		case ast.Var:
			if x.Equal(ast.InputRootDocument.Value) {
				read = allFields
			}
		}
		return false
	}).Walk(x)
	return read
}

// fieldsBelow are the fields that a reference into the input may read.
func fieldsBelow(ref ast.Ref) fields {
	var name string
	for _, part := range ref[1:] {
		key, ok := part.Value.(ast.String)
		if !ok {
			break
		}
		name = strings.TrimPrefix(name+"."+string(key), ".")
	}
	var read fields
	for i, field := range fieldNames {
		if name == "" || name == field || strings.HasPrefix(field, name+".") || strings.HasPrefix(name, field+".") {
			read |= 1 << i
		}
	}
	return read
}
