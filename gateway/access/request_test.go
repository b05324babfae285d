package access_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/policy"
)

// ask is a request ahead that nothing is wrong with, changed.
func ask(change func(*access.Ask)) access.Ask {
	a := access.Ask{Target: "db1", Login: "app", Minutes: 30, Reason: "release 7", Ticket: "T-7",
		Scopes: []access.Scope{{Right: policy.Execute, Pattern: "make *"}}}
	if change != nil {
		change(&a)
	}
	return a
}

func (o office) ask(person string, a access.Ask) (access.ApprovalRequest, error) {
	return o.door.Ask(o.t.Context(), o.as(person), a)
}

func TestWorkIsAskedForAheadAndApproved(t *testing.T) {
	o := newOffice(t, "")
	r, err := o.ask("ken", ask(nil))
	check(t, err)
	if r.Status != access.RequestPending || r.Session != "" || !r.Expires.Equal(monday.Add(24*time.Hour)) {
		t.Fatalf("request %+v", r)
	}
	if o.request(r.ID).Digest() != r.Digest() {
		t.Error("what was filed is not what is shown")
	}
	if again, err := o.ask("ken", ask(nil)); err != nil || again.ID != r.ID {
		t.Errorf("the same asked again: %s, %v", again.ID, err)
	}
	filed := o.told("gateway.request.filed")
	if len(filed) != 1 || filed[0].Person != "ken" || filed[0].Detail["reason"] != "release 7" || filed[0].Detail["ticket"] != "T-7" {
		t.Errorf("on record: %+v", filed)
	}
	leases := o.approved(r.ID, access.Consent{}, "mika")
	if len(leases) != 1 || !leases[0].Until.Equal(monday.Add(30*time.Minute)) {
		t.Errorf("leases %+v", leases)
	}
	s := o.open("ken", "db1")
	if got := o.effect(s, exec("make all")); got != policy.Allow {
		t.Errorf("what was approved: %v", got)
	}
	own, err := o.door.OwnLeases(t.Context(), o.as("ken"))
	check(t, err)
	if none, err := o.door.OwnLeases(t.Context(), o.as("hanako")); err != nil || len(none) != 0 || len(own) != 1 {
		t.Errorf("own leases %v, somebody else's %v, %v", own, none, err)
	}
}

func TestACommandIsAskedForByWhatItNeeds(t *testing.T) {
	o := newOffice(t, "")
	r, err := o.ask("hanako", ask(func(a *access.Ask) { a.Scopes, a.Command = nil, "cat /etc/motd > '/srv/*'" }))
	check(t, err)
	want := []access.Scope{{Right: policy.Write, Pattern: `'/srv/\*'`}}
	if !slices.Equal(r.Scopes, want) || r.Command != "cat /etc/motd > '/srv/*'" {
		t.Errorf("scopes %q of %q, want %q: what is ○ needs no approval", r.Scopes, r.Command, want)
	}
	o.approved(r.ID, access.Consent{}, "mika")
	s := o.open("hanako", "db1")
	if got := o.effect(s, exec("cat /etc/motd > '/srv/*'")); got != policy.Allow {
		t.Errorf("the approved command: %v", got)
	}
	if got := o.effect(s, exec("cat /etc/motd > /srv/x")); got != policy.Approval {
		t.Errorf("another file: %v", got)
	}
}

