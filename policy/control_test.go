package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy"
)

func TestConnectionControls(t *testing.T) {
	e := engine(t, nil)
	for _, tc := range []struct {
		name   string
		change func(*policy.Input)
		effect policy.Effect
		reason string
		table  string
	}{
		{"C-1 no certificate", func(in *policy.Input) { in.Auth.Cert = policy.Cert{} }, policy.Deny, "certificate-missing", "C-1"},
		{"C-1 a certificate that expires this very moment", func(in *policy.Input) { in.Auth.Cert.NotAfter = friday }, policy.Deny, "certificate-expired", "C-1"},
		{"C-2 before the window opens", func(in *policy.Input) { in.Time.Now = tokyo("2026-11-20 08:59:59") }, policy.Deny, "outside-hours", "C-2"},
		{"C-2 when the window opens", func(in *policy.Input) { in.Time.Now = tokyo("2026-11-20 09:00:00") }, policy.Allow, "", ""},
		{"C-2 when the window closes", func(in *policy.Input) { in.Time.Now = tokyo("2026-11-20 18:00:00") }, policy.Deny, "outside-hours", "C-2"},
		{"C-2 on Saturday", func(in *policy.Input) { in.Time.Now = tokyo("2026-11-21 12:00:00") }, policy.Deny, "outside-hours", "C-2"},
		{"C-2 no window", func(in *policy.Input) { in.Vendor.Windows = nil }, policy.Deny, "no-window", "C-2"},
		{"C-2 a window nobody defined", func(in *policy.Input) { in.Vendor.Windows = []string{"full-moon"} }, policy.Deny, "outside-hours", "C-2"},
		{"C-2 one open window of several is enough", func(in *policy.Input) {
			in.Time.Now, in.Vendor.Windows = tokyo("2026-11-21 12:00:00"), []string{"office-hours", "always"}
		}, policy.Allow, "", ""},
		{"C-3 from elsewhere", func(in *policy.Input) { in.Source.IP = netip.MustParseAddr("198.51.100.1") }, policy.Deny, "outside-network", "C-3"},
		{"C-3 from nowhere", func(in *policy.Input) { in.Source.IP = netip.Addr{} }, policy.Deny, "outside-network", "C-3"},
		{"C-3 an IPv4 address that came as IPv6", func(in *policy.Input) { in.Source.IP = netip.MustParseAddr("::ffff:203.0.113.9") }, policy.Allow, "", ""},
		{"C-3 no networks", func(in *policy.Input) { in.Vendor.Networks = nil }, policy.Deny, "no-network", "C-3"},
		{"C-4 no second factor", func(in *policy.Input) { in.Auth.MFA = policy.MFA{} }, policy.Deny, "mfa-missing", "C-4"},
		{"C-4 a factor from the future", func(in *policy.Input) { in.Auth.MFA.At = friday.Add(2 * time.Minute) }, policy.Deny, "mfa-missing", "C-4"},
		{"C-4 without user verification", func(in *policy.Input) { in.Auth.MFA.UV = false }, policy.Deny, "mfa-unverified", "C-4"},
		{"C-4 a one-time password", func(in *policy.Input) { in.Auth.MFA.Method = "totp" }, policy.Deny, "mfa-method", "C-4"},
		{"C-4 just younger than mfa_max_age", func(in *policy.Input) { in.Auth.MFA.At = friday.Add(-12*time.Hour + time.Second) }, policy.Allow, "", ""},
		{"C-4 as old as mfa_max_age", func(in *policy.Input) { in.Auth.MFA.At = friday.Add(-12 * time.Hour) }, policy.Deny, "mfa-expired", "C-4"},
		{"C-5 somebody else's target", func(in *policy.Input) { in.Target.Name = "payroll" }, policy.Deny, "target-not-yours", "C-5"},
		{"V-7 no contract", func(in *policy.Input) { in.Vendor.Contract = policy.Contract{} }, policy.Deny, "contract-missing", "V-7"},
		{"V-7 a contract without an end", func(in *policy.Input) { in.Vendor.Contract.Until = time.Time{} }, policy.Deny, "contract-missing", "V-7"},
		{"V-7 a contract that has not begun", func(in *policy.Input) { in.Vendor.Contract.From = friday.Add(time.Second) }, policy.Deny, "contract-not-begun", "V-7"},
		{"V-7 the first moment of a contract", func(in *policy.Input) { in.Vendor.Contract.From = friday }, policy.Allow, "", ""},
		{"V-7 the end of a contract", func(in *policy.Input) { in.Vendor.Contract.Until = friday }, policy.Deny, "contract-ended", "V-7"},
		{"I-1 a vendor that was cut off", func(in *policy.Input) { in.Vendor.CutOff = true }, policy.Deny, "cut-off", "I-1"},
		{"C-4 a machine", func(in *policy.Input) { in.Auth.Kind = "machine" }, policy.Deny, "not-a-person", "C-4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, in := range []policy.Input{asks("maintenance", policy.Read), connects("maintenance")} {
				in.Auth.MFA.At = friday.Add(-time.Hour)
				tc.change(&in)
				if in.Time.Now.After(friday) {
					in.Auth.MFA.At, in.Auth.Cert.NotAfter = in.Time.Now.Add(-time.Hour), in.Time.Now.Add(time.Hour)
				}
				if in.Time.Now.Before(friday) {
					in.Auth.MFA.At = in.Time.Now.Add(-time.Hour)
				}
				d := decide(t, e, in)
				expect(t, d, tc.effect, tc.reason)
				if tc.table != "" && d.Reasons[0].Table != tc.table {
					t.Errorf("table %q, want %s", d.Reasons[0].Table, tc.table)
				}
			}
		})
	}
}

