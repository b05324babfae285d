package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// published are the holidays as the Cabinet Office lists them (内閣府「国民の祝日」について, 昭和30年から…国民の祝日), with the
// days of the enthronement in 2019 and the moved ones of 2020 and 2021.
var published = map[int]string{
	2019: "01-01 01-14 02-11 03-21 04-29 04-30 05-01 05-02 05-03 05-04 05-05 05-06 07-15 08-11 08-12 09-16 09-23 10-14 10-22 11-03 11-04 11-23",
	2020: "01-01 01-13 02-11 02-23 02-24 03-20 04-29 05-03 05-04 05-05 05-06 07-23 07-24 08-10 09-21 09-22 11-03 11-23",
	2021: "01-01 01-11 02-11 02-23 03-20 04-29 05-03 05-04 05-05 07-22 07-23 08-08 08-09 09-20 09-23 11-03 11-23",
	2022: "01-01 01-10 02-11 02-23 03-21 04-29 05-03 05-04 05-05 07-18 08-11 09-19 09-23 10-10 11-03 11-23",
	2023: "01-01 01-02 01-09 02-11 02-23 03-21 04-29 05-03 05-04 05-05 07-17 08-11 09-18 09-23 10-09 11-03 11-23",
	2024: "01-01 01-08 02-11 02-12 02-23 03-20 04-29 05-03 05-04 05-05 05-06 07-15 08-11 08-12 09-16 09-22 09-23 10-14 11-03 11-04 11-23",
	2025: "01-01 01-13 02-11 02-23 02-24 03-20 04-29 05-03 05-04 05-05 05-06 07-21 08-11 09-15 09-23 10-13 11-03 11-23 11-24",
	2026: "01-01 01-12 02-11 02-23 03-20 04-29 05-03 05-04 05-05 05-06 07-20 08-11 09-21 09-22 09-23 10-12 11-03 11-23",
	2027: "01-01 01-11 02-11 02-23 03-21 03-22 04-29 05-03 05-04 05-05 07-19 08-11 09-20 09-23 10-11 11-03 11-23",
}

func TestJapaneseHolidaysAreThosePublished(t *testing.T) {
	for year, list := range published {
		var got []string
		for d := (date{year, 1, 1}); d.year == year; d = d.add(1) {
			if japan.has(d) {
				got = append(got, fmt.Sprintf("%02d-%02d", d.month, d.day))
			}
		}
		if strings.Join(got, " ") != list {
			t.Errorf("%d:\n%v\n%s published", year, got, list)
		}
	}
	if japan.has(date{2018, 1, 1}) {
		t.Error("a year that is not covered has a holiday")
	}
}

// TestEquinoxesOfDistantYears compares with 国立天文台's table of the years in which the day differs from the one four years
// before.
func TestEquinoxesOfDistantYears(t *testing.T) {
	for year, days := range map[int][2]int{2012: {20, 22}, 2028: {20, 22}, 2029: {20, 23}, 2030: {20, 23}, 2045: {20, 22}} {
		if got := [2]int{vernalEquinox(year), autumnalEquinox(year)}; got != days {
			t.Errorf("%d: March %d and September %d, want %v", year, got[0], got[1], days)
		}
	}
}

// TestAYearOfOfficeHours runs the shipped window through every half hour of 2024 (a leap year) and 2026.
func TestAYearOfOfficeHours(t *testing.T) {
	w := openWindow(t, `zone: Asia/Tokyo, days: [mon, tue, wed, thu, fri], from: "09:00", to: "18:00", except: [jp-holidays]`)
	for _, year := range []int{2024, 2026} {
		holidays, days := strings.Fields(published[year]), 0
		for at := time.Date(year, 1, 1, 0, 0, 0, 0, w.zone); at.Year() == year; at = at.Add(30 * time.Minute) {
			work := at.Weekday() != time.Saturday && at.Weekday() != time.Sunday && !slices.Contains(holidays, at.Format("01-02"))
			want := work && at.Hour() >= 9 && at.Hour() < 18
			open, until := w.state(at)
			if open != want {
				t.Fatalf("%v: open %v", at, open)
			}
			if before, _ := w.state(until.Add(-time.Second)); before != open || !until.After(at) {
				t.Fatalf("%v: changes before %v", at, until)
			}
			if work && at.Hour() == 12 && at.Minute() == 0 {
				days++
			}
		}
		if want := map[int]int{2024: 248, 2026: 244}[year]; days != want {
			t.Errorf("%d has %d working days, want %d", year, days, want)
		}
	}
}

