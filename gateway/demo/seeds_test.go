package demo_test

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/demo"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
)

func seedDirectory(t *testing.T, now time.Time, home string) *directory.Directory {
	t.Helper()
	key := "SHA256:" + strings.Repeat("A", 43)
	text := demo.Directory(demo.Seeds{
		Now: now,
		DB1: demo.SSHSeed{Address: "127.0.0.1:40022", HostKey: key, Home: home}, Build1: demo.SSHSeed{Address: "[::1]:40023", HostKey: key},
		Orders: demo.HTTPSSeed{Upstream: "http://127.0.0.1:40080", Host: ordersHost},
	})
	zone, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.Parse("directory.yaml", text, directory.Options{
		Zone: zone, HasWindow: func(name string) bool { return name == "always" },
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return d
}

func TestTheDemoDirectoryHasEveryVendorTypeWithOnePerson(t *testing.T) {
	now := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	d := seedDirectory(t, now, "/srv/demo of mine/targets/db1")
	heads := map[string]int{}
	for _, v := range d.Vendors() {
		if v.Parent == "" {
			heads[v.Type]++
		}
		if now.Before(v.Contract.From) || !now.Before(v.Contract.Until) {
			t.Errorf("the contract of %s is %v", v.ID, v.Contract)
		}
		if !slices.ContainsFunc(v.Networks, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr("::1")) }) {
			t.Errorf("%s may not come from this machine", v.ID)
		}
	}
	for _, kind := range []string{"development", "maintenance", "operations", "consulting", "temporary"} {
		if heads[kind] != 1 {
			t.Errorf("%d vendors of type %s, want 1", heads[kind], kind)
		}
	}
	for _, p := range demo.People() {
		person, ok := d.Person(p.ID)
		if !ok || person.Vendor != p.Vendor || person.Name.JA != p.JA || !slices.Equal(person.Roles, p.Roles) {
			t.Errorf("%s is %+v in the directory, %+v among the people", p.ID, person, p)
		}
		if v, _ := d.Vendor(p.Vendor); v.Type != p.Type {
			t.Errorf("%s is said to be of type %s, not %s", p.ID, p.Type, v.Type)
		}
	}
	if len(d.People()) != len(demo.People()) {
		t.Errorf("%d people, want %d", len(d.People()), len(demo.People()))
	}
}

func TestTheDemoSubContractorReachesLessThanItsParent(t *testing.T) {
	d := seedDirectory(t, time.Now(), "")
	chain := d.Chain("acme-sub")
	if len(chain) != 2 || chain[1].ID != "acme-maintenance" {
		t.Fatalf("chain of acme-sub: %+v", chain)
	}
	if _, ok := d.Input("tsubasa", "db1", "app"); !ok || !slices.Equal(chain[0].Targets, []string{"db1"}) {
		t.Errorf("acme-sub reaches %v", chain[0].Targets)
	}
}

func TestTheDemoTargetsAreAsThePagesNeedThem(t *testing.T) {
	home := filepath.Join(t.TempDir(), "targets", "db1")
	d := seedDirectory(t, time.Now(), home)
	db1, _ := d.Target("db1")
	build1, _ := d.Target("build1")
	orders, _ := d.TargetByHost(ordersHost)
	if db1.Opaque != directory.OpaqueDeny || build1.Opaque != directory.OpaqueExecute {
		t.Errorf("opaque lines: db1 %s, build1 %s", db1.Opaque, build1.Opaque)
	}
	if len(db1.ConfidentialPaths) != 1 || db1.ConfidentialPaths[0] != home+"/customers/**" {
		t.Errorf("confidential paths: %v", db1.ConfidentialPaths)
	}
	for _, c := range []struct {
		method, path string
		want         policy.Right
	}{
		{"GET", "/orders", policy.Read}, {"POST", "/search", policy.Read}, {"POST", "/orders/1001", policy.Write},
		{"POST", "/orders/1001/ship", policy.Execute}, {"PATCH", "/api/orders/1001", policy.Write},
		{"DELETE", "/api/orders/1001", policy.Delete}, {"GET", "/export/customers", policy.Read},
	} {
		if got, ok := orders.RightFor(c.method, c.path); !ok || got != c.want {
			t.Errorf("%s %s needs %s, want %s", c.method, c.path, got, c.want)
		}
	}
}

func TestAHomeThatNoPatternCanSayIsNotMarked(t *testing.T) {
	d := seedDirectory(t, time.Now(), "/srv/what*/db1")
	if db1, _ := d.Target("db1"); len(db1.ConfigPaths) != 0 {
		t.Errorf("config paths %v", db1.ConfigPaths)
	}
}
