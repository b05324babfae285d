package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// calendarsKey is the key of windows.yaml that holds calendars; no window has this name.
const calendarsKey = "calendars"

// calendar is a set of days that windows open on or are shut on.
type calendar interface{ has(d date) bool }

// builtInCalendars are those that every policy has. holidays-jp is another name of jp-holidays.
var builtInCalendars = map[string]calendar{"jp-holidays": japan, "holidays-jp": japan}

var japan = &holidays{}

// ownCalendar is one that windows.yaml defines: single days, and days of every year.
type ownCalendar struct {
	dates  map[date]bool
	yearly map[monthDay]bool
}

// monthDay is a day of every year; the 29th of February comes in leap years only.
type monthDay struct {
	month time.Month
	day   int
}

func (c *ownCalendar) has(d date) bool { return c.dates[d] || c.yearly[monthDay{d.month, d.day}] }

// calendarSpec is a calendar as windows.yaml writes it.
type calendarSpec struct {
	Dates  []Located[string] `yaml:"dates"`  // YYYY-MM-DD
	Yearly []Located[string] `yaml:"yearly"` // MM-DD
}

// newCalendars checks the calendars of a policy; the built-in ones are added to them.
func newCalendars(specs map[string]Located[calendarSpec]) (map[string]calendar, error) {
	calendars := maps.Clone(builtInCalendars)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		spec := specs[name]
		switch {
		case builtInCalendars[name] != nil:
			errs = append(errs, spec.Errorf(windowsFile, "calendar %s is built in; give yours another name", name))
			continue
		case !windowName.MatchString(name):
			errs = append(errs, spec.Errorf(windowsFile, "calendar %q: a name is lower-case letters, digits and hyphens", name))
			continue
		}
		c, err := newCalendar(name, spec)
		errs = append(errs, err)
		calendars[name] = c
	}
	return calendars, errors.Join(errs...)
}

// newCalendar checks one calendar; a day that it has twice is an error, because one of the two is meant to be another.
func newCalendar(name string, spec Located[calendarSpec]) (*ownCalendar, error) {
	c := &ownCalendar{dates: map[date]bool{}, yearly: map[monthDay]bool{}}
	var errs []error
	fail := func(at Located[string], format string, args ...any) {
		errs = append(errs, at.Errorf(windowsFile, "calendar %s: %s", name, fmt.Sprintf(format, args...)))
	}
	for _, given := range spec.Value.Yearly {
		t, err := time.Parse(time.DateOnly, "2024-"+given.Value) // a leap year
		day := monthDay{t.Month(), t.Day()}
		switch {
		case err != nil:
			fail(given, "impossible day %q: want MM-DD", given.Value)
		case c.yearly[day]:
			fail(given, "%s is there twice", given.Value)
		default:
			c.yearly[day] = true
		}
	}
	for _, given := range spec.Value.Dates {
		t, err := time.Parse(time.DateOnly, given.Value)
		switch d := dateOf(t); {
		case err != nil:
			fail(given, "impossible date %q: want YYYY-MM-DD", given.Value)
		case c.has(d):
			fail(given, "%s is there twice", given.Value)
		default:
			c.dates[d] = true
		}
	}
	if len(spec.Value.Dates) == 0 && len(spec.Value.Yearly) == 0 {
		errs = append(errs, spec.Errorf(windowsFile, "calendar %s has no days: give dates or yearly", name))
	}
	return c, errors.Join(errs...)
}
