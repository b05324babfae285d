package access_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
)

// leased gives somebody leases on db1 by request and approval.
func (o office) leased(person string, scopes ...access.Scope) []access.Lease {
	o.t.Helper()
	r, err := o.ask(person, ask(func(a *access.Ask) { a.Scopes = scopes }))
	check(o.t, err)
	return o.approved(r.ID, access.Consent{}, "mika")
}

// TestALeaseForACommandCoversNoOther: what a contractor may type under "apt *", and what they may not, by whatever spelling.
func TestALeaseForACommandCoversNoOther(t *testing.T) {
	o := newOffice(t, "")
	o.leased("ken", access.Scope{Right: policy.Execute, Pattern: "apt *"}, access.Scope{Right: policy.Execute, Pattern: "systemctl restart app-*"})
	s := o.open("ken", "db1")
	for line, want := range map[string]policy.Effect{
		"apt install -y nginx":             policy.Allow,
		"apt   update":                     policy.Allow, // one command, spelled with more spaces
		"apt 'update'":                     policy.Allow,
		"apt install a; apt install b":     policy.Allow,
		"apt update | grep nginx":          policy.Allow, // grep is ○
		"apt update > /tmp/log":            policy.Allow, // so is writing, for a developer
		"systemctl restart app-1":          policy.Allow,
		"apt":                              policy.Approval,
		"apt x; rm -rf /":                  policy.Deny,
		"apt x\nrm -rf /":                  policy.Deny,
		"apt x && rm -rf /":                policy.Deny,
		"apt x & rm -rf /":                 policy.Deny,
		"apt x || rm -rf /":                policy.Deny,
		"apt $(rm -rf /)":                  policy.Deny,
		"apt `rm -rf /`":                   policy.Deny,
		`apt "$(rm -rf /)"`:                policy.Deny,
		"apt <(rm -rf /)":                  policy.Deny,
		"apt x; make":                      policy.Approval,
		"apt x\nmake":                      policy.Approval,
		"apt x | ./run":                    policy.Approval,
		"apt x | sh":                       policy.Deny, // opaque
		"apt 'x; rm'":                      policy.Approval,
		`apt "x; rm"`:                      policy.Approval,
		`apt x\;rm`:                        policy.Approval,
		"'apt x'":                          policy.Approval,
		"/tmp/apt x":                       policy.Approval,
		"./apt x":                          policy.Approval,
		"apt $x":                           policy.Approval,
		"apt *":                            policy.Approval,
		"apt ~/x":                          policy.Approval,
		"apt {a,b}":                        policy.Approval,
		"A=1 apt x":                        policy.Approval,
		"cd /tmp && apt x":                 policy.Approval,
		"apt x < /tmp/answers":             policy.Approval,
		"sudo apt x":                       policy.Approval,
		"LD_PRELOAD=/tmp/x apt x":          policy.Deny, // opaque
		"apt() { ./run; }; apt x":          policy.Approval,
		"systemctl restart app-1 sshd":     policy.Approval,
		"systemctl restart 'app-1 sshd'":   policy.Approval,
		"systemctl stop app-1":             policy.Approval,
		"systemctl  restart  app-$(id -u)": policy.Approval,
	} {
		got := o.effect(s, exec(line))
		if got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

// TestALeaseForAFolderCoversNothingOutside it.
func TestALeaseForAFolderCoversNothingOutside(t *testing.T) {
	o := newOffice(t, "")
	o.leased("hanako", access.Scope{Right: policy.Write, Pattern: "/srv/app/*"})
	s := o.open("hanako", "db1")
	for line, want := range map[string]bool{
		"touch /srv/app/x":                true,
		"touch /srv/app/x/y":              true,
		"touch /srv/app/x /srv/app/y":     true,
		"touch /srv/app/x /etc/passwd":    false,
		"touch /srv/app/../etc/passwd":    false,
		"touch /srv/app/x/../../../etc/p": false,
		"touch /srv/apps":                 false,
		"touch /srv/app":                  false,
		"touch srv/app/x":                 false,
		"touch /srv/app/$x":               false,
		"touch /srv/app/x*":               false,
		"touch /srv/app/{x,../../etc/y}":  false,
		"touch \"/srv/app/$(id)\"":        false,
		"cd /srv/app && touch x":          false,
		"touch /srv/app/x; touch /etc/y":  false,
		"echo x > /srv/app/x":             true,
		"echo x > /etc/x":                 false,
	} {
		if got := o.effect(s, exec(line)) == policy.Allow; got != want {
			t.Errorf("%q: allowed %v, want %v", line, got, want)
		}
	}
}

func TestALeaseOnAnAppBindsMethodAndPath(t *testing.T) {
	o := newOffice(t, "")
	app := func(pattern string) access.Ask {
		return ask(func(a *access.Ask) {
			a.Target, a.Login, a.Scopes = "app", "", []access.Scope{{Right: policy.Write, Pattern: pattern}}
		})
	}
	for _, pattern := range []string{"*", "/orders/*", "* /orders/1", "P* /orders/1", "orders", "TRACE /orders/*", "PUT orders"} {
		if _, err := o.ask("hanako", app(pattern)); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	r, err := o.ask("hanako", app("PUT /orders/*"))
	check(t, err)
	o.approved(r.ID, access.Consent{}, "mika")
	s, err := o.door.Open(t.Context(), access.Request{Principal: o.as("hanako"), Target: "app", Protocol: "https"})
	check(t, err)
	defer s.End("test over")
	for request, want := range map[string]bool{
		"PUT /orders/1": true, "PUT /orders/1/lines/2": true, "PATCH /orders/1": false, "PUT /users/1": false, "PUT /orders": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		got := o.effect(s, access.Operation{Kind: "http.request", Method: method, Path: path}) == policy.Allow
		if got != want {
			t.Errorf("%s: allowed %v", request, got)
		}
	}
}

// TestALeaseGivesNothingWhereTheControlsRefuse: guardrail, vendor type and chain stand above every lease.
func TestALeaseGivesNothingWhereTheControlsRefuse(t *testing.T) {
	open := func(o office, ken identity.Principal) error {
		s, err := o.door.Open(t.Context(), access.Request{Principal: ken, Target: "db1", Login: "app", Protocol: "ssh"})
		if err == nil {
			defer s.End("test over")
			_, err = s.Authorize(t.Context(), exec("make all"))
		}
		return err
	}
	for name, spoil := range map[string]func(o office){
		"the contract has ended": func(o office) {
			o.change(t, "dev: {type: development, contract: {from: 2026-01-01, until: 2026-12-31}", "dev: {type: development, contract: {from: 2026-01-01, until: 2026-11-22}")
		},
		"the person has left":    func(o office) { o.change(t, "  ken: {vendor: dev}\n", "", ", same_as: ken}", "}") },
		"the vendor was cut off": func(o office) { _, err := o.door.CutOff(t.Context(), o.as("ren"), "dev", "x"); check(t, err) },
		"the person was revoked": func(o office) { o.revoked = func(kind, id string) bool { return kind == "person" && id == "ken" } },
		"the target was taken away": func(o office) {
			o.change(t, "windows: [office-hours], targets: [db1]}\n  maint", "windows: [office-hours], targets: []}\n  maint")
		},
		"the day is over":    func(o office) { o.at(monday.Add(8 * time.Hour)) },
		"the type never may": func(o office) { o.change(t, "dev: {type: development", "dev: {type: consulting") },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, "")
			r, err := o.ask("ken", ask(func(a *access.Ask) { a.Minutes = 480 }))
			check(t, err)
			o.approved(r.ID, access.Consent{}, "mika")
			ken := o.as("ken")
			check(t, open(o, ken))
			spoil(o)
			ken.MFA.At = o.clock()
			var refusal *access.Refusal
			if err := open(o, ken); !errors.As(err, &refusal) || refusal.Effect != policy.Deny {
				t.Errorf("with a lease: %v", err)
			}
			if name == "the day is over" {
				return // the lease may be used tomorrow
			}
			if _, err := o.door.Ask(t.Context(), ken, ask(nil)); !errors.As(err, &refusal) {
				t.Errorf("it can still be asked for: %v", err)
			}
		})
	}
}