func tokyo(s string) time.Time {
	zone, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		panic(err)
	}
	t, err := time.ParseInLocation(time.DateTime, s, zone)
	if err != nil {
		panic(err)
	}
	return t
}

func TestWhatIsNotKnownIsDenied(t *testing.T) {
	e := engine(t, nil)
	for _, tc := range []struct {
		name   string
		change func(*policy.Input)
		reason string
	}{
		{"an unknown vendor type", func(in *policy.Input) { in.Vendor.Type = "friends" }, "unknown-vendor-type"},
		{"an unknown type of a parent", func(in *policy.Input) { in.Parents = []policy.Vendor{vendor("p", "friends")} }, "unknown-vendor-type"},
		{"an unknown operation", func(in *policy.Input) { in.Action.Operation = "ssh.teleport" }, "not-allowed"},
		{"no operation", func(in *policy.Input) { in.Action.Operation = "" }, "malformed"},
		{"an operation on another kind of target", func(in *policy.Input) { in.Action.Operation = "http.request" }, "not-allowed"},
		{"an unknown right", func(in *policy.Input) { in.Action.Needs[0].Right = "juggle" }, "unknown-right"},
		{"no right", func(in *policy.Input) { in.Action.Needs[0].Right = "" }, "unknown-right"},
		{"an operation that needs nothing", func(in *policy.Input) { in.Action.Needs = nil }, "no-needs"},
		{"no person", func(in *policy.Input) { in.Person.ID = "" }, "malformed"},
		{"no target", func(in *policy.Input) { in.Target.Name = "" }, "malformed"},
		{"a person of another vendor", func(in *policy.Input) { in.Person.Vendor = "other" }, "malformed"},
		{"a vendor that calls itself staff", func(in *policy.Input) { in.Vendor.Type = "staff" }, "malformed"},
		{"staff of another type", func(in *policy.Input) { in.Person.Vendor, in.Vendor.ID = "@staff", "@staff" }, "malformed"},
		{"a parent that is staff", func(in *policy.Input) { in.Parents = []policy.Vendor{{ID: "@staff", Type: "staff"}} }, "malformed"},
		{"a contractor with roles", func(in *policy.Input) { in.Person.Roles = []string{"admin"} }, "malformed"},
		{"too many needs", func(in *policy.Input) { in.Action.Needs = make([]policy.Need, 600) }, "too-large"},
		{"too long a command", func(in *policy.Input) { in.Action.Command = strings.Repeat("x", 70_000) }, "too-large"},
		{"too long a resource", func(in *policy.Input) { in.Action.Needs[0].Resource = strings.Repeat("x", 70_000) }, "too-large"},
		{"too long a login", func(in *policy.Input) { in.Target.Login = strings.Repeat("x", 5_000) }, "too-large"},
		{"too long a chain", func(in *policy.Input) { in.Parents = make([]policy.Vendor, 9) }, "too-large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := asks("maintenance", policy.Read)
			tc.change(&in)
			expect(t, decide(t, e, in), policy.Deny, tc.reason)
		})
	}
	t.Run("an empty input", func(t *testing.T) {
		expect(t, decide(t, e, policy.Input{}), policy.Deny, "malformed")
	})
	t.Run("no policy", func(t *testing.T) {
		expect(t, decide(t, policy.NewEngine(nil, at(friday)), asks("maintenance", policy.Read)), policy.Deny, "no-policy")
	})
}

func TestConnectingNeedsTheGuardrailOnly(t *testing.T) {
	e := engine(t, nil)
	for _, row := range rows {
		expect(t, decide(t, e, connects(row.vendorType)), policy.Allow, "")
	}
	web := connects("temporary")
	web.Target, web.Action = policy.Target{Name: "orders", Kind: "https"}, policy.Action{Protocol: "https", Operation: "http.connect"}
	expect(t, decide(t, e, web), policy.Allow, "")
	root := connects("maintenance")
	root.Action.Needs = []policy.Need{{Right: policy.Admin, Resource: "root"}}
	expect(t, decide(t, e, root), policy.Deny, "admin-never")
}

