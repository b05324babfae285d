package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// inputSchema describes the document that rules read, so that a misspelt name is an error when a policy is loaded and not
// a rule that never fires. lib.rego explains every field.
func inputSchema() *ast.SchemaSet {
	text, yes := kind("string"), kind("boolean")
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, object(map[string]any{
		"right": text, "resource": text, "path": text, "cell": text, "override": text,
		"person": object(map[string]any{"id": text, "vendor": text, "roles": list(text), "staff": yes}),
		"vendor": object(map[string]any{"id": text, "type": text, "own": yes, "risk": kind("number", "null")}),
		"chain":  list(text),
		"auth":   object(map[string]any{"kind": text, "mfa": object(map[string]any{"method": text, "uv": yes})}),
		"source": object(map[string]any{"ip": text}),
		"target": object(map[string]any{
			"name": text, "kind": text, "login": text, "sensitivity": text, "enforcement": text,
			"labels": map[string]any{"type": "object", "additionalProperties": text},
		}),
		"action": object(map[string]any{"protocol": text, "operation": text, "command": text, "opaque": yes}),
		"facts": object(map[string]any{
			"certificate": text, "mfa": text, "contract": text, "window": text, "network": text, "target": text,
			"break_glass": text, "cut_off": yes,
		}),
		"windows": list(text),
	}))
	return set
}

func kind(names ...any) map[string]any { return map[string]any{"type": names} }

func list(items map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": items}
}

func object(properties map[string]any) map[string]any {
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}
