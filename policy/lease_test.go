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
		{"several arguments", "apt *", policy.Execute, "apt install -y nginx", true},
		{"no argument", "apt *", policy.Execute, "apt", false},
		{"a program that begins like it", "apt *", policy.Execute, "apt-get install x", false},
		{"a program in a folder", "apt *", policy.Execute, "/tmp/apt install x", false},
		{"another program before it", "apt *", policy.Execute, "sudo apt x", false},
		{"a second command", "apt *", policy.Execute, "apt x; rm -rf /", false},
		{"a second command on its own line", "apt *", policy.Execute, "apt x\nrm -rf /", false},
		{"a line end for a space", "apt *", policy.Execute, "apt\nx", false},
		{"a tab for a space", "apt *", policy.Execute, "apt\tx", false},
		{"two spaces for one", "apt *", policy.Execute, "apt  x", false},
		{"a conjunction", "apt *", policy.Execute, "apt x && rm x", false},
		{"a pipe", "apt *", policy.Execute, "apt x | sh", false},
		{"a substitution", "apt *", policy.Execute, "apt $(rm x)", false},
		{"a substitution in quotes", "apt *", policy.Execute, `apt "$(rm x)"`, false},
		{"backquotes in quotes", "apt *", policy.Execute, "apt \"`rm x`\"", false},
		{"a variable", "apt *", policy.Execute, "apt $x", false},
		{"an assignment before it", "apt *", policy.Execute, "X=1 apt x", false},
		{"a redirection", "apt *", policy.Execute, "apt x >/etc/passwd", false},
		{"a job in the background", "apt *", policy.Execute, "apt x &", false},
		{"a quoted line as one word", "apt *", policy.Execute, "apt 'x; rm'", false},
		{"a quoted line as one word of several", "apt *", policy.Execute, `apt install "x; rm" y`, false},
		{"the program and its arguments as one word", "apt *", policy.Execute, "'apt x'", false},
		{"a quote that does not end", "apt *", policy.Execute, "apt 'x", false},
		{"a quote of another kind", "apt *", policy.Execute, `apt $'x\n'`, false},
		{"an empty word", "apt *", policy.Execute, "apt ''", false},
		{"a wildcard of the target's", "apt *", policy.Execute, "apt *", false},
		{"a folder of the target's", "apt *", policy.Execute, "apt ~/x", false},
		{"braces", "apt *", policy.Execute, "apt {a,b}", false},
		{"a comment", "apt *", policy.Execute, "apt x #y", false},
		{"a no-break space", "apt *", policy.Execute, "apt x\u00a0y", false},
		{"a plain word in quotes", "apt *", policy.Execute, "apt 'nginx'", true},
		{"a quoted word of the pattern", "apt 'install' *", policy.Execute, "apt install x", true},
		{"a quoted program without argument", "'apt' *", policy.Execute, "apt", false},
		{"a variable that the pattern has, too", `apt "$x" *`, policy.Execute, `apt "$x" y`, false},
		{"a star for one word", "systemctl * app", policy.Execute, "systemctl restart app", true},
		{"a star for one word, not two", "systemctl * app", policy.Execute, "systemctl stop x app", false},
		{"a star for one word, not none", "systemctl * app", policy.Execute, "systemctl app", false},
		{"a star for one word, not an empty one", "systemctl * app", policy.Execute, "systemctl '' app", false},
		{"a star in a word", "systemctl restart app-*", policy.Execute, "systemctl restart app-1", true},
		{"a star in a word, not a space", "systemctl restart app-*", policy.Execute, "systemctl restart 'app-1 x'", false},
		{"a star in a word, not the next word", "systemctl restart app-*", policy.Execute, "systemctl restart app-1 sshd", false},
		{"a star in a word, not the end of it", "systemctl restart *-app", policy.Execute, "systemctl restart x-app.service", false},
		{"a star for a program", "* restart", policy.Execute, "rm restart", false},
		{"a star within a program", "/usr/bin/* x", policy.Execute, "/usr/bin/../../tmp/evil x", false},
		{"a star within a program's name", "app* x", policy.Execute, "apply x", false},
		{"the words around the star", "psql -c 'select 1' *", policy.Execute, "psql -c 'select 1' app", true},
		{"other words around the star", "psql -c 'select 1' *", policy.Execute, "psql -c 'drop table x' app", false},
		{"a star in quotes is a star", "psql -c 'select * from t'", policy.Execute, "psql -c 'select * from t'", true},
		{"a star in quotes is no wildcard", "psql -c 'select * from t'", policy.Execute, "psql -c 'select 1; drop table t; select 2 from t'", false},
		{"the lone star, any command", "*", policy.Execute, "make all", true},
		{"a request that executes", "POST /orders/*", policy.Execute, "POST /orders/1/cancel", true},
		{"a request of another method", "PUT /orders/*", policy.Write, "PATCH /orders/1", false},
		{"a request to another path", "PUT /orders/*", policy.Write, "PUT /users/1", false},
		{"a request out of its path", "PUT /orders/*", policy.Write, "PUT /orders/../users/1", false},
		{"a request within its path", "PUT /orders/*", policy.Write, "PUT /orders/1/請求書", true},
		{"a star that would swallow the method", "*/orders/1", policy.Write, "x PUT /orders/1/../../x /orders/1", false},
		{"a viewer's arguments", "journalctl -u *", policy.Read, "journalctl -u app", true},
		{"a viewer's arguments in one word", "journalctl -u *", policy.Read, "journalctl -u 'app; rm x'", false},
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
			for _, other := range policy.Rights {
				if other != tc.right && policy.MatchLease(policy.Lease{Right: other, Pattern: tc.pattern}, need) {
					t.Errorf("a lease to %s covers it", other)
				}
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
		{"not before it begins", []policy.Right{policy.Write}, policy.Lease{ID: "l-1", Person: "hanako", Target: "db1", Right: policy.Write,
			Pattern: "*", From: friday.Add(1), Until: soon}, policy.Approval},
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
