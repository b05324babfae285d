package policy

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sekisho/sekisho/policy/rego"
)

// changed is the shipped policy folder with text added to some files.
func changed(t testing.TB, more map[string]string) fstest.MapFS {
	t.Helper()
	folder := fstest.MapFS{}
	entries, err := fs.ReadDir(rego.FS, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := fs.ReadFile(rego.FS, entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		text := string(data) + "\n" + more[entry.Name()] + "\n"
		if list, ok := more["overrides"]; ok && entry.Name() == matrixFile {
			text = strings.Replace(text, "\noverrides: []\n", "\noverrides:\n"+list, 1)
		}
		folder[entry.Name()] = &fstest.MapFile{Data: []byte(text)}
	}
	return folder
}

// curious are policies that look at every part of the input, each in its own way.
var curious = map[string]map[string]string{
	"shipped": nil,
	"rules that read one field each": {
		"maintenance.rego": `
deny contains "dump" if lib.runs("pg_dump")
deny contains "customers" if lib.touches("/srv/customers")
approval contains "high" if input.vendor.risk > 2
approval contains "by day" if "office-hours" in input.windows
approval contains "from afar" if input.source.ip == "203.0.113.9"
deny contains "not eve" if input.person.id == "eve"
deny contains "opaque" if input.action.opaque
approval contains $"not you, {input.person.id}" if input.target.labels.env == "prod"`,
		"guardrail.rego": `
deny contains "not root" if input.target.login == "root"`,
	},
	"computed keys": {
		"maintenance.rego": `
approval contains "label" if input.target.labels[input.person.id] == "yes"
approval contains "any fact" if {
	some word in input.facts
	word == "closed"
}
approval contains $"{input.right} of {count(input.person)}" if input.action.protocol == "https"`,
		"operations.rego": `
approval contains "chain" if input.chain[count(input.chain) - 1] == "head"
approval contains "rules" if data.sekisho.lib.verbs[input.right].en == "execute"
whole := input
approval contains "whole" if whole.vendor.own == false`,
	},
	"overrides": {"overrides": `  - {name: a, type: maintenance, cells: {write: always}}
  - {name: b, vendor: parent, path: /srv/**, cells: {read: approval, write: never}}
  - {name: c, vendor: acme, target: db1, cells: {execute: approval}, obligations: {mfa_max_age: 2h}}
  - {name: d, target: orders, path: /srv/customers/**, cells: {read: never}}
`},
}

// random makes inputs from few values each, so that the same one comes up often and near misses oftener. Most controls are
// met most of the time.
type random struct{ *rand.Rand }

func one[T any](r random, list ...T) T { return list[r.IntN(len(list))] }

// mostly is usual, or one time in sixteen something else.
func mostly[T any](r random, usual T, others ...T) T {
	if r.IntN(16) > 0 {
		return usual
	}
	return one(r, others...)
}

// testNow is a Friday noon in Tokyo.
var testNow = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

func (r random) vendor(id string) Vendor {
	v := Vendor{ID: id, Type: one(r, append([]string{"maintenance", "maintenance", "development"}, VendorTypes...)...),
		Contract: Contract{From: testNow.AddDate(0, -1, 0), Until: mostly(r, testNow.AddDate(0, 1, 0), testNow)},
		Networks: []netip.Prefix{netip.MustParsePrefix(mostly(r, "203.0.113.0/24", "198.51.100.0/24"))},
		Windows:  mostly(r, one(r, []string{"office-hours"}, []string{"always"}), nil, []string{"office-hours", "moon"}),
		Targets:  []string{"db1", "orders"}, CutOff: mostly(r, false, true)}
	if r.IntN(2) == 0 {
		level := r.IntN(5)
		v.Risk = &level
	}
	return v
}

func (r random) input() Input {
	in := Input{
		Person: Person{ID: mostly(r, "hanako", "eve"), Vendor: "acme"},
		Vendor: r.vendor("acme"),
		Auth: Auth{Kind: mostly(r, "human", "machine"), Cert: Cert{Serial: "1", NotAfter: testNow.Add(time.Hour)},
			MFA: MFA{Method: mostly(r, "webauthn", "totp", ""), At: testNow.Add(-time.Duration(mostly(r, 1, 3, 13)) * time.Hour), UV: mostly(r, true, false)}},
		Source: Source{IP: netip.MustParseAddr(one(r, "203.0.113.9", "203.0.113.10", "::ffff:203.0.113.9"))},
		Target: Target{Name: mostly(r, one(r, "db1", "orders"), "payroll"), Kind: "ssh", Login: mostly(r, "app", "root"),
			Labels: one(r, nil, map[string]string{"env": "prod"}, map[string]string{"eve": "yes", "env": "test"})},
		Action: Action{Protocol: "ssh", Operation: mostly(r, "ssh.exec", "ssh.shell", "ssh.connect"),
			Command: one(r, "", "cat x"), Opaque: mostly(r, false, true)},
		Time: Clock{Now: testNow.Add(time.Duration(mostly(r, 0, 3, 9)) * time.Hour), Zone: "Asia/Tokyo"},
	}
	if r.IntN(4) == 0 {
		in.Target.Kind, in.Action.Protocol, in.Action.Operation = "https", "https", "http.request"
	}
	for _, id := range []string{"parent", "head"}[:one(r, 0, 0, 1, 2)] {
		in.Parents = append(in.Parents, r.vendor(id))
	}
	for range one(r, 1, 1, 2) {
		right := one(r, Read, Read, Execute, Write, mostly(r, Delete, Admin))
		in.Action.Needs = append(in.Action.Needs, Need{Right: right,
			Resource: one(r, "/srv/app", "/srv/customers/1", "/srv/./customers", "pg_dump shop", "GET /srv/customers", "$x")})
	}
	if r.IntN(12) == 0 {
		in.Person = Person{ID: "mika", Vendor: StaffVendor, Roles: one(r, nil, []string{"admin"}, []string{"approver", "auditor"})}
		in.Vendor, in.Parents = Vendor{ID: StaffVendor, Type: staffType}, nil
		in.Target = Target{Name: GatewayTarget, Kind: "gateway", Labels: in.Target.Labels}
		in.Action.Protocol, in.Action.Operation = "gateway", one(r, "gateway.session.list", "gateway.request.approve", "gateway.self.keys")
	}
	return in
}

// TestWhatIsRememberedIsWhatWouldBeSaid decides random inputs with an engine that remembers and with one that never does and
// shows the rules the whole input.
func TestWhatIsRememberedIsWhatWouldBeSaid(t *testing.T) {
	for name, more := range curious {
		t.Run(name, func(t *testing.T) {
			rev, err := Load(changed(t, more), 7)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := Load(changed(t, more), 7)
			if err != nil {
				t.Fatal(err)
			}
			whole.guard.reads = allFields
			for _, p := range whole.kinds {
				p.reads = allFields
			}
			now := func() time.Time { return testNow }
			remembers, fresh := NewEngine(rev, now), NewEngine(whole, now)
			r := random{rand.New(rand.NewPCG(1, 2))}
			seen := map[Effect]int{}
			for range 1500 {
				in := r.input()
				fresh.Swap(whole)
				got, want := remembers.Decide(context.Background(), in), fresh.Decide(context.Background(), in)
				got.ID, want.ID, got.Until, want.Until = "", "", time.Time{}, time.Time{} // whole depends on all windows
				if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
					t.Fatalf("%+v:\n%+v, fresh\n%+v", in, got, want)
				}
				if got.fault != nil {
					t.Fatal(got.fault)
				}
				seen[got.Effect]++
			}
			if seen[Approval] < 30 || seen[Allow] < 30 {
				t.Errorf("only %v came up", seen)
			}
		})
	}
}

