package policy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/glob"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// series writes one line for each n from 1: %d is n first and n-1 from then on.
func series(n int, line string) string {
	var text strings.Builder
	for i := 1; i <= n; i++ {
		numbers := []any{i}
		for range strings.Count(line, "%d") - 1 {
			numbers = append(numbers, i-1)
		}
		fmt.Fprintf(&text, line+"\n", numbers...)
	}
	return text.String()
}

const hundred = "hundred := [x | some x in split(\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\", \"\")]\n"

// explosions are rules that make much out of little, or take long over it, each by other means. Those marked load must be
// refused when they are loaded, the others when they are evaluated.
var explosions = []struct {
	name, rules string
	load        string // what the error at loading says
}{
	{"strings doubled by concat, rule by rule", "s0 := input.path\n" + series(40, "s%d := concat(\"\", [s%d, s%d])") + `deny contains "x" if s40 == ""`, ""},
	{"strings doubled by concat in one body", "deny contains \"x\" if {\n\ts0 := input.path\n" + series(13, "\ts%d := concat(input.path, [s%d, s%d, s%d, s%d, s%d, s%d])") + "\ts13 == \"\"\n}", ""},
	{"strings doubled by templates", "s0 := input.path\n" + series(40, "s%d := $\"{s%d}{s%d}\"") + `deny contains "x" if s40 == ""`, ""},
	{"a separator between many", "long := concat(\"\", [input.path | some x in hundred; some y in hundred])\n" + hundred + `deny contains "x" if concat(long, split(long, "")) == ""`, ""},
	{"an array doubled by array.concat", "a0 := split(input.path, \"\")\n" + series(15, "a%d := array.concat(array.concat(a%d, a%d), array.concat(a%d, a%d))") + `deny contains "x" if a15 == []`, "a value of more than 50000 parts"},
	{"an array doubled by array.concat on its way down", "f0(x) if count(x) == 1\n" + series(40, "f%d(x) if f%d(array.concat(x, x))") + "deny contains \"x\" if f40(split(input.path, \"\"))", ""},
	{"an array that holds itself twice", "a0 := [input.path]\nb0 := [input.path]\n" + series(40, "a%d := [a%d, a%d]") + series(40, "b%d := [b%d, b%d]") + `deny contains "x" if a40 == b40`,
		"a value of more than 50000 parts"},
	{"a local array that holds itself twice", "deny contains \"x\" if {\n\ta0 := [input.path]\n" + series(40, "\ta%d := [a%d, a%d]") + "\tb := [x | some x in a40]\n\ta40 == b\n}",
		"a value of more than 50000 parts"},
	{"an object that holds itself twice", "a0 := {\"k\": input.path}\n" + series(40, "a%d := {\"l\": a%d, \"r\": a%d}") + `deny contains "x" if a40.l.r == a40.r.l`, "a value of more than 50000 parts"},
	{"a function that doubles what it is given", "f0(x) := [x, x]\n" + series(40, "f%d(x) := f%d([x, x])") + "deny contains \"x\" if f40(input.path) == f40(input.right)", ""},
	{"an argument that doubles on its way down", "f0(x, y) if x == y\n" + series(40, "f%d(x, y) if f%d([x, x], [y, y])") + "deny contains \"x\" if f40(input.path, input.path)", ""},
	{"nested arrays written out", "f0(x) := [x, x]\n" + series(12, "f%d(x) := f%d([x, x, x, x])") + "deny contains $\"{f12(input.path)}\"", ""},
	{"packages within values", hundred + "all := [data.sekisho.lib.verbs | some a in hundred; some b in hundred; some c in hundred]\ndeny contains \"y\" if count(all) == 1", ""},
	{"an object of many keys", hundred + "o := {$\"{a}{i}{b}{j}{c}\": split(input.path, \"\") | some i, a in hundred; some j, b in hundred; some c in hundred}\ndeny contains \"x\" if count(o) == 1", ""},
	{"objects united", "o0 := {\"a\": split(input.path, \"\")}\n" + series(40, "o%d := object.union({\"l%d\": o%d}, {\"r\": o%d})") + `deny contains "x" if o40 == {}`, "a value of more than 50000 parts"},
	{"objects united on their way down", "f0(x) if count(x) == 1\n" + series(40, "f%d(x) if f%d(object.union({\"l\": x}, {\"r\": x}))") + "deny contains \"x\" if f40({\"a\": input.path})", ""},
	{"a product of comprehensions", hundred + "all := [[a, b, c, hundred] | some a in hundred; some b in hundred; some c in hundred]\ndeny contains \"x\" if count(all) == 1", ""},
	{"a set of arrays", hundred + "all := {[i, j, k, hundred] | some i, a in hundred; some j, b in hundred; some k, c in hundred}\ndeny contains \"x\" if count(all) == 1", ""},
	{"a set of rules' making", hundred + "all contains [i, j, k, hundred] if {\n\tsome i, a in hundred\n\tsome j, b in hundred\n\tsome k, c in hundred\n}\ndeny contains \"x\" if count(all) == 1", ""},
	{"an object of rules' making", hundred + "all[i][j][k] := hundred if {\n\tsome i, a in hundred\n\tsome j, b in hundred\n\tsome k, c in hundred\n}\ndeny contains \"x\" if count(all) == 1", ""},
	{"large arrays in a loop", hundred + "deny contains \"x\" if {\n\tsome i in hundred\n\tsome j in hundred\n\tcount(split(input.resource, \"\")) == 7\n}", ""},
	{"large texts cut in a loop", hundred + "deny contains \"x\" if {\n\tsome i, a in hundred\n\tsome j, b in hundred\n\tsubstring(input.resource, i + j, -1) == \"\"\n}", ""},
	{"large texts in upper case in a loop", hundred + "deny contains \"x\" if {\n\tsome i in hundred\n\tsome j in hundred\n\tupper(input.resource) == \"\"\n}", ""},
	{"unions of large sets in a loop", hundred + "s := {x | some i, c in split(input.resource, \"\"); x := i}\ndeny contains \"x\" if {\n\tsome i in hundred\n\tsome j in hundred\n\tcount(s | {i, j}) == 7\n}", ""},
	{"sorting in a loop", hundred + "a := [i | some i, c in split(input.resource, \"\")]\ndeny contains \"x\" if {\n\tsome i in hundred\n\tsome j in hundred\n\tcount(sort(array.concat(a, [i, j]))) == 7\n}", ""},
	{"comparing large texts in a loop", hundred + "deny contains \"x\" if {\n\tsome i in hundred\n\tsome j in hundred\n\tsome k in hundred\n\tcontains(input.resource, concat(\"\", [i, j, k, \"?\"]))\n}", ""},
	{"numbers squared", "n0 := count(input.resource)\n" + series(40, "n%d := n%d * n%d") + `deny contains "x" if n40 == 1`, ""},
	{"fractions squared", "n0 := to_number(\"1.000000001\")\n" + series(40, "n%d := n%d * n%d") + `deny contains "x" if n40 == 1`, ""},
	{"large exponents", "n0 := to_number(\"1e300\")\n" + series(40, "n%d := n%d * n%d") + `deny contains "x" if round(n40) == 1`, ""},
	{"a regular expression with repetitions in repetitions", `deny contains "x" if regex.match("(abcdefghijklmnopqrstuvwxyz){900}", input.resource)`, ""},
	{"a large regular expression on a large text", `deny contains "x" if regex.match("(a|b|ab|ba|a?b?a?){90}c", input.resource)`, ""},
	{"a glob of many stars on a large text", `deny contains "x" if glob.match("*a*a*a*a*a*a*a*a*[bc]*a", [], concat("", [input.resource, input.resource, "a"]))` +
		"\ndeny contains \"y\" if {\n\tsome i in [1, 2, 3, 4, 5, 6, 7, 8, 9]\n\tglob.match(\"*{a,aa}*{a,aa}*{a,aa}*{a,aa}*{a,aa}*{a,aa}*[bc]*a\", [], concat(\"\", [input.resource, $\"{i}\"]))\n}", ""},
	{"trimming by a large set", "cut := concat(\"\", [input.resource, \"関\"])\ndeny contains \"x\" if trim(cut, cut) == \"y\"", ""},
	{"any of many prefixes in a loop", hundred + "list := split(input.resource, \"\")\ndeny contains \"x\" if {\n\tsome i in hundred\n\tstrings.any_prefix_match(list, array.concat(list, [i]))\n}", ""},
	{"a loop of six", hundred + "deny contains \"x\" if {\n\tsome a in hundred\n\tsome b in hundred\n\tsome c in hundred\n\tsome d in hundred\n\t[a, b, c, d] == [b, c, d, \"x\"]\n}", ""},
	{"a rule of many expressions", "deny contains \"x\" if {\n" + strings.Repeat("\tinput.path != \"x\"\n", 600) + "}", "maintenance.rego:24:1: a rule of more than 500 expressions"},
	{"a sum of many numbers", "deny contains \"x\" if 7 == " + strings.Repeat("1 + ", 600) + "1", "a rule of more than 500 expressions"},
	{"rules that wait for rules", "a0 if input.path != \"q\"\n" + series(900, "a%d if a%d") + "deny contains \"x\" if a900", "rules that wait for each other more than 1000 deep"},
	{"functions that call functions", "f0(x) if x != \"q\"\n" + series(900, "f%d(x) if f%d(x)") + "deny contains \"x\" if f900(input.path)", "rules that wait for each other more than 1000 deep"},
	{"many rules", series(6000, "deny contains \"x\" if input.path == \"%d\""), "more than 5000 rules"},
	{"many times else", "a := 0 if input.path == \"q\"\n" + strings.Repeat("else := 1 if input.path == \"r\"\n", 200) + "deny contains \"x\" if a == 1", "more than 100 times else"},
	{"brackets within brackets", "deny contains \"x\" if input.path == " + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000), "maintenance.rego:24:100: more than 64 brackets within each other"},
	{"brackets behind a text", "a := \"\\\"]\"\nb := `\n]` # ]\ndeny contains \"x\" if input.path == " + strings.Repeat("(", 100), "maintenance.rego:27:100: more than 64 brackets within each other"},
	{"a file of numbers", "a := {" + strings.Repeat("1,", 300_000) + "1}", "the folder has more than 524288 bytes of Rego"},
	{"another input", "deny contains \"x\" if {\n\tlib.touches(\"/\") with input.path as \"/\"\n}", "maintenance.rego:25:19: `with` is for tests"},
	{"a rule that calls itself", `deny contains "x" if count(deny) > 0`, "maintenance.rego:24:1: rule data.sekisho.maintenance.deny is recursive"},
	{"a function that calls itself", "f(x) := f([x, x])\ndeny contains \"x\" if f(1) == 1", "maintenance.rego:24:1: rule data.sekisho.maintenance.f is recursive"},
	{"rules that call each other", "a if b\nb if a\ndeny contains \"x\" if a", "is recursive"},
	{"http.send", `deny contains "x" if http.send({"method": "get", "url": "http://x"}).status_code == 200`, "maintenance.rego:24:22: http.send is not a function that a policy may call"},
	{"the evaluator's own function", `deny contains "x" if internal.weigh([input.path])`, "maintenance.rego:24:22: internal.weigh is not a function that a policy may call"},
	{"a text where true or false belongs", `allow := "yes" if input.right == "read"`, ""},
	{"two answers to one question", "allow := false if input.right == \"read\"", ""},
	{"two values of one rule", "mood := 1 if input.right == \"read\"\nmood := 2 if input.path != \"\"\ndeny contains \"x\" if mood == 3", ""},
	{"no reason", "deny contains 42", ""},
}

