package access_test

import (
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/policy"
)

func TestABookingMakesALeaseForEachOccurrence(t *testing.T) {
	o := newOffice(t, "")
	first := monday.AddDate(0, 0, 1).Add(time.Hour) // Tuesday 11:00
	r, err := o.ask("ken", ask(func(a *access.Ask) { a.From, a.Every, a.Times = first, access.EveryDay, 3 }))
	check(t, err)
	leases := o.approved(r.ID, access.Consent{Minutes: 20}, "mika")
	if len(leases) != 3 {
		t.Fatalf("leases %+v", leases)
	}
	for i, l := range leases {
		from := first.AddDate(0, 0, i)
		if !l.From.Equal(from) || !l.Until.Equal(from.Add(20*time.Minute)) {
			t.Errorf("lease %d from %v until %v", i, l.From, l.Until)
		}
	}
	for _, tc := range []struct {
		now  time.Time
		want policy.Effect
	}{
		{monday, policy.Approval},
		{first.Add(-time.Second), policy.Approval},
		{first, policy.Allow},
		{first.Add(20*time.Minute - 1), policy.Allow},
		{first.Add(20 * time.Minute), policy.Approval},
		{first.AddDate(0, 0, 2).Add(time.Minute), policy.Allow},
		{first.AddDate(0, 0, 3).Add(time.Minute), policy.Approval},
	} {
		o.house.at(tc.now)
		s, err := o.door.Open(t.Context(), access.Request{Principal: o.as("ken"), Target: "db1", Login: "app", Protocol: "ssh"})
		check(t, err)
		if got := o.effect(s, exec("make all")); got != tc.want {
			t.Errorf("at %v: %v, want %v", tc.now, got, tc.want)
		}
		s.End("test over")
	}
}

func TestABookingThatIsAnsweredLateHasWhatIsLeftOfIt(t *testing.T) {
	o := newOffice(t, "default: {deadline: 720h}")
	r, err := o.ask("ken", ask(func(a *access.Ask) { a.From, a.Every, a.Times = monday.Add(time.Hour), access.EveryDay, 3 }))
	check(t, err)
	over := monday.Add(time.Hour+30*time.Minute).AddDate(0, 0, 2)
	if !r.Expires.Equal(over) {
		t.Errorf("expires %v, want the end of the last occurrence", r.Expires)
	}
	o.at(monday.Add(25*time.Hour + 10*time.Minute))
	leases := o.approved(r.ID, access.Consent{}, "mika")
	if len(leases) != 2 || !leases[0].From.Equal(monday.Add(25*time.Hour)) {
		t.Errorf("leases %+v", leases)
	}
}

// TestABookingKeepsTheWallClock: what begins at nine begins at nine in summer and winter; where the clock is put forward over
// it, at the moment of the change, where it is put back, at the first time it shows it.
func TestABookingKeepsTheWallClock(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	check(t, err)
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339, text)
		check(t, err)
		return v
	}
	for _, tc := range []struct {
		name, from, every string
		times             int
		want              string // the last occurrence
	}{
		{"into winter", "2026-10-19T09:00:00+02:00", access.EveryWeek, 2, "2026-10-26T09:00:00+01:00"},
		{"into summer", "2027-03-27T09:00:00+01:00", access.EveryDay, 2, "2027-03-28T09:00:00+02:00"},
		{"a time that is skipped", "2027-03-27T02:30:00+01:00", access.EveryDay, 2, "2027-03-28T03:00:00+02:00"},
		{"the day after a skipped time", "2027-03-27T02:30:00+01:00", access.EveryDay, 3, "2027-03-29T02:30:00+02:00"},
		{"a time that comes twice", "2026-10-24T02:30:00+02:00", access.EveryDay, 2, "2026-10-25T02:30:00+02:00"},
		{"the second of two", "2026-10-25T02:30:00+01:00", access.EveryDay, 1, "2026-10-25T02:30:00+01:00"},
		{"a leap day", "2028-02-28T12:00:00+01:00", access.EveryDay, 2, "2028-02-29T12:00:00+01:00"},
		{"a year's end", "2026-12-31T23:30:00+01:00", access.EveryDay, 2, "2027-01-01T23:30:00+01:00"},
		{"53 weeks", "2026-10-19T09:00:00+02:00", access.EveryWeek, 53, "2027-10-18T09:00:00+02:00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := access.ApprovalRequest{From: at(tc.from), Every: tc.every, Times: tc.times, Minutes: 60}
			all := access.Occurrences(r, berlin)
			if len(all) != tc.times {
				t.Fatalf("%d occurrences", len(all))
			}
			last := all[len(all)-1]
			if !last[0].Equal(at(tc.want)) || last[1].Sub(last[0]) != time.Hour {
				t.Errorf("from %v until %v, want %s", last[0].In(berlin), last[1].In(berlin), tc.want)
			}
		})
	}
}

// TestEveryOccurrenceOfAYearIsOnItsDay compares with the calendar, in zones that change their clocks at odd times.
func TestEveryOccurrenceOfAYearIsOnItsDay(t *testing.T) {
	for _, name := range []string{"Asia/Tokyo", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"} {
		zone, err := time.LoadLocation(name)
		check(t, err)
		for _, year := range []int{2011, 2018, 2026} {
			from := time.Date(year, 1, 10, 8, 15, 0, 0, zone)
			r := access.ApprovalRequest{From: from.UTC(), Every: access.EveryWeek, Times: 53, Minutes: 30}
			for i, o := range access.Occurrences(r, zone) {
				local := o[0].In(zone)
				if local.Weekday() != from.Weekday() || local.Format("15:04") != "08:15" || local.YearDay() != from.AddDate(0, 0, 7*i).YearDay() {
					t.Errorf("%s: occurrence %d is at %v", name, i, local)
				}
			}
		}
	}
}