// change puts another directory in force: old, new, old, new …
func (o office) change(t *testing.T, replace ...string) {
	t.Helper()
	document := string(o.directory.Version().YAML)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(document, replace[i]) {
			t.Fatalf("no %q in the directory", replace[i])
		}
		document = strings.Replace(document, replace[i], replace[i+1], 1)
	}
	_, _, err := o.directory.Apply(t.Context(), []byte(document), "ren", "test", o.directory.Version().Number)
	check(t, err)
}

// TestALeaseIsForTheLoginAndVendorThatWereApproved.
func TestALeaseIsForTheLoginAndVendorThatWereApproved(t *testing.T) {
	o := newOffice(t, "")
	o.change(t, "logins: [app]}\n  open1", "logins: [app, batch]}\n  open1")
	o.leased("ken", access.Scope{Right: policy.Execute, Pattern: "make *"})
	batch, err := o.door.Open(t.Context(), access.Request{Principal: o.as("ken"), Target: "db1", Login: "batch", Protocol: "ssh"})
	check(t, err)
	defer batch.End("test over")
	if got := o.effect(batch, exec("make all")); got != policy.Approval {
		t.Errorf("as another login: %v", got)
	}
	if got := o.effect(o.open("ken", "db1"), exec("make all")); got != policy.Allow {
		t.Errorf("as the login: %v", got)
	}
	o.change(t, "ken: {vendor: dev}", "ken: {vendor: temp}")
	if got := o.effect(o.open("ken", "db1"), exec("make all")); got != policy.Approval {
		t.Errorf("for another vendor: %v", got)
	}
}

