package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// schemaLeaves are the names below a schema: input.facts.window.
func schemaLeaves(name string, schema any) []string {
	properties, ok := schema.(map[string]any)["properties"].(map[string]any)
	if !ok {
		return []string{name}
	}
	var leaves []string
	for key, below := range properties {
		if below, ok := below.(map[string]any); ok {
			leaves = append(leaves, schemaLeaves(name+"."+key, below)...)
		}
	}
	return leaves
}

func TestEveryInputThatRulesCanReadTellsAnswersApart(t *testing.T) {
	leaves := schemaLeaves("input", inputSchema().Get(ast.SchemaRootRef))
	if len(leaves) < 35 {
		t.Fatalf("the schema has only %v", leaves)
	}
	for _, leaf := range leaves {
		if !slices.ContainsFunc(documentParts, func(d struct {
			name string
			part part
		}) bool {
			return d.name == leaf
		}) {
			t.Errorf("a simulation would not tell two decisions apart that differ in %s", leaf)
		}
	}
}

func TestEveryFactThatRulesCanReadHasItsWords(t *testing.T) {
	for _, leaf := range schemaLeaves("input", inputSchema().Get(ast.SchemaRootRef)) {
		fact, ok := strings.CutPrefix(leaf, "input.facts.")
		if ok && fact != "cut_off" && factWords[fact] == nil {
			t.Errorf("the words of %s are not known", leaf)
		}
	}
}

func TestTheInputsThatRulesReadAreFound(t *testing.T) {
	source := `package sekisho.x

import data.sekisho.y
import input.facts as f

allow if f.window == "open"

deny contains "a" if input.target.labels[input.right] == "x"

deny contains "b" if y.helper

deny contains "c" if { p := input.auth; p.mfa.uv }

deny contains "d" if y.within("/x")
`
	other := `package sekisho.y

helper if { some role in input.person.roles; role == data.matrix[input.vendor.type].x }

within(p) if startswith(input.path, p)

unused if input.resource == "x"
`
	modules, err := parseModules(map[string][]byte{"x.rego": []byte(source), "y.rego": []byte(other)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := compile(modules)
	if err != nil {
		t.Fatal(err)
	}
	var rules []*ast.Rule
	for _, name := range []string{"allow", "deny"} {
		rules = append(rules, c.GetRulesExact(answerRef("x", name))...)
	}
	want := []string{"input.auth", "input.facts.window", "input.path", "input.person.roles", "input.right", "input.target.labels",
		"input.vendor.type"}
	if got := inputsRead(c, rules); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