func TestWindowsWithCalendars(t *testing.T) {
	const yaml = `calendars:
  company: {dates: ["2026-08-13"], yearly: ["12-29", "12-30", "12-31", "01-02", "01-03", "11-23"]}
  leap: {yearly: ["02-29"]}
  duty: {dates: ["2026-11-22"]}
office: {zone: Asia/Tokyo, days: [mon, tue, wed, thu, fri], from: "09:00", to: "18:00", except: [jp-holidays, company]}
nights: {zone: Asia/Tokyo, days: [mon, tue, wed, thu, fri, sat, sun], from: "22:00", to: "06:00", except: [jp-holidays]}
around: {zone: Asia/Tokyo, days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00", except: [holidays-jp]}
on-duty: {zone: Asia/Tokyo, calendars: [jp-holidays, duty], from: "10:00", to: "16:00", except: [company]}
leap-day: {zone: Asia/Tokyo, calendars: [leap], from: "00:00", to: "24:00"}
not-leap: {zone: Asia/Tokyo, days: [sun, mon, tue, wed, thu, fri, sat], from: "00:00", to: "24:00", except: [leap]}
`
	windows, err := parseWindows([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, window, at string
		open             bool
		until            string
	}{
		{"a national holiday on a Monday", "office", "2026-10-12 12:00 +0900", false, "2026-10-13 09:00 +0900"},
		{"the day before three holidays", "office", "2026-09-18 17:59 +0900", true, "2026-09-18 18:00 +0900"},
		{"three holidays behind a weekend", "office", "2026-09-18 18:00 +0900", false, "2026-09-24 09:00 +0900"},
		{"a day off of the company's own", "office", "2026-08-13 12:00 +0900", false, "2026-08-14 09:00 +0900"},
		{"a day of every year", "office", "2027-12-29 12:00 +0900", false, "2028-01-04 09:00 +0900"},
		{"a day in two calendars", "office", "2026-11-23 12:00 +0900", false, "2026-11-24 09:00 +0900"},
		{"a night belongs to the day it begins on: into a holiday", "nights", "2026-11-23 03:00 +0900", true, "2026-11-23 06:00 +0900"},
		{"a night belongs to the day it begins on: not out of one", "nights", "2026-11-24 03:00 +0900", false, "2026-11-24 22:00 +0900"},
		{"the evening of a holiday", "nights", "2026-11-23 23:00 +0900", false, "2026-11-24 22:00 +0900"},
		{"midnight before a holiday", "around", "2026-11-22 23:59 +0900", true, "2026-11-23 00:00 +0900"},
		{"midnight after a holiday", "around", "2026-11-24 00:00 +0900", true, ""},
		{"a window for holidays", "on-duty", "2026-11-03 12:00 +0900", true, "2026-11-03 16:00 +0900"},
		{"a window for holidays on a working day", "on-duty", "2026-11-20 12:00 +0900", false, "2026-11-22 10:00 +0900"},
		{"a window for holidays, except one", "on-duty", "2026-11-23 12:00 +0900", false, "2026-12-01 12:00 +0900"},
		{"the leap day", "leap-day", "2028-02-29 12:00 +0900", true, "2028-03-01 00:00 +0900"},
		{"no leap day", "leap-day", "2027-03-01 00:00 +0900", false, "2027-03-09 00:00 +0900"},
		{"all but the leap day", "not-leap", "2028-02-29 12:00 +0900", false, "2028-03-01 00:00 +0900"},
		{"all but the leap day, the night before", "not-leap", "2028-02-28 23:59 +0900", true, "2028-02-29 00:00 +0900"},
		{"all but the leap day, in a year without one", "not-leap", "2027-02-28 23:59 +0900", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			open, until := windows[tc.window].state(moment(t, tc.at))
			if tc.until == "" {
				if open != tc.open || until.Before(moment(t, tc.at).Add(windowHorizon)) {
					t.Errorf("open %v until %v", open, until)
				}
				return
			}
			if want := moment(t, tc.until); open != tc.open || !until.Equal(want) {
				t.Errorf("open %v until %v, want %v until %v", open, until.In(want.Location()), tc.open, want)
			}
		})
	}
}

