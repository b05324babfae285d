package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
	_ "time/tzdata" // windows name zones, and a small machine may have no zone files

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// windowsFile is the name of the table of windows in a policy folder.
const windowsFile = "windows.yaml"

// windowHorizon is how far ahead a closing time is looked for; a window that is open for longer counts as closing then.
const windowHorizon = 8 * 24 * time.Hour

var windowName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// window is a repeating span of working time (C-2). One that crosses midnight belongs to the day on which it opens.
type window struct {
	zone      *time.Location
	days      [7]bool // by time.Weekday
	dates     map[date]bool
	calendars []calendar // it opens on their days, too
	except    []calendar // it never opens on their days
	from, to  minutes    // to is above from; above 24:00 it closes on the next day
}

// minutes counts from midnight on the wall clock.
type minutes int

const wholeDay = minutes(24 * 60)

// date is a day without a clock or zone.
type date struct {
	year  int
	month time.Month
	day   int
}

// span is the half-open time in which a window is open.
type span struct{ opens, closes time.Time }

// windowSpec is a window as windows.yaml writes it.
type windowSpec struct {
	Zone      Located[string]   `yaml:"zone"`
	Days      []Located[string] `yaml:"days"`
	Dates     []Located[string] `yaml:"dates"`
	Calendars []Located[string] `yaml:"calendars"`
	From      Located[string]   `yaml:"from"`
	To        Located[string]   `yaml:"to"`
	Except    []Located[string] `yaml:"except"`
}

// windowsSpec is windows.yaml: windows by name, and the calendars under their key.
type windowsSpec struct {
	windows   map[string]Located[windowSpec]
	calendars map[string]Located[calendarSpec]
}

// UnmarshalYAML tells the calendars from the windows.
func (s *windowsSpec) UnmarshalYAML(node ast.Node) error {
	nodes := map[string]ast.Node{}
	if err := yaml.NodeToValue(node, &nodes, yaml.Strict()); err != nil {
		return err
	}
	s.windows = map[string]Located[windowSpec]{}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		node := nodes[name]
		if name == calendarsKey {
			if err := yaml.NodeToValue(node, &s.calendars, yaml.Strict()); err != nil {
				return err
			}
			continue
		}
		var spec Located[windowSpec]
		if err := spec.UnmarshalYAML(node); err != nil {
			return err
		}
		s.windows[name] = spec
	}
	return nil
}

