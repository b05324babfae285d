package directory_test

import (
	"slices"
	"testing"

	"github.com/sekisho/sekisho/policy"
)

func TestADecisionGetsTheWholeChainOfTheVendor(t *testing.T) {
	d := parse(t, specExample)
	in, ok := d.Input("jiro", "db1", "app")
	if !ok {
		t.Fatal("no input")
	}
	chain := []string{"acme-sub", "acme-maintenance"}
	if in.Person.ID != "jiro" || in.Vendor.ID != "acme-sub" || !slices.Equal(in.Vendor.Chain, chain) {
		t.Errorf("person %+v, vendor %+v", in.Person, in.Vendor)
	}
	if len(in.Parents) != 1 || in.Parents[0].ID != "acme-maintenance" || !slices.Equal(in.Parents[0].Chain, chain[1:]) {
		t.Errorf("parents = %+v", in.Parents)
	}
	if in.Vendor.Risk != nil || in.Parents[0].Risk == nil || *in.Parents[0].Risk != 2 {
		t.Errorf("risk %v and %v, want none and 2 (V-1)", in.Vendor.Risk, in.Parents[0].Risk)
	}
	if in.Vendor.Contract.From.IsZero() || len(in.Vendor.Networks) != 1 || in.Vendor.Windows[0] != "office-hours" ||
		in.Vendor.Targets[0] != "db1" {
		t.Errorf("vendor = %+v, want contract, networks (C-3), windows (C-2) and targets (C-5)", in.Vendor)
	}
	if in.Target.Name != "db1" || in.Target.Kind != "ssh" || in.Target.Login != "app" || in.Target.Labels["env"] != "prod" {
		t.Errorf("target = %+v", in.Target)
	}
}

func TestOnlyKnownPeopleTargetsAndLoginsGetAnInput(t *testing.T) {
	d := parse(t, specExample)
	for name, c := range map[string]struct {
		person, target, login string
		want                  bool
	}{
		"a contractor's login":                 {"hanako", "db1", "app", true},
		"an admin login, for policy to refuse": {"hanako", "db1", "root", true},
		"a login that is not listed":           {"hanako", "db1", "postgres", false},
		"no login on a host":                   {"hanako", "db1", "", false},
		"an app":                               {"hanako", "orders", "", true},
		"an app with a login":                  {"hanako", "orders", "app", false},
		"a TCP endpoint":                       {"hanako", "pg1", "", true},
		"the gateway itself":                   {"hanako", policy.GatewayTarget, "", true},
		"the gateway itself with a login":      {"hanako", policy.GatewayTarget, "root", false},
		"somebody unknown":                     {"taro", "db1", "app", false},
		"nobody":                               {"", "db1", "app", false},
		"an unknown target":                    {"hanako", "db2", "app", false},
		"no target":                            {"hanako", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, ok := d.Input(c.person, c.target, c.login); ok != c.want {
				t.Errorf("Input(%q, %q, %q) = %v, want %v", c.person, c.target, c.login, ok, c.want)
			}
		})
	}
}

func TestStaffBelongToTheReservedVendor(t *testing.T) {
	d := parse(t, specExample)
	in, ok := d.Input("mika", policy.GatewayTarget, "")
	if !ok || in.Vendor.ID != policy.StaffVendor || in.Vendor.Type != "staff" || len(in.Parents) != 0 {
		t.Fatalf("input = %+v, %v", in, ok)
	}
	if !slices.Equal(in.Vendor.Chain, []string{policy.StaffVendor}) || !slices.Equal(in.Person.Roles, []string{"approver"}) {
		t.Errorf("vendor %+v, roles %v", in.Vendor, in.Person.Roles)
	}
	if in.Target.Kind != "gateway" || in.Target.Name != policy.GatewayTarget {
		t.Errorf("target = %+v", in.Target)
	}
	if p, _ := d.Person("mika"); !p.Staff() {
		t.Error("mika is not taken for staff")
	}
	if p, _ := d.Person("hanako"); p.Staff() {
		t.Error("hanako is taken for staff")
	}
}

func TestAnUnknownVendorHasNoChain(t *testing.T) {
	if chain := parse(t, specExample).Chain("zeta"); chain != nil {
		t.Errorf("chain = %v", chain)
	}
}

func TestFilesOfConfigurationAndSecretsAreKnownByTheirPath(t *testing.T) {
	db1, _ := parse(t, specExample).Target("db1")
	for path, want := range map[string]bool{
		"/etc": true, "/etc/ssh/sshd_config": true, "/srv/app/conf/x": true,
		"/etcetera/x": false, "/srv/app": false, "etc/passwd": false, "/srv/../etc/passwd": false, "": false,
	} {
		if got := db1.ConfigPath(path); got != want {
			t.Errorf("ConfigPath(%q) = %v, want %v (R-4)", path, got, want)
		}
	}
	if !db1.ConfidentialPath("/srv/app/customers/1.csv") || db1.ConfidentialPath("/srv/app/orders/1.csv") {
		t.Error("confidential paths are told wrongly (R-3)")
	}
}

func TestANameIsShownInTheReadersLanguageOrTheOther(t *testing.T) {
	d := parse(t, "vendors: {a: {type: temporary, name: {ja: 甲}}, b: {type: temporary, name: {en: B}}, c: {type: temporary}}")
	a, _ := d.Vendor("a")
	b, _ := d.Vendor("b")
	c, _ := d.Vendor("c")
	if a.Name.In("en") != "甲" || a.Name.In("ja") != "甲" || b.Name.In("ja") != "B" || b.Name.In("en") != "B" || c.Name.In("en") != "" {
		t.Errorf("names: %v %v %v", a.Name, b.Name, c.Name)
	}
}
