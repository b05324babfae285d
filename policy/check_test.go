package policy_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sekisho/sekisho/policy"
)

func check(t testing.TB, files map[string]string, opts policy.CheckOptions) policy.Report {
	t.Helper()
	return policy.Check(context.Background(), folder(t, files), opts)
}

// findings are those about one file, as line:column: severity rule: message.
func findings(r policy.Report, file string) []string {
	var list []string
	for _, f := range r.Findings {
		if f.File == file {
			list = append(list, fmt.Sprintf("%d:%d: %s %s: %s", f.Line, f.Column, f.Severity, f.Rule, f.Message))
		}
	}
	return list
}

func TestTheShippedPolicyHasNothingToFind(t *testing.T) {
	r := check(t, nil, policy.CheckOptions{Roles: []string{"admin", "approver", "investigator", "auditor"}, Now: friday})
	for _, f := range r.Findings {
		t.Error(f)
	}
	if r.Tests < 40 {
		t.Errorf("only %d tests ran", r.Tests)
	}
}

// maintenance is the shipped maintenance.rego with rules from line 23 on.
func maintenance(t testing.TB, rules string) map[string]string {
	return map[string]string{"maintenance.rego": more(t, "maintenance.rego", rules)}
}

func TestCheckFindsMistakesAtTheirPlace(t *testing.T) {
	for _, tc := range []struct{ name, rules, want string }{
		{"a misspelt input", `deny contains "x" if input.facts.windw == "open"`,
			"24:22: error compile: undefined ref: input.facts.windw"},
		{"a word that a fact never has", `deny contains "x" if input.facts.window == "opne"`,
			`24:44: error word: input.facts.window is never "opne", so the condition is never true: want one of "open", "closed", "missing", "exempt"`},
		{"a right that does not exist", `deny contains "x" if input.right == "exec"`,
			`24:37: error word: input.right is never "exec"`},
		{"a cell that does not exist", `approval contains "x" if input.cell == "aproval"`,
			`24:40: error word: input.cell is never "aproval"`},
		{"a word on the left", `deny contains "x" if "exec" == input.right`,
			`24:22: error word: input.right is never "exec"`},
		{"a word behind a name", "deny contains \"x\" if {\n\tf := input.facts\n\tf.mfa == \"frsh\"\n}",
			`26:11: error word: input.facts.mfa is never "frsh"`},
		{"a word in a set", `deny contains "x" if input.right in {"exec", "read"}`,
			`24:38: error word: input.right is never "exec"`},
		{"a word that makes a condition always true", `deny contains "x" if input.right != "exec"`,
			`24:37: error word: input.right is never "exec", so the condition is always true`},
		{"a word under not", `deny contains "x" if not input.right == "exec"`,
			`24:41: error word: input.right is never "exec", so the condition is always true`},
		{"a window that does not exist", `deny contains "x" if "nigth" in input.windows`,
			`24:22: error word: input.windows[] is never "nigth", so the condition is never true: want a window of windows.yaml`},
		{"a window that does not exist, one by one", "deny contains \"x\" if {\n\tsome w in input.windows\n\tw == \"nigth\"\n}",
			`26:7: error word: input.windows[] is never "nigth"`},
		{"a window that does not exist, in every", "deny contains \"x\" if {\n\tinput.right == \"read\"\n\tevery w in input.windows { w == \"nigth\" }\n}",
			`26:34: error word: input.windows[] is never "nigth"`},
		{"an override that does not exist", `deny contains "x" if input.override == "db1-app"`,
			`24:40: error word: input.override is never "db1-app", so the condition is never true: want the name of an override in matrix.yaml`},
		{"a network for an address", `deny contains "x" if input.source.ip == "10.0.0.0/8"`,
			`24:41: error word: input.source.ip is never "10.0.0.0/8"`},
		{"a path with a slash at its end", `deny contains "x" if input.path == "/srv/"`,
			`24:36: error word: input.path is never "/srv/"`},
		{"a folder with a slash at its end", "deny contains \"x\" if {\n\tinput.right == \"read\"\n\tlib.touches(\"/srv/\")\n}",
			`26:14: error word: no path is within "/srv/": want a cleaned path as "/srv"`},
		{"a program with its folder", "deny contains \"x\" if {\n\tinput.right == \"execute\"\n\tlib.runs(\"/usr/bin/pg_dump\")\n}",
			`26:11: error word: no program is called "/usr/bin/pg_dump" here: leave its folder out and write "pg_dump"`},
		{"an operation that cannot be", `deny contains "x" if input.action.operation == "exec"`,
			`24:48: error word: input.action.operation is never "exec"`},
		{"two words at once", "deny contains \"x\" if {\n\tinput.right == \"read\"\n\tinput.right == \"write\"\n}",
			`26:17: error never: input.right cannot be "read" and "write" at once, so the rule never says anything`},
		{"a condition that is false", `deny contains "x" if 1 == 2`, "24:22: error never: `1 == 2` is never true"},
		{"false itself", `deny contains "x" if false`, "24:22: error never: `false` is never true"},
		{"a comparison of unlike things", `deny contains "x" if input.facts.cut_off == "true"`, "24:22: error compile: match error"},
		{"a rule that nobody asks", `denny contains "x" if input.right == "read"`,
			"24:1: warning unreachable: no decision asks maintenance.denny: the gateway asks allow, approval and deny; did you mean deny?"},
		{"a name in the library that does not exist", `deny contains "x" if lib.on_gatway`,
			"24:22: error never: data.sekisho.lib.on_gatway is neither a rule nor in matrix.yaml, so what asks for it is never true"},
		{"a table that does not exist", `deny contains "x" if data.vendors.acme == "x"`,
			"24:22: error never: data.vendors.acme is neither a rule nor in matrix.yaml"},
		{"a reason that is a number", `deny contains 4 if input.right == "read"`,
			"24:15: error shape: maintenance.deny holds 4, which refuses everybody: want a sentence"},
		{"a rule that is two things", `deny := "x" if input.right == "read"`, "17:1: error compile: conflicting rules"},
		{"a rule that ignores the index because of a regular expression", `deny contains "x" if regex.match("^/srv", input.path)`,
			"24:22: warning index: maintenance.deny is evaluated for every decision: regex.match goes through a text; put a plain condition"},
		{"… of a changed text", `deny contains "x" if lower(input.target.name) == "db1"`,
			"24:22: warning index: maintenance.deny is evaluated for every decision: lower(…) has to be computed"},
		{"… of a negation", `deny contains "x" if not input.target.name == "db1"`,
			"24:22: warning index: maintenance.deny is evaluated for every decision: `not` asks a question of its own"},
		{"… of a helper rule", "deny contains \"x\" if on_db\n\non_db if input.target.name == \"db1\"",
			"24:22: warning index: maintenance.deny is evaluated for every decision: data.sekisho.maintenance.on_db is a rule of its own"},
		{"… of a helper function", `deny contains "x" if lib.runs("pg_dump")`,
			`24:22: warning index: maintenance.deny is evaluated for every decision: data.sekisho.lib.runs(…) is a rule of its own; put a plain condition beside it that can be looked up, as input.right == "execute"`},
		{"a default that allows", "default allow := true", "24:1: warning open: this allows whatever no rule refuses"},
		{"an allow without a condition", "allow := true", "24:1: warning open: this allows whatever no rule refuses"},
		{"a file that is not formatted", `deny contains "x"   if input.right == "read"`,
			`24:19: warning format: the file is not formatted; this line should read "deny contains \"x\" if input.right == \"read\""`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := check(t, maintenance(t, tc.rules), policy.CheckOptions{})
			list := findings(r, "maintenance.rego")
			for _, f := range list {
				if strings.HasPrefix(f, tc.want) {
					return
				}
			}
			t.Errorf("found\n%s\nwant %s", strings.Join(list, "\n"), tc.want)
		})
	}
}

