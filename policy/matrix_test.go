package policy_test

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/policy"
)

const (
	always, approval, never = policy.Allow, policy.Approval, policy.Deny
)

// rows is the permission matrix of the requirements, cell by cell.
var rows = []struct {
	table, vendorType string
	cells             map[policy.Right]policy.Effect
}{
	{"M-1", "development", map[policy.Right]policy.Effect{
		policy.Read: always, policy.Write: always, policy.Execute: approval, policy.Delete: never, policy.Admin: never}},
	{"M-2", "maintenance", map[policy.Right]policy.Effect{
		policy.Read: always, policy.Write: approval, policy.Execute: always, policy.Delete: never, policy.Admin: never}},
	{"M-3", "operations", map[policy.Right]policy.Effect{
		policy.Read: always, policy.Write: never, policy.Execute: always, policy.Delete: never, policy.Admin: never}},
	{"M-4", "consulting", map[policy.Right]policy.Effect{
		policy.Read: always, policy.Write: never, policy.Execute: never, policy.Delete: never, policy.Admin: never}},
	{"M-5", "temporary", map[policy.Right]policy.Effect{
		policy.Read: approval, policy.Write: never, policy.Execute: approval, policy.Delete: never, policy.Admin: never}},
}

func TestThePermissionMatrixCellByCell(t *testing.T) {
	e := engine(t, nil)
	for _, row := range rows {
		for right, want := range row.cells {
			t.Run(row.table+" "+row.vendorType+" "+string(right), func(t *testing.T) {
				d := decide(t, e, asks(row.vendorType, right))
				if d.Effect != want {
					t.Fatalf("%s %v, want %s", d.Effect, d.Reasons, want)
				}
				if d.Effect != policy.Allow && d.Reasons[0].Table != row.table {
					t.Errorf("the refusal cites %q", d.Reasons[0].Table)
				}
				if d.Revision != 7 || !strings.HasPrefix(d.ID, "d-") || len(d.ID) != 28 {
					t.Errorf("revision %d, id %q", d.Revision, d.ID)
				}
			})
		}
	}
}

func TestARefusalReadsInBothLanguages(t *testing.T) {
	d := decide(t, engine(t, nil), asks("consulting", policy.Delete))
	want := policy.Reason{ID: "consulting-delete-never", Table: "M-4",
		EN: "Consulting vendors may never delete (M-4).", JA: "コンサルは削除できません（M-4）。"}
	if len(d.Reasons) != 1 || d.Reasons[0] != want {
		t.Errorf("reasons %+v", d.Reasons)
	}
}

func TestTheLeastOfTheNeedsCounts(t *testing.T) {
	e := engine(t, nil)
	d := decide(t, e, asks("maintenance", policy.Read, policy.Write, policy.Delete))
	expect(t, d, policy.Deny, "maintenance-delete-never")
	if len(d.Reasons) != 1 {
		t.Errorf("reasons of other effects: %v", d.Reasons)
	}
	for i, want := range []policy.Effect{policy.Allow, policy.Approval, policy.Deny} {
		if d.Needs[i].Effect != want {
			t.Errorf("need %d: %s, want %s", i, d.Needs[i].Effect, want)
		}
	}
	expect(t, decide(t, e, asks("maintenance", policy.Read, policy.Write)), policy.Approval, "maintenance-write-approval")
}

func TestAdminIsNeverForAContractorWhateverThePolicySays(t *testing.T) {
	open := `package sekisho.guardrail
allow := true`
	yes := `package sekisho.maintenance
allow := true`
	e := engine(t, map[string]string{
		"matrix.yaml":      strings.ReplaceAll(more(t, "matrix.yaml", ""), "admin: never", "admin: always"),
		"guardrail.rego":   open,
		"maintenance.rego": yes,
	})
	expect(t, decide(t, e, asks("maintenance", policy.Delete)), policy.Allow, "")
	d := decide(t, e, asks("maintenance", policy.Read, policy.Admin))
	expect(t, d, policy.Deny, "admin-never")
	if d.Reasons[0].Table != "M-2" {
		t.Errorf("table %q", d.Reasons[0].Table)
	}
}

func TestAVendorTypeCannotOpenWhatTheGuardrailShuts(t *testing.T) {
	e := engine(t, map[string]string{"consulting.rego": "package sekisho.consulting\nallow := true"})
	expect(t, decide(t, e, asks("consulting", policy.Delete)), policy.Allow, "")
	in := asks("consulting", policy.Read)
	in.Vendor.CutOff = true
	expect(t, decide(t, e, in), policy.Deny, "cut-off")
}

