package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy"
)

func TestWhichNeedsALeaseCovers(t *testing.T) {
	for _, tc := range []struct {
		name, pattern string
		right         policy.Right
		resource      string
		covers        bool
	}{
		{"the same resource", "/srv/a", policy.Write, "/srv/a", true},
		{"another resource", "/srv/a", policy.Write, "/srv/b", false},
		{"part of a resource", "/srv/a", policy.Write, "/srv/ab", false},
		{"a star for a run of characters", "/srv/*.conf", policy.Write, "/srv/a/b.conf", true},
		{"a star for nothing", "/srv/*", policy.Write, "/srv/", true},
		{"a star that does not reach the end", "/srv/*.conf", policy.Write, "/srv/a.conf.bak", false},
		{"several stars in order", "a*b*c", policy.Write, "a-b-c", true},
		{"several stars out of order", "a*c*b", policy.Write, "a-b-c", false},
		{"overlapping ends", "ab*ba", policy.Write, "aba", false},
		{"arguments of a command", "systemctl restart *", policy.Execute, "systemctl restart app", true},
		{"another command", "systemctl restart *", policy.Execute, "systemctl stop app", false},
		{"a way out by dots", "/srv/app/*", policy.Write, "/srv/app/../../etc/passwd", false},
		{"a way out by a variable", "/srv/app/*", policy.Write, "/srv/app/$x", false},
		{"a way out by a wildcard", "/srv/app/*", policy.Write, "/srv/app/?./x", false},
		{"a wildcard as it was approved", "/srv/*.log", policy.Delete, "/srv/*.log", true},
		{"the lone star, any resource", "*", policy.Write, "/srv/app/../$x", true},
		{"the lone star, not an opaque line", "*", policy.Execute, "sha256:" + strings.Repeat("0", 64), false},
		{"a star, not an opaque line", "sha256:*", policy.Execute, "sha256:" + strings.Repeat("0", 64), false},
		{"the exact opaque line", "sha256:" + strings.Repeat("0", 64), policy.Execute, "sha256:" + strings.Repeat("0", 64), true},
		{"an escaped star", `/srv/\*`, policy.Write, "/srv/*", true},
		{"an escaped star is no star", `/srv/\*`, policy.Write, "/srv/a", false},
		{"an escaped backslash", `a\\b`, policy.Write, `a\b`, true},
		{"no pattern", "", policy.Write, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			need := policy.Need{Right: tc.right, Resource: tc.resource}
			if got := policy.MatchLease(policy.Lease{Right: tc.right, Pattern: tc.pattern}, need); got != tc.covers {
				t.Errorf("covers: %v", got)
			}
			if policy.MatchLease(policy.Lease{Right: policy.Read, Pattern: tc.pattern}, need) {
				t.Error("covers another right")
			}
		})
	}
}

func TestALeaseForARequestCoversNothingElse(t *testing.T) {
	for _, resource := range []string{"*", "'*'", "/srv/*", `a\*b`, `psql -c 'select * from t'`, "GET /a?b=*"} {
		need := policy.Need{Right: policy.Execute, Resource: resource}
		lease := policy.Lease{Right: policy.Execute, Pattern: policy.PatternFor(need)}
		if !policy.MatchLease(lease, need) {
			t.Errorf("%q does not cover its own request", lease.Pattern)
		}
		for _, other := range []string{"x", "/srv/x", "axb", `psql -c 'select 1; drop table t'`, "GET /a?b=x"} {
			if policy.MatchLease(lease, policy.Need{Right: policy.Execute, Resource: other}) {
				t.Errorf("%q covers %q", lease.Pattern, other)
			}
		}
	}
}