func TestCheckLeavesGoodRulesAlone(t *testing.T) {
	for _, tc := range []struct{ name, rules string }{
		{"a condition on a right before a helper", "deny contains \"x\" if {\n\tinput.right == \"execute\"\n\tlib.runs(\"pg_dump\")\n}\n"},
		{"a plain comparison that the index cannot hold", "deny contains \"x\" if input.auth.kind != \"human\"\n"},
		{"rules that the index holds", "approval contains \"y\" if input.right == \"\"\n"},
		{"a rule that reads the tables", "approval contains \"x\" if {\n\tinput.right == \"delete\"\n\tdata.matrix.maintenance[input.right] == \"approval\"\n}\n"},
		{"a helper in use", "deny contains \"x\" if {\n\tinput.right == \"read\"\n\ton_db\n}\n\non_db if input.target.name == \"db9\"\n"},
		{"a path that is not known", "deny contains \"x\" if input.path == \"?\"\n"},
		{"two names for one vendor", "deny contains \"x\" if {\n\tsome v in input.chain\n\tv in {\"someone\", \"parent\"}\n\tinput.right == \"read\"\n}\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := maintenance(t, tc.rules)
			files["maintenance.rego"] = strings.TrimSuffix(files["maintenance.rego"], "\n")
			for _, f := range check(t, files, policy.CheckOptions{}).Findings {
				t.Error(f)
			}
		})
	}
}

