package policy_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy"
)

func explain(t testing.TB, rev *policy.Revision, in policy.Input, opts policy.ExplainOptions) policy.Explanation {
	t.Helper()
	e, err := rev.Explain(context.Background(), in, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(e); err != nil {
		t.Error(err)
	}
	for _, r := range e.Remedies {
		if !strings.HasPrefix(r.EN, "It would have been allowed ") || !strings.HasSuffix(r.EN, ".") || !strings.Contains(r.JA, "ば") ||
			strings.Contains(r.EN+r.JA, "%!") || strings.Contains(r.EN+r.JA, "%s") {
			t.Errorf("a remedy reads %q, %q", r.EN, r.JA)
		}
	}
	return e
}

// remedies are the ids of what would have helped.
func remedies(e policy.Explanation) []string {
	list := []string{}
	for _, r := range e.Remedies {
		list = append(list, strings.Join(r.IDs, "+"))
	}
	return list
}

func TestARefusalNamesTheRuleItsPlaceAndWhatItRead(t *testing.T) {
	in := asks("maintenance", policy.Read)
	in.Time.Now = friday.Add(8 * time.Hour) // 20:00 in Tokyo
	in.Auth.Cert.NotAfter, in.Auth.MFA.At = in.Time.Now.Add(time.Hour), in.Time.Now.Add(-time.Hour)
	e := explain(t, load(t, nil), in, policy.ExplainOptions{})
	if e.Effect != policy.Deny || e.Revision != 7 || len(e.Reasons) != 1 || e.Reasons[0].ID != "outside-hours" {
		t.Fatalf("%+v", e)
	}
	link := e.Needs[0].Links[0]
	rule := link.Rules[0]
	if rule.Package != "guardrail" || rule.Rule != "deny" || rule.Place.File != "guardrail.rego" || rule.Place.Column != 1 ||
		rule.Reasons[0].ID != "outside-hours" || rule.Reasons[0].Table != "C-2" {
		t.Errorf("%+v", rule)
	}
	source, err := load(t, nil).Files().Open("guardrail.rego")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	text := make([]byte, 1<<20)
	n, _ := source.Read(text)
	if line := strings.Split(string(text[:n]), "\n")[rule.Place.Line]; !strings.Contains(line, `"outside-hours"`) {
		t.Errorf("line %d of guardrail.rego is about %q", rule.Place.Line+1, line)
	}
	want := []policy.MatteredWord{{Name: "input.facts.window", Value: `"closed"`}, {Name: "input.facts.target", Value: `"listed"`}}
	if !slices.Equal(link.Inputs, want) {
		t.Errorf("inputs %+v", link.Inputs)
	}
	if got := remedies(e); !slices.Equal(got, []string{"window"}) {
		t.Errorf("remedies %v", got)
	}
	// Monday, the 23rd of November 2026, is a holiday (勤労感謝の日).
	if r := e.Remedies[0]; r.Table != "C-2" || !strings.Contains(r.EN, "2026-11-24 09:00 JST") || !strings.Contains(r.JA, "2026-11-24 09:00 JST") {
		t.Errorf("%+v", r)
	}
}

func TestEachUnmetControlHasItsRemedy(t *testing.T) {
	rev := load(t, nil)
	for _, tc := range []struct {
		name   string
		change func(in *policy.Input)
		want   []string
		table  string
	}{
		{"no certificate", func(in *policy.Input) { in.Auth.Cert = policy.Cert{} }, []string{"certificate"}, "C-1"},
		{"an old certificate", func(in *policy.Input) { in.Auth.Cert.NotAfter = friday }, []string{"certificate"}, "C-1"},
		{"no second factor", func(in *policy.Input) { in.Auth.MFA = policy.MFA{} }, []string{"mfa"}, "C-4"},
		{"an old second factor", func(in *policy.Input) { in.Auth.MFA.At = friday.Add(-13 * time.Hour) }, []string{"mfa"}, "C-4"},
		{"a one-time password", func(in *policy.Input) { in.Auth.MFA.Method = "totp" }, []string{"mfa"}, "C-4"},
		{"a machine", func(in *policy.Input) { in.Auth.Kind = "machine" }, []string{"person"}, "C-4"},
		{"a foreign network", func(in *policy.Input) { in.Source.IP = netip.MustParseAddr("192.0.2.7") }, []string{"network"}, "C-3"},
		{"no networks", func(in *policy.Input) { in.Vendor.Networks = nil }, []string{"network"}, "C-3"},
		{"no windows", func(in *policy.Input) { in.Vendor.Windows = nil }, []string{"window"}, "C-2"},
		{"a contract that has ended", func(in *policy.Input) { in.Vendor.Contract.Until = friday }, []string{"contract"}, "V-7"},
		{"no contract", func(in *policy.Input) { in.Vendor.Contract = policy.Contract{} }, []string{"contract"}, "V-7"},
		{"a foreign target", func(in *policy.Input) { in.Vendor.Targets = nil }, []string{"target"}, "C-5"},
		{"a vendor that is cut off", func(in *policy.Input) { in.Vendor.CutOff = true }, []string{"cut-off"}, "I-1"},
		{"two of them", func(in *policy.Input) { in.Vendor.CutOff, in.Auth.Kind = true, "machine" }, []string{"person+cut-off"}, "C-4, I-1"},
		{"three of them", func(in *policy.Input) {
			in.Vendor.CutOff, in.Auth.Kind, in.Vendor.Targets = true, "machine", nil
		}, []string{"person+target+cut-off"}, "C-4, C-5, I-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := asks("maintenance", policy.Read)
			tc.change(&in)
			e := explain(t, rev, in, policy.ExplainOptions{})
			if got := remedies(e); !slices.Equal(got, tc.want) || e.Effect != policy.Deny {
				t.Fatalf("%s, remedies %v, want %v", e.Effect, got, tc.want)
			}
			if e.Remedies[0].Table != tc.table {
				t.Errorf("cites %q, want %q", e.Remedies[0].Table, tc.table)
			}
		})
	}
}

