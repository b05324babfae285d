package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// open parses one window.
func openWindow(t *testing.T, spec string) *window {
	t.Helper()
	windows, err := parseWindows([]byte("w: {" + spec + "}\n"))
	if err != nil {
		t.Fatal(err)
	}
	return windows["w"]
}

// moment reads "2006-01-02 15:04 -0700".
func moment(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04 -0700", s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestWhenWindowsAreOpen(t *testing.T) {
	const (
		office = `zone: Asia/Tokyo, days: [mon, tue, wed, thu, fri], from: "09:00", to: "18:00"`
		night  = `zone: Asia/Tokyo, dates: ["2026-12-05"], from: "22:00", to: "06:00"`
		sunday = `zone: Asia/Tokyo, days: [sun], from: "20:00", to: "24:00"`
		always = `zone: UTC, days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00"`
		weeks  = `zone: UTC, days: [fri], dates: ["2026-11-21"], from: "23:00", to: "01:00"`
		nyNigh = `zone: America/New_York, days: [sat], from: "22:00", to: "06:00"`
		nyGap  = `zone: America/New_York, days: [sun], from: "02:30", to: "05:00"`
		nyIn   = `zone: America/New_York, days: [sun], from: "01:00", to: "02:30"`
		nyTwo  = `zone: America/New_York, days: [sun], from: "01:30", to: "05:00"`
		nyEnd  = `zone: America/New_York, days: [sat], from: "22:00", to: "01:30"`
		nyDay  = `zone: America/New_York, days: [sun], from: "00:00", to: "24:00"`
	)
	for _, tc := range []struct {
		name, window, at string
		open             bool
		until            string
	}{
		{"at noon", office, "2026-11-20 12:00 +0900", true, "2026-11-20 18:00 +0900"},
		{"at its first minute", office, "2026-11-20 09:00 +0900", true, "2026-11-20 18:00 +0900"},
		{"one minute before", office, "2026-11-20 08:59 +0900", false, "2026-11-20 09:00 +0900"},
		{"at its closing time", office, "2026-11-20 18:00 +0900", false, "2026-11-23 09:00 +0900"},
		{"seen from another zone", office, "2026-11-20 03:00 +0000", true, "2026-11-20 18:00 +0900"},
		{"on a day it does not have", office, "2026-11-21 12:00 +0900", false, "2026-11-23 09:00 +0900"},
		{"across midnight, before it", night, "2026-12-05 23:00 +0900", true, "2026-12-06 06:00 +0900"},
		{"across midnight, after it", night, "2026-12-06 05:59 +0900", true, "2026-12-06 06:00 +0900"},
		{"across midnight, closed", night, "2026-12-06 06:00 +0900", false, "2026-12-14 06:00 +0900"},
		{"across midnight, not on the night before", night, "2026-12-05 05:00 +0900", false, "2026-12-05 22:00 +0900"},
		{"until 24:00", sunday, "2026-11-22 23:59 +0900", true, "2026-11-23 00:00 +0900"},
		{"at 24:00", sunday, "2026-11-23 00:00 +0900", false, "2026-11-29 20:00 +0900"},
		{"always", always, "2026-11-22 23:59 +0000", true, ""},
		{"days and dates together, on the day", weeks, "2026-11-20 23:30 +0000", true, "2026-11-21 01:00 +0000"},
		{"days and dates together, on the date", weeks, "2026-11-21 23:30 +0000", true, "2026-11-22 01:00 +0000"},
		{"days and dates together, in between", weeks, "2026-11-21 12:00 +0000", false, "2026-11-21 23:00 +0000"},

		// In New York the clock jumps from 02:00 to 03:00 on 2026-03-08 and back from 02:00 to 01:00 on 2026-11-01.
		{"a night that lost an hour", nyNigh, "2026-03-08 03:00 -0400", true, "2026-03-08 06:00 -0400"},
		{"a night that gained an hour", nyNigh, "2026-11-01 01:30 -0500", true, "2026-11-01 06:00 -0500"},
		{"an opening time that was skipped counts at the jump", nyGap, "2026-03-08 03:00 -0400", true, "2026-03-08 05:00 -0400"},
		{"before an opening time that was skipped", nyGap, "2026-03-08 01:59 -0500", false, "2026-03-08 03:00 -0400"},
		{"a closing time that was skipped counts at the jump", nyIn, "2026-03-08 01:59 -0500", true, "2026-03-08 03:00 -0400"},
		{"after a closing time that was skipped", nyIn, "2026-03-08 03:00 -0400", false, "2026-03-15 01:00 -0400"},
		{"an opening time that comes twice counts the first time", nyTwo, "2026-11-01 01:30 -0400", true, "2026-11-01 05:00 -0500"},
		{"and stays open the second time", nyTwo, "2026-11-01 01:10 -0500", true, "2026-11-01 05:00 -0500"},
		{"a closing time that comes twice counts the first time", nyEnd, "2026-11-01 01:29 -0400", true, "2026-11-01 01:30 -0400"},
		{"and stays closed the second time", nyEnd, "2026-11-01 01:10 -0500", false, "2026-11-07 22:00 -0500"},
		{"a day of 25 hours", nyDay, "2026-11-01 12:00 -0500", true, "2026-11-02 00:00 -0500"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := moment(t, tc.at)
			open, until := openWindow(t, tc.window).state(now)
			if open != tc.open {
				t.Errorf("open %v, want %v", open, tc.open)
			}
			if tc.until == "" {
				if until.Before(now.Add(windowHorizon)) {
					t.Errorf("closes %v", until)
				}
				return
			}
			if want := moment(t, tc.until); !until.Equal(want) {
				t.Errorf("until %v, want %v", until, want)
			}
		})
	}
}

