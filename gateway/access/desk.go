package access

import (
	"context"
	"time"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
)

// maxOwnRequests is how many of their requests a person is shown.
const maxOwnRequests = 5

// Desk is what a person may know about how they stand now: what `ssh gateway` prints.
type Desk struct {
	Now      time.Time // in the gateway's zone
	Targets  []DeskTarget
	Windows  []DeskWindow      // of their vendor
	Requests []ApprovalRequest // newest first, the last few
	Leases   []Lease           // that have not ended
}

// DeskTarget is a target of the person's vendor.
type DeskTarget struct {
	Name   string
	Kind   string   // ssh | https | tcp
	Logins []string // ssh
	Host   string   // https
	Port   uint16   // tcp
	Open   bool     // for the person now
	Why    policy.Reason
}

// DeskWindow is a window of the person's vendor: open until Until, or closed until then.
type DeskWindow struct {
	Name  string
	Open  bool
	Until time.Time
	Long  bool // it stays so for a week at least
}

// Desk tells a person how they stand.
func (d *Door) Desk(ctx context.Context, by identity.Principal) (Desk, error) {
	if err := d.Act(ctx, by, "gateway.self.show", ""); err != nil {
		return Desk{}, err
	}
	now := d.cfg.Now().In(d.cfg.Zone)
	desk := Desk{Now: now}
	dir := d.cfg.Directory.Current()
	if vendor, ok := dir.Vendor(by.Vendor); ok {
		for _, name := range vendor.Targets {
			if t, ok := dir.Target(name); ok {
				desk.Targets = append(desk.Targets, d.deskTarget(ctx, by, t))
			}
		}
		for _, name := range vendor.Windows {
			open, until, _ := d.cfg.Engine.Revision().Window(name, now)
			desk.Windows = append(desk.Windows, DeskWindow{Name: name, Open: open, Until: until.In(d.cfg.Zone),
				Long: until.Sub(now) >= 7*24*time.Hour})
		}
	}
	var err error
	if desk.Requests, err = d.OwnRequests(ctx, by, maxOwnRequests); err != nil {
		return Desk{}, err
	}
	desk.Leases, err = d.OwnLeases(ctx, by)
	return desk, err
}

// deskTarget asks policy whether a target is open to a person now, with the first of its logins.
func (d *Door) deskTarget(ctx context.Context, by identity.Principal, t directory.Target) DeskTarget {
	shown := DeskTarget{Name: t.Name, Kind: t.Kind(), Logins: t.Logins}
	login := ""
	if len(t.Logins) > 0 {
		login = t.Logins[0]
	}
	if t.HTTPS != nil {
		shown.Host = t.HTTPS.Host
	}
	if t.TCP != nil {
		shown.Port = t.TCP.Port()
	}
	in, ok := d.input(by, t.Name, login, connectAction(t, login, t.Kind()))
	if !ok || !within(in, t.Name) {
		shown.Why = notYours
		return shown
	}
	ruled := d.verdict(ctx, by, in)
	shown.Open = ruled.Effect == policy.Allow
	if !shown.Open && len(ruled.Reasons) > 0 {
		shown.Why = ruled.Reasons[0]
	}
	return shown
}