func TestAnApprovalIsWhatAnAskedActionLacks(t *testing.T) {
	in := asks("maintenance", policy.Write)
	e := explain(t, load(t, nil), in, policy.ExplainOptions{})
	if e.Effect != policy.Approval || !slices.Equal(remedies(e), []string{"lease", "matrix"}) {
		t.Fatalf("%s, remedies %v", e.Effect, remedies(e))
	}
	if r := e.Remedies[0]; r.EN != "It would have been allowed with an approved request for write on /srv/app/file." ||
		r.JA != "/srv/app/file に対する 書込 の申請が承認されれば許可されます。" {
		t.Errorf("%q, %q", r.EN, r.JA)
	}
	if r := e.Remedies[1]; r.EN != "It would have been allowed if the matrix said always instead of approval for write at matrix.yaml:9:40 (M-2)." {
		t.Errorf("%q", r.EN)
	}
	link := e.Needs[0].Links[0]
	if link.Cell.Cell != "approval" || link.Cell.Table != "M-2" || link.Cell.Place.String() != "matrix.yaml:9:40" {
		t.Errorf("cell %+v", link.Cell)
	}
	if i := slices.IndexFunc(link.Rules, func(r policy.FiredRule) bool { return r.Package == "maintenance" }); i < 0 ||
		link.Rules[i].Rule != "approval" || link.Rules[i].Place.File != "maintenance.rego" || link.Rules[i].Place.Line != 15 {
		t.Errorf("rules %+v", link.Rules)
	}
}

func TestWhatTheMatrixNeverAllowsNeedsAnotherMatrix(t *testing.T) {
	in := asks("consulting", policy.Delete)
	e := explain(t, load(t, nil), in, policy.ExplainOptions{})
	if got := remedies(e); !slices.Equal(got, []string{"matrix"}) {
		t.Errorf("remedies %v", got)
	}
	in.Action.Needs[0].Right = policy.Admin
	if e := explain(t, load(t, nil), in, policy.ExplainOptions{}); e.Effect != policy.Deny || len(e.Remedies) != 0 {
		t.Errorf("admin: %s, remedies %v", e.Effect, remedies(e))
	}
}