func TestASubContractorNeverHoldsMoreThanItsParents(t *testing.T) {
	e := engine(t, nil)
	chain := func(own string, parents ...string) policy.Input {
		in := asks(own, policy.Write)
		for _, p := range parents {
			in.Parents = append(in.Parents, vendor("parent-"+p, p))
		}
		return in
	}
	t.Run("V-6 a development vendor below a consulting one writes nothing", func(t *testing.T) {
		d := decide(t, e, chain("development", "consulting"))
		expect(t, d, policy.Deny, "consulting-write-never")
		if !strings.Contains(d.Reasons[0].EN, "parent vendor parent-consulting (V-6)") {
			t.Errorf("reason %q", d.Reasons[0].EN)
		}
	})
	t.Run("V-6 the head of a long chain counts, too", func(t *testing.T) {
		expect(t, decide(t, e, chain("development", "development", "maintenance")), policy.Approval, "maintenance-write-approval")
		expect(t, decide(t, e, chain("development", "development", "operations")), policy.Deny, "operations-write-never")
	})
	t.Run("V-6 a chain of equals changes nothing", func(t *testing.T) {
		expect(t, decide(t, e, chain("development", "development")), policy.Allow, "")
	})
	t.Run("V-6 a parent's contract, window, targets and cut-off bind its subs", func(t *testing.T) {
		for reason, change := range map[string]func(*policy.Vendor){
			"contract-ended":   func(v *policy.Vendor) { v.Contract.Until = friday },
			"no-window":        func(v *policy.Vendor) { v.Windows = nil },
			"target-not-yours": func(v *policy.Vendor) { v.Targets = []string{"orders"} },
			"cut-off":          func(v *policy.Vendor) { v.CutOff = true },
		} {
			in := chain("development", "development")
			change(&in.Parents[0])
			expect(t, decide(t, e, in), policy.Deny, reason)
		}
	})
	t.Run("C-3 the person sits in the sub-contractor's network, not in the parent's", func(t *testing.T) {
		in := chain("development", "development")
		in.Parents[0].Networks = nil
		expect(t, decide(t, e, in), policy.Allow, "")
	})
	t.Run("V-6 no edit of the rules opens a chain", func(t *testing.T) {
		e := engine(t, map[string]string{"development.rego": "package sekisho.development\nallow := true"})
		expect(t, decide(t, e, chain("development", "operations")), policy.Deny, "operations-write-never")
	})
}

