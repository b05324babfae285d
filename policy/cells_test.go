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