func TestOneOfTwoNeedsIsInTheWay(t *testing.T) {
	in := asks("maintenance", policy.Read, policy.Delete)
	in.Action.Needs[1].Resource = "/srv/app/old"
	e := explain(t, load(t, nil), in, policy.ExplainOptions{})
	if got := remedies(e); !slices.Equal(got, []string{"need", "matrix"}) {
		t.Fatalf("remedies %v", got)
	}
	if r := e.Remedies[0]; r.EN != "It would have been allowed without delete on /srv/app/old." {
		t.Errorf("%q", r.EN)
	}
	if e.Needs[0].Effect != policy.Allow || e.Needs[1].Effect != policy.Deny {
		t.Errorf("%+v", e.Needs)
	}
}

func TestARuleOfOnesOwnIsInTheWay(t *testing.T) {
	rev := load(t, maintenance(t, "deny contains \"Not you.\" if input.person.id == \"hanako\"\n\napproval contains \"Ask.\" if input.target.name == \"db1\""))
	e := explain(t, rev, asks("maintenance", policy.Read), policy.ExplainOptions{})
	if got := remedies(e); !slices.Equal(got, []string{"rule"}) {
		t.Fatalf("remedies %v", got)
	}
	if r := e.Remedies[0]; r.EN != "It would have been allowed without the rule at maintenance.rego:24:1, maintenance.rego:26:1." {
		t.Errorf("%q", r.EN)
	}
}

func TestAPathThatCannotBeToldIsInTheWay(t *testing.T) {
	rev := load(t, overrides(t, "  - {name: secret, path: /srv/secret/**, cells: {read: never}}\n"))
	in := asks("maintenance", policy.Read)
	in.Action.Needs[0].Resource = "$HOME/x"
	e := explain(t, rev, in, policy.ExplainOptions{})
	if got := remedies(e); !slices.Equal(got, []string{"path", "matrix"}) {
		t.Errorf("remedies %v", got)
	}
}

func TestTheParentThatLimitsIsNamed(t *testing.T) {
	in := asks("development", policy.Write)
	in.Parents = []policy.Vendor{vendor("middle", "development"), vendor("head", "operations")}
	e := explain(t, load(t, nil), in, policy.ExplainOptions{})
	if got := remedies(e); !slices.Equal(got, []string{"parent", "matrix"}) {
		t.Fatalf("remedies %v", got)
	}
	if r := e.Remedies[0]; r.Table != "V-6" || !strings.Contains(r.EN, "the parent vendor head") || !strings.Contains(r.JA, "再委託元 head") {
		t.Errorf("%+v", r)
	}
	links := e.Needs[0].Links
	if len(links) != 3 || links[0].Effect != policy.Allow || links[1].Effect != policy.Allow || links[2].Effect != policy.Deny {
		t.Errorf("%+v", links)
	}
}

func TestAClosedWindowAndAnApprovalGoTogether(t *testing.T) {
	in := asks("maintenance", policy.Write)
	in.Time.Now = friday.Add(8 * time.Hour)
	in.Auth.Cert.NotAfter, in.Auth.MFA.At = in.Time.Now.Add(time.Hour), in.Time.Now.Add(-time.Hour)
	e := explain(t, load(t, nil), in, policy.ExplainOptions{})
	if got := remedies(e); !slices.Equal(got, []string{"window+lease", "window+matrix"}) {
		t.Errorf("remedies %v", got)
	}
}

