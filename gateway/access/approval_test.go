package access_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// office is a house with more approvers, some of whom have other ids, and with its own approvals.yaml.
type office struct {
	*house
	cfg access.Config // what the door was made of
}

const moreStaff = `
  sato: {vendor: "@staff", roles: [approver]}
  sato-admin: {vendor: "@staff", roles: [approver], same_as: sato}
  aki: {vendor: "@staff", roles: [approver]}
  ken-in-house: {vendor: "@staff", roles: [approver], same_as: ken-abroad}
  ken-abroad: {vendor: dev, same_as: ken}
targets:
`

// newOffice makes one; more are names of policy files and what to add to them.
func newOffice(t *testing.T, approvals string, more ...string) office {
	t.Helper()
	o := office{}
	o.house = newHouse(t, func(c *access.Config) {
		c.Engine = policy.NewEngine(withApprovals(t, approvals, more...), c.Now)
		o.cfg = *c
	})
	document := strings.Replace(people, "\ntargets:\n", moreStaff, 1)
	_, _, err := o.directory.Apply(t.Context(), []byte(document), "ren", "more people", 1)
	check(t, err)
	return o
}

// withApprovals is the shipped policy with another approvals.yaml; "" leaves the shipped one.
func withApprovals(t *testing.T, approvals string, more ...string) *policy.Revision {
	t.Helper()
	files := fstest.MapFS{}
	entries, err := rego.FS.ReadDir(".")
	check(t, err)
	for _, e := range entries {
		data, err := rego.FS.ReadFile(e.Name())
		check(t, err)
		files[e.Name()] = &fstest.MapFile{Data: data}
	}
	if approvals != "" {
		files["approvals.yaml"] = &fstest.MapFile{Data: []byte(approvals)}
	}
	for i := 0; i < len(more); i += 2 {
		files[more[i]].Data = append(files[more[i]].Data, more[i+1]...)
	}
	rev, err := policy.Load(files, 1)
	check(t, err)
	return rev
}

// as is a person who proved themselves just now, whenever that is.
func (o office) as(person string) identity.Principal {
	p := o.house.as(person)
	p.MFA.At = o.clock()
	return p
}

// filed has somebody meet a △ and returns the request that the door filed.
func (o office) filed(person, line string) access.ApprovalRequest {
	o.t.Helper()
	_, err := o.open(person, "db1").Authorize(o.t.Context(), exec(line))
	var refusal *access.Refusal
	if !errors.As(err, &refusal) || refusal.Request == "" {
		o.t.Fatalf("%s: %v", line, err)
	}
	return o.request(refusal.Request)
}

func (o office) request(id string) access.ApprovalRequest {
	o.t.Helper()
	r, err := o.door.Request(o.t.Context(), o.as("mika"), id)
	check(o.t, err)
	return r
}

func (o office) approve(by, id string, c access.Consent) ([]access.Lease, error) {
	return o.door.Approve(o.t.Context(), o.as(by), id, c)
}

// approved says yes in the name of several people and returns the leases of the last.
func (o office) approved(id string, c access.Consent, people ...string) []access.Lease {
	o.t.Helper()
	var leases []access.Lease
	for _, by := range people {
		var err error
		leases, err = o.approve(by, id, c)
		check(o.t, err)
	}
	return leases
}

// because fails the test unless somebody was refused for this reason.
func because(t *testing.T, err error, reason string) {
	t.Helper()
	var refusal *access.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, want a refusal for %s", err, reason)
	}
	if !slices.ContainsFunc(refusal.Reasons, func(r policy.Reason) bool { return r.ID == reason }) {
		t.Errorf("refused for %v, want %s", refusal.Reasons, reason)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error = %v, want %v", err, want)
	}
}

// told are the details of the events of one kind, oldest first.
func (o office) told(kind string) []recorder.Event {
	o.t.Helper()
	var all []recorder.Event
	for e, err := range o.audit.Search(o.t.Context(), audit.Query{Kind: kind}) {
		check(o.t, err)
		all = append(all, e)
	}
	slices.Reverse(all)
	return all
}

const twoPeople = "default: {need: 2}\n"