func onGateway(in policy.Input, operation string, right policy.Right) policy.Input {
	in.Target = policy.Target{Name: policy.GatewayTarget, Kind: "gateway"}
	in.Action = policy.Action{Protocol: "gateway", Operation: operation, Needs: []policy.Need{{Right: right, Resource: "x"}}}
	return in
}

func staff(operation string, roles ...string) policy.Input {
	in := onGateway(asks("staff"), operation, policy.Admin)
	in.Person = policy.Person{ID: "mika", Vendor: policy.StaffVendor, Roles: roles}
	in.Vendor = policy.Vendor{ID: policy.StaffVendor, Type: "staff"}
	return in
}

func TestWhoActsOnTheGateway(t *testing.T) {
	e := engine(t, nil)
	for _, tc := range []struct {
		name   string
		in     policy.Input
		effect policy.Effect
		reason string
	}{
		{"an admin applies the directory", staff("gateway.directory.apply", "admin"), policy.Allow, ""},
		{"an approver does not", staff("gateway.directory.apply", "approver"), policy.Deny, "not-allowed"},
		{"an approver approves", staff("gateway.request.approve", "approver"), policy.Allow, ""},
		{"staff without a role do nothing", staff("gateway.session.list"), policy.Deny, "not-allowed"},
		{"an unknown role does nothing", staff("gateway.session.list", "janitor"), policy.Deny, "not-allowed"},
		{"an unknown operation is denied", staff("gateway.moon.land", "admin"), policy.Deny, "not-allowed"},
		{"a contractor has no staff operations", onGateway(asks("maintenance"), "gateway.session.list", policy.Read), policy.Deny, "not-allowed"},
		{"a contractor has their own pages", onGateway(asks("temporary"), "gateway.self.sessions", policy.Read), policy.Allow, ""},
		{"a contractor's own pages give no admin right", onGateway(asks("temporary"), "gateway.self.x", policy.Admin), policy.Deny, "admin-never"},
	} {
		t.Run(tc.name, func(t *testing.T) { expect(t, decide(t, e, tc.in), tc.effect, tc.reason) })
	}
	t.Run("staff without a second factor are refused", func(t *testing.T) {
		in := staff("gateway.directory.apply", "admin")
		in.Auth.MFA = policy.MFA{}
		expect(t, decide(t, e, in), policy.Deny, "mfa-missing")
	})
	t.Run("staff reach no target", func(t *testing.T) {
		in := staff("ssh.exec", "admin")
		in.Target = policy.Target{Name: "db1", Kind: "ssh"}
		expect(t, decide(t, e, in), policy.Deny, "staff-gateway-only")
		in.Action = policy.Action{Protocol: "ssh", Operation: "ssh.connect"}
		expect(t, decide(t, e, in), policy.Deny, "staff-gateway-only")
	})
	t.Run("own pages open outside working hours", func(t *testing.T) {
		in := onGateway(asks("maintenance"), "gateway.self.sessions", policy.Read)
		in.Vendor.Windows = nil
		expect(t, decide(t, e, in), policy.Allow, "")
		in.Vendor.CutOff = true
		expect(t, decide(t, e, in), policy.Deny, "cut-off")
	})
}

func TestAPolicyThatFailsDenies(t *testing.T) {
	for _, tc := range []struct{ name, rule string }{
		{"rules that contradict each other", "mood := 1 if input.right == \"read\"\nmood := 2 if input.right == \"read\"\ndeny contains \"x\" if mood == 3"},
		{"an allow that contradicts itself", "allow := false if input.right == \"read\""},
		{"a builtin that fails", "deny contains \"x\" if to_number(input.resource) == 1"},
		{"a reason that is none", "deny contains 42"},
		{"a reason without a text", "approval contains {\"id\": \"x\"}"},
		{"work without an end in sight", "deny contains \"x\" if {\n\tall := array.concat(digits, digits)\n" +
			"\tsome a in all\n\tsome b in all\n\tsome c in all\n\tsome d in all\n\tsome e in all\n\tsome f in all\n" +
			"\ta + b + c + d + e + f == -1\n}\ndigits := [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := engine(t, map[string]string{"development.rego": more(t, "development.rego", tc.rule)})
			d := decide(t, e, asks("development", policy.Read))
			expect(t, d, policy.Deny, "policy-error")
			if d.Fault() == nil {
				t.Error("no fault for the operator")
			}
			expect(t, decide(t, e, asks("maintenance", policy.Read)), policy.Allow, "")
		})
	}
}