// TestALeaseOfAnOlderGatewayGoesOn: it names neither login nor vendor.
func TestALeaseOfAnOlderGatewayGoesOn(t *testing.T) {
	o := newOffice(t, "")
	old := o.leased("ken", access.Scope{Right: policy.Execute, Pattern: "make *"})[0]
	old.ID, old.Vendor, old.Login, old.Pattern = "l-old", "", "", "./old *"
	check(t, o.cfg.Store.ChangeRequest(t.Context(), old.Request, func(*access.ApprovalRequest) ([]access.Lease, error) {
		return []access.Lease{old}, nil
	}))
	o.leased("riku", access.Scope{Right: policy.Execute, Pattern: "make *"}) // has the door read leases again
	s := o.open("ken", "db1")
	for _, line := range []string{"make all", "./old x"} {
		if got := o.effect(s, exec(line)); got != policy.Allow {
			t.Errorf("%s: %v", line, got)
		}
	}
}

// TestAnApprovalOfWhatIsNotPossibleAnyMoreIsRefused: between request and answer the contract ends.
func TestAnApprovalOfWhatIsNotPossibleAnyMoreIsRefused(t *testing.T) {
	o := newOffice(t, "")
	r := o.filed("ken", "make all")
	o.change(t, "dev: {type: development, contract: {from: 2026-01-01, until: 2026-12-31}", "dev: {type: development, contract: {from: 2026-01-01, until: 2026-11-22}")
	_, err := o.approve("mika", r.ID, access.Consent{})
	because(t, err, "contract-ended")
	if got := o.request(r.ID); got.Status != access.RequestPending || len(got.Answers) > 0 {
		t.Errorf("request %+v", got)
	}
}

// TestASubContractorsRequestIsApprovedAndADenyNeverLifted: sub develops and works for maint, which maintains. What either of
// them has △ can be approved, what either has × cannot, whoever holds a lease.
func TestASubContractorsRequestIsApprovedAndADenyNeverLifted(t *testing.T) {
	o := newOffice(t, "")
	for line, want := range map[string]policy.Effect{"touch /srv/x": policy.Allow, "make all": policy.Allow} {
		o.approved(o.filed("tsubasa", line).ID, access.Consent{}, "mika")
		if got := o.effect(o.open("tsubasa", "db1"), exec(line)); got != want {
			t.Errorf("%s after its approval: %v", line, got)
		}
	}
	leases, err := o.cfg.Store.Leases(t.Context(), "tsubasa", monday)
	check(t, err)
	all := access.ApprovalRequest{ID: "r-forged", Status: access.RequestApproved, Person: "tsubasa", Vendor: "sub", Target: "db1"}
	check(t, o.cfg.Store.PutRequest(t.Context(), all))
	check(t, o.cfg.Store.ChangeRequest(t.Context(), "r-forged", func(*access.ApprovalRequest) ([]access.Lease, error) {
		forged := leases[0]
		var out []access.Lease
		for _, right := range policy.Rights {
			forged.ID, forged.Right, forged.Pattern = "l-"+string(right), right, "*"
			out = append(out, forged)
		}
		return out, nil
	}))
	o.approved(o.filed("ken", "make all").ID, access.Consent{}, "mika") // has the door read leases again
	s := o.open("tsubasa", "db1")
	for line, want := range map[string]policy.Effect{"rm /srv/x": policy.Deny, "useradd eve": policy.Deny, "./other": policy.Allow} {
		if got := o.effect(s, exec(line)); got != want {
			t.Errorf("%s with leases for everything: %v", line, got)
		}
	}
}