func TestSeveralPeopleApproveAndEachCountsOnce(t *testing.T) {
	o := newOffice(t, twoPeople)
	r := o.filed("ken", "make all")
	if r.Terms.Need != 2 || r.Terms.Have != 0 || !r.Terms.MayAnswer {
		t.Fatalf("terms %+v", r.Terms)
	}
	if leases, err := o.approve("sato", r.ID, access.Consent{}); err != nil || len(leases) > 0 {
		t.Fatalf("the first of two: %v, %v", leases, err)
	}
	if r = o.request(r.ID); r.Status != access.RequestPending || r.Terms.Have != 1 {
		t.Fatalf("after the first: %s, %+v", r.Status, r.Terms)
	}
	for _, again := range []string{"sato", "sato-admin"} {
		_, err := o.approve(again, r.ID, access.Consent{})
		wantErr(t, err, access.ErrAnswered)
	}
	leases, err := o.approve("nao", r.ID, access.Consent{Reason: "release 7"})
	check(t, err)
	if len(leases) != 1 || !slices.Equal(leases[0].GrantedBy, []string{"sato", "nao"}) || leases[0].Request != r.ID ||
		!leases[0].From.Equal(monday) || !leases[0].Until.Equal(monday.Add(time.Hour)) {
		t.Errorf("leases %+v", leases)
	}
	if r = o.request(r.ID); r.Status != access.RequestApproved || r.Answer.By != "nao" || len(r.Answers) != 2 {
		t.Errorf("request %+v", r)
	}
	if got := o.effect(o.open("ken", "db1"), exec("make all")); got != policy.Allow {
		t.Errorf("the approved command: %v", got)
	}
	events := o.told("gateway.request.answered")
	if len(events) != 2 || events[1].Person != "nao" || events[1].Class != recorder.ClassConfig {
		t.Fatalf("events %+v", events)
	}
	before, after := events[1].Detail["before"].(map[string]any), events[1].Detail["after"].(map[string]any)
	if before["status"] != "pending" || after["status"] != "approved" || events[1].Detail["reason"] != "release 7" ||
		events[1].Detail["for"] != "ken" {
		t.Errorf("on record: %+v", events[1].Detail)
	}
}

func TestNobodyAnswersForThemselvesUnderWhateverId(t *testing.T) {
	o := newOffice(t, "")
	r := o.filed("ken", "make all")
	for by, want := range map[string]string{"ken": "", "ken-abroad": "", "ken-in-house": "own_request", "hanako": "", "ren": ""} {
		_, err := o.approve(by, r.ID, access.Consent{})
		var refusal *access.Refusal
		if !errors.As(err, &refusal) {
			t.Fatalf("%s approved: %v", by, err)
		}
		if want != "" {
			because(t, err, want)
		}
	}
	if err := o.door.Deny(t.Context(), o.as("ken-in-house"), r.ID, "no"); err == nil {
		t.Error("somebody denied a request of their own")
	}
	if o.request(r.ID).Status != access.RequestPending {
		t.Error("the request was answered")
	}
}

// TestStaffRulesKnowWhoAsks: a rule of staff.rego may keep somebody from answering certain people's requests.
func TestStaffRulesKnowWhoAsks(t *testing.T) {
	o := newOffice(t, "", "staff.rego", `
deny contains lib.reason("family", "", "They are family.", "親族です。") if {
	input.action.operation in {"gateway.request.approve", "gateway.request.deny"}
	input.target.labels == {"requester": "ken", "vendor": "dev"}
	input.person.id == "nao"
}
`)
	r := o.filed("ken", "make all")
	_, err := o.approve("nao", r.ID, access.Consent{})
	because(t, err, "family")
	because(t, o.door.Deny(t.Context(), o.as("nao"), r.ID, ""), "family")
	o.approved(o.filed("riku", "make all").ID, access.Consent{}, "nao")
	o.approved(r.ID, access.Consent{}, "mika")
}

// TestAnIdOfAnotherVendorCountsForItsWholeChain: a member of staff who works for a vendor, too, answers nobody's request of
// that vendor, its parents and its sub-contractors.
func TestAnIdOfAnotherVendorCountsForItsWholeChain(t *testing.T) {
	for employer, barred := range map[string]bool{"maint": true, "sub": true, "ops": false} {
		t.Run(employer, func(t *testing.T) {
			h := newHouse(t)
			document := strings.Replace(people, "approvers: [mika]", "approvers: [mika, aki]", 1)
			document = strings.Replace(document, "\ntargets:\n", fmt.Sprintf(`
  aki: {vendor: "@staff", roles: [approver], same_as: aki-outside}
  aki-outside: {vendor: %s}
targets:
`, employer), 1)
			_, _, err := h.directory.Apply(t.Context(), []byte(document), "ren", "r", 1)
			check(t, err)
			o := office{house: h}
			for _, person := range []string{"hanako", "tsubasa"} {
				_, err := o.approve("aki", o.filed(person, "touch /srv/x").ID, access.Consent{})
				if barred {
					because(t, err, "own_request")
				} else {
					check(t, err)
				}
			}
		})
	}
}

