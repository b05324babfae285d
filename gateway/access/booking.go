package access

import "time"

// How often a booking may repeat.
const (
	EveryDay  = "day"
	EveryWeek = "week"
)

// occurrence is one half-open time of a booking.
type occurrence struct{ from, until time.Time }

// occurrences are the times for which a request asks: of a booking each by the wall clock of zone, so that what begins at
// nine does so in summer and winter; else the one that begins now. Each lasts the request's minutes.
func (r ApprovalRequest) occurrences(zone *time.Location, now time.Time) []occurrence {
	length := time.Duration(r.Minutes) * time.Minute
	if r.From.IsZero() {
		return []occurrence{{now, now.Add(length)}}
	}
	days := 0
	switch r.Every {
	case EveryDay:
		days = 1
	case EveryWeek:
		days = 7
	}
	spans := []occurrence{{r.From, r.From.Add(length)}}
	for i := 1; i < r.Times; i++ {
		from := daysLater(r.From.In(zone), i*days)
		spans = append(spans, occurrence{from, from.Add(length)})
	}
	return spans
}

// daysLater is when the zone's clock shows the same time so many days later: the first time it does, and where a change of
// the clock skips it, the moment of the change.
func daysLater(t time.Time, days int) time.Time {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	wall := time.Date(year, month, day+days, hour, minute, second, t.Nanosecond(), time.UTC) // the reading, as if in UTC
	before, after := offsetAt(wall.Add(-30*time.Hour), t.Location()), offsetAt(wall.Add(30*time.Hour), t.Location())
	early, late := wall.Add(-max(before, after)), wall.Add(-min(before, after))
	for _, at := range []time.Time{early, late} {
		if at.Add(offsetAt(at, t.Location())).Equal(wall) {
			return at
		}
	}
	if change, _ := late.In(t.Location()).ZoneBounds(); !change.IsZero() {
		return change
	}
	return late
}

func offsetAt(t time.Time, zone *time.Location) time.Duration {
	_, offset := t.In(zone).Zone()
	return time.Duration(offset) * time.Second
}