func TestOverridesChangeACellPerVendorTargetAndPath(t *testing.T) {
	overridden := func(list string) *policy.Engine {
		return engine(t, map[string]string{"matrix.yaml": strings.Replace(more(t, "matrix.yaml", ""), "\noverrides: []", "\noverrides:\n"+list, 1)})
	}
	one := func(right policy.Right, resource string) policy.Input {
		in := asks("maintenance", right)
		in.Action.Needs[0].Resource = resource
		return in
	}
	t.Run("a vendor's cell", func(t *testing.T) {
		e := overridden("  - {name: trusted, vendor: acme, cells: {write: always, delete: approval}}\n")
		expect(t, decide(t, e, asks("maintenance", policy.Write)), policy.Allow, "")
		d := decide(t, e, asks("maintenance", policy.Delete))
		expect(t, d, policy.Approval, "maintenance-delete-approval")
		if !strings.Contains(d.Reasons[0].EN, "(M-2, override trusted)") {
			t.Errorf("reason %q", d.Reasons[0].EN)
		}
		other := asks("maintenance", policy.Write)
		other.Person.Vendor, other.Vendor.ID = "other", "other"
		expect(t, decide(t, e, other), policy.Approval, "")
	})
	t.Run("a target's cell", func(t *testing.T) {
		e := overridden("  - {name: frozen, target: db1, cells: {execute: never}}\n")
		expect(t, decide(t, e, asks("maintenance", policy.Execute)), policy.Deny, "maintenance-execute-never")
		in := asks("maintenance", policy.Execute)
		in.Target.Name = "orders"
		expect(t, decide(t, e, in), policy.Allow, "")
	})
	t.Run("the last override that matches counts", func(t *testing.T) {
		e := overridden("  - {name: a, type: maintenance, cells: {write: never}}\n  - {name: b, vendor: acme, cells: {write: always}}\n")
		expect(t, decide(t, e, asks("maintenance", policy.Write)), policy.Allow, "")
	})
	t.Run("a path that loosens", func(t *testing.T) {
		e := overridden("  - {name: conf, path: /srv/app/**, cells: {write: always}}\n")
		for path, want := range map[string]policy.Effect{
			"/srv/app/a/b":            policy.Allow,
			"/srv/app":                policy.Allow,
			"/srv/app/./x":            policy.Allow,
			"/srv/app/../../etc/cron": policy.Approval,
			"/srv/app/*":              policy.Approval,
			"/srv/app/$x":             policy.Approval,
			"/srv/application":        policy.Approval,
			"/SRV/app/x":              policy.Approval,
			"/srv/app./x":             policy.Approval,
			"app/x":                   policy.Approval,
			"sha256:00":               policy.Approval,
		} {
			if d := decide(t, e, one(policy.Write, path)); d.Effect != want {
				t.Errorf("%s: %s, want %s", path, d.Effect, want)
			}
		}
	})
	t.Run("a path that tightens", func(t *testing.T) {
		e := overridden("  - {name: secret, path: /srv/*/customers/**, cells: {read: never}}\n")
		for path, want := range map[string]policy.Effect{
			"/srv/app/customers/1":    policy.Deny,
			"/srv/app/x/../customers": policy.Deny,
			"/srv/app/cust*":          policy.Deny,
			"$x":                      policy.Deny,
			"../customers":            policy.Deny,
			"~/x":                     policy.Deny,
			"/proc/self/root/srv/x":   policy.Deny,
			"/proc/1/task/1/cwd/x":    policy.Deny,
			"/proc/self/exe":          policy.Deny,
			"//proc/self//root/srv/x": policy.Deny,
			"/proc/../dev/fd/3":       policy.Deny,
			"/dev/fd/3":               policy.Deny,
			"/dev/mapper/vg-srv":      policy.Deny,
			"/dev/nvme0n1p2":          policy.Deny,
			"/proc/kcore":             policy.Deny,
			"/SRV/app/Customers/1":    policy.Deny,
			"/srv/app/customers./1":   policy.Deny,
			"/srv/app/customers /1":   policy.Deny,
			"/proc/loadavg":           policy.Allow,
			"/dev/null":               policy.Allow,
			"sha256:00":               policy.Deny,
			"/srv/app/orders":         policy.Allow,
			"notes.txt":               policy.Allow,
		} {
			if d := decide(t, e, one(policy.Read, path)); d.Effect != want {
				t.Errorf("%s: %s, want %s", path, d.Effect, want)
			}
		}
	})
	t.Run("a path below a home folder, as it is named from there", func(t *testing.T) {
		for _, pattern := range []string{"/home/deploy/conf/**", "/home/*/conf/**", "/root/conf/**", "/**/conf/*"} {
			e := overridden("  - {name: conf, path: " + pattern + ", cells: {read: never}}\n")
			for path, want := range map[string]policy.Effect{
				"conf/app.conf":   policy.Deny,
				"./conf/app.conf": policy.Deny,
				"notes.txt":       policy.Allow,
				"echo conf":       policy.Allow,
			} {
				if d := decide(t, e, one(policy.Read, path)); d.Effect != want {
					t.Errorf("%s, %s: %s, want %s", pattern, path, d.Effect, want)
				}
			}
		}
	})
	t.Run("a path of a web app", func(t *testing.T) {
		e := overridden("  - {name: export, target: orders, path: /export/**, cells: {read: never}}\n")
		in := one(policy.Read, "GET /export/customers?x=1")
		in.Target, in.Action.Protocol, in.Action.Operation = policy.Target{Name: "orders", Kind: "https"}, "https", "http.request"
		expect(t, decide(t, e, in), policy.Deny, "maintenance-read-never")
		for _, path := range []string{"/Export/customers", "/export/", "/export./customers"} {
			in.Action.Needs[0].Resource = "GET " + path
			expect(t, decide(t, e, in), policy.Deny, "maintenance-read-never")
		}
		in.Action.Needs[0].Resource = "GET /orders"
		expect(t, decide(t, e, in), policy.Allow, "")
	})
	t.Run("admin stays never", func(t *testing.T) {
		e := overridden("  - {name: root, vendor: acme, cells: {admin: always}}\n")
		expect(t, decide(t, e, asks("maintenance", policy.Admin)), policy.Deny, "admin-never")
	})
	t.Run("obligations", func(t *testing.T) {
		e := overridden("  - {name: watched, vendor: acme, obligations: {mfa_max_age: 2h, supervise: true, download: off, max_bytes: 1000}}\n")
		in := asks("maintenance", policy.Read)
		o := decide(t, e, in).Obligations
		if o.MFAMaxAge.Hours() != 2 || !o.Supervise || o.Download != "off" || o.MaxBytes != 1000 || o.Watermark {
			t.Errorf("obligations %+v", o)
		}
		in.Auth.MFA.At = friday.Add(-2 * 60 * 60 * 1e9)
		expect(t, decide(t, e, in), policy.Deny, "mfa-expired")
	})
}