// TestOneMailboxIsOnePerson: nobody told the directory that two ids are one person's, but their mail goes to one place.
func TestOneMailboxIsOnePerson(t *testing.T) {
	o := newOffice(t, twoPeople)
	o.change(t, `aki: {vendor: "@staff",`, `aki: {vendor: "@staff", email: Aki@example.com,`, `nao: {vendor: "@staff",`,
		`nao: {vendor: "@staff", email: aki@example.com,`, "riku: {vendor: temp}", "riku: {vendor: temp, email: AKI@example.com}")
	r := o.filed("ken", "make all")
	o.approved(r.ID, access.Consent{}, "aki")
	_, err := o.approve("nao", r.ID, access.Consent{})
	wantErr(t, err, access.ErrAnswered)
	_, err = o.approve("nao", o.filed("riku", "make all").ID, access.Consent{})
	because(t, err, "own_request")
}

func TestOneNoEndsARequest(t *testing.T) {
	o := newOffice(t, twoPeople)
	r := o.filed("ken", "make all")
	o.approved(r.ID, access.Consent{}, "mika")
	check(t, o.door.Deny(t.Context(), o.as("nao"), r.ID, "not this week"))
	_, err := o.approve("sato", r.ID, access.Consent{})
	wantErr(t, err, access.ErrAnswered)
	wantErr(t, o.door.Deny(t.Context(), o.as("sato"), r.ID, ""), access.ErrAnswered)
	if r = o.request(r.ID); r.Status != access.RequestDenied || r.Answer.By != "nao" || r.Answer.Reason != "not this week" {
		t.Errorf("request %+v", r)
	}
	if got := o.effect(o.open("ken", "db1"), exec("make all")); got != policy.Approval {
		t.Errorf("the denied command: %v", got)
	}
}

// TestAnApprovalOfSomebodyWhoMayNotAnyMoreCountsForNothing: between two answers the first approver loses the role.
func TestAnApprovalOfSomebodyWhoMayNotAnyMoreCountsForNothing(t *testing.T) {
	o := newOffice(t, twoPeople)
	r := o.filed("ken", "make all")
	o.approved(r.ID, access.Consent{}, "aki")
	document := strings.Replace(strings.Replace(people, "\ntargets:\n", moreStaff, 1), `aki: {vendor: "@staff", roles: [approver]}`,
		`aki: {vendor: "@staff", roles: [auditor]}`, 1)
	_, _, err := o.directory.Apply(t.Context(), []byte(document), "ren", "moved on", 2)
	check(t, err)
	if leases, err := o.approve("nao", r.ID, access.Consent{}); err != nil || len(leases) > 0 {
		t.Fatalf("leases %v, %v", leases, err)
	}
	if leases := o.approved(r.ID, access.Consent{}, "mika"); len(leases) != 1 || !slices.Equal(leases[0].GrantedBy, []string{"nao", "mika"}) {
		t.Errorf("leases %+v", leases)
	}
}

const routed = `
routes:
  - {name: dev, type: development, approvers: [mika, nao], escalate_after: 1h, escalate_to: [sato], deadline: 4h}
  - {name: maint, vendor: maint, escalate_after: 30m, escalate_to: [aki], max_minutes: 20, ticket: required}
`