func TestAnAllowTellsWhyAndWhatEndsIt(t *testing.T) {
	in := asks("maintenance", policy.Read)
	rev := load(t, nil)
	e := explain(t, rev, in, policy.ExplainOptions{})
	if e.Effect != policy.Allow || len(e.Remedies) != 0 {
		t.Fatalf("%+v", e)
	}
	link := e.Needs[0].Links[0]
	var spoke []string
	for _, r := range link.Rules {
		spoke = append(spoke, r.Package+"."+r.Rule)
	}
	if !slices.Equal(spoke, []string{"guardrail.allow", "maintenance.allow"}) {
		t.Errorf("rules %v", spoke)
	}
	if !slices.Contains(link.Inputs, policy.MatteredWord{Name: "input.cell", Value: `"always"`}) ||
		!slices.Contains(link.Inputs, policy.MatteredWord{Name: "input.facts.network", Value: `"inside"`}) {
		t.Errorf("inputs %v", link.Inputs)
	}
	var ids []string
	for _, c := range e.EndsBy {
		ids = append(ids, c.ID)
	}
	// office hours end at 18:00 Tokyo (6 h), the certificate in 6 h as well, the second factor 11 h from now.
	if !slices.Equal(ids, []string{"certificate", "window", "mfa", "contract"}) {
		t.Errorf("ends by %v", e.EndsBy)
	}
	d := decide(t, policy.NewEngine(rev, at(friday)), in)
	if !e.EndsBy[0].At.Equal(d.Ends) || e.EndsBy[1].EN != "The working hours of acme end at 2026-11-20 18:00 JST (C-2)." {
		t.Errorf("ends %v, the decision says %v", e.EndsBy, d.Ends)
	}
}

func TestALeaseThatRaisedANeedEndsIt(t *testing.T) {
	in := asks("maintenance", policy.Write)
	in.Leases = []policy.Lease{{ID: "l-1", Person: "hanako", Target: "db1", Right: policy.Write, Pattern: "*", Until: friday.Add(time.Hour)}}
	e := explain(t, load(t, nil), in, policy.ExplainOptions{})
	if e.Effect != policy.Allow || e.Needs[0].Lease != "l-1" || e.EndsBy[0].ID != "lease" || e.Needs[0].Links[0].Effect != policy.Approval {
		t.Errorf("%+v", e)
	}
}

func TestACappedDecisionSaysSo(t *testing.T) {
	opaque := policy.Reason{ID: "opaque_line", EN: "opaque", JA: "不明"}
	e := explain(t, load(t, nil), asks("maintenance", policy.Read), policy.ExplainOptions{Capped: []policy.Reason{opaque}})
	if e.Effect != policy.Deny || !e.Capped || !slices.Equal(e.Reasons, []policy.Reason{opaque}) || len(e.Remedies) != 0 || len(e.EndsBy) != 0 {
		t.Errorf("%+v", e)
	}
}

func TestSilenceIsExplainedByWhatCouldHaveAllowed(t *testing.T) {
	in := asks("maintenance", policy.Read)
	in.Action.Operation = "ssh.teleport"
	e := explain(t, load(t, nil), in, policy.ExplainOptions{})
	if e.Effect != policy.Deny || e.Reasons[0].ID != "not-allowed" {
		t.Fatalf("%+v", e)
	}
	unmet := e.Needs[0].Links[0].Unmet
	if !slices.ContainsFunc(unmet, func(u policy.UnmetCondition) bool {
		return u.Package == "guardrail" && u.Text == "operations[input.action.operation] == input.target.kind" && u.Place.File == "guardrail.rego"
	}) {
		t.Errorf("unmet %+v", unmet)
	}
}

func TestARoleIsWhatStaffLack(t *testing.T) {
	in := policy.Input{
		Person: policy.Person{ID: "mika", Vendor: policy.StaffVendor, Roles: []string{"auditor"}},
		Vendor: policy.Vendor{ID: policy.StaffVendor, Type: "staff"},
		Auth: policy.Auth{Kind: "human", Cert: policy.Cert{Serial: "1", NotAfter: friday.Add(time.Hour)},
			MFA: policy.MFA{Method: "webauthn", At: friday, UV: true}},
		Target: policy.Target{Name: policy.GatewayTarget, Kind: "gateway", Labels: map[string]string{"requester": "ken", "vendor": "acme"}},
		Action: policy.Action{Protocol: "gateway", Operation: "gateway.request.approve",
			Needs: []policy.Need{{Right: policy.Admin, Resource: "r-1"}}},
		Time: policy.Clock{Now: friday, Zone: "Asia/Tokyo"},
	}
	rev := load(t, nil)
	if got := remedies(explain(t, rev, in, policy.ExplainOptions{})); !slices.Equal(got, []string{"role"}) {
		t.Errorf("remedies %v", got)
	}
	in.Person.Roles = []string{"approver"}
	in.Target.Labels["requester"] = "mika"
	if got := remedies(explain(t, rev, in, policy.ExplainOptions{})); !slices.Equal(got, []string{"somebody-else"}) {
		t.Errorf("of one's own request: remedies %v", got)
	}
}