// TestWhatCannotBeApprovedIsRefusedAtOnce: nobody waits for an approval that would give nothing.
func TestWhatCannotBeApprovedIsRefusedAtOnce(t *testing.T) {
	o := newOffice(t, "")
	rights := func(right policy.Right, pattern string) func(*access.Ask) {
		return func(a *access.Ask) { a.Scopes = []access.Scope{{Right: right, Pattern: pattern}} }
	}
	for _, tc := range []struct {
		name, person string
		change       func(*access.Ask)
		reason       string
	}{
		{"a right that is ×", "ken", rights(policy.Delete, "/srv/x"), "never"},
		{"a right that is × for everything", "ken", rights(policy.Delete, "/srv/*"), "never"},
		{"one of several that is ×", "ken", func(a *access.Ask) {
			a.Scopes = append(a.Scopes, access.Scope{Right: policy.Delete, Pattern: "/srv/x"})
		}, "never"},
		{"a command that is ×", "ken", func(a *access.Ask) { a.Scopes, a.Command = nil, "make all; rm x" }, "never"},
		{"a command that cannot be told", "ken", func(a *access.Ask) { a.Scopes, a.Command = nil, `eval "$x"` }, "opaque_line"},
		{"a parent's ×", "tsubasa", rights(policy.Delete, "/srv/x"), "never"},
		{"what needs no approval", "hanako", rights(policy.Execute, "make *"), "allowed_anyway"},
		{"another vendor's target", "ken", func(a *access.Ask) { a.Target = "open1" }, "target_not_yours"},
		{"nobody's target", "ken", func(a *access.Ask) { a.Target = "nowhere" }, "target_not_yours"},
		{"the gateway itself", "ken", func(a *access.Ask) { a.Target, a.Login = policy.GatewayTarget, "" }, "target_not_yours"},
		{"a login that is not there", "ken", func(a *access.Ask) { a.Login = "postgres" }, "target_not_yours"},
		{"no login", "ken", func(a *access.Ask) { a.Login = "" }, "target_not_yours"},
		{"an admin login", "ken", func(a *access.Ask) { a.Login = "root" }, "admin-never"},
		{"staff, who have no targets", "mika", nil, "target_not_yours"},
		{"a booking beyond the contract", "ken", func(a *access.Ask) {
			a.From, a.Every, a.Times = monday.AddDate(0, 0, 7), access.EveryWeek, 6
		}, "contract-ended"},
		{"a booking outside the hours", "ken", func(a *access.Ask) { a.From = monday.Add(10 * time.Hour) }, "outside-hours"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.ask(tc.person, ask(tc.change))
			var refusal *access.Refusal
			if tc.reason == "never" {
				if !errors.As(err, &refusal) || !strings.HasPrefix(refusal.Reasons[0].Table, "M-") {
					t.Errorf("got %v", err)
				}
				return
			}
			because(t, err, tc.reason)
		})
	}
	if len(o.told("gateway.request.filed")) > 0 {
		t.Error("something was filed")
	}
}

// TestAnothersTargetLooksLikeNobodys: whatever is asked for, and whatever routes say about that target.
func TestAnothersTargetLooksLikeNobodys(t *testing.T) {
	o := newOffice(t, "routes: [{name: app, target: app, max_minutes: 5, ticket: required, patterns: exact, need: 2}]")
	for name, change := range map[string]func(*access.Ask){
		"a pattern":         nil,
		"without a ticket":  func(a *access.Ask) { a.Ticket = "" },
		"a bad pattern":     func(a *access.Ask) { a.Scopes[0].Pattern = "* x" },
		"a request":         func(a *access.Ask) { a.Scopes[0] = access.Scope{Right: policy.Write, Pattern: "PUT /x"} },
		"an opaque command": func(a *access.Ask) { a.Scopes, a.Command = nil, `eval "$x"` },
		"a long time":       func(a *access.Ask) { a.Minutes = 5000 },
		"a booking":         func(a *access.Ask) { a.From = monday.AddDate(1, 0, 0) },
	} {
		for _, target := range []string{"app", "other", "nowhere"} {
			for _, login := range []string{"app", "root", ""} {
				a := ask(change)
				a.Target, a.Login = target, login
				_, err := o.ask("ken", a)
				because(t, err, "target_not_yours")
				if t.Failed() {
					t.Fatalf("%s on %s+%s", name, login, target)
				}
			}
		}
	}
}

