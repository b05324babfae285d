package policy_test

import (
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// worksAt is a person of a vendor with one window, whose other controls are all met at that time.
func worksAt(now time.Time, window string) policy.Input {
	in := asks("development", policy.Read)
	in.Vendor.Windows = []string{window}
	in.Vendor.Contract = policy.Contract{From: now.AddDate(0, -1, 0), Until: now.AddDate(0, 1, 0)}
	in.Auth.Cert.NotAfter, in.Auth.MFA.At, in.Time.Now = now.Add(6*time.Hour), now.Add(-time.Hour), now
	return in
}

// TestTheShippedWindows looks at every bound of a week without holidays from the second before to the second after (C-2).
func TestTheShippedWindows(t *testing.T) {
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	rev := load(t, nil)
	for day := range 8 {
		for _, clock := range []time.Duration{0, 9 * time.Hour, 12 * time.Hour, 18 * time.Hour} {
			for _, zone := range []*time.Location{tokyo, time.UTC} {
				bound := time.Date(2026, 11, 9+day, 0, 0, 0, 0, zone).Add(clock)
				for _, now := range []time.Time{bound.Add(-time.Minute), bound.Add(-time.Second), bound, bound.Add(time.Second)} {
					e := policy.NewEngine(rev, at(now))
					expect(t, decide(t, e, worksAt(now, "always")), policy.Allow, "")
					local := now.In(tokyo)
					want := policy.Deny
					if local.Weekday() != time.Saturday && local.Weekday() != time.Sunday && local.Hour() >= 9 && local.Hour() < 18 {
						want = policy.Allow
					}
					if d := decide(t, e, worksAt(now, "office-hours")); d.Effect != want {
						t.Errorf("office-hours at %s: %s, want %s", local, d.Effect, want)
					}
				}
			}
		}
	}
}

// TestOfficeHoursKeepHolidays: 文化の日 is a Tuesday, 振替休日 a Monday.
func TestOfficeHoursKeepHolidays(t *testing.T) {
	rev := load(t, nil)
	for day, want := range map[string]policy.Effect{
		"2026-11-02": policy.Allow, "2026-11-03": policy.Deny, "2026-11-04": policy.Allow,
		"2027-03-19": policy.Allow, "2027-03-22": policy.Deny, "2027-03-23": policy.Allow,
	} {
		now, err := time.Parse(time.RFC3339, day+"T12:00:00+09:00")
		if err != nil {
			t.Fatal(err)
		}
		e := policy.NewEngine(rev, at(now))
		if d := decide(t, e, worksAt(now, "office-hours")); d.Effect != want {
			t.Errorf("office-hours on %s: %s, want %s", day, d.Effect, want)
		}
		expect(t, decide(t, e, worksAt(now, "always")), policy.Allow, "")
	}
}
