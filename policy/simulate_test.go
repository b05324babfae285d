package policy_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// history hands these decisions out in batches.
func history(kept []policy.Kept, size int) iter.Seq2[[]policy.Kept, error] {
	return func(yield func([]policy.Kept, error) bool) {
		for part := range slices.Chunk(kept, size) {
			if !yield(part, nil) {
				return
			}
		}
	}
}

func simulate(t testing.TB, base, candidate *policy.Revision, kept []policy.Kept, opts policy.SimulateOptions) *policy.Simulation {
	t.Helper()
	s, err := policy.Simulate(context.Background(), base, candidate, history(kept, 7), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// past is somebody of acme who ran a command, or touched a path, some minutes after friday.
func past(n int, vendorType string, right policy.Right, resource string) policy.Kept {
	in := asks(vendorType)
	in.Time.Now = friday.Add(time.Duration(n) * time.Minute)
	in.Action.Needs = []policy.Need{{Right: right, Resource: resource}}
	in.Action.Command = resource
	return policy.Kept{ID: fmt.Sprintf("d-%03d", n), At: in.Time.Now, Session: fmt.Sprintf("s-%d", n/10), Effect: policy.Allow,
		Revision: 7, Input: &in}
}

func TestASimulationNamesWhatWouldHaveBeenRefused(t *testing.T) {
	base := load(t, nil)
	candidate := load(t, maintenance(t, "deny contains \"No dumps.\" if {\n\tinput.right == \"execute\"\n\tlib.runs(\"pg_dump\")\n}\n"))
	var kept []policy.Kept
	for n := range 30 {
		kept = append(kept, past(n, "maintenance", policy.Execute, fmt.Sprintf("/usr/bin/pg_dump shop%d", n)))
	}
	for n := 30; n < 50; n++ {
		kept = append(kept, past(n, "maintenance", policy.Read, "/srv/app/file"))
	}
	s := simulate(t, base, candidate, kept, policy.SimulateOptions{})
	if s.Decisions != 50 || s.Changed != 30 || s.Sessions != 3 || s.Differs != 0 || s.Faults != 0 || len(s.Changes) != 1 {
		t.Fatalf("%+v", s)
	}
	g := s.Changes[0]
	want := policy.Group{From: policy.Allow, To: policy.Deny, Count: 30, Vendor: "acme", Type: "maintenance",
		People: []string{"hanako"}, PeopleN: 1, Target: "db1", Operation: "ssh.exec", Right: policy.Execute, What: "pg_dump",
		Reasons:  []policy.Reason{{ID: "rule", EN: "No dumps.", JA: "No dumps."}},
		Sessions: []string{"s-0", "s-1", "s-2"}, SessionsN: 3, First: friday, Last: friday.Add(29 * time.Minute),
		Example: "d-000", Command: "/usr/bin/pg_dump shop0"}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("got  %+v\nwant %+v", g, want)
	}
	totals := []policy.Total{{From: policy.Allow, To: policy.Deny, Count: 30}, {From: policy.Allow, To: policy.Allow, Count: 20}}
	if !slices.Equal(s.Totals, totals) {
		t.Errorf("totals %+v", s.Totals)
	}
	if !s.From.Equal(friday) || !s.To.Equal(friday.Add(49*time.Minute)) {
		t.Errorf("from %v to %v", s.From, s.To)
	}
}

func TestASimulationNamesWhatWouldHaveBeenAskedAndAllowed(t *testing.T) {
	base := load(t, nil)
	candidate := load(t, overrides(t, "  - {name: ask, target: db1, cells: {read: approval}}\n  - {name: open, path: /srv/app/**, cells: {write: always}}\n"))
	kept := []policy.Kept{past(1, "maintenance", policy.Read, "/etc/hosts"), past(2, "maintenance", policy.Write, "/srv/app/x")}
	kept[1].Effect = policy.Approval
	s := simulate(t, base, candidate, kept, policy.SimulateOptions{})
	if len(s.Changes) != 2 || s.Changes[0].To != policy.Approval || s.Changes[0].What != "/etc/hosts" ||
		s.Changes[1].From != policy.Approval || s.Changes[1].To != policy.Allow || s.Changes[1].What != "/srv/app" {
		t.Fatalf("%+v", s.Changes)
	}
	if r := s.Changes[0].Reasons; len(r) != 1 || r[0].ID != "maintenance-read-approval" || !strings.Contains(r[0].EN, "override ask") {
		t.Errorf("asked because of %v", r)
	}
	if r := s.Changes[1].Reasons; len(r) != 1 || r[0].ID != "maintenance-write-approval" {
		t.Errorf("was asked because of %v", r)
	}
}

func TestWhatPolicyDidNotRefuseStaysRefused(t *testing.T) {
	base := load(t, nil)
	candidate := load(t, overrides(t, "  - {name: open, cells: {delete: always}}\n"))
	kept := []policy.Kept{past(1, "maintenance", policy.Delete, "/a"), past(2, "maintenance", policy.Delete, "/b")}
	kept[0].Effect, kept[0].Capped, kept[1].Effect = policy.Deny, true, policy.Deny
	s := simulate(t, base, candidate, kept, policy.SimulateOptions{})
	if s.Capped != 1 || s.Changed != 1 || s.Changes[0].Example != "d-002" || s.Differs != 0 {
		t.Errorf("%+v", s)
	}
}

func TestASimulationCountsWhatTheBaseDoesNotReproduce(t *testing.T) {
	kept := []policy.Kept{past(1, "maintenance", policy.Delete, "/a"), past(2, "maintenance", policy.Read, "/b")}
	s := simulate(t, load(t, nil), load(t, nil), kept, policy.SimulateOptions{}) // the first was allowed, they say
	if s.Differs != 1 || s.Changed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestLeasesApplyInASimulationAsTheyDid(t *testing.T) {
	base := load(t, nil)
	candidate := load(t, overrides(t, "  - {name: no, target: db1, path: /srv/**, cells: {write: never}}\n"))
	kept := []policy.Kept{past(1, "maintenance", policy.Write, "/etc/a"), past(2, "maintenance", policy.Write, "/srv/a")}
	for i := range kept {
		in := kept[i].Input
		in.Leases = []policy.Lease{{ID: "l-1", Person: "hanako", Target: "db1", Right: policy.Write, Pattern: "*", Until: friday.Add(time.Hour)}}
	}
	s := simulate(t, base, candidate, kept, policy.SimulateOptions{})
	if s.Differs != 0 || s.Changed != 1 || s.Changes[0].What != "/srv/a" || s.Changes[0].From != policy.Allow || s.Changes[0].To != policy.Deny {
		t.Errorf("%+v", s)
	}
}

func TestACandidatesCatalogueIsAskedForNeeds(t *testing.T) {
	base := load(t, nil)
	candidate := load(t, map[string]string{"commands.yaml": more(t, "commands.yaml", "# another")})
	kept := []policy.Kept{
		past(1, "maintenance", policy.Read, "tool"), past(2, "maintenance", policy.Read, "tool"),
		past(3, "maintenance", policy.Read, "strange"), past(4, "maintenance", policy.Read, "eval x"),
	}
	opts := policy.SimulateOptions{Reclassify: func(in *policy.Input) (policy.Action, bool, bool) {
		a := in.Action
		switch a.Command {
		case "strange":
			return a, false, false
		case "eval x":
			return a, true, true
		}
		a.Needs = []policy.Need{{Right: policy.Delete, Resource: "/x"}}
		return a, false, true
	}}
	s := simulate(t, base, candidate, kept, opts)
	if s.Unclassified != 1 || s.Changed != 3 || len(s.Changes) != 2 || s.Changes[0].Count != 2 || s.Changes[0].Right != policy.Delete ||
		s.Changes[1].Reasons[0].ID != "opaque_line" {
		t.Errorf("%+v", s)
	}
	if s := simulate(t, base, base, kept, opts); s.Changed != 0 || s.Unclassified != 0 {
		t.Errorf("with the same catalogue: %+v", s)
	}
	if s := simulate(t, base, candidate, kept, policy.SimulateOptions{}); s.Changed != 0 || s.Unclassified != 4 {
		t.Errorf("with nobody to ask: %+v", s)
	}
}

func TestACandidateWhoseRulesFailRefuses(t *testing.T) {
	candidate := load(t, maintenance(t, "allow := false if input.right == \"read\"\n"))
	s := simulate(t, load(t, nil), candidate, []policy.Kept{past(1, "maintenance", policy.Read, "/a")}, policy.SimulateOptions{})
	if s.Faults != 1 || !strings.Contains(s.Fault, "maintenance.rego") || s.Changed != 1 || s.Changes[0].Reasons[0].ID != "policy-error" {
		t.Errorf("%+v", s)
	}
}

func TestObligationsThatChangeAreCounted(t *testing.T) {
	candidate := load(t, overrides(t, "  - {name: quiet, target: db1, obligations: {download: \"off\"}}\n"))
	s := simulate(t, load(t, nil), candidate, []policy.Kept{past(1, "maintenance", policy.Read, "/a")}, policy.SimulateOptions{})
	if s.Bound != 1 || s.Changed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestManyGroupsThatAreAlikeBecomeOne(t *testing.T) {
	base := load(t, nil)
	candidate := load(t, overrides(t, "  - {name: no, cells: {execute: never}}\n"))
	var kept []policy.Kept
	for n := range 9 {
		kept = append(kept, past(n, "maintenance", policy.Execute, fmt.Sprintf("tool%d", n)))
	}
	for n := range 8 {
		k := past(20+n, "operations", policy.Execute, fmt.Sprintf("tool%d", n))
		kept = append(kept, k)
	}
	s := simulate(t, base, candidate, kept, policy.SimulateOptions{})
	if g := s.Changes[0]; g.Type != "maintenance" || g.What != "" || g.Count != 9 || len(s.Changes) != 9 {
		t.Errorf("%+v", s.Changes)
	}
	if s := simulate(t, base, candidate, kept, policy.SimulateOptions{Groups: 8}); len(s.Changes) != 2 || s.Changes[1].Count != 8 || s.Changes[1].What != "" {
		t.Errorf("of eight at most: %+v", s.Changes)
	}
	s = simulate(t, base, candidate, kept, policy.SimulateOptions{Groups: 1})
	if len(s.Changes) != 1 || s.Changes[0].Count != 9 || s.More != 1 || s.MoreDecisions != 8 {
		t.Errorf("of one at most: %d, %d more groups with %d", len(s.Changes), s.More, s.MoreDecisions)
	}
}

func TestASimulationEndsWithItsContextAndItsHistory(t *testing.T) {
	rev := load(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	endless := func(yield func([]policy.Kept, error) bool) {
		for n := 0; yield([]policy.Kept{past(n, "maintenance", policy.Read, "/a")}, nil); n++ {
			if n == 100 {
				cancel()
			}
		}
	}
	if _, err := policy.Simulate(ctx, rev, rev, endless, policy.SimulateOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := func(yield func([]policy.Kept, error) bool) { yield(nil, errors.New("page 7 is torn")) }
	if _, err := policy.Simulate(context.Background(), rev, rev, broken, policy.SimulateOptions{}); err == nil || !strings.Contains(err.Error(), "page 7 is torn") {
		t.Errorf("broken: %v", err)
	}
}

func TestASimulationTellsHowFarItIs(t *testing.T) {
	var told []int64
	kept := []policy.Kept{past(1, "maintenance", policy.Read, "/a"), past(2, "maintenance", policy.Read, "/b")}
	simulate(t, load(t, nil), load(t, nil), kept, policy.SimulateOptions{Progress: func(done int64) { told = append(told, done) }})
	if len(told) == 0 || told[len(told)-1] != 2 {
		t.Errorf("told %v", told)
	}
}

// years makes a history of 200 people of 40 vendors, some below others, on 300 paths over 30 days.
func years(seed uint64, n int) []policy.Kept {
	rng := rand.New(rand.NewPCG(seed, 7))
	start := friday.AddDate(0, 0, -30)
	vendors := make([]policy.Vendor, 40)
	for i := range vendors {
		v := vendor(fmt.Sprintf("vendor%d", i), policy.VendorTypes[i%len(policy.VendorTypes)])
		v.Contract = policy.Contract{From: start.AddDate(0, 0, -rng.IntN(200)), Until: friday.AddDate(0, 0, rng.IntN(60)-5)}
		v.Networks = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("203.0.%d.0/24", i))}
		v.Windows = [][]string{{"office-hours"}, {"always"}, {"office-hours", "always"}}[rng.IntN(3)]
		v.Targets = nil
		for j := range 10 {
			if rng.IntN(4) > 0 {
				v.Targets = append(v.Targets, fmt.Sprintf("host%d", j))
			}
		}
		vendors[i] = v
	}
	kept := make([]policy.Kept, n)
	inputs := make([]policy.Input, n)
	at := start
	for i := range kept {
		at = at.Add(time.Duration(rng.Int64N(int64(2 * 30 * 24 * time.Hour / time.Duration(n)))))
		p := rng.IntN(200)
		in := asks("maintenance")
		in.Vendor = vendors[p%40]
		if p%4 == 0 {
			in.Parents = []policy.Vendor{vendors[(p+1)%40]}
		}
		if p%12 == 0 {
			in.Parents = append(in.Parents, vendors[(p+2)%40])
		}
		in.Person = policy.Person{ID: fmt.Sprintf("person%d", p), Vendor: in.Vendor.ID}
		in.Source.IP = netip.AddrFrom4([4]byte{203, 0, byte(p % 40), byte(1 + rng.IntN(20))})
		in.Time.Now = at
		in.Auth.Cert.NotAfter = at.Add(time.Duration(rng.IntN(600)) * time.Minute)
		in.Auth.MFA.At = at.Add(-time.Duration(rng.IntN(780)) * time.Minute)
		in.Target = policy.Target{Name: fmt.Sprintf("host%d", rng.IntN(10)), Kind: "ssh", Login: "app", Enforcement: "parsed"}
		right := policy.Rights[rng.IntN(4)]
		resource := fmt.Sprintf("/srv/app%d/file%d", rng.IntN(10), rng.IntN(30))
		if right == policy.Execute {
			resource = fmt.Sprintf("/usr/bin/tool%d --file file%d", rng.IntN(40), rng.IntN(300))
		}
		in.Action.Needs, in.Action.Command = []policy.Need{{Right: right, Resource: resource}}, resource
		if rng.IntN(10) == 0 {
			in.Action.Needs = append(in.Action.Needs, policy.Need{Right: policy.Read, Resource: "/etc/hosts"})
		}
		if rng.IntN(8) == 0 {
			in.Leases = []policy.Lease{{ID: "l-1", Person: in.Person.ID, Target: in.Target.Name, Right: right, Pattern: "/srv/app1/*", Until: at.Add(time.Hour)}}
		}
		if rng.IntN(20) == 0 {
			in.Action.Operation, in.Action.Needs, in.Action.Command = "ssh.connect", nil, ""
		}
		inputs[i] = in
		kept[i] = policy.Kept{ID: fmt.Sprintf("d-%08d", i), At: at, Session: fmt.Sprintf("s-%d-%d", p, i/2000), Input: &inputs[i]}
	}
	return kept
}

// edited is a policy with exceptions for paths, a rule about a program, one about a window and one about a person.
func edited(t testing.TB) *policy.Revision {
	files := overrides(t, "  - {name: app1, path: /srv/app1/**, cells: {write: approval, delete: approval}}\n"+
		"  - {name: host3, target: host3, cells: {execute: approval}, obligations: {mfa_max_age: 2h}}\n"+
		"  - {name: v7, vendor: vendor7, cells: {read: never}}\n")
	files["maintenance.rego"] = more(t, "maintenance.rego",
		"deny contains \"No.\" if {\n\tinput.right == \"execute\"\n\tlib.runs(\"tool7\")\n}\n\napproval contains \"Late.\" if {\n\tinput.right == \"read\"\n\tnot \"office-hours\" in input.windows\n}\n")
	files["operations.rego"] = more(t, "operations.rego", "deny contains \"Not you.\" if input.person.id == \"person42\"\n")
	return load(t, files)
}

func TestASimulationDecidesAsTheEngineDoes(t *testing.T) {
	base, candidate := load(t, nil), edited(t)
	before, after := policy.NewEngine(base, at(friday)), policy.NewEngine(candidate, at(friday))
	kept := years(3, 4000)
	totals := map[policy.Total]int64{}
	for i := range kept {
		d := before.Decide(context.Background(), *kept[i].Input)
		kept[i].Effect = d.Effect
		totals[policy.Total{From: d.Effect, To: after.Decide(context.Background(), *kept[i].Input).Effect}]++
	}
	s := simulate(t, base, candidate, kept, policy.SimulateOptions{})
	if s.Differs != 0 {
		t.Errorf("%d decisions are not the engine's", s.Differs)
	}
	var changed int64
	for _, total := range s.Totals {
		if want := totals[policy.Total{From: total.From, To: total.To}]; total.Count != want {
			t.Errorf("%s to %s: %d, want %d", total.From, total.To, total.Count, want)
		}
		if total.From != total.To {
			changed += total.Count
		}
	}
	var grouped int64
	for _, g := range s.Changes {
		grouped += g.Count
	}
	if grouped+s.MoreDecisions != changed || s.Changed != changed || changed == 0 {
		t.Errorf("%d changed, %d in groups, %d more", changed, grouped, s.MoreDecisions)
	}
	if len(totals) < 7 {
		t.Errorf("the history is too plain: %v", totals)
	}
}

func TestTheSameHistoryGivesTheSameReport(t *testing.T) {
	base, candidate := load(t, nil), edited(t)
	kept := years(4, 3000)
	first := simulate(t, base, candidate, kept, policy.SimulateOptions{})
	slices.Reverse(kept)
	second := simulate(t, base, candidate, kept, policy.SimulateOptions{})
	first.Took, second.Took = 0, 0
	if !reflect.DeepEqual(first, second) {
		t.Errorf("first\n%+v\nthen\n%+v", first, second)
	}
}

// BenchmarkSimulate decides a million kept decisions under two revisions.
func BenchmarkSimulate(b *testing.B) {
	base, candidate := load(b, nil), edited(b)
	kept := years(1, 1_000_000)
	b.ResetTimer()
	for range b.N {
		s, err := policy.Simulate(context.Background(), base, candidate, history(kept, 1000), policy.SimulateOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(s.Decisions)/s.Took.Seconds(), "decisions/s")
		b.ReportMetric(float64(len(s.Changes)), "groups")
	}
}