func TestOnlyWhomTheRouteNamesAnswersUntilItEscalates(t *testing.T) {
	o := newOffice(t, routed)
	r := o.filed("ken", "make all")
	if !r.Expires.Equal(monday.Add(4 * time.Hour)) {
		t.Errorf("expires %v", r.Expires)
	}
	_, err := o.approve("sato", r.ID, access.Consent{})
	because(t, err, "not_approver")
	o.at(monday.Add(time.Hour - 1))
	_, err = o.approve("sato", r.ID, access.Consent{})
	because(t, err, "not_approver")
	if len(o.told("gateway.request.escalated")) > 0 {
		t.Fatal("escalated too early")
	}
	o.at(monday.Add(time.Hour))
	events := o.await("gateway.request.escalated", 1)
	if events[0].Detail["request"] != r.ID || events[0].Detail["to"].([]any)[0] != "sato" || events[0].Detail["after"] != "1h0m0s" {
		t.Errorf("on record: %+v", events[0].Detail)
	}
	o.eventually("the escalation stored", func() bool { return !o.request(r.ID).Escalated.IsZero() })
	if got := o.request(r.ID).Escalated; !got.Equal(monday.Add(time.Hour)) {
		t.Errorf("escalated at %v", got)
	}
	_, err = o.approve("aki", r.ID, access.Consent{})
	because(t, err, "not_approver")
	if leases := o.approved(r.ID, access.Consent{}, "sato"); len(leases) != 1 {
		t.Errorf("leases %v", leases)
	}
}

// await waits until so many events of a kind are on record.
func (o office) await(kind string, n int) []recorder.Event {
	o.t.Helper()
	o.eventually(kind, func() bool { return len(o.told(kind)) >= n })
	return o.told(kind)
}