func TestCheckFindsAnswersOfTheWrongShape(t *testing.T) {
	for _, tc := range []struct{ name, rules, want string }{
		{"a sentence for a set", "allow if input.cell == \"always\"\n\ndeny := \"no\" if input.right == \"read\"\n",
			"5:1: error shape: consulting.deny is no set: write `deny contains …`, which refuses everybody"},
		{"a word for yes", "allow := \"yes\" if input.cell == \"always\"\n",
			"3:1: error shape: consulting.allow is string: want true or false, which refuses everybody"},
		{"a set for yes", "allow contains \"yes\" if input.cell == \"always\"\n",
			"3:1: error shape: consulting.allow is a set: write `allow if …`, which refuses everybody"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list := findings(check(t, map[string]string{"consulting.rego": "package sekisho.consulting\n\n" + tc.rules},
				policy.CheckOptions{}), "consulting.rego")
			if !slices.Contains(list, tc.want) {
				t.Errorf("found\n%s\nwant %s", strings.Join(list, "\n"), tc.want)
			}
		})
	}
}

func TestCheckFindsPackagesThatNobodyAsks(t *testing.T) {
	r := check(t, map[string]string{"extra.rego": "package sekisho.maintenence\n\ndeny contains \"x\" if input.right == \"read\"\n"},
		policy.CheckOptions{})
	list := findings(r, "extra.rego")
	if len(list) != 1 || !strings.HasPrefix(list[0], "3:1: warning unreachable: no decision asks deny: package sekisho.maintenence is none of guardrail, staff,") {
		t.Error(list)
	}
}

