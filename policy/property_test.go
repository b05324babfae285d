package policy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/sekisho/sekisho/policy"
)

// A wild policy is one that no sensible person writes: random rules for the guardrail and every vendor type, random
// exceptions in the matrix. Whatever it says, an Engine must answer with the least of what guardrail and vendor types say to
// every vendor of the chain, as OPA itself reports it; a lease may raise an approval and nothing else; admin is never given.
type wild struct {
	*rand.Rand
	packages  map[string]string // the rules, by package
	overrides []wildOverride
}

// wildOverride is an exception in the matrix.
type wildOverride struct {
	vendorType, vendor, target, path string
	right                            policy.Right
	cell                             string
}

func any1[T any](r *wild, list ...T) T { return list[r.IntN(len(list))] }

var conditions = []string{
	`input.right == "read"`, `input.right != "delete"`, `input.cell == "always"`, `input.cell == "always"`, `input.cell == "approval"`,
	`input.cell != "never"`, `input.override == "o-1"`, `input.vendor.id == "parent"`, `input.vendor.own`, `input.vendor.type != "development"`,
	`input.vendor.risk > 2`, `input.person.id == "eve"`, `input.person.vendor == "acme"`, `count(input.chain) > 1`, `"office-hours" in input.windows`,
	`input.facts.window == "open"`, `input.facts.contract == "running"`, `input.facts.mfa == "fresh"`, `input.facts.cut_off == false`,
	`input.facts.target == "listed"`, `input.facts[input.right] != "x"`, `not input.action.opaque`, `input.target.labels.env == "prod"`,
	`startswith(input.resource, "/srv")`, `input.path == "/srv/app"`, `lib.touches("/srv")`, `every w in input.windows { w != "" }`,
	`data.matrix[input.vendor.type][input.right] == "always"`, `input.source.ip == "203.0.113.9"`, `true`,
}

// rule is one rule of a package, now and then one that fails, contradicts another or answers nonsense.
func (r *wild) rule() string {
	var body []string
	for range 1 + r.IntN(3) {
		body = append(body, any1(r, conditions...))
	}
	head := any1(r, "allow", "allow", "allow", "allow", `approval contains "wild"`, `deny contains "wild"`)
	switch r.IntN(60) {
	case 0:
		head = "allow := false"
	case 1:
		head = "approval contains 42"
	case 2:
		body = append(body, "to_number(input.resource) == 1")
	case 3:
		head = `allow := "yes"`
	}
	return head + " if {\n\t" + strings.Join(body, "\n\t") + "\n}\n"
}

// words is a whole package. Most of them let through what the matrix does, so that allows come up.
func (r *wild) words(name string) string {
	text := "package sekisho." + name + "\n\nimport data.sekisho.lib\n\nunused_lib := lib.verbs\n\n"
	if r.IntN(4) > 0 {
		text += any1(r, "allow if input.cell == \"always\"\n", "allow := true\n") + "approval contains \"cell\" if input.cell == \"approval\"\n"
	} else {
		text += "allow if input.right == \"none\"\n"
	}
	for range r.IntN(4) {
		text += r.rule()
	}
	return text
}

func newWild(seed uint64) *wild {
	r := &wild{Rand: rand.New(rand.NewPCG(seed, 1)), packages: map[string]string{}}
	for _, name := range append([]string{"guardrail"}, policy.VendorTypes...) {
		r.packages[name] = r.words(name)
	}
	for range r.IntN(5) {
		r.overrides = append(r.overrides, wildOverride{any1(r, "", "", "maintenance"), any1(r, "", "", "acme", "parent"), any1(r, "", "db1"),
			any1(r, "", "", "/srv/**"), any1(r, policy.Rights...), any1(r, "always", "approval", "never")})
	}
	return r
}

func (r *wild) files(t testing.TB) map[string]string {
	files := map[string]string{}
	for name, text := range r.packages {
		files[name+".rego"] = text
		if name != "guardrail" {
			files[name+"_test.rego"] = ""
		}
	}
	files["guardrail_test.rego"] = ""
	var list strings.Builder
	for i, o := range r.overrides {
		fmt.Fprintf(&list, "  - {name: o-%d, cells: {%s: %s}", i, o.right, o.cell)
		for key, value := range map[string]string{"type": o.vendorType, "vendor": o.vendor, "target": o.target, "path": o.path} {
			if value != "" {
				fmt.Fprintf(&list, ", %s: %q", key, value)
			}
		}
		list.WriteString("}\n")
	}
	if list.Len() > 0 {
		files["matrix.yaml"] = strings.Replace(more(t, "matrix.yaml", ""), "\noverrides: []\n", "\noverrides:\n"+list.String(), 1)
	}
	return files
}