func TestWhichFieldsRulesRead(t *testing.T) {
	rev, err := Load(changed(t, curious["computed keys"]), 7)
	if err != nil {
		t.Fatal(err)
	}
	if reads := rev.kinds["operations"].reads; reads != allFields {
		t.Errorf("a rule that takes the whole input reads %v", reads.names())
	}
	shipped, err := Load(rego.FS, 7)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"consulting": {"right", "cell", "override"},
		staffType:    {"person.id", "person.vendor", "person.roles", "target.labels", "action.operation", "facts.target", "facts.break_glass"},
	} {
		if got := shipped.kinds[name].reads.names(); !slices.Equal(got, want) {
			t.Errorf("%s reads %v, want %v", name, got, want)
		}
	}
	for _, rule := range []struct {
		text string
		want []string
	}{
		{`input.action.command == ""`, []string{"action.command"}},
		{`input.action[input.right] == ""`, []string{"action.protocol", "action.operation", "action.command", "action.opaque", "right"}},
		{`data.matrix[input.vendor.type][input.right] == "x"`, []string{"vendor.type", "right"}},
		{`count(input.person) == 3`, []string{"person.id", "person.vendor", "person.roles", "person.staff"}},
		{`helper(input.auth.mfa.method)`, []string{"auth.mfa.method", "windows"}},
		{`every w in input.windows { w != input.path }`, []string{"windows", "path"}},
		{`some key; input.facts[key] == "open"`, []string{"facts.certificate", "facts.mfa", "facts.contract", "facts.window", "facts.network", "facts.target", "facts.break_glass", "facts.cut_off"}},
		{`not input.action.opaque`, []string{"action.opaque"}},
		{`x := {y | y := input.person.roles[_]}; count(x) > 1`, []string{"person.roles"}},
		{`elsewhere == 2`, []string{"source.ip", "target.name"}},
	} {
		rev, err := Load(changed(t, map[string]string{"consulting.rego": "deny contains \"x\" if {\n" + strings.ReplaceAll(rule.text, "; ", "\n") + "\n}\n" +
			"helper(x) if x in input.windows\n" + "elsewhere := 1 if input.target.name == \"x\" else := 2 if input.source.ip == \"y\"\n"}), 7)
		if err != nil {
			t.Fatal(rule.text, err)
		}
		got := (rev.kinds["consulting"].reads &^ (fieldRight | fieldCell | fieldOverride)).names()
		want := slices.DeleteFunc(slices.Clone(rule.want), func(name string) bool { return name == "right" })
		if !slices.Equal(got, want) {
			t.Errorf("%s reads %v, want %v", rule.text, got, want)
		}
	}
}