func TestCheckReadsTheTables(t *testing.T) {
	known := policy.CheckOptions{Vendors: []string{"acme", "parent"}, Targets: []string{"db1", "db2"},
		Windows: []string{"office-hours", "always"}, Now: friday}
	overrides := func(list string) map[string]string {
		return map[string]string{"matrix.yaml": strings.Replace(more(t, "matrix.yaml", ""), "\noverrides: []\n", "\noverrides:\n"+list, 1)}
	}
	for _, tc := range []struct {
		name, file string
		files      map[string]string
		want       string
	}{
		{"an override for an unknown vendor", "matrix.yaml", overrides("  - {name: a, vendor: acmee, cells: {write: never}}\n"),
			`33:23: warning unknown: override a never matches: the directory has no vendor named "acmee"`},
		{"an override for an unknown target", "matrix.yaml", overrides("  - {name: a, target: db9, cells: {write: never}}\n"),
			`33:23: warning unknown: override a never matches: the directory has no target named "db9"`},
		{"an override that a later one replaces", "matrix.yaml",
			overrides("  - {name: a, target: db1, cells: {write: never}}\n  - {name: b, cells: {write: approval}}\n"),
			"33:5: warning shadowed: override a never counts: b behind it replaces all its cells"},
		{"an override that two later ones replace", "matrix.yaml",
			overrides("  - {name: a, vendor: acme, cells: {write: never, read: never}}\n  - {name: b, cells: {write: approval}}\n  - {name: c, vendor: acme, cells: {read: always}}\n"),
			"33:5: warning shadowed: override a never counts: b and c behind it replaces all its cells"},
		{"an override for a folder within another's", "matrix.yaml",
			overrides("  - {name: a, path: /srv/app/**, cells: {write: always}}\n  - {name: b, path: /srv/**, cells: {write: approval}}\n"),
			"33:5: warning shadowed: override a never counts: b behind it"},
		{"two overrides of one name", "matrix.yaml",
			overrides("  - {name: a, vendor: acme, cells: {write: never}}\n  - {name: a, vendor: parent, cells: {write: never}}\n"),
			"34:12: warning shadowed: another override is called a, too"},
		{"admin for a vendor type", "matrix.yaml",
			map[string]string{"matrix.yaml": strings.Replace(more(t, "matrix.yaml", ""), "admin: never}  # M-1", "admin: always}  # M-1", 1)},
			"8:91: warning never: contractors never get admin"},
		{"a window that no vendor has", "windows.yaml",
			map[string]string{"windows.yaml": more(t, "windows.yaml", `night: {zone: Asia/Tokyo, days: [sat], from: "22:00", to: "02:00"}`)},
			"23:8: warning window: no vendor has the window night"},
		{"a window whose nights are over", "windows.yaml",
			map[string]string{"windows.yaml": more(t, "windows.yaml", `always-then: {zone: Asia/Tokyo, dates: [2025-01-10], from: "22:00", to: "23:00"}`)},
			"23:14: warning window: the window always-then does not open within the next two years"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list := findings(check(t, tc.files, known), tc.file)
			for _, f := range list {
				if strings.HasPrefix(f, tc.want) {
					return
				}
			}
			t.Errorf("found\n%s\nwant %s", strings.Join(list, "\n"), tc.want)
		})
	}
	for _, tc := range []struct{ name, routes, want string }{
		{"a route for an unknown target", "  - {name: a, target: db9, need: 2}\n",
			`23:23: warning unknown: route a never matches: the directory has no target named "db9"`},
		{"a route behind one that matches more", "  - {name: a, target: db1, rights: [write, delete], need: 2}\n  - {name: b, vendor: acme, target: db1, rights: [delete], need: 3}\n",
			"24:5: warning shadowed: route b never counts: a before it matches all that it does"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.Replace(more(t, "approvals.yaml", ""), "\nroutes: []\n", "\nroutes:\n"+tc.routes, 1)
			list := findings(check(t, map[string]string{"approvals.yaml": text}, known), "approvals.yaml")
			if !slices.Equal(list, []string{tc.want}) {
				t.Errorf("found\n%s\nwant %s", strings.Join(list, "\n"), tc.want)
			}
		})
	}
	for _, tc := range []struct{ name, list string }{
		{"an override that loosens what an earlier one tightens for unknown paths, too", "  - {name: a, path: /srv/app/**, cells: {write: never}}\n  - {name: b, path: /srv/**, cells: {write: always}}\n"},
		{"a later override for somebody else", "  - {name: a, vendor: acme, cells: {write: never}}\n  - {name: b, vendor: parent, cells: {write: always}}\n"},
		{"an override with obligations", "  - {name: a, vendor: acme, cells: {write: never}, obligations: {mfa_max_age: 2h}}\n  - {name: b, cells: {write: always}}\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if list := findings(check(t, overrides(tc.list), known), "matrix.yaml"); len(list) > 0 {
				t.Error(list)
			}
		})
	}
}