func TestEveryRemedyHoldsWhenItIsTried(t *testing.T) {
	// What an explanation promises for an approval has to be what the gateway does with the lease.
	rev := load(t, overrides(t, "  - {name: ask, target: db1, cells: {read: approval, execute: approval}}\n"))
	e := policy.NewEngine(rev, at(friday))
	for _, right := range []policy.Right{policy.Read, policy.Write, policy.Execute} {
		in := asks("maintenance", right)
		if got := remedies(explain(t, rev, in, policy.ExplainOptions{})); !slices.Contains(got, "lease") {
			t.Fatalf("%s: remedies %v", right, got)
		}
		in.Leases = []policy.Lease{{ID: "l-1", Person: "hanako", Target: "db1", Right: right,
			Pattern: policy.PatternFor(in.Action.Needs[0]), Until: friday.Add(time.Hour)}}
		if d := decide(t, e, in); d.Effect != policy.Allow {
			t.Errorf("%s: %s %v", right, d.Effect, d.Reasons)
		}
	}
}

func TestAMalformedInputIsExplainedWithoutRules(t *testing.T) {
	e := explain(t, load(t, nil), policy.Input{}, policy.ExplainOptions{Now: friday})
	if e.Effect != policy.Deny || e.Reasons[0].ID != "malformed" || len(e.Needs) != 0 || len(e.Remedies) != 0 {
		t.Errorf("%+v", e)
	}
}

func TestEveryExplanationAgreesWithTheDecision(t *testing.T) {
	for _, rev := range []*policy.Revision{load(t, nil), edited(t)} {
		engine := policy.NewEngine(rev, at(friday))
		for _, kept := range years(11, 150) {
			d := decide(t, engine, *kept.Input)
			e := explain(t, rev, *kept.Input, policy.ExplainOptions{})
			if e.Effect != d.Effect || !slices.Equal(e.Reasons, d.Reasons) || !e.Ends.Equal(d.Ends) {
				t.Errorf("%s: explained %s %v, decided %s %v", kept.ID, e.Effect, e.Reasons, d.Effect, d.Reasons)
			}
			agrees(t, e, d)
		}
	}
}

// agrees checks that the parts of an explanation add up.
func agrees(t *testing.T, e policy.Explanation, d policy.Decision) {
	t.Helper()
	for _, need := range e.Needs {
		least := policy.Allow
		for _, link := range need.Links {
			least = min(least, link.Effect)
			if len(link.Rules)+len(link.Unmet) == 0 {
				t.Errorf("nothing is said about %s", link.Vendor)
			}
			if len(link.Inputs) == 0 {
				t.Errorf("nothing mattered for %s", link.Vendor)
			}
		}
		if least > need.Effect || need.Lease == "" && least != need.Effect {
			t.Errorf("%s %s: the links say %s, the need is %s", need.Right, need.Resource, least, need.Effect)
		}
	}
	if d.Effect == policy.Allow && (len(e.EndsBy) == 0 || !e.EndsBy[0].At.Equal(d.Ends)) {
		t.Errorf("ends %v by %v", d.Ends, e.EndsBy)
	}
	if d.Effect != policy.Allow && len(e.Remedies) == 0 {
		t.Errorf("nothing would have allowed what was refused because of %v", d.Reasons)
	}
}
