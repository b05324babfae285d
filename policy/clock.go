package policy

import (
	"slices"
	"strings"
	"time"
)

// clock is what all windows say over a span of time: which are open, and when each of these closes. It holds from at
// (inclusive) to until (exclusive), the next moment at which any window opens or closes.
type clock struct {
	at, until time.Time
	closes    map[string]time.Time // of the open windows
	open      []string             // their names, sorted
	key       string               // open, joined
}

func readClock(windows map[string]*window, now time.Time) *clock {
	c := &clock{at: now, until: now.Add(windowHorizon), closes: map[string]time.Time{}}
	for name, w := range windows {
		open, until := w.state(now)
		c.until = soonerOf(c.until, until)
		if open {
			c.closes[name] = until
			c.open = append(c.open, name)
		}
	}
	slices.Sort(c.open)
	c.key = strings.Join(c.open, ",")
	return c
}

// holds says whether the clock is right about t.
func (c *clock) holds(t time.Time) bool { return c != nil && !t.Before(c.at) && t.Before(c.until) }