// TestTheElseOfAnAnswerIsReadToo: what the else of allow refers to counts.
func TestTheElseOfAnAnswerIsReadToo(t *testing.T) {
	rev, err := Load(changed(t, map[string]string{"consulting.rego": "allow if input.cell == \"x\" else := elsewhere\nelsewhere if input.action.command == \"y\"\n"}), 7)
	if err != nil {
		t.Fatal(err)
	}
	if reads := rev.kinds["consulting"].reads; !reads.has(fieldCommand) {
		t.Errorf("reads %v", reads.names())
	}
}

// TestSelfServiceSharesNoPlan: only the guardrail is asked about it, so that under a guardrail that does not look at the
// operation its plan would do for other operations, too.
func TestSelfServiceSharesNoPlan(t *testing.T) {
	fsys := changed(t, nil)
	fsys["guardrail.rego"].Data = []byte("package sekisho.guardrail\n\nallow := true\n")
	fsys["guardrail_test.rego"].Data = []byte("package sekisho.guardrail_test\n")
	fsys["maintenance.rego"].Data = []byte("package sekisho.maintenance\n\nallow if false\n")
	fsys["maintenance_test.rego"].Data = []byte("package sekisho.maintenance_test\n")
	rev, err := Load(fsys, 7)
	if err != nil {
		t.Fatal(err)
	}
	e := NewEngine(rev, func() time.Time { return testNow })
	in := fortunate("maintenance")
	in.Action.Operation = "gateway.self.keys"
	if d := e.Decide(context.Background(), in); d.Effect != Allow {
		t.Fatalf("%s %v", d.Effect, d.Reasons)
	}
	in.Action.Operation = "ssh.exec"
	if d := e.Decide(context.Background(), in); d.Effect != Deny {
		t.Errorf("%s %v", d.Effect, d.Reasons)
	}
}

