package policy_test

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
)

func TestTheShippedFolderLoads(t *testing.T) {
	rev, err := policy.Load(rego.FS, 3)
	if err != nil {
		t.Fatal(err)
	}
	if rev.Number() != 3 || !strings.HasPrefix(rev.Hash(), "sha256:") || len(rev.Commands()) == 0 {
		t.Errorf("number %d, hash %q, %d bytes of commands", rev.Number(), rev.Hash(), len(rev.Commands()))
	}
	if !rev.HasWindow("office-hours") || !rev.HasWindow("always") || rev.HasWindow("full-moon") {
		t.Error("windows are not the shipped ones")
	}
}

func TestTheHashChangesWithEveryFile(t *testing.T) {
	base := load(t, nil).Hash()
	if again := load(t, nil).Hash(); again != base {
		t.Errorf("%s, then %s", base, again)
	}
	for _, name := range []string{"matrix.yaml", "windows.yaml", "commands.yaml", "lib.rego", "staff_test.rego"} {
		if load(t, map[string]string{name: more(t, name, "# a remark")}).Hash() == base {
			t.Errorf("a change of %s leaves the hash as it was", name)
		}
	}
}

func TestMistakesInAPolicyFolderAreNamedByPlace(t *testing.T) {
	matrix := func(from, to string) string {
		text := more(t, "matrix.yaml", "")
		if !strings.Contains(text, from) {
			t.Fatalf("matrix.yaml has no %q", from)
		}
		return strings.Replace(text, from, to, 1)
	}
	for _, tc := range []struct{ name, file, text, want string }{
		{"an unknown key", "matrix.yaml", "matrx:\n", `matrix.yaml:1:1: unknown field "matrx"`},
		{"an unknown right", "matrix.yaml", matrix("consulting:  {read:", "consulting:  {raed:"), `matrix.yaml:11:17: unknown field "raed"`},
		{"an unknown cell", "matrix.yaml", matrix("consulting:  {read: always", "consulting:  {read: often"), `matrix.yaml:11:23: read is "often": want always, approval or never`},
		{"an unknown vendor type", "matrix.yaml", matrix("consulting: ", "friends: "), `unknown vendor type "friends"`},
		{"a vendor type without a row", "matrix.yaml", matrix("consulting: ", "# consulting: "), "matrix.yaml:1:1: the matrix has no row for consulting"},
		{"the same row twice", "matrix.yaml", matrix("consulting: ", "operations: "), `already defined`},
		{"no age for the second factor", "matrix.yaml", matrix("{mfa_max_age: 12h}", "{watermark: true}"), "obligations.every.mfa_max_age is missing"},
		{"an impossible age", "matrix.yaml", matrix("mfa_max_age: 12h}", "mfa_max_age: soon}"), `mfa_max_age is "soon"`},
		{"an override without a name", "matrix.yaml", matrix("\noverrides: []", "\noverrides: [{cells: {read: never}}]"), `override name ""`},
		{"an override that changes nothing", "matrix.yaml", matrix("\noverrides: []", "\noverrides: [{name: x}]"), "override x changes nothing"},
		{"an override of an unknown type", "matrix.yaml", matrix("\noverrides: []", "\noverrides: [{name: x, type: friends, cells: {read: never}}]"), `unknown vendor type "friends"`},
		{"an override with a relative path", "matrix.yaml", matrix("\noverrides: []", "\noverrides: [{name: x, path: etc, cells: {read: never}}]"), `path "etc": want an absolute path`},
		{"an empty matrix", "matrix.yaml", " ", "matrix.yaml:1:1: the file is empty"},
		{"a window with an unknown key", "windows.yaml", "w: {zone: UTC, day: [mon]}\n", `windows.yaml:1:16: unknown field "day"`},
		{"a window that never opens because of its hours", "windows.yaml", "w: {zone: UTC, days: [mon], from: \"09:00\", to: \"09:00\"}\n", `windows.yaml:1:48: window w: never opens: from and to are both 09:00`},
		{"a window that never opens because it has no days", "windows.yaml", "w: {zone: UTC, days: [], dates: [], from: \"09:00\", to: \"10:00\"}\n", "windows.yaml:1:4: window w: never opens: give days, dates or calendars"},
		{"a window without a zone", "windows.yaml", "w: {days: [mon], from: \"09:00\", to: \"10:00\"}\n", "windows.yaml:1:4: window w: zone is missing"},
		{"a window in an unknown zone", "windows.yaml", "w: {zone: Moon/Base, days: [mon], from: \"09:00\", to: \"10:00\"}\n", `windows.yaml:1:11: window w: unknown zone "Moon/Base"`},
		{"a window in the machine's own zone", "windows.yaml", "w: {zone: Local, days: [mon], from: \"09:00\", to: \"10:00\"}\n", "zone is missing"},
		{"a window on an unknown day", "windows.yaml", "w: {zone: UTC, days: [mon, someday], from: \"09:00\", to: \"10:00\"}\n", `windows.yaml:1:28: window w: unknown day "someday"`},
		{"a window on a day that is there twice", "windows.yaml", "w: {zone: UTC, days: [mon, mon], from: \"09:00\", to: \"10:00\"}\n", "mon is there twice"},
		{"a window on an impossible date", "windows.yaml", "w: {zone: UTC, dates: [2026-02-30], from: \"09:00\", to: \"10:00\"}\n", `impossible date "2026-02-30"`},
		{"a window that opens at 24:00", "windows.yaml", "w: {zone: UTC, days: [mon], from: \"24:00\", to: \"10:00\"}\n", `from is "24:00"`},
		{"a window with an impossible time", "windows.yaml", "w: {zone: UTC, days: [mon], from: \"09:00\", to: \"9:60\"}\n", `to is "9:60"`},
		{"a window except an unknown calendar", "windows.yaml", "w: {zone: UTC, days: [mon], from: \"09:00\", to: \"10:00\", except: [moon-days]}\n", `unknown calendar "moon-days"`},
		{"a window with a strange name", "windows.yaml", "W_1: {zone: UTC, days: [mon], from: \"09:00\", to: \"10:00\"}\n", `window "W_1"`},
		{"no windows at all", "windows.yaml", "", "windows.yaml is missing from the policy folder"},
		{"a table nobody reads", "window.yaml", "x: 1\n", "window.yaml: unknown table"},
		{"a folder in the folder", "old/consulting.rego", "package x\n", "old: a policy folder has no subfolders"},
		{"Rego that cannot be parsed", "consulting.rego", "package sekisho.consulting\n\nallow if {\n", "consulting.rego:4:1: unexpected eof token"},
		{"an empty Rego file", "consulting.rego", "\n", "consulting.rego:1:1"},
		{"a vendor type without rules", "consulting.rego", "", "consulting.rego:1:1: package sekisho.consulting needs a rule named allow"},
		{"no guardrail", "guardrail.rego", "", "guardrail.rego:1:1: package sekisho.guardrail needs a rule named allow"},
		{"a misspelt input", "consulting.rego", more(t, "consulting.rego", `deny contains "x" if input.persn.id == "eve"`), "consulting.rego:24:22: undefined ref: input.persn.id"},
		{"a misspelt word of the library", "consulting.rego", more(t, "consulting.rego", `deny contains "x" if lib.tuches("/x")`), "consulting.rego:24:22: data.sekisho.lib.tuches is not a function"},
		{"an unused variable", "consulting.rego", more(t, "consulting.rego", "deny contains \"x\" if {\n\tx := 1\n}"), "consulting.rego:25:2: assigned var x unused"},
		{"http.send", "consulting.rego", more(t, "consulting.rego", `deny contains "x" if http.send({"method": "get", "url": "http://x"}).status_code == 200`), "http.send is not a function that a policy may call"},
		{"the clock", "consulting.rego", more(t, "consulting.rego", `deny contains "x" if time.now_ns() > 0`), "time.now_ns is not a function that a policy may call"},
		{"the name service", "consulting.rego", more(t, "consulting.rego", `deny contains "x" if count(net.lookup_ip_addr("x")) > 0`), "net.lookup_ip_addr is not a function that a policy may call"},
		{"the environment", "consulting.rego", more(t, "consulting.rego", `deny contains "x" if opa.runtime().env.HOME == "x"`), "opa.runtime is not a function that a policy may call"},
		{"chance", "consulting.rego", more(t, "consulting.rego", `deny contains "x" if rand.intn("x", 2) == 1`), "rand.intn is not a function that a policy may call"},
		{"a rule that calls itself", "consulting.rego", more(t, "consulting.rego", `deny contains "x" if count(deny) > 0`), "recursive"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := policy.Load(folder(t, map[string]string{tc.file: tc.text}), 1)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	t.Run("several at once are all named", func(t *testing.T) {
		_, err := policy.Load(folder(t, map[string]string{
			"windows.yaml": "a: {zone: UTC, from: \"09:00\", to: \"10:00\"}\nb: {zone: UTC, days: [mun], from: \"09:00\", to: \"10:00\"}\n",
			"lib.rego":     "package",
		}), 1)
		for _, want := range []string{"window a: never opens", "window b: unknown day", "lib.rego:1"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %v", want, err)
			}
		}
	})
	t.Run("a file that is too large", func(t *testing.T) {
		_, err := policy.Load(folder(t, map[string]string{"lib.rego": strings.Repeat("# x\n", 300_000)}), 1)
		if err == nil || !strings.Contains(err.Error(), "lib.rego is larger than") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("an empty folder", func(t *testing.T) {
		if _, err := policy.Load(fstest.MapFS{}, 1); err == nil || !strings.Contains(err.Error(), "matrix.yaml is missing") {
			t.Errorf("error %v", err)
		}
	})
}

func TestNotesMayStandBesideAPolicy(t *testing.T) {
	load(t, map[string]string{"README.md": "# Ours\n", ".gitignore": "*.bak\n"})
}

func TestATestThatFailsIsReportedWithItsLine(t *testing.T) {
	fsys := folder(t, map[string]string{"consulting.rego": strings.Replace(more(t, "consulting.rego", ""),
		`deny contains lib.never(type) if input.cell == "never"`, `approval contains lib.never(type) if input.cell == "never"`, 1)})
	results, err := policy.Test(context.Background(), fsys)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, r := range results {
		if r.Passed {
			continue
		}
		failed++
		if r.File != "consulting_test.rego" || r.Line == 0 || r.Message == "" || !strings.HasPrefix(r.Name, "sekisho.consulting_test.test_") {
			t.Errorf("result %+v", r)
		}
	}
	if failed < 2 {
		t.Errorf("%d tests failed", failed)
	}
}

func TestTestsAreNotRunOnAFolderThatDoesNotLoad(t *testing.T) {
	if _, err := policy.Test(context.Background(), folder(t, map[string]string{"windows.yaml": ""})); err == nil {
		t.Error("no error")
	}
	if _, err := policy.Test(context.Background(), folder(t, map[string]string{"x_test.rego": "package x\n\ntest_y if http.send({})\n"})); err == nil {
		t.Error("a test may call what a policy may not")
	}
}
