package policy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// horizonWindows open and close around testNow (12:00 in Tokyo), overlap and touch.
const horizonWindows = `
noon:    {zone: Asia/Tokyo, days: [fri], from: "11:59", to: "12:01"}
touches: {zone: Asia/Tokyo, days: [fri], from: "12:01", to: "12:02"}
before:  {zone: Asia/Tokyo, days: [fri], from: "09:00", to: "12:00"}
soon:    {zone: America/New_York, days: [thu], from: "22:00", to: "24:00"}
later:   {zone: Asia/Tokyo, days: [sat], from: "00:00", to: "24:00"}
never:   {zone: Asia/Tokyo, dates: ["2031-01-01"], from: "00:00", to: "24:00"}
holiday: {zone: Asia/Tokyo, days: [fri], from: "11:00", to: "13:00", except: [jp-holidays]}
`

// near is a moment within a minute and a half of now, in whole seconds so that trying every second misses none.
func near(r random, now time.Time) time.Time {
	return now.Add(time.Duration(r.IntN(180)-90) * time.Second)
}

// nearly is an input whose controls begin and end around now.
func (r random) nearly(now time.Time) Input {
	in := r.input()
	for in.staff() {
		in = r.input()
	}
	in.Time.Now = now
	in.Auth.Cert.NotAfter = one(r, near(r, now), now.Add(time.Hour), now.Add(time.Hour))
	in.Auth.MFA.At = one(r, near(r, now), near(r, now).Add(-12*time.Hour), now.Add(-time.Hour), now.Add(-time.Hour))
	vendors := append([]Vendor{in.Vendor}, in.Parents...)
	for i := range vendors {
		v := &vendors[i]
		v.Contract.From = one(r, near(r, now), now.AddDate(0, 0, -1), now.AddDate(0, 0, -1))
		v.Contract.Until = one(r, near(r, now), now.AddDate(0, 0, 1), now.AddDate(0, 0, 1))
		v.Networks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		v.Windows = nil
		for range 1 + r.IntN(3) {
			v.Windows = append(v.Windows, one(r, "noon", "touches", "before", "soon", "later", "never", "holiday", "always", "moon"))
		}
	}
	in.Vendor, in.Parents = vendors[0], vendors[1:]
	for i := range r.IntN(5) {
		from := near(r, now)
		in.Leases = append(in.Leases, Lease{ID: fmt.Sprint("l-", i), Person: one(r, in.Person.ID, in.Person.ID, "eve"), Target: in.Target.Name,
			Right: one(r, Read, Write, Execute), Pattern: one(r, "*", "*", "/srv/app"), From: one(r, time.Time{}, from), Until: from.Add(time.Duration(r.IntN(90)) * time.Second)})
	}
	return in
}

// said is what an answer tells the person, and when access ends.
func said(d Decision) string {
	return fmt.Sprintf("%s %v %v %s", d.Effect, d.Reasons, d.Needs, d.Ends.UTC())
}

// TestAnAnswerHoldsUntilAndNoLonger compares random answers with what is said at every second after them: the same until
// Until, something else at Until unless that is the longest that any answer is used, and an allow ends at Ends.
func TestAnAnswerHoldsUntilAndNoLonger(t *testing.T) {
	for name, more := range map[string]string{"shipped": "", "rules that read windows": "approval contains \"x\" if \"noon\" in input.windows\n"} {
		t.Run(name, func(t *testing.T) {
			rev, err := Load(changed(t, map[string]string{windowsFile: horizonWindows, "maintenance.rego": more}), 7)
			if err != nil {
				t.Fatal(err)
			}
			e := NewEngine(rev, func() time.Time { return testNow })
			r := random{rand.New(rand.NewPCG(5, 6))}
			seen := map[string]int{}
			for range 1500 {
				in := r.nearly(testNow.Add(time.Duration(r.IntN(240)-120) * time.Second))
				checkHorizon(t, e, in, more == "", seen)
			}
			for _, kind := range []string{"allow, short", "allow", "approval, short", "deny, short", "ends"} {
				if seen[kind] < 5 {
					t.Errorf("%s came up %d times: %v", kind, seen[kind], seen)
				}
			}
		})
	}
}

func checkHorizon(t *testing.T, e *Engine, in Input, exact bool, seen map[string]int) {
	t.Helper()
	now := in.Time.Now
	at := func(when time.Time) Decision {
		in := in
		in.Time.Now = when
		return e.Decide(context.Background(), in)
	}
	d := at(now)
	if d.fault != nil {
		t.Fatal(d.fault)
	}
	if reasons := []string{"malformed", "admin-never", "no-needs"}; len(d.Reasons) > 0 && slices.Contains(reasons, d.Reasons[0].ID) {
		return // never put to the rules: not to be used again
	}
	if !d.Until.After(now) || d.Until.After(now.Add(maxUntil)) {
		t.Fatalf("decided at %v until %v", now, d.Until)
	}
	for when := now.Add(time.Second); when.Before(d.Until); when = when.Add(time.Second) {
		if again := at(when); said(again) != said(d) {
			t.Fatalf("%+v\nat %v until %v: %s\nat %v: %s", in, now, d.Until, said(d), when, said(again))
		}
	}
	kind := d.Effect.String()
	if short := d.Until.Before(now.Add(maxUntil)); short {
		kind += ", short"
		if exact && said(at(d.Until)) == said(d) {
			t.Fatalf("%+v\nat %v only until %v: %s, and then the same", in, now, d.Until, said(d))
		}
	}
	seen[kind]++
	if d.Ends.IsZero() || d.Ends.After(now.Add(windowHorizon)) {
		return
	}
	if seen["ends"]++; !exact {
		return // such a rule may end an allow before anything that Go knows of does
	}
	if before := at(d.Ends.Add(-time.Second)); before.Effect != Allow {
		t.Fatalf("%+v\nat %v ends %v, and is %s a second before", in, now, d.Ends, said(before))
	}
	if after := at(d.Ends); after.Effect == Allow {
		t.Fatalf("%+v\nat %v ends %v, and is allowed then", in, now, d.Ends)
	}
}