// watch runs f and tells how much more memory was in use while it ran, and for how long it did.
func watch(f func()) (bytes uint64, took time.Duration) {
	inUse := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64() + s[1].Value.Uint64()
	}
	runtime.GC()
	base := inUse()
	peak, done, stop := base, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			peak = max(peak, inUse())
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Microsecond):
			}
		}
	}()
	begun := time.Now()
	f()
	took = time.Since(begun)
	close(stop)
	<-done
	return peak - base, took
}

// TestRulesThatExplode refuses each explosion in little memory and time, and nobody else notices.
func TestRulesThatExplode(t *testing.T) {
	for _, tc := range explosions {
		t.Run(tc.name, func(t *testing.T) {
			var rev *Revision
			var err error
			bytes, took := watch(func() {
				rev, err = Load(changed(t, map[string]string{"maintenance.rego": tc.rules}), 1)
			})
			if bytes > 64<<20 || took > 20*time.Second {
				t.Errorf("loading took %d MiB and %v", bytes>>20, took)
			}
			if tc.load != "" {
				if err == nil || !strings.Contains(err.Error(), tc.load) {
					t.Fatalf("error %.300v, want %q", err, tc.load)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			e := NewEngine(rev, func() time.Time { return testNow })
			in := fortunate("maintenance")
			in.Action.Needs = []Need{{Read, "/" + strings.Repeat("a", 60_000)}}
			var d Decision
			bytes, took = watch(func() { d = e.Decide(context.Background(), in) })
			if d.Effect != Deny || d.fault == nil || d.Reasons[0].ID != "policy-error" {
				t.Errorf("%s %v, fault %v", d.Effect, d.Reasons, d.fault)
			}
			if bytes > 64<<20 || took > 2*maxTime {
				t.Errorf("took %d MiB and %v until %v", bytes>>20, took, d.fault)
			}
			t.Logf("%d MiB, %v, %v", bytes>>20, took, d.fault)
			if other := e.Decide(context.Background(), fortunate("operations")); other.Effect != Allow {
				t.Errorf("another type: %s %v", other.Effect, other.fault)
			}
		})
	}
}

// fortunate is somebody of this type who meets every control and reads a file.
func fortunate(vendorType string) Input {
	return Input{
		Person: Person{ID: "hanako", Vendor: "acme"},
		Vendor: Vendor{ID: "acme", Type: vendorType, Contract: Contract{testNow.AddDate(0, -1, 0), testNow.AddDate(0, 1, 0)},
			Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Windows: []string{"always"}, Targets: []string{"db1"}},
		Auth:   Auth{Kind: "human", Cert: Cert{"1", testNow.Add(time.Hour)}, MFA: MFA{"webauthn", testNow, true}},
		Source: Source{IP: netip.MustParseAddr("203.0.113.9")},
		Target: Target{Name: "db1", Kind: "ssh"},
		Action: Action{Protocol: "ssh", Operation: "ssh.exec", Needs: []Need{{Read, "/srv/app"}}},
		Time:   Clock{Now: testNow, Zone: "Asia/Tokyo"},
	}
}

// TestSilenceDenies leaves out every rule of a type but one that is never true.
func TestSilenceDenies(t *testing.T) {
	fsys := changed(t, nil)
	fsys["maintenance.rego"].Data = []byte("package sekisho.maintenance\n\nallow if input.right == \"none\"\n")
	fsys["maintenance_test.rego"].Data = []byte("package sekisho.maintenance_test\n")
	rev, err := Load(fsys, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := NewEngine(rev, func() time.Time { return testNow })
	if d := e.Decide(context.Background(), fortunate("maintenance")); d.Effect != Deny || d.Reasons[0].ID != "not-allowed" || d.fault != nil {
		t.Errorf("%s %v %v", d.Effect, d.Reasons, d.fault)
	}
}

// TestATestThatExplodesIsStopped: the folder's own tests are bounded as well.
func TestATestThatExplodesIsStopped(t *testing.T) {
	fsys := changed(t, map[string]string{"lib_test.rego": hundred +
		"test_all if count([[a, b, c, hundred] | some a in hundred; some b in hundred; some c in hundred]) == 1\n"})
	var results []TestResult
	var err error
	bytes, _ := watch(func() { results, err = Test(context.Background(), fsys) })
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
			if r.Name != "sekisho.lib_test.test_all" || !strings.Contains(r.Message, errTooBig.Error()) {
				t.Errorf("%+v", r)
			}
		}
	}
	if failed != 1 || bytes > 96<<20 {
		t.Errorf("%d tests failed, %d MiB", failed, bytes>>20)
	}
}

func TestWhatRulesSayIsCutShort(t *testing.T) {
	rev, err := Load(changed(t, map[string]string{"maintenance.rego": `deny contains $"No {input.resource}."` + "\n",
		"operations.rego":  "deny contains $\"{i}\" if some i, _ in split(input.resource, \"\")\n",
		"consulting.rego":  "two := input.resource if input.right == \"read\"\ntwo := 2 if input.right == \"read\"\ndeny contains \"x\" if two == 3\n",
		"development.rego": "deny contains {\"id\": input.resource, \"x\": 1}\n"}), 1)
	if err != nil {
		t.Fatal(err)
	}
	e := NewEngine(rev, func() time.Time { return testNow })
	for vendorType, reason := range map[string]string{"maintenance": customReason, "operations": "policy-error", "consulting": "policy-error", "development": "policy-error"} {
		in := fortunate(vendorType)
		in.Action.Needs[0].Resource = strings.Repeat("関", 20_000)
		d := e.Decide(context.Background(), in)
		if d.Effect != Deny || d.Reasons[0].ID != reason || len(d.Reasons[0].EN) > maxReason+len("…") || !utf8.ValidString(d.Reasons[0].EN) {
			t.Errorf("%s: %s %.100v", vendorType, d.Effect, d.Reasons)
		}
		if d.fault != nil && len(d.fault.Error()) > maxFault+len("…") {
			t.Errorf("%s: a fault of %d bytes", vendorType, len(d.fault.Error()))
		}
	}
}

func TestPlainRulesAreFarFromEveryBound(t *testing.T) {
	rev, err := Load(changed(t, curious["rules that read one field each"]), 1)
	if err != nil {
		t.Fatal(err)
	}
	for words, share := range map[int]int{20: 100, 2_000: 20, maxText / 5: 2} {
		in := fortunate("maintenance")
		in.Action.Needs = []Need{{Execute, strings.Repeat("word ", words)}}
		for _, p := range []*program{rev.guard, rev.kinds["maintenance"]} {
			b := newBudget(context.Background())
			f := idealFacts
			if _, err := p.answer(b, newDocument(&in, &clock{}).input(question{vendor: &in.Vendor, facts: &f, need: in.Action.Needs[0]})); err != nil {
				t.Fatal(err)
			}
			if b.steps > maxSteps/share || b.made > maxMade/share {
				t.Errorf("%d words: %d steps, %d bytes", words, b.steps, b.made)
			}
		}
	}
}

func TestABudgetIsForAWholeDecision(t *testing.T) {
	b := newBudget(context.Background())
	for range maxAllSteps / (maxSteps - 64) {
		for range maxSteps - 64 {
			if b.Cancelled() {
				t.Fatal("stopped too early")
			}
		}
		b.next()
	}
	stopped := false
	for range maxSteps - 64 {
		stopped = stopped || b.Cancelled()
	}
	if !stopped {
		t.Error("never stopped")
	}
	late := &budget{ctx: context.Background(), begun: time.Now().Add(-maxTime), steps: 63}
	if !late.Cancelled() {
		t.Error("late and not stopped")
	}
	var halt topdown.Halt
	if err := newBudget(context.Background()).spend(0, maxMade+1, nil); !errors.As(err, &halt) || !errors.Is(halt.Err, errTooBig) {
		t.Error(err)
	}
}

// TestGlobsMatchAsOPAsDo compares with the library that OPA uses, on texts short enough for it.
func TestGlobsMatchAsOPAsDo(t *testing.T) {
	r := random{rand.New(rand.NewPCG(7, 8))}
	matched := 0
	for range 20_000 {
		var pattern, text strings.Builder
		for range r.IntN(5) {
			pattern.WriteString(one(r, "a", "b", "/", ".", "*", "**", "?", "[ab]", "[!a]", "[a-c]", "{a,b}", "{a/b,*.b}", `\*`, "関"))
		}
		for range r.IntN(6) {
			text.WriteString(one(r, "a", "b", "c", "/", ".", "*", "関"))
		}
		delimiters := one(r, nil, []rune{'/'}, []rune{'.', '/'})
		theirs, err := glob.Compile(pattern.String(), delimiters...)
		if err != nil {
			continue
		}
		expression, err := globExpression(pattern.String(), delimiters)
		if err != nil {
			t.Errorf("%q: %v", pattern.String(), err)
			continue
		}
		ours, err := newExpression(expression)
		if err != nil {
			t.Fatal(err)
		}
		want := theirs.Match(text.String())
		if got := ours.MatchString(text.String()); got != want {
			t.Errorf("%q (%q) on %q: %v, OPA %v", pattern.String(), string(delimiters), text.String(), got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 500 {
		t.Errorf("only %d matched", matched)
	}
	for _, broken := range []string{"{a", "a}", "[a", "[]", "[!]", "[b-a]", `a\`, strings.Repeat("a", maxGlob+1)} {
		if _, err := globExpression(broken, nil); err == nil {
			t.Errorf("%.20q is no mistake", broken)
		}
	}
}

// FuzzGlob: whatever a pattern is, it is refused or means an expression.
func FuzzGlob(f *testing.F) {
	f.Add("/srv/*.{log,[!a-c]?}**")
	f.Add("[^a]\\")
	f.Fuzz(func(t *testing.T, pattern string) {
		expression, err := globExpression(pattern, []rune{'/', ']', '^', '-'})
		if err != nil {
			return
		}
		if _, err := newExpression(expression); err != nil && !strings.Contains(err.Error(), "more than") && !strings.Contains(err.Error(), "too large") {
			t.Errorf("%q: %v", pattern, err)
		}
	})
}

// FuzzCheckSource: a text that passes never takes the parser deeper than its brackets.
func FuzzCheckSource(f *testing.F) {
	f.Add("package a\n# (((\nb := \"\\\"[[\" # \nc := `[[\n`")
	f.Add(strings.Repeat("[", 70))
	f.Fuzz(func(t *testing.T, source string) {
		err := checkSource("x.rego", []byte(source))
		if strings.Count(source, "(")+strings.Count(source, "[")+strings.Count(source, "{") <= maxNesting && err != nil {
			t.Error(err)
		}
		if !strings.ContainsAny(source, "\"`#)]}") && strings.Count(source, "[") > maxNesting && err == nil {
			t.Error("too deep and not refused")
		}
	})
}