func (f fields) names() (names []string) {
	for i, name := range fieldNames {
		if f.has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}

// TestEveryFieldHasItsPlaceInTheKey changes one part of an input at a time.
func TestEveryFieldHasItsPlaceInTheKey(t *testing.T) {
	base := func() (*inquiry, question) {
		in := random{rand.New(rand.NewPCG(3, 4))}.input()
		in.Vendor.Risk = nil
		in.Target.Labels = nil
		q := &inquiry{in: &in, clock: &clock{}}
		return q, question{vendor: &q.in.Vendor, facts: &facts{certificate: "valid", mfa: "fresh", contract: "running",
			window: "open", network: "inside", target: "listed", breakGlass: "none"}, need: Need{Read, "/a"}, path: "/a", cell: "never"}
	}
	level := 0
	changes := map[string]func(*inquiry, *question){
		"person.id":          func(q *inquiry, _ *question) { q.in.Person.ID += "x" },
		"person.vendor":      func(q *inquiry, _ *question) { q.in.Person.Vendor += "x" },
		"person.roles":       func(q *inquiry, _ *question) { q.in.Person.Roles = []string{""} },
		"person.staff":       func(q *inquiry, _ *question) { q.in.Vendor.ID = StaffVendor },
		"vendor.id":          func(_ *inquiry, a *question) { v := *a.vendor; v.ID += "x"; a.vendor = &v },
		"vendor.type":        func(_ *inquiry, a *question) { v := *a.vendor; v.Type += "x"; a.vendor = &v },
		"vendor.own":         func(_ *inquiry, a *question) { a.own = true },
		"vendor.risk":        func(_ *inquiry, a *question) { v := *a.vendor; v.Risk = &level; a.vendor = &v },
		"chain":              func(q *inquiry, _ *question) { q.in.Parents = append(q.in.Parents, Vendor{}) },
		"auth.kind":          func(q *inquiry, _ *question) { q.in.Auth.Kind += "x" },
		"auth.mfa.method":    func(q *inquiry, _ *question) { q.in.Auth.MFA.Method += "x" },
		"auth.mfa.uv":        func(q *inquiry, _ *question) { q.in.Auth.MFA.UV = !q.in.Auth.MFA.UV },
		"source.ip":          func(q *inquiry, _ *question) { q.in.Source.IP = q.in.Source.IP.Next() },
		"target.name":        func(q *inquiry, _ *question) { q.in.Target.Name += "x" },
		"target.kind":        func(q *inquiry, _ *question) { q.in.Target.Kind += "x" },
		"target.login":       func(q *inquiry, _ *question) { q.in.Target.Login += "x" },
		"target.labels":      func(q *inquiry, _ *question) { q.in.Target.Labels = map[string]string{"": ""} },
		"target.sensitivity": func(q *inquiry, _ *question) { q.in.Target.Sensitivity += "x" },
		"target.enforcement": func(q *inquiry, _ *question) { q.in.Target.Enforcement += "x" },
		"action.protocol":    func(q *inquiry, _ *question) { q.in.Action.Protocol += "x" },
		"action.operation":   func(q *inquiry, _ *question) { q.in.Action.Operation += "x" },
		"action.command":     func(q *inquiry, _ *question) { q.in.Action.Command += "x" },
		"action.opaque":      func(q *inquiry, _ *question) { q.in.Action.Opaque = !q.in.Action.Opaque },
		"facts.certificate":  func(_ *inquiry, a *question) { a.facts.certificate = "expired" },
		"facts.mfa":          func(_ *inquiry, a *question) { a.facts.mfa = "missing" },
		"facts.contract":     func(_ *inquiry, a *question) { a.facts.contract = "future" },
		"facts.window":       func(_ *inquiry, a *question) { a.facts.window = "closed" },
		"facts.network":      func(_ *inquiry, a *question) { a.facts.network = "outside" },
		"facts.target":       func(_ *inquiry, a *question) { a.facts.target = "unlisted" },
		"facts.break_glass":  func(_ *inquiry, a *question) { a.facts.breakGlass = "declared" },
		"facts.cut_off":      func(_ *inquiry, a *question) { a.facts.cutOff = true },
		"windows":            func(q *inquiry, _ *question) { q.clock = &clock{key: "x", open: []string{"x"}} },
		"right":              func(_ *inquiry, a *question) { a.need.Right = Write },
		"resource":           func(_ *inquiry, a *question) { a.need.Resource = "/b" },
		"path":               func(_ *inquiry, a *question) { a.path = "?" },
		"cell":               func(_ *inquiry, a *question) { a.cell = "always" },
		"override":           func(_ *inquiry, a *question) { a.override = "x" },
	}
	for i, name := range fieldNames {
		if changes[name] == nil {
			t.Fatalf("%s is not tried", name)
		}
		reads := fields(1) << i
		before, asked := base()
		key := string(before.appendQuestion(nil, &asked, reads))
		shown := documentOf(before.in, before.clock, reads).input(asked).String()
		for changed, change := range changes {
			q, a := base()
			change(q, &a)
			alike := documentOf(q.in, q.clock, reads).input(a).String() == shown
			if sameKey := string(q.appendQuestion(nil, &a, reads)) == key; sameKey && !alike {
				t.Errorf("%s changes what rules that read %s see, and not the key", changed, name)
			}
			if changed == name && alike {
				t.Errorf("rules that read %s do not see it change", name)
			}
		}
	}
}

func TestTheWordsOfAFactDiffer(t *testing.T) {
	for _, words := range [][]string{
		{"valid", "missing", "expired"},
		{"fresh", "missing", "expired", "unverified"},
		{"running", "missing", "future", "ended", exempt},
		{"open", "closed", "missing", exempt},
		{"inside", "outside", "missing", exempt},
		{"listed", "unlisted", "gateway"},
		{"none", "declared"},
	} {
		seen := map[string]string{}
		for _, word := range words {
			key := string(appendWord(nil, allFields, fieldMFA, word))
			if seen[key] != "" {
				t.Errorf("%s and %s share a key", word, seen[key])
			}
			seen[key] = word
		}
	}
}

func TestAMemoForgetsInsteadOfGrowing(t *testing.T) {
	var m memo[int]
	for i := range 3 * memoEntries {
		m.put(fmt.Append(nil, i), i)
		if len(m.entries) > memoEntries {
			t.Fatalf("%d entries", len(m.entries))
		}
	}
	m.put(make([]byte, memoKey+1), 1)
	if _, ok := m.get(make([]byte, memoKey+1)); ok {
		t.Error("a long key is kept")
	}
}