func TestARevokedLeaseIsOnRecordWithItsReason(t *testing.T) {
	o := newOffice(t, "")
	leases := o.leased("ken", access.Scope{Right: policy.Execute, Pattern: "make *"})
	s := o.open("ken", "db1")
	_, err := s.Authorize(t.Context(), exec("make all"))
	check(t, err)
	var refusal *access.Refusal
	if err := o.door.RevokeLease(t.Context(), o.as("ken"), leases[0].ID, "x"); !errors.As(err, &refusal) {
		t.Errorf("a contractor revokes: %v", err)
	}
	wantErr(t, o.door.RevokeLease(t.Context(), o.as("mika"), "l-none", "x"), access.ErrNotFound)
	wantErr(t, o.door.RevokeLease(t.Context(), o.as("mika"), leases[0].ID, " "), access.ErrInvalid)
	check(t, o.door.RevokeLease(t.Context(), o.as("nao"), leases[0].ID, "wrong branch"))
	o.ended(s)
	wantErr(t, o.door.RevokeLease(t.Context(), o.as("mika"), leases[0].ID, "again"), access.ErrNotFound)
	events := o.told("gateway.lease.revoked")
	if len(events) != 1 || events[0].Person != "nao" || events[0].Detail["reason"] != "wrong branch" || events[0].Detail["for"] != "ken" ||
		events[0].Detail["before"].(map[string]any)["until"] != "2026-11-30T01:30:00Z" || events[0].Detail["after"].(map[string]any)["until"] != "2026-11-30T01:00:00Z" {
		t.Errorf("on record: %+v", events)
	}
}

// BenchmarkLeasesOfADecision finds the leases that a decision about one command gets: among none, among those of others, and
// among one's own bookings of a year.
func BenchmarkLeasesOfADecision(b *testing.B) {
	own := func(i int) access.Lease {
		from := monday.AddDate(0, 0, 7*(i/16))
		return access.Lease{Vendor: "dev", Login: "app", Lease: policy.Lease{ID: fmt.Sprint("l-", i), Person: "ken", Target: "db1", Right: policy.Execute,
			Pattern: fmt.Sprintf("make target-%d *", i%16), From: from, Until: from.Add(time.Hour)}}
	}
	others := func(i int) access.Lease {
		l := own(0)
		l.Person, l.Target = fmt.Sprint("person-", i/10), fmt.Sprint("target-", i%10)
		return l
	}
	for _, bc := range []struct {
		name   string
		n      int
		lease  func(int) access.Lease
		expect int
	}{{"none", 0, nil, 0}, {"10,000 of others", 10_000, others, 0}, {"848 booked", 53 * 16, own, 1}} {
		b.Run(bc.name, func(b *testing.B) {
			var leases []access.Lease
			for i := range bc.n {
				leases = append(leases, bc.lease(i))
			}
			find := access.LeasesFor(leases)
			in := policy.Input{Person: policy.Person{ID: "ken", Vendor: "dev"}, Target: policy.Target{Name: "db1", Login: "app"}, Time: policy.Clock{Now: monday},
				Action: policy.Action{Needs: []policy.Need{{Right: policy.Execute, Resource: "make target-7 all"}}}}
			b.ReportAllocs()
			for b.Loop() {
				if got := len(find(&in)); got != bc.expect {
					b.Fatalf("%d leases", got)
				}
			}
		})
	}
}
