package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// routes is a table in which every point differs somewhere.
const routes = `
default: {need: 1, max_minutes: 240, deadline: 12h}
routes:
  - {name: acme-db1, vendor: acme, target: db1, approvers: [ken, mika, nao], need: 2, max_minutes: 60}
  - {name: deletes, rights: [delete], approvers: [mika, nao], deadline: 2h, escalate_after: 30m, escalate_to: [sato], patterns: exact}
  - {name: dev, type: development, max_minutes: 90, ticket: required}
  - {name: never-reached, type: development, need: 9}
break_glass: {people: [mika, sato], minutes: 30, targets: [db1, orders]}
`

func TestTheShippedApprovalsAreThoseOfAFolderWithoutAny(t *testing.T) {
	for name, rev := range map[string]*policy.Revision{
		"shipped": load(t, nil), "without": load(t, map[string]string{"approvals.yaml": ""}),
	} {
		r := rev.RouteFor([]policy.Vendor{vendor("acme", "maintenance")}, "db1", policy.Write)
		if r.Need != 1 || r.MaxMinutes != 480 || r.Deadline != 24*time.Hour || r.Exact || r.Ticket ||
			len(r.Panels) != 1 || !r.Panels[0].Anybody {
			t.Errorf("%s: route %+v", name, r)
		}
		if e := rev.BreakGlass(); len(e.People) > 0 || len(e.Targets) > 0 || e.Minutes != 60 {
			t.Errorf("%s: %+v may break the glass", name, e)
		}
	}
}

func TestTheFirstRouteThatMatchesCounts(t *testing.T) {
	rev := load(t, map[string]string{"approvals.yaml": routes})
	for _, tc := range []struct {
		name           string
		vendor, target string
		kind           string
		right          policy.Right
		route          string
	}{
		{"by vendor and target", "acme", "db1", "maintenance", policy.Delete, "acme-db1"},
		{"by right", "acme", "orders", "maintenance", policy.Delete, "deletes"},
		{"by type", "other", "db1", "development", policy.Write, "dev"},
		{"by right before type", "other", "db1", "development", policy.Delete, "deletes"},
		{"by nothing", "other", "db1", "temporary", policy.Read, "default"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := rev.RouteFor([]policy.Vendor{vendor(tc.vendor, tc.kind)}, tc.target, tc.right)
			if !slices.Equal(r.Names, []string{tc.route}) {
				t.Errorf("route %v", r.Names)
			}
		})
	}
	if r := rev.RouteFor([]policy.Vendor{vendor("other", "temporary")}, "db1", policy.Read); r.MaxMinutes != 240 || r.Deadline != 12*time.Hour {
		t.Errorf("default %+v", r)
	}
	if r := rev.RouteFor([]policy.Vendor{vendor("other", "development")}, "db1", policy.Read); r.Need != 1 || r.Deadline != 12*time.Hour {
		t.Errorf("what a route leaves out is not as in the default: %+v", r)
	}
	strict := load(t, map[string]string{"approvals.yaml": "default: {need: 3, patterns: exact, ticket: required}\nroutes: [{name: a, vendor: acme, patterns: any}]\n"})
	if r := strict.RouteFor([]policy.Vendor{vendor("acme", "temporary")}, "db1", policy.Read); r.Need != 3 || r.Exact || !r.Ticket {
		t.Errorf("a route that loosens one point of the default: %+v", r)
	}
	if e := rev.BreakGlass(); !slices.Equal(e.People, []string{"mika", "sato"}) || e.Minutes != 30 || !slices.Equal(e.Targets, []string{"db1", "orders"}) {
		t.Errorf("break glass %+v", e)
	}
}