// parseWindows reads windows.yaml. All mistakes are reported at once, each with its place.
func parseWindows(data []byte) (map[string]*window, error) {
	var specs windowsSpec
	if err := DecodeYAML(windowsFile, data, &specs); err != nil {
		return nil, err
	}
	calendars, err := newCalendars(specs.calendars)
	errs := []error{err}
	windows := make(map[string]*window, len(specs.windows))
	for _, name := range slices.Sorted(maps.Keys(specs.windows)) {
		spec := specs.windows[name]
		if !windowName.MatchString(name) {
			errs = append(errs, spec.Errorf(windowsFile, "window %q: a name is lower-case letters, digits and hyphens", name))
			continue
		}
		w, err := newWindow(name, spec, calendars)
		errs = append(errs, err)
		windows[name] = w
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return windows, nil
}

// newWindow checks one window; one that would never open is an error.
func newWindow(name string, spec Located[windowSpec], calendars map[string]calendar) (*window, error) {
	s, w := spec.Value, &window{dates: map[date]bool{}}
	var errs []error
	fail := func(at Located[string], format string, args ...any) {
		if !at.Set() {
			at.Line, at.Column = spec.Line, spec.Column
		}
		errs = append(errs, at.Errorf(windowsFile, "window %s: %s", name, fmt.Sprintf(format, args...)))
	}

	w.zone = readZone(s.Zone, fail)
	w.readDays(s.Days, fail)
	w.calendars = readCalendars("calendars", s.Calendars, calendars, fail)
	w.except = readCalendars("except", s.Except, calendars, fail)
	w.readDates(s.Dates, fail)
	if len(s.Days) == 0 && len(s.Dates) == 0 && len(s.Calendars) == 0 {
		fail(Located[string]{}, "never opens: give days, dates or calendars")
	}
	w.readHours(s.From, s.To, fail)
	return w, errors.Join(errs...)
}

// readCalendars finds the calendars that a key of a window names.
func readCalendars(key string, names []Located[string], calendars map[string]calendar, fail failFunc) []calendar {
	var list []calendar
	for _, name := range names {
		c, known := calendars[name.Value]
		switch {
		case !known:
			fail(name, "unknown calendar %q in %s: want jp-holidays or one of yours under calendars", name.Value, key)
		case slices.Contains(list, c):
			fail(name, "%s is there twice", name.Value)
		default:
			list = append(list, c)
		}
	}
	return list
}

type failFunc func(at Located[string], format string, args ...any)

func readZone(zone Located[string], fail failFunc) *time.Location {
	if zone.Value == "" || zone.Value == "Local" {
		fail(zone, "zone is missing: give an IANA name like Asia/Tokyo")
		return time.UTC
	}
	loc, err := time.LoadLocation(zone.Value)
	if err != nil {
		fail(zone, "unknown zone %q: give an IANA name like Asia/Tokyo", zone.Value)
		return time.UTC
	}
	return loc
}

var weekdays = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday,
	"thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

func (w *window) readDays(days []Located[string], fail failFunc) {
	for _, day := range days {
		number, ok := weekdays[day.Value]
		switch {
		case !ok:
			fail(day, "unknown day %q: want mon, tue, wed, thu, fri, sat or sun", day.Value)
		case w.days[number]:
			fail(day, "%s is there twice", day.Value)
		}
		w.days[number] = ok
	}
}

func (w *window) readDates(dates []Located[string], fail failFunc) {
	for _, d := range dates {
		t, err := time.Parse(time.DateOnly, d.Value)
		if err != nil {
			fail(d, "impossible date %q: want YYYY-MM-DD", d.Value)
			continue
		}
		day := dateOf(t)
		switch {
		case w.dates[day]:
			fail(d, "%s is there twice", d.Value)
		case inAny(w.except, day):
			fail(d, "%s is also a day of a calendar in except, so it never opens then", d.Value)
		}
		w.dates[day] = true
	}
}

func (w *window) readHours(from, to Located[string], fail failFunc) {
	var okFrom, okTo bool
	if w.from, okFrom = parseClock(from.Value); !okFrom || w.from == wholeDay {
		fail(from, `from is %q: want a time from "00:00" to "23:59"`, from.Value)
		return
	}
	if w.to, okTo = parseClock(to.Value); !okTo {
		fail(to, `to is %q: want a time from "00:00" to "24:00"`, to.Value)
		return
	}
	if w.from == w.to {
		fail(to, `never opens: from and to are both %s (a whole day is "00:00" to "24:00")`, to.Value)
	}
	if w.to < w.from {
		w.to += wholeDay
	}
}

// parseClock reads HH:MM from 00:00 to 24:00.
func parseClock(s string) (minutes, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	hour, minute := minutes(s[0]-'0')*10+minutes(s[1]-'0'), minutes(s[3]-'0')*10+minutes(s[4]-'0')
	t := hour*60 + minute
	return t, minute < 60 && t <= wholeDay
}

// state says whether the window is open at t and until when that stays so: the closing time of an open window, the next
// opening of a closed one. Neither is looked for beyond windowHorizon.
func (w *window) state(t time.Time) (open bool, until time.Time) {
	horizon := t.Add(windowHorizon)
	for _, s := range w.spans(t) {
		switch {
		case !open && t.Before(s.opens):
			return false, s.opens
		case open && s.opens.After(until):
			return true, until
		case s.closes.After(t):
			open, until = true, laterOf(until, s.closes)
		}
	}
	if open {
		return true, until
	}
	return false, horizon
}

// spans lists the window's spans that may touch the time from t to the horizon, in order of opening.
func (w *window) spans(t time.Time) []span {
	local := t.In(w.zone)
	day := dateOf(local).add(-2)
	last := dateOf(local.Add(windowHorizon)).add(1)
	var spans []span
	for ; !last.before(day); day = day.add(1) {
		if !w.opensOn(day) {
			continue
		}
		s := span{opens: day.at(w.from, w.zone), closes: day.at(w.to, w.zone)}
		if s.opens.Before(s.closes) {
			spans = append(spans, s)
		}
	}
	return spans
}

// opensOn says whether the window opens on a day.
func (w *window) opensOn(d date) bool {
	return (w.days[d.weekday()] || w.dates[d] || inAny(w.calendars, d)) && !inAny(w.except, d)
}

func inAny(calendars []calendar, d date) bool {
	return slices.ContainsFunc(calendars, func(c calendar) bool { return c.has(d) })
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

func (d date) utc() time.Time           { return time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC) }
func (d date) add(days int) date        { return dateOf(d.utc().AddDate(0, 0, days)) }
func (d date) before(other date) bool   { return d.utc().Before(other.utc()) }
func (d date) weekday() time.Weekday    { return d.utc().Weekday() }
func laterOf(a, b time.Time) time.Time  { return pick(a, b, a.After(b)) }
func soonerOf(a, b time.Time) time.Time { return pick(a, b, a.Before(b)) }

func pick(a, b time.Time, first bool) time.Time {
	if first {
		return a
	}
	return b
}

// at is the instant at which the zone's clock first shows m on day d. A time that a clock change skips counts as the
// moment of the change.
func (d date) at(m minutes, zone *time.Location) time.Time {
	wall := d.utc().Add(time.Duration(m) * time.Minute) // the reading, as if the zone were UTC
	_, before := wall.Add(-30 * time.Hour).In(zone).Zone()
	_, after := wall.Add(30 * time.Hour).In(zone).Zone()
	early, late := wall.Add(-seconds(max(before, after))), wall.Add(-seconds(min(before, after)))
	for _, t := range []time.Time{early, late} {
		if _, offset := t.In(zone).Zone(); t.Add(seconds(offset)).Equal(wall) {
			return t
		}
	}
	if change, _ := late.In(zone).ZoneBounds(); !change.IsZero() {
		return change
	}
	return late
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
