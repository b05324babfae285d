package policy

import (
	"fmt"
	"slices"
	"time"
)

// endsBy lists what ends an allow, the soonest first.
func (e *explainer) endsBy(d *Decision) []Condition {
	list := &conditions{explainer: e}
	list.add("certificate", "C-1", e.in.Auth.Cert.NotAfter, "", "The certificate%s expires at %s (C-1).", "証明書%sは %s に失効します（C-1）。")
	for l := range e.inquiry.links {
		list.link(e.inquiry.links[l].vendor, e.inquiry.links[l].obligations.MFAMaxAge)
	}
	for _, need := range d.Needs {
		for _, lease := range e.in.Leases {
			if lease.ID == need.Lease && need.Lease != "" {
				list.add("lease", "", lease.Until, named(lease.ID), "The approval %s ends at %s.", "承認 %s は %s に終了します。")
			}
		}
	}
	if e.in.BreakGlass != nil && e.in.staff() {
		list.add("break-glass", "", e.in.BreakGlass.Until, named(e.in.BreakGlass.ID), "The declared emergency %s ends at %s.",
			"緊急アクセス %s は %s に終了します。")
	}
	slices.SortStableFunc(list.found, func(a, b Condition) int { return a.At.Compare(b.At) })
	return slices.CompactFunc(list.found, func(a, b Condition) bool { return a.EN == b.EN })
}

// conditions collects what ends an allow.
type conditions struct {
	*explainer
	found []Condition
}

// add takes in a moment; the sentences have a place for a name and for the time.
func (c *conditions) add(id, table string, at time.Time, name, en, ja string) {
	if at.After(c.in.Time.Now) {
		when := c.clockTime(at)
		c.found = append(c.found, Condition{ID: id, Table: table, At: at, EN: fmt.Sprintf(en, name, when), JA: fmt.Sprintf(ja, name, when)})
	}
}

// link adds what ends the access of one vendor of the chain.
func (c *conditions) link(v *Vendor, maxAge time.Duration) {
	c.add("mfa", "C-4", c.in.Auth.MFA.At.Add(maxAge), "", "The second factor%s has to be given again at %s (C-4).",
		"多要素認証%sは %s にやり直す必要があります（C-4）。")
	if v.ID == StaffVendor {
		return
	}
	name := named(v.ID)
	c.add("contract", "V-7", v.Contract.Until, name, "The contract of %s ends at %s (V-7).", "%s の委託契約は %s に終了します（V-7）。")
	if open, closes := c.hours(v, c.in.Time.Now); open && c.in.Target.Name != GatewayTarget {
		c.add("window", "C-2", closes, name, "The working hours of %s end at %s (C-2).", "%s の作業時間は %s に終了します（C-2）。")
	}
}

// hours says whether a vendor's working hours are open at t and until when that stays so.
func (e *explainer) hours(v *Vendor, t time.Time) (open bool, until time.Time) {
	c := e.judge.clockAt(t)
	if hours := c.hours(v.Windows); hours.open || hours.until.After(t) {
		return hours.open, hours.until
	}
	return false, t.Add(windowHorizon)
}

// clockTime is a moment on the gateway's clock.
func (e *explainer) clockTime(t time.Time) string {
	zone, err := time.LoadLocation(e.in.Time.Zone)
	if err != nil {
		zone = time.UTC
	}
	return t.In(zone).Format("2006-01-02 15:04 MST")
}