func TestOfSeveralRoutesTheStrictestCountsOnEachPoint(t *testing.T) {
	rev := load(t, map[string]string{"approvals.yaml": routes})
	for name, r := range map[string]policy.Route{
		"several rights": rev.RouteFor([]policy.Vendor{vendor("other", "development")}, "db1", policy.Write, policy.Delete),
		"the other order": rev.RouteFor([]policy.Vendor{vendor("other", "development")}, "db1", policy.Delete, policy.Write,
			policy.Delete),
	} {
		if r.Need != 1 || r.MaxMinutes != 90 || r.Deadline != 2*time.Hour || !r.Exact || !r.Ticket || len(r.Panels) != 2 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	chain := []policy.Vendor{vendor("sub", "maintenance"), vendor("acme", "maintenance")}
	r := rev.RouteFor(chain, "db1", policy.Delete)
	if !slices.Equal(r.Names, []string{"deletes", "acme-db1"}) || r.Need != 2 || r.MaxMinutes != 60 || r.Deadline != 2*time.Hour || !r.Exact {
		t.Errorf("a chain: %+v", r)
	}
	for person, want := range map[string]bool{"mika": true, "nao": true, "ken": false, "sato": false} {
		if got := admitted(r, person, 29*time.Minute); got != want {
			t.Errorf("%s may answer: %v", person, got)
		}
	}
	if admitted(r, "sato", time.Hour) {
		t.Error("who is escalated to on one route answers for another one")
	}
}

func admitted(r policy.Route, person string, waited time.Duration) bool {
	return !slices.ContainsFunc(r.Panels, func(p policy.Panel) bool { return !p.Admits(person, waited) })
}

func TestEscalationLetsOthersAnswerFromItsMomentOn(t *testing.T) {
	rev := load(t, map[string]string{"approvals.yaml": routes})
	r := rev.RouteFor([]policy.Vendor{vendor("other", "maintenance")}, "db1", policy.Delete)
	for waited, want := range map[time.Duration]bool{0: false, 30*time.Minute - 1: false, 30 * time.Minute: true, time.Hour: true} {
		if got := admitted(r, "sato", waited); got != want {
			t.Errorf("after %s: %v", waited, got)
		}
		if !admitted(r, "mika", waited) || admitted(r, "ken", waited) {
			t.Errorf("after %s the others are other people", waited)
		}
	}
	if d := load(t, nil).RouteFor(nil, "db1"); d.Need != 1 || !admitted(d, "anybody", 0) {
		t.Errorf("a route of nothing is %+v", d)
	}
}

func TestMistakesInApprovalsAreNamedByPlace(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"an unknown table", "route: []\n", `approvals.yaml:1:1: unknown field "route"`},
		{"an unknown key", "routes:\n  - {name: a, persons: 2}\n", `approvals.yaml:2:15: unknown field "persons"`},
		{"a route without a name", "routes:\n  - {need: 1}\n", `approvals.yaml:2:5: route name ""`},
		{"a name that is taken", "routes:\n  - {name: a}\n  - {name: a}\n", `approvals.yaml:3:12: the name "a" is taken`},
		{"the default's name", "routes: [{name: default}]\n", `the name "default" is taken`},
		{"a default for something", "default: {type: temporary}\n", "approvals.yaml:1:10: the default is for everything"},
		{"an unknown type", "routes: [{name: a, type: friends}]\n", `approvals.yaml:1:26: unknown vendor type "friends"`},
		{"an impossible vendor", "routes: [{name: a, vendor: Acme}]\n", `approvals.yaml:1:28: "Acme" is not the id of a vendor`},
		{"staff for a vendor", `routes: [{name: a, vendor: "@staff"}]`, `"@staff" is not the id of a vendor`},
		{"an unknown right", "routes: [{name: a, rights: [own]}]\n", `approvals.yaml:1:29: unknown right "own"`},
		{"the admin right", "routes: [{name: a, rights: [admin]}]\n", "admin is never approved"},
		{"nobody needed", "default: {need: 0}\n", "approvals.yaml:1:17: need is \"0\": want 1 to 9"},
		{"half a person", "default: {need: 1.5}\n", "approvals.yaml:1:17: need is \"1.5\": want 1 to 9"},
		{"more people than named", "routes: [{name: a, approvers: [mika, ken], need: 3}]\n", "approvals.yaml:1:10: route a needs 3 people and names 2"},
		{"nobody named", "routes: [{name: a, approvers: []}]\n", "route a needs 1 people and names 0"},
		{"somebody named twice", "routes: [{name: a, approvers: [mika, mika]}]\n", `approvals.yaml:1:38: "mika" stands twice in approvers`},
		{"nobody's name", "routes: [{name: a, approvers: ['']}]\n", `"" is not the id of a person`},
		{"a lease of two days", "default: {max_minutes: 2880}\n", "approvals.yaml:1:24: max_minutes is \"2880\": want 1 to 1440"},
		{"a lease without end", "default: {max_minutes: -1}\n", "max_minutes is \"-1\""},
		{"a deadline of a word", "default: {deadline: soon}\n", `approvals.yaml:1:21: deadline is "soon": want a duration from 5m0s to 720h0m0s`},
		{"a deadline of a second", "default: {deadline: 1s}\n", `deadline is "1s"`},
		{"a deadline of a year", "default: {deadline: 8760h}\n", `deadline is "8760h"`},
		{"escalation to nobody", "default: {escalate_after: 1h}\n", "approvals.yaml:1:10: route default escalates to nobody"},
		{"escalation at no time", "default: {escalate_to: [mika]}\n", "route default never escalates"},
		{"escalation after the end", "default: {deadline: 1h, escalate_after: 1h, escalate_to: [mika]}\n", "when its deadline of 1h0m0s has passed"},
		{"patterns of a third kind", "default: {patterns: some}\n", `approvals.yaml:1:21: patterns is "some": want exact or any`},
		{"a ticket perhaps", "default: {ticket: true}\n", "approvals.yaml:1:19: "},
		{"two hours behind the glass", "break_glass: {minutes: 120}\n", "approvals.yaml:1:24: minutes is \"120\": want 1 to 60"},
		{"all targets and one", "break_glass: {targets: ['*', db1]}\n", "approvals.yaml:1:25: * is every target"},
		{"an impossible target", "break_glass: {targets: ['db*']}\n", `"db*" is not the name of a target`},
		{"two documents", "default: {}\n---\nroutes: []\n", "more than one document"},
		{"the same key twice", "default: {need: 1, need: 2}\n", "approvals.yaml:1:20: "},
		{"nothing", " ", "approvals.yaml:1:1: the file is empty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := policy.Load(folder(t, map[string]string{"approvals.yaml": tc.text}), 1)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v\nwant  %s", err, tc.want)
			}
		})
	}
}