func TestMistakesInCalendarsAreNamedByPlace(t *testing.T) {
	const w = `w: {zone: UTC, days: [mon], from: "09:00", to: "10:00"`
	for _, tc := range []struct{ name, text, want string }{
		{"an unknown calendar in except", w + ", except: [company]}\n", `windows.yaml:1:66: window w: unknown calendar "company" in except`},
		{"an unknown calendar to open on", w + ", calendars: [company]}\n", `windows.yaml:1:69: window w: unknown calendar "company" in calendars`},
		{"the same calendar twice", w + ", except: [jp-holidays, jp-holidays]}\n", `windows.yaml:1:79: window w: jp-holidays is there twice`},
		{"the same calendar by two names", w + ", except: [jp-holidays, holidays-jp]}\n", `windows.yaml:1:79: window w: holidays-jp is there twice`},
		{"a date that except removes", `w: {zone: UTC, dates: ["2026-11-23"], except: [jp-holidays], from: "09:00", to: "10:00"}` + "\n",
			`windows.yaml:1:24: window w: 2026-11-23 is also a day of a calendar in except`},
		{"an impossible date", "calendars:\n  c: {dates: [2026-02-30]}\n", `windows.yaml:2:15: calendar c: impossible date "2026-02-30"`},
		{"a leap day in a common year", "calendars:\n  c: {dates: [\"2026-02-29\"]}\n", `windows.yaml:2:15: calendar c: impossible date "2026-02-29"`},
		{"an impossible day of every year", "calendars:\n  c: {yearly: [\"02-30\"]}\n", `windows.yaml:2:16: calendar c: impossible day "02-30": want MM-DD`},
		{"a date where a day of every year belongs", "calendars:\n  c: {yearly: [\"2026-01-02\"]}\n", `windows.yaml:2:16: calendar c: impossible day "2026-01-02"`},
		{"a day without its zero", "calendars:\n  c: {yearly: [\"1-2\"]}\n", `impossible day "1-2"`},
		{"the same date twice", "calendars:\n  c: {dates: [\"2026-01-02\", \"2026-01-02\"]}\n", `windows.yaml:2:29: calendar c: 2026-01-02 is there twice`},
		{"the same day of every year twice", "calendars:\n  c: {yearly: [\"01-02\", \"01-02\"]}\n", `windows.yaml:2:25: calendar c: 01-02 is there twice`},
		{"a date that is there every year", "calendars:\n  c: {dates: [\"2026-01-02\"], yearly: [\"01-02\"]}\n", `windows.yaml:2:15: calendar c: 2026-01-02 is there twice`},
		{"a calendar without days", "calendars:\n  c: {}\n", `windows.yaml:2:6: calendar c has no days`},
		{"the name of the built-in one", "calendars:\n  jp-holidays: {yearly: [\"01-02\"]}\n", `windows.yaml:2:16: calendar jp-holidays is built in`},
		{"a strange name", "calendars:\n  Ours: {yearly: [\"01-02\"]}\n", `windows.yaml:2:9: calendar "Ours"`},
		{"an unknown key", "calendars:\n  c: {weekly: [mon]}\n", `windows.yaml:2:7: unknown field "weekly"`},
		{"a calendar twice", "calendars:\n  c: {yearly: [\"01-02\"]}\n  c: {yearly: [\"01-03\"]}\n", `windows.yaml:3:3: mapping key "c" already defined`},
		{"calendars that are no mapping", "calendars: [a]\n", `windows.yaml:1:12:`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parseWindows([]byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	t.Run("several at once are all named", func(t *testing.T) {
		_, err := parseWindows([]byte("calendars:\n  a: {yearly: [\"13-01\"]}\n  b: {dates: [x]}\n" + w + ", except: [c]}\n"))
		for _, want := range []string{"calendar a: impossible day", "calendar b: impossible date", `unknown calendar "c"`} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %v", want, err)
			}
		}
	})
}

// TestWindowsInZonesThatChangeTheirClocks goes through both changes of three zones. The instants are in UTC, so that nothing is
// taken from the code's own idea of a zone: New York changes at 07:00 and 06:00 UTC, London at 01:00 UTC, Lord Howe by half
// an hour at 15:30 and 15:00 UTC of the day before.
func TestWindowsInZonesThatChangeTheirClocks(t *testing.T) {
	for _, tc := range []struct {
		name, window string
		at           string // UTC
		open         bool
		until        string // UTC
	}{
		{"New York, spring: 01:30–02:30, before the jump", `zone: America/New_York, days: [sun], from: "01:30", to: "02:30"`, "2026-03-08 06:45", true, "2026-03-08 07:00"},
		{"New York, spring: 02:10–02:50 lies wholly in the gap", `zone: America/New_York, days: [sun], from: "02:10", to: "02:50"`, "2026-03-08 07:00", false, "2026-03-15 06:10"},
		{"New York, spring: a day of 23 hours", `zone: America/New_York, days: [sun], from: "00:00", to: "24:00"`, "2026-03-08 05:00", true, "2026-03-09 04:00"},
		{"New York, autumn: 00:30–01:30 closes the first time", `zone: America/New_York, days: [sun], from: "00:30", to: "01:30"`, "2026-11-01 05:29", true, "2026-11-01 05:30"},
		{"New York, autumn: 01:30–01:45 opens the first time only", `zone: America/New_York, days: [sun], from: "01:30", to: "01:45"`, "2026-11-01 06:35", false, "2026-11-08 06:30"},
		{"London, spring: 00:30–01:30, before the jump", `zone: Europe/London, days: [sun], from: "00:30", to: "01:30"`, "2026-03-29 00:45", true, "2026-03-29 01:00"},
		{"London, spring: opens at the jump", `zone: Europe/London, days: [sun], from: "01:30", to: "03:00"`, "2026-03-29 00:59", false, "2026-03-29 01:00"},
		{"London, autumn: 01:30 comes twice", `zone: Europe/London, days: [sun], from: "01:30", to: "03:00"`, "2026-10-25 00:30", true, "2026-10-25 03:00"},
		{"London, autumn: a day of 25 hours", `zone: Europe/London, days: [sun], from: "00:00", to: "24:00"`, "2026-10-24 23:00", true, "2026-10-26 00:00"},
		{"London, a night over the change", `zone: Europe/London, days: [sat], from: "22:00", to: "06:00"`, "2026-10-25 05:59", true, "2026-10-25 06:00"},
		{"Lord Howe, spring: 02:00–02:15 lies in the gap", `zone: Australia/Lord_Howe, days: [sun], from: "02:00", to: "02:15"`, "2026-10-03 15:30", false, "2026-10-10 15:00"},
		{"Lord Howe, spring: 01:00–02:15 closes at the jump", `zone: Australia/Lord_Howe, days: [sun], from: "01:00", to: "02:15"`, "2026-10-03 15:00", true, "2026-10-03 15:30"},
		{"Lord Howe, autumn: 01:45 comes twice", `zone: Australia/Lord_Howe, days: [sun], from: "01:45", to: "03:00"`, "2026-04-04 14:45", true, "2026-04-04 16:30"},
		{"Lord Howe, autumn: a closing time that comes twice", `zone: Australia/Lord_Howe, days: [sun], from: "00:00", to: "01:45"`, "2026-04-04 14:50", false, "2026-04-11 13:30"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			open, until := openWindow(t, tc.window).state(moment(t, tc.at+" +0000"))
			if want := moment(t, tc.until+" +0000"); open != tc.open || !until.Equal(want) {
				t.Errorf("open %v until %v, want %v until %v", open, until.UTC(), tc.open, want)
			}
		})
	}
}