// cell is the matrix's, by reading it from the top.
func (r *wild) cell(v *policy.Vendor, target string, n policy.Need) (cell, override string) {
	cell = "never"
	for _, row := range rows {
		if row.vendorType == v.Type {
			cell = map[policy.Effect]string{always: "always", approval: "approval", never: "never"}[row.cells[n.Right]]
		}
	}
	for i, o := range r.overrides {
		path := o.path == "" || n.Right != policy.Execute && n.Right != policy.Admin && strings.HasPrefix(n.Resource+"/", "/srv/")
		if o.right == n.Right && (o.vendorType == "" || o.vendorType == v.Type) && (o.vendor == "" || o.vendor == v.ID) &&
			(o.target == "" || o.target == target) && path {
			cell, override = o.cell, fmt.Sprint("o-", i)
		}
	}
	return cell, override
}

// asked is an input with the facts that it has by construction.
type asked struct {
	policy.Input
	facts []map[string]any // by vendor of the chain
}

func (r *wild) vendor(id string) (policy.Vendor, map[string]any) {
	v := vendor(id, any1(r, policy.VendorTypes...))
	facts := map[string]any{"certificate": "valid", "mfa": "fresh", "contract": "running", "window": "open", "network": "inside",
		"target": "listed", "break_glass": "none", "cut_off": false}
	v.Windows = []string{"always"}
	switch r.IntN(12) {
	case 0:
		v.Windows, facts["window"] = nil, "missing"
	case 1:
		v.Windows, facts["window"] = []string{"moon"}, "closed"
	case 2:
		v.Contract.Until, facts["contract"] = friday, "ended"
	case 3:
		v.Targets, facts["target"] = []string{"orders"}, "unlisted"
	case 4:
		v.CutOff, facts["cut_off"] = true, true
	case 5:
		level := r.IntN(5)
		v.Risk = &level
	}
	return v, facts
}

func (r *wild) ask() asked {
	in := asks("maintenance")
	a := asked{Input: in}
	a.Person.ID = any1(r, "hanako", "eve")
	a.Action.Opaque = r.IntN(5) == 0
	a.Target.Labels = any1(r, nil, map[string]string{"env": "prod"})
	for i, id := range []string{"acme", "parent", "head"}[:1+r.IntN(3)] {
		v, facts := r.vendor(id)
		if a.facts = append(a.facts, facts); i == 0 {
			a.Vendor = v
		} else {
			a.Parents = append(a.Parents, v)
		}
	}
	switch r.IntN(10) {
	case 0:
		a.Auth.MFA.At = friday.Add(-13 * time.Hour)
		a.everywhere("mfa", "expired")
	case 1:
		a.Source.IP = netip.MustParseAddr("198.51.100.1")
		a.everywhere("network", "outside")
	}
	for range 1 + r.IntN(2) {
		a.Action.Needs = append(a.Action.Needs, policy.Need{Right: any1(r, policy.Rights[:4]...), Resource: any1(r, "/srv/app", "/srv/app/x", "/etc/hosts", "1")})
	}
	if r.IntN(20) == 0 {
		a.Action.Needs[0].Right = policy.Admin
	}
	for i := range r.IntN(3) {
		a.Leases = append(a.Leases, policy.Lease{ID: fmt.Sprint("l-", i), Person: any1(r, "hanako", "eve"), Target: "db1",
			Right: any1(r, policy.Rights...), Pattern: any1(r, "*", "/srv/app"), Until: friday.Add(time.Hour)})
	}
	return a
}

func (a *asked) everywhere(fact, word string) {
	for _, facts := range a.facts {
		facts[fact] = word
	}
}

// document is what rules are shown about one vendor and one need, as lib.rego describes it.
func (a *asked) document(r *wild, link int, n policy.Need) map[string]any {
	v := &a.Vendor
	if link > 0 {
		v = &a.Parents[link-1]
	}
	chain := []any{a.Vendor.ID}
	for _, p := range a.Parents {
		chain = append(chain, p.ID)
	}
	cell, override := r.cell(v, a.Target.Name, n)
	path := n.Resource
	if n.Right == policy.Execute || n.Right == policy.Admin {
		path = ""
	}
	var risk any
	if v.Risk != nil {
		risk = *v.Risk
	}
	labels := map[string]any{}
	for key, value := range a.Target.Labels {
		labels[key] = value
	}
	return map[string]any{
		"person": map[string]any{"id": a.Person.ID, "vendor": a.Person.Vendor, "roles": []any{}, "staff": false},
		"vendor": map[string]any{"id": v.ID, "type": v.Type, "own": link == 0, "risk": risk}, "chain": chain,
		"auth":   map[string]any{"kind": "human", "mfa": map[string]any{"method": "webauthn", "uv": true}},
		"source": map[string]any{"ip": a.Source.IP.String()},
		"target": map[string]any{"name": "db1", "kind": "ssh", "login": "app", "labels": labels, "sensitivity": "", "enforcement": ""},
		"action": map[string]any{"protocol": "ssh", "operation": "ssh.exec", "command": "", "opaque": a.Action.Opaque},
		"facts":  a.facts[link], "windows": []any{"always", "office-hours"},
		"right": string(n.Right), "resource": n.Resource, "path": path, "cell": cell, "override": override,
	}
}

// oracle asks OPA by its own interface.
type oracle map[string]rego.PreparedEvalQuery // by package and answer