func TestCheckRunsTheFoldersTests(t *testing.T) {
	r := check(t, map[string]string{"x_test.rego": "package sekisho.x_test\n\ntest_two if 1 + 1 == 3\n"}, policy.CheckOptions{})
	list := findings(r, "x_test.rego")
	if len(list) != 1 || !strings.HasPrefix(list[0], "3:1: error test: sekisho.x_test.test_two: ") || r.Errors() != 1 {
		t.Error(r.Findings)
	}
}

func TestCheckAsksTheRulesAPlainQuestion(t *testing.T) {
	r := check(t, maintenance(t, "allow := false if input.right == \"read\"\n"), policy.CheckOptions{})
	list := findings(r, "maintenance.rego")
	if len(list) == 0 || !strings.Contains(strings.Join(list, "\n"), "error fault: asked for read, the rules fail, which refuses everybody: ") {
		t.Error(list)
	}
}

func TestCheckTellsWhatIsWrongWithABrokenFolder(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  policy.Finding
	}{
		{"a table that is missing", map[string]string{"windows.yaml": ""},
			policy.Finding{File: ".", Line: 1, Column: 1, Severity: "error", Rule: "compile", Message: "windows.yaml is missing from the policy folder"}},
		{"a table nobody reads", map[string]string{"window.yaml": "x: 1\n"},
			policy.Finding{File: "window.yaml", Line: 1, Column: 1, Severity: "error", Rule: "compile"}},
		{"Rego that ends too soon", map[string]string{"consulting.rego": "package sekisho.consulting\n\nallow if {\n"},
			policy.Finding{File: "consulting.rego", Line: 4, Column: 1, Severity: "error", Rule: "compile", Message: "unexpected eof token"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := policy.Check(context.Background(), folder(t, tc.files), policy.CheckOptions{})
			if len(r.Findings) == 0 {
				t.Fatal("nothing was found")
			}
			got := r.Findings[0]
			if tc.want.Message == "" || strings.HasPrefix(got.Message, tc.want.Message) {
				tc.want.Message = got.Message
			}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
	if r := policy.Check(context.Background(), fstest.MapFS{}, policy.CheckOptions{}); r.Errors() == 0 {
		t.Error("an empty folder passes")
	}
	r := check(t, nil, policy.CheckOptions{Commands: func([]byte) error { return fmt.Errorf("commands.yaml:3:5: no such program") }})
	if list := findings(r, "commands.yaml"); len(list) != 1 || list[0] != "3:5: error command: no such program" {
		t.Error(list)
	}
}

// FuzzCheck makes sure that no rule makes Check panic, and that what Check lets pass loads.
func FuzzCheck(f *testing.F) {
	for _, rule := range []string{
		`deny contains "x" if input.facts.window == "opne"`, `allow if { some w in input.windows; w == data.matrix[input.right] }`,
		`deny contains x if { x := {1, 2}[_]; not lib.runs(x) }`, `approval[1] := 2 if input`, `deny := {"a"} if input.right in ["b"]`,
		`allow := false if 1 == 2 else := true if every x in [1] { x == 1 }`, `default deny := 3`, `f(x) := input[x]`,
		`deny contains "x" if data.sekisho[input.right].allow`, `deny.x.y := 1`, "package x", `deny contains input if true == false`,
	} {
		f.Add(rule)
	}
	f.Fuzz(func(t *testing.T, rule string) {
		if len(rule) > 400 {
			t.Skip()
		}
		files := folder(t, map[string]string{"maintenance.rego": more(t, "maintenance.rego", rule)})
		for name := range files {
			if strings.HasSuffix(name, "_test.rego") {
				delete(files, name)
			}
		}
		r := policy.Check(context.Background(), files, policy.CheckOptions{Vendors: []string{"acme"}})
		if _, err := policy.Load(files, 1); (err != nil) && r.Errors() == 0 {
			t.Errorf("nothing was found, and %v", err)
		}
		for _, f := range r.Findings {
			if f.Line < 1 || f.Column < 1 || f.File == "" || f.Message == "" || f.Rule == "" {
				t.Errorf("%+v", f)
			}
		}
	})
}