// eventually waits for what the door does by itself, a moment after it is due.
func (o office) eventually(what string, so func() bool) {
	o.t.Helper()
	for range 1000 {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	o.t.Fatalf("no %s", what)
}

// TestEscalationReachesBeyondTheDirectorysApprovers: maint's approver is mika alone, and she is away.
func TestEscalationReachesBeyondTheDirectorysApprovers(t *testing.T) {
	o := newOffice(t, routed)
	r := o.filed("hanako", "touch /srv/x")
	_, err := o.approve("aki", r.ID, access.Consent{})
	because(t, err, "not_approver")
	check(t, o.door.AddReason(t.Context(), o.as("hanako"), r.ID, "fix", "T-1"))
	o.at(monday.Add(30 * time.Minute))
	_, err = o.approve("nao", r.ID, access.Consent{})
	because(t, err, "not_approver")
	o.approved(r.ID, access.Consent{}, "aki")
}

func TestARequestThatNobodyAnswersExpiresOnRecord(t *testing.T) {
	o := newOffice(t, routed)
	r := o.filed("ken", "make all")
	o.at(monday.Add(4*time.Hour - 1))
	if got := o.request(r.ID).Status; got != access.RequestPending {
		t.Fatalf("a moment before: %s", got)
	}
	o.at(monday.Add(4 * time.Hour))
	_, err := o.approve("mika", r.ID, access.Consent{})
	wantErr(t, err, access.ErrAnswered)
	events := o.await("gateway.request.expired", 1)
	if events[0].Detail["request"] != r.ID || events[0].Detail["for"] != "ken" || events[0].Detail["after"] != "4h0m0s" {
		t.Errorf("on record: %+v", events[0].Detail)
	}
	if got := o.request(r.ID).Status; got != access.RequestExpired {
		t.Errorf("afterwards: %s", got)
	}
	o.at(monday.Add(5 * time.Hour))
	if again := o.filed("ken", "make all"); again.ID == r.ID {
		t.Error("a request that is over was found again")
	}
	if n := len(o.told("gateway.request.expired")); n != 1 {
		t.Errorf("expired %d times", n)
	}
}

func TestAnAnswerNarrowsARequestAndNeverWidensIt(t *testing.T) {
	o := newOffice(t, "default: {need: 3}")
	r, err := o.door.Ask(t.Context(), o.as("ken"), access.Ask{Target: "db1", Login: "app", Minutes: 90, Reason: "deploy",
		Scopes: []access.Scope{{Right: policy.Execute, Pattern: "make *"}, {Right: policy.Execute, Pattern: "./deploy *"}}})
	check(t, err)
	type scopes = []access.Scope
	run := func(pattern string) access.Scope { return access.Scope{Right: policy.Execute, Pattern: pattern} }
	for name, wide := range map[string]access.Consent{
		"longer":                   {Minutes: 91},
		"negative":                 {Minutes: -1},
		"everything":               {Scopes: scopes{run("*")}},
		"another program":          {Scopes: scopes{run("sh -x *")}},
		"another right":            {Scopes: scopes{{Right: policy.Delete, Pattern: "make *"}}},
		"the admin right":          {Scopes: scopes{{Right: policy.Admin, Pattern: "make *"}}},
		"one more":                 {Scopes: scopes{run("make *"), run("./other x")}},
		"what a shell splits":      {Scopes: scopes{run("make all; rm x")}},
		"an opaque line":           {Scopes: scopes{run("sha256:" + strings.Repeat("0", 64))}},
		"nothing":                  {Scopes: scopes{}},
		"the same twice":           {Scopes: scopes{run("make all"), run("make all")}},
		"a pattern of no program":  {Scopes: scopes{run("* all")}},
		"a reason without an end":  {Reason: strings.Repeat("x", 501)},
		"a reason with an escape":  {Reason: "fine\x1b[2J"},
		"a reason that is no text": {Reason: "\xff"},
	} {
		if _, err := o.approve("mika", r.ID, wide); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := o.request(r.ID); len(got.Answers) > 0 || got.Digest() != r.Digest() {
		t.Fatalf("a refused answer changed the request: %+v", got)
	}
	o.approved(r.ID, access.Consent{Minutes: 30, Scopes: scopes{run("make *")}}, "mika")
	for name, wide := range map[string]access.Consent{
		"the minutes it had before": {Minutes: 31},
		"the need that was dropped": {Scopes: scopes{run("./deploy *")}},
	} {
		if _, err := o.approve("nao", r.ID, wide); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.approved(r.ID, access.Consent{}, "nao")
	leases := o.approved(r.ID, access.Consent{Minutes: 10, Scopes: scopes{run("make all")}}, "sato")
	if len(leases) != 1 || leases[0].Pattern != "make all" || !leases[0].Until.Equal(monday.Add(10*time.Minute)) {
		t.Errorf("leases %+v", leases)
	}
	r = o.request(r.ID)
	if len(r.Asked) != 2 || len(r.Scopes) != 1 || r.Answers[0].Minutes != 30 || r.Answers[2].Minutes != 10 {
		t.Errorf("request %+v", r)
	}
	last := o.told("gateway.request.answered")[2].Detail
	if before := last["before"].(map[string]any)["minutes"]; before != float64(30) {
		t.Errorf("before %v", last["before"])
	}
	s := o.open("ken", "db1")
	for line, want := range map[string]policy.Effect{"make all": policy.Allow, "make clean": policy.Approval, "./deploy x": policy.Approval} {
		if got := o.effect(s, exec(line)); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

func TestTheRouteOfTheMomentOfTheAnswerCounts(t *testing.T) {
	o := newOffice(t, routed)
	r := o.filed("hanako", "touch /srv/x")
	_, err := o.approve("mika", r.ID, access.Consent{})
	wantErr(t, err, access.ErrInvalid)
	check(t, o.door.AddReason(t.Context(), o.as("hanako"), r.ID, "", "T-1"))
	_, err = o.approve("mika", r.ID, access.Consent{Minutes: 21})
	wantErr(t, err, access.ErrInvalid)
	leases := o.approved(r.ID, access.Consent{}, "mika")
	if len(leases) != 1 || !leases[0].Until.Equal(monday.Add(20*time.Minute)) {
		t.Errorf("leases %+v, want the 20 minutes that the route allows", leases)
	}
}

// TestAPolicyThatChangedSinceCounts: what was asked for was fine yesterday and is longer and wider than allowed today.
func TestAPolicyThatChangedSinceCounts(t *testing.T) {
	o := newOffice(t, "")
	r, err := o.ask("ken", ask(func(a *access.Ask) { a.Minutes = 300 }))
	check(t, err)
	o.cfg.Engine.Swap(withApprovals(t, "default: {max_minutes: 100, need: 2}"))
	o.approved(r.ID, access.Consent{}, "mika")
	o.cfg.Engine.Swap(withApprovals(t, "default: {max_minutes: 40, patterns: exact}"))
	_, err = o.approve("nao", r.ID, access.Consent{})
	wantErr(t, err, access.ErrInvalid)
	leases := o.approved(r.ID, access.Consent{Scopes: []access.Scope{{Right: policy.Execute, Pattern: "make all"}}}, "nao")
	if len(leases) != 1 || !leases[0].Until.Equal(monday.Add(40*time.Minute)) {
		t.Errorf("leases %+v", leases)
	}
}

// TestAnApprovalAfterHoursIsForTomorrow: that the window is closed when somebody asks or answers is no reason to refuse.
func TestAnApprovalAfterHoursIsForTomorrow(t *testing.T) {
	o := newOffice(t, "default: {max_minutes: 1440}")
	o.at(monday.Add(9 * time.Hour))
	r, err := o.ask("ken", ask(func(a *access.Ask) { a.Minutes = 1440 }))
	check(t, err)
	o.approved(r.ID, access.Consent{}, "mika")
	o.at(monday.Add(24 * time.Hour))
	s, err := o.door.Open(t.Context(), access.Request{Principal: o.as("ken"), Target: "db1", Login: "app", Protocol: "ssh"})
	check(t, err)
	defer s.End("test over")
	if got := o.effect(s, exec("make all")); got != policy.Allow {
		t.Errorf("tomorrow: %v", got)
	}
}

func TestWhatIsApprovedIsWhatWasShown(t *testing.T) {
	o := newOffice(t, twoPeople)
	r := o.filed("ken", "make all")
	shown := o.request(r.ID).Digest()
	if shown != o.request(r.ID).Digest() {
		t.Fatal("the digest changes by itself")
	}
	check(t, o.door.AddReason(t.Context(), o.as("ken"), r.ID, "release", ""))
	_, err := o.approve("mika", r.ID, access.Consent{Digest: shown})
	wantErr(t, err, access.ErrChanged)
	both := o.request(r.ID).Digest()
	o.approved(r.ID, access.Consent{Digest: both, Minutes: 15}, "mika")
	_, err = o.approve("nao", r.ID, access.Consent{Digest: both})
	wantErr(t, err, access.ErrChanged)
	wantErr(t, o.door.AddReason(t.Context(), o.as("ken"), r.ID, "something else", ""), access.ErrAnswered)
	if leases := o.approved(r.ID, access.Consent{Digest: o.request(r.ID).Digest()}, "nao"); len(leases) != 1 {
		t.Errorf("leases %v", leases)
	}
}

// TestTwoGatewaysAnswerAtOnce: on one database, exactly one outcome, no answer lost, no lease twice.
func TestTwoGatewaysAnswerAtOnce(t *testing.T) {
	for _, need := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d of 4", need), func(t *testing.T) {
			o := newOffice(t, fmt.Sprintf("default: {need: %d}", need))
			other := o.neighbour(t)
			for i := range 5 {
				r := o.filed("ken", fmt.Sprintf("make target-%d", i))
				doors := []*access.Door{o.door, other, o.door, other}
				made, errs := make([][]access.Lease, 4), make([]error, 4)
				var wait sync.WaitGroup
				for i, by := range []string{"mika", "nao", "sato", "aki"} {
					wait.Go(func() { made[i], errs[i] = doors[i].Approve(t.Context(), o.as(by), r.ID, access.Consent{}) })
				}
				wait.Wait()
				o.settled(t, r.ID, need, made, errs)
			}
		})
	}
}

// settled checks what many answers to one request came to.
func (o office) settled(t *testing.T, id string, need int, made [][]access.Lease, errs []error) {
	t.Helper()
	yes, granted := 0, 0
	for i, err := range errs {
		switch {
		case err == nil:
			yes++
			granted += len(made[i])
		case !errors.Is(err, access.ErrAnswered):
			t.Errorf("error = %v", err)
		}
	}
	r := o.request(id)
	leases, err := o.door.Leases(t.Context(), o.as("mika"))
	check(t, err)
	mine := slices.DeleteFunc(leases, func(l access.Lease) bool { return l.Request != id })
	if yes != need || granted != 1 || len(mine) != 1 || len(r.Answers) != need || r.Status != access.RequestApproved ||
		len(mine[0].GrantedBy) != need {
		t.Errorf("%d said yes, %d leases made, %d stored, answers %+v", yes, granted, len(mine), r.Answers)
	}
}

// neighbour is another gateway on the same database, directory and log.
func (o office) neighbour(t *testing.T) *access.Door {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(o.dir, "state.db"))
	check(t, err)
	t.Cleanup(func() { db.Close() })
	cfg := o.cfg
	cfg.Store = db.Access()
	door, err := access.New(cfg)
	check(t, err)
	return door
}

func TestAYesAndANoAtOnceHaveOneOutcome(t *testing.T) {
	o := newOffice(t, "")
	other := o.neighbour(t)
	for i := range 8 {
		r := o.filed("ken", fmt.Sprintf("make target-%d", i))
		var wait sync.WaitGroup
		var yes, no error
		wait.Go(func() { _, yes = o.approve("mika", r.ID, access.Consent{}) })
		wait.Go(func() { no = other.Deny(t.Context(), o.as("nao"), r.ID, "no") })
		wait.Wait()
		if (yes == nil) == (no == nil) {
			t.Fatalf("yes: %v, no: %v", yes, no)
		}
		s := o.open("ken", "db1")
		want := map[bool]policy.Effect{true: policy.Allow, false: policy.Approval}[yes == nil]
		if got := o.effect(s, exec(fmt.Sprintf("make target-%d", i))); got != want {
			t.Errorf("the outcome is %v, want %v", got, want)
		}
	}
}

// TestARequestOfBeforeScopesIsAnswered: one that an older gateway filed says only what was needed.
func TestARequestOfBeforeScopesIsAnswered(t *testing.T) {
	o := newOffice(t, "")
	old := access.ApprovalRequest{ID: "r-old", Status: access.RequestPending, Person: "ken", Vendor: "dev", Target: "db1", Login: "app",
		Session: "s-old", Operation: "ssh.exec", Command: "make *", Needs: []policy.Need{{Right: policy.Execute, Resource: "make *"}},
		Decision: "d-old", CreatedAt: monday, Expires: monday.Add(time.Hour)}
	check(t, o.cfg.Store.PutRequest(t.Context(), old))
	if shown := o.request("r-old"); len(shown.Scopes) != 1 || shown.Scopes[0].Pattern != `make \*` {
		t.Fatalf("shown %+v", shown)
	}
	leases := o.approved("r-old", access.Consent{Digest: o.request("r-old").Digest()}, "mika")
	if len(leases) != 1 || leases[0].Pattern != `make \*` || leases[0].Right != policy.Execute {
		t.Errorf("leases %+v", leases)
	}
}

// brittle is a store at which the audit log breaks when a request is about to change.
type brittle struct {
	access.Store
	snap func()
}

func (b brittle) ChangeRequest(ctx context.Context, id string, change func(*access.ApprovalRequest) ([]access.Lease, error)) error {
	b.snap()
	return b.Store.ChangeRequest(ctx, id, change)
}

func TestAnAnswerThatCannotBeRecordedDoesNotCount(t *testing.T) {
	o := newOffice(t, "")
	r := o.filed("ken", "make all")
	cfg := o.cfg
	cfg.Store = brittle{cfg.Store, func() { check(t, o.audit.Close()) }}
	door, err := access.New(cfg)
	check(t, err)
	if leases, err := door.Approve(t.Context(), o.as("mika"), r.ID, access.Consent{}); err == nil {
		t.Fatalf("leases %v", leases)
	}
	stored, err := o.cfg.Store.Request(t.Context(), r.ID)
	check(t, err)
	leases, err := o.cfg.Store.Leases(t.Context(), "", monday)
	check(t, err)
	if stored.Status != access.RequestPending || len(leases) > 0 {
		t.Errorf("status %s, leases %v", stored.Status, leases)
	}
}

// forgetful is a store that does not keep what it was told.
type forgetful struct{ access.Store }

var errFull = errors.New("no space left")

func (f forgetful) ChangeRequest(ctx context.Context, id string, change func(*access.ApprovalRequest) ([]access.Lease, error)) error {
	return f.Store.ChangeRequest(ctx, id, func(r *access.ApprovalRequest) ([]access.Lease, error) {
		leases, err := change(r)
		return leases, errors.Join(err, errFull)
	})
}

func TestAnAnswerThatCannotBeStoredIsOnRecordAsFailed(t *testing.T) {
	o := newOffice(t, "")
	r := o.filed("ken", "make all")
	cfg := o.cfg
	cfg.Store = forgetful{cfg.Store}
	door, err := access.New(cfg)
	check(t, err)
	_, err = door.Approve(t.Context(), o.as("mika"), r.ID, access.Consent{})
	wantErr(t, err, errFull)
	events := o.told("gateway.request.answered")
	if len(events) != 2 || events[0].Outcome != recorder.OK || events[1].Outcome != recorder.Failed {
		t.Errorf("on record: %+v", events)
	}
	if got := o.effect(o.open("ken", "db1"), exec("make all")); got != policy.Approval {
		t.Errorf("the command: %v", got)
	}
}