func TestNobodyWaitsForMorePeopleThanThereAre(t *testing.T) {
	o := newOffice(t, `
routes:
  - {name: maint, vendor: maint, need: 2}
  - {name: dev, type: development, need: 3, approvers: [sato, sato-admin, ken-in-house, nao], escalate_after: 1h, escalate_to: [aki]}
`)
	_, err := o.ask("hanako", ask(func(a *access.Ask) { a.Scopes[0] = access.Scope{Right: policy.Write, Pattern: "/srv/x"} }))
	because(t, err, "no_approvers") // the directory names mika alone
	_, err = o.ask("ken", ask(nil))
	check(t, err) // sato, nao and, once it escalates, aki
	o.change(t, `aki: {vendor: "@staff", roles: [approver]}`, `aki: {vendor: "@staff", roles: [admin]}`)
	_, err = o.ask("ken", ask(func(a *access.Ask) { a.Minutes = 29; a.Scopes[0].Pattern = "make x *" }))
	because(t, err, "no_approvers")
}

func TestWhatIsWrongWithARequestIsSaid(t *testing.T) {
	o := newOffice(t, "routes: [{name: dev, type: development, max_minutes: 60, patterns: exact, ticket: required}]")
	scope := func(right policy.Right, pattern string) func(*access.Ask) {
		return func(a *access.Ask) { a.Scopes = []access.Scope{{Right: right, Pattern: pattern}} }
	}
	booked := func(from time.Time, every string, times int) func(*access.Ask) {
		return func(a *access.Ask) {
			scope(policy.Execute, "make all")(a)
			a.From, a.Every, a.Times = from, every, times
		}
	}
	tomorrow := monday.AddDate(0, 0, 1)
	for name, tc := range map[string]struct {
		change func(*access.Ask)
		want   string
	}{
		"no reason":               {func(a *access.Ask) { a.Reason = " \n" }, "reason: say what"},
		"a long reason":           {func(a *access.Ask) { a.Reason = strings.Repeat("x", 501) }, "reason: at most 500 bytes"},
		"a long ticket":           {func(a *access.Ask) { a.Ticket = strings.Repeat("x", 101) }, "ticket: at most 100 bytes"},
		"a terminal's escape":     {func(a *access.Ask) { a.Reason = "\x1b[31mfix" }, "reason: no control characters"},
		"no ticket":               {func(a *access.Ask) { a.Ticket = "" }, "ticket: one is required"},
		"a wide pattern":          {nil, "only exact commands"},
		"too many minutes":        {func(a *access.Ask) { a.Minutes = 61 }, "1 to 60 minutes, not 61"},
		"negative minutes":        {func(a *access.Ask) { a.Minutes = -5 }, "not -5"},
		"no scope":                {func(a *access.Ask) { a.Scopes = nil }, "1 to 16 rights"},
		"an unknown right":        {scope("own", "x"), `"own" is not read, write, execute or delete`},
		"the admin right":         {scope(policy.Admin, "x"), "is not read"},
		"no pattern":              {scope(policy.Execute, ""), "pattern: empty"},
		"a program left open":     {scope(policy.Execute, "* x"), "spell the program out"},
		"a hidden line":           {scope(policy.Execute, "make all\u202e; rm x"), "that whoever approves it can see"},
		"two lines":               {scope(policy.Execute, "make all\nrm x"), "that whoever approves it can see"},
		"a command and a pattern": {func(a *access.Ask) { a.Command = "make all" }, "not both"},
		"the past":                {booked(monday.Add(-2*time.Minute), "", 0), "is past"},
		"the year after next":     {booked(monday.AddDate(0, 0, 91), "", 0), "at most 90 days ahead"},
		"every month":             {booked(tomorrow, "month", 3), `"month" is not day or week`},
		"every day, once":         {booked(tomorrow, access.EveryDay, 1), "give both"},
		"three times at once":     {booked(tomorrow, "", 3), "give both"},
		"for ever":                {booked(tomorrow, access.EveryDay, 54), "1 to 53 occurrences, not 54"},
		"a negative number":       {booked(tomorrow, access.EveryDay, -1), "not -1"},
		"daily from some day on":  {booked(time.Time{}, access.EveryDay, 2), "wants a beginning"},
		"a booking without end": {func(a *access.Ask) { booked(tomorrow, "", 0)(a); a.Minutes = 0 },
			"says how long the work takes"},
	} {
		_, err := o.ask("ken", ask(tc.change))
		if !errors.Is(err, access.ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	many := func(a *access.Ask) {
		a.Scopes = nil
		for i := range 17 {
			a.Scopes = append(a.Scopes, access.Scope{Right: policy.Execute, Pattern: fmt.Sprint("make ", i)})
		}
	}
	if _, err := o.ask("ken", ask(many)); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("17 patterns: %v", err)
	}
}

func TestOnePersonHasSoManyRequestsWaiting(t *testing.T) {
	o := newOffice(t, "")
	one := func(i int) access.Ask {
		return ask(func(a *access.Ask) { a.Scopes[0].Pattern = fmt.Sprint("make ", i) })
	}
	var wait sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		wait.Go(func() { _, errs[i] = o.ask("ken", one(i)) })
	}
	wait.Wait()
	refused := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(refused) != 8 || !errors.Is(refused[0], access.ErrTooMany) {
		t.Errorf("%d of 40 refused: %v", len(refused), refused)
	}
	_, err := o.ask("riku", ask(nil))
	check(t, err)
	o.at(monday.Add(24 * time.Hour))
	_, err = o.ask("ken", one(50))
	check(t, err)
}