func FuzzMatchLease(f *testing.F) {
	f.Add("/srv/*", "/srv/a")
	f.Add(`\*`, "*")
	f.Add("a*b*c", "abc")
	f.Add("sha256:*", "sha256:00")
	f.Fuzz(func(t *testing.T, pattern, resource string) {
		need := policy.Need{Right: policy.Write, Resource: resource}
		covers := policy.MatchLease(policy.Lease{Right: policy.Write, Pattern: pattern}, need)
		if covers && strings.HasPrefix(resource, "sha256:") && pattern != resource {
			t.Errorf("%q covers the opaque %q", pattern, resource)
		}
		if covers && !strings.Contains(pattern, "*") && !strings.Contains(pattern, `\`) && pattern != resource {
			t.Errorf("%q covers %q", pattern, resource)
		}
		if resource != "" && !policy.MatchLease(policy.Lease{Right: policy.Write, Pattern: policy.PatternFor(need)}, need) {
			t.Errorf("%q is not covered by its own pattern", resource)
		}
	})
}

func lease(id string, right policy.Right, pattern string, until time.Time) policy.Lease {
	return policy.Lease{ID: id, Person: "hanako", Target: "db1", Right: right, Pattern: pattern, Until: until}
}

func TestALeaseRaisesAnApprovalAndNothingElse(t *testing.T) {
	e := engine(t, nil)
	soon := friday.Add(30 * time.Second)
	for _, tc := range []struct {
		name   string
		rights []policy.Right
		lease  policy.Lease
		effect policy.Effect
	}{
		{"its own need", []policy.Right{policy.Write}, lease("l-1", policy.Write, "/srv/*", soon), policy.Allow},
		{"another right", []policy.Right{policy.Write}, lease("l-1", policy.Read, "/srv/*", soon), policy.Approval},
		{"another resource", []policy.Right{policy.Write}, lease("l-1", policy.Write, "/etc/*", soon), policy.Approval},
		{"never a deny", []policy.Right{policy.Delete}, lease("l-1", policy.Delete, "*", soon), policy.Deny},
		{"never admin", []policy.Right{policy.Admin}, lease("l-1", policy.Admin, "*", soon), policy.Deny},
		{"not when it is over", []policy.Right{policy.Write}, lease("l-1", policy.Write, "*", friday), policy.Approval},
		{"not somebody else's", []policy.Right{policy.Write}, policy.Lease{Person: "eve", Target: "db1", Right: policy.Write, Pattern: "*", Until: soon}, policy.Approval},
		{"not on another target", []policy.Right{policy.Write}, policy.Lease{Person: "hanako", Target: "orders", Right: policy.Write, Pattern: "*", Until: soon}, policy.Approval},
		{"not past another need's deny", []policy.Right{policy.Write, policy.Delete}, lease("l-1", policy.Write, "*", soon), policy.Deny},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := asks("maintenance", tc.rights...)
			in.Leases = []policy.Lease{tc.lease}
			d := decide(t, e, in)
			expect(t, d, tc.effect, "")
			if tc.effect != policy.Allow {
				return
			}
			if d.Needs[0].Lease != "l-1" || !d.Until.Equal(soon) || !d.Ends.Equal(soon) {
				t.Errorf("lease %q, until %v, ends %v", d.Needs[0].Lease, d.Until, d.Ends)
			}
		})
	}
	t.Run("the controls stand above every lease", func(t *testing.T) {
		in := asks("maintenance", policy.Write)
		in.Leases = []policy.Lease{lease("l-1", policy.Write, "*", soon)}
		in.Vendor.CutOff = true
		expect(t, decide(t, e, in), policy.Deny, "cut-off")
	})
	t.Run("the lease that lasts longest is taken", func(t *testing.T) {
		in := asks("maintenance", policy.Write)
		in.Leases = []policy.Lease{lease("l-1", policy.Write, "*", soon), lease("l-2", policy.Write, "*", soon.Add(time.Hour))}
		if d := decide(t, e, in); d.Needs[0].Lease != "l-2" {
			t.Errorf("lease %q", d.Needs[0].Lease)
		}
	})
	t.Run("a lease that comes and goes is seen at once", func(t *testing.T) {
		in := asks("maintenance", policy.Write)
		expect(t, decide(t, e, in), policy.Approval, "")
		in.Leases = []policy.Lease{lease("l-1", policy.Write, "*", soon)}
		expect(t, decide(t, e, in), policy.Allow, "")
		in.Leases = nil
		expect(t, decide(t, e, in), policy.Approval, "")
	})
}

func TestAnAnswerLastsUntilSomethingChanges(t *testing.T) {
	e := engine(t, nil)
	for _, tc := range []struct {
		name   string
		change func(in *policy.Input, until time.Time)
	}{
		{"the certificate ends", func(in *policy.Input, u time.Time) { in.Auth.Cert.NotAfter = u }},
		{"the second factor gets too old", func(in *policy.Input, u time.Time) { in.Auth.MFA.At = u.Add(-12 * time.Hour) }},
		{"the contract ends", func(in *policy.Input, u time.Time) { in.Vendor.Contract.Until = u }},
		{"a parent's contract ends", func(in *policy.Input, u time.Time) {
			in.Parents = []policy.Vendor{vendor("p", "maintenance")}
			in.Parents[0].Contract.Until = u
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := asks("maintenance", policy.Read)
			until := friday.Add(17 * time.Second)
			tc.change(&in, until)
			if d := decide(t, e, in); !d.Until.Equal(until) || !d.Ends.Equal(until) || d.Effect != policy.Allow {
				t.Errorf("%s until %v, ends %v", d.Effect, d.Until, d.Ends)
			}
			in.Time.Now = until
			expect(t, decide(t, e, in), policy.Deny, "")
		})
	}
	t.Run("the window closes", func(t *testing.T) {
		in := asks("maintenance", policy.Read)
		in.Time.Now = tokyo("2026-11-20 17:59:30")
		in.Auth.MFA.At, in.Auth.Cert.NotAfter = in.Time.Now, in.Time.Now.Add(time.Hour)
		if d := decide(t, e, in); !d.Until.Equal(tokyo("2026-11-20 18:00:00")) {
			t.Errorf("until %v", d.Until)
		}
	})
	t.Run("a deny lasts until the window opens", func(t *testing.T) {
		in := asks("maintenance", policy.Read)
		in.Time.Now = tokyo("2026-11-20 08:59:30")
		d := decide(t, e, in)
		if expect(t, d, policy.Deny, "outside-hours"); !d.Until.Equal(tokyo("2026-11-20 09:00:00")) {
			t.Errorf("until %v", d.Until)
		}
	})
	t.Run("a minute at most", func(t *testing.T) {
		d := decide(t, e, asks("maintenance", policy.Read))
		if !d.Until.Equal(friday.Add(time.Minute)) || !d.Ends.Equal(tokyo("2026-11-20 18:00:00")) {
			t.Errorf("until %v, ends %v", d.Until, d.Ends)
		}
	})
	t.Run("an input without a time is decided now", func(t *testing.T) {
		in := asks("maintenance", policy.Read)
		in.Time.Now = time.Time{}
		if d := decide(t, e, in); !d.Until.Equal(friday.Add(time.Minute)) {
			t.Errorf("until %v", d.Until)
		}
	})
}