func TestACallerThatIsGoneIsDenied(t *testing.T) {
	slow := "deny contains \"x\" if {\n\tsome a in digits\n\tsome b in digits\n\tsome c in digits\n\tsome d in digits\n\ta + b + c + d == -1\n}\n" +
		"digits := [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
	e := engine(t, map[string]string{"development.rego": more(t, "development.rego", slow)})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d := e.Decide(ctx, asks("development", policy.Read))
	expect(t, d, policy.Deny, "policy-error")
	expect(t, decide(t, e, asks("development", policy.Read)), policy.Allow, "")
}

func TestRulesSeeWhatTheManualSays(t *testing.T) {
	e := engine(t, map[string]string{"maintenance.rego": more(t, "maintenance.rego", `
deny contains "No dumps." if lib.runs("pg_dump")

deny contains lib.reason("no-customers", "", "No customers.", "顧客情報は不可。") if lib.touches("/srv/customers")

approval contains "By day only with a second person." if {
	input.right == "execute"
	"office-hours" in input.windows
	input.target.labels.env == "prod"
	input.vendor.risk > 2
}`)})
	in := asks("maintenance", policy.Execute)
	in.Action.Needs[0].Resource = "pg_dump shop"
	d := decide(t, e, in)
	expect(t, d, policy.Deny, "rule")
	if d.Reasons[0].EN != "No dumps." || d.Reasons[0].JA != "No dumps." {
		t.Errorf("reason %+v", d.Reasons[0])
	}
	in.Action.Needs[0] = policy.Need{Right: policy.Read, Resource: "/srv/customers/1"}
	expect(t, decide(t, e, in), policy.Deny, "no-customers")

	in.Action.Needs[0] = policy.Need{Right: policy.Execute, Resource: "uptime2"}
	expect(t, decide(t, e, in), policy.Allow, "")
	level := 3
	in.Vendor.Risk = &level
	expect(t, decide(t, e, in), policy.Approval, "rule")
	in.Target.Labels = nil
	expect(t, decide(t, e, in), policy.Allow, "")
}

func TestADecisionIsTheSameEachTime(t *testing.T) {
	e := engine(t, nil)
	in := asks("temporary", policy.Read, policy.Execute, policy.Delete)
	first := decide(t, e, in)
	for range 3 {
		again := decide(t, e, in)
		if again.ID == first.ID {
			t.Error("the id was used twice")
		}
		again.ID = first.ID
		if fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("%+v, then %+v", first, again)
		}
	}
}

func TestSwapDecidesUnderTheNextRevisionAndTells(t *testing.T) {
	e := engine(t, nil)
	told := 0
	e.OnChange(func() { told++ })
	in := asks("consulting", policy.Read)
	expect(t, decide(t, e, in), policy.Allow, "")
	e.Swap(load(t, map[string]string{"consulting.rego": more(t, "consulting.rego", `deny contains "Not today."`)}))
	expect(t, decide(t, e, in), policy.Deny, "rule")
	if told != 1 || e.Revision().Number() != 7 {
		t.Errorf("told %d times, revision %d", told, e.Revision().Number())
	}
	e.Swap(nil)
	expect(t, decide(t, e, in), policy.Deny, "no-policy")
}

func TestDecidingWhileSwappingIsSafe(t *testing.T) {
	e := engine(t, nil)
	revs := []*policy.Revision{load(t, nil), load(t, nil)}
	done := make(chan error, 4)
	for i := range 4 {
		go func() {
			for j := range 200 {
				in := asks("maintenance", policy.Read)
				in.Action.Needs[0].Resource = fmt.Sprint("/srv/", i, j%20)
				if d := e.Decide(context.Background(), in); d.Effect != policy.Allow {
					done <- errors.Join(errors.New("denied"), d.Fault())
					return
				}
			}
			done <- nil
		}()
	}
	for i := range 20 {
		e.Swap(revs[i%2])
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAStoredInputIsDecidedTheSameWay(t *testing.T) {
	e := engine(t, nil)
	level := 2
	in := asks("maintenance", policy.Read, policy.Write)
	in.Vendor.Risk = &level
	in.Parents = []policy.Vendor{vendor("parent", "development")}
	in.Leases = []policy.Lease{lease("l-1", policy.Write, "/srv/*", friday.Add(time.Hour))}
	stored, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var again policy.Input
	if err := json.Unmarshal(stored, &again); err != nil {
		t.Fatal(err)
	}
	first, second := decide(t, e, in), decide(t, e, again)
	second.ID = first.ID
	if fmt.Sprint(first) != fmt.Sprint(second) || first.Effect != policy.Allow {
		t.Errorf("%+v, then %+v", first, second)
	}
}