// TestAWindowAgreesWithTheClock compares every half hour of a year with the plain reading of the zone's clock.
func TestAWindowAgreesWithTheClock(t *testing.T) {
	for _, zone := range []string{"Asia/Tokyo", "America/New_York", "Australia/Lord_Howe"} {
		w := openWindow(t, fmt.Sprintf(`zone: %s, days: [mon, wed, sun], from: "04:00", to: "20:15"`, zone))
		days := map[time.Weekday]bool{time.Monday: true, time.Wednesday: true, time.Sunday: true}
		for at := moment(t, "2026-01-01 00:00 +0000"); at.Year() == 2026; at = at.Add(30 * time.Minute) {
			local := at.In(w.zone)
			clock := minutes(local.Hour()*60 + local.Minute())
			want := days[local.Weekday()] && clock >= 4*60 && clock < 20*60+15
			open, until := w.state(at)
			if open != want {
				t.Fatalf("%s at %v: open %v", zone, local, open)
			}
			if before, _ := w.state(until.Add(-time.Second)); before != open || !until.After(at) {
				t.Fatalf("%s at %v: changes before %v", zone, local, until)
			}
		}
	}
}

func TestAClockHoldsUntilAnyWindowChanges(t *testing.T) {
	windows, err := parseWindows([]byte(strings.Join([]string{
		`day: {zone: UTC, days: [fri], from: "08:00", to: "20:00"}`,
		`noon: {zone: UTC, days: [fri], from: "11:00", to: "13:00"}`,
		`late: {zone: UTC, days: [fri], from: "12:00", to: "14:00"}`,
	}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	c := readClock(windows, moment(t, "2026-11-20 11:30 +0000"))
	if c.key != "day,noon" || !c.until.Equal(moment(t, "2026-11-20 12:00 +0000")) {
		t.Errorf("open %q until %v", c.key, c.until)
	}
	if !c.holds(moment(t, "2026-11-20 11:59 +0000")) || c.holds(moment(t, "2026-11-20 12:00 +0000")) || c.holds(moment(t, "2026-11-20 11:29 +0000")) {
		t.Error("the clock holds at the wrong times")
	}
}