func (r *wild) oracle(t testing.TB) oracle {
	t.Helper()
	o := oracle{}
	store := inmem.NewFromObject(plainData(t, nil))
	for name := range r.packages {
		for _, answer := range []string{"allow", "approval", "deny"} {
			options := []func(*rego.Rego){rego.Query("x = data.sekisho." + name + "." + answer), rego.Store(store), rego.StrictBuiltinErrors(true),
				rego.Module("lib.rego", more(t, "lib.rego", ""))}
			for other, text := range r.packages {
				options = append(options, rego.Module(other+".rego", text))
			}
			query, err := rego.New(options...).PrepareForEval(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			o[name+"."+answer] = query
		}
	}
	return o
}

// effect is what one package says. Whatever goes wrong, and silence, is a deny.
func (o oracle) effect(t testing.TB, name string, input map[string]any) (e policy.Effect, failed bool) {
	t.Helper()
	said := map[string]any{}
	for _, answer := range []string{"allow", "approval", "deny"} {
		results, err := o[name+"."+answer].Eval(context.Background(), rego.EvalInput(input))
		if err != nil {
			return policy.Deny, true
		}
		if len(results) > 0 {
			said[answer] = results[0].Bindings["x"]
		}
	}
	if allow, given := said["allow"]; given && allow != true && allow != false {
		return policy.Deny, true
	}
	for _, answer := range []string{"approval", "deny"} {
		if list, _ := said[answer].([]any); slices.ContainsFunc(list, func(x any) bool { _, text := x.(string); return !text }) {
			return policy.Deny, true
		}
	}
	switch deny, _ := said["deny"].([]any); {
	case len(deny) > 0:
		return policy.Deny, false
	case said["approval"] != nil && len(said["approval"].([]any)) > 0:
		return policy.Approval, false
	case said["allow"] == true:
		return policy.Allow, false
	}
	return policy.Deny, false
}

// want is the answer that each need should get before leases: the least over guardrail, vendor types and the whole chain.
func (a *asked) want(t testing.TB, r *wild, o oracle) (needs []policy.Effect, failed bool) {
	for _, n := range a.Action.Needs {
		if n.Right == policy.Admin {
			return nil, false
		}
		least := policy.Allow
		for link := range a.facts {
			v := &a.Vendor
			if link > 0 {
				v = &a.Parents[link-1]
			}
			for _, name := range []string{"guardrail", v.Type} {
				e, fault := o.effect(t, name, a.document(r, link, n))
				failed = failed || fault
				least = min(least, e)
			}
		}
		needs = append(needs, least)
	}
	return needs, failed
}

// TestNobodyGetsMoreThanGuardrailAndEveryParentAllow is V-6 and promises 2 and 5, for policies that nobody would write.
func TestNobodyGetsMoreThanGuardrailAndEveryParentAllow(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(30) {
		r := newWild(seed)
		rev, err := policy.Load(folder(t, r.files(t)), 7)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		e, o := policy.NewEngine(rev, at(friday)), r.oracle(t)
		for range 40 {
			a := r.ask()
			checkLeast(t, r, o, e, &a, seen)
			if t.Failed() {
				t.Fatalf("seed %d:\n%+v\n%s\n%v", seed, a.Input, r.packages, r.overrides)
			}
		}
	}
	for _, kind := range []string{"allow", "approval", "deny", "admin", "fault", "lease", "allow below parents"} {
		if seen[kind] < 10 {
			t.Errorf("%s came up %d times: %v", kind, seen[kind], seen)
		}
	}
}

func checkLeast(t *testing.T, r *wild, o oracle, e *policy.Engine, a *asked, seen map[string]int) {
	t.Helper()
	d := decide(t, e, a.Input)
	needs, failed := a.want(t, r, o)
	switch {
	case needs == nil && !failed:
		seen["admin"]++
		expect(t, d, policy.Deny, "admin-never")
		return
	case failed:
		seen["fault"]++
		if expect(t, d, policy.Deny, "policy-error"); d.Fault() == nil {
			t.Error("no fault")
		}
		return
	case d.Fault() != nil:
		t.Error(d.Fault())
		return
	}
	least := policy.Allow
	for i, want := range needs {
		if want == policy.Approval && slices.ContainsFunc(a.Leases, func(l policy.Lease) bool {
			return l.Person == a.Person.ID && policy.MatchLease(l, a.Action.Needs[i])
		}) {
			want = policy.Allow
			seen["lease"]++
		}
		if d.Needs[i].Effect != want || (d.Needs[i].Lease != "") != (want > needs[i]) {
			t.Errorf("need %d: %s by lease %q, want %s (rules say %s)", i, d.Needs[i].Effect, d.Needs[i].Lease, want, needs[i])
		}
		least = min(least, want)
	}
	if d.Effect != least {
		t.Errorf("%s %v, want %s", d.Effect, d.Reasons, least)
	}
	if seen[least.String()]++; least == policy.Allow && len(a.Parents) > 0 {
		seen["allow below parents"]++
	}
}