func TestPeopleExplainAndTakeBackTheirOwnRequestsOnly(t *testing.T) {
	o := newOffice(t, "")
	r := o.filed("ken", "make all")
	for _, stranger := range []string{"hanako", "mika"} {
		wantErr(t, o.door.AddReason(t.Context(), o.as(stranger), r.ID, "x", ""), access.ErrNotFound)
		wantErr(t, o.door.Cancel(t.Context(), o.as(stranger), r.ID), access.ErrNotFound)
		_, err := o.door.OwnRequest(t.Context(), o.as(stranger), r.ID)
		wantErr(t, err, access.ErrNotFound)
	}
	wantErr(t, o.door.AddReason(t.Context(), o.as("ken"), r.ID, " ", ""), access.ErrInvalid)
	wantErr(t, o.door.AddReason(t.Context(), o.as("ken"), "r-1", "x", ""), access.ErrNotFound)
	check(t, o.door.AddReason(t.Context(), o.as("ken"), r.ID, "release", "T-7"))
	if got := o.request(r.ID); got.Reason != "release" || got.Ticket != "T-7" {
		t.Errorf("request %+v", got)
	}
	explained := o.told("gateway.request.explained")
	if len(explained) != 1 || explained[0].Detail["after"].(map[string]any)["reason"] != "release" {
		t.Errorf("on record: %+v", explained)
	}
	check(t, o.door.Cancel(t.Context(), o.as("ken"), r.ID))
	wantErr(t, o.door.Cancel(t.Context(), o.as("ken"), r.ID), access.ErrAnswered)
	_, err := o.approve("mika", r.ID, access.Consent{})
	wantErr(t, err, access.ErrAnswered)
	if got := o.request(r.ID); got.Status != access.RequestCancelled || len(o.told("gateway.request.cancelled")) != 1 {
		t.Errorf("request %+v", got)
	}
	if again := o.filed("ken", "make all"); again.ID == r.ID {
		t.Error("a request that was taken back was found again")
	}
}

func TestRequestsAreListedToWhomTheyConcern(t *testing.T) {
	o := newOffice(t, routed)
	mine, theirs := o.filed("ken", "make all"), o.filed("riku", "make all")
	own, err := o.door.OwnRequests(t.Context(), o.as("ken"), 10)
	check(t, err)
	if len(own) != 1 || own[0].ID != mine.ID {
		t.Errorf("own requests %+v", own)
	}
	var refusal *access.Refusal
	if _, err := o.door.Requests(t.Context(), o.as("ken"), "", 10); !errors.As(err, &refusal) {
		t.Errorf("a contractor lists all requests: %v", err)
	}
	if _, err := o.door.Request(t.Context(), o.as("ken"), theirs.ID); !errors.As(err, &refusal) {
		t.Errorf("a contractor sees another's request: %v", err)
	}
	all, err := o.door.Requests(t.Context(), o.as("aki"), access.RequestPending, 10)
	check(t, err)
	if len(all) != 2 || all[0].ID != theirs.ID || !all[0].Terms.MayAnswer || all[1].Terms.MayAnswer {
		t.Errorf("requests %+v", all)
	}
}
