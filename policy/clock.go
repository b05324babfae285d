package policy

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// clock is what all windows say over a span of time: which are open, and when each of them closes or opens. It holds from at
// (inclusive) to until (exclusive), the next moment at which any window opens or closes.
type clock struct {
	at, until time.Time
	windows   map[string]*window
	changes   map[string]time.Time // when each window next opens or closes
	open      []string             // the names of the open windows, sorted
	key       string               // open, joined

	mu       sync.Mutex
	together map[string]time.Time // when several open windows have closed, by their names
}

func readClock(windows map[string]*window, now time.Time) *clock {
	c := &clock{at: now, until: now.Add(windowHorizon), windows: windows, changes: make(map[string]time.Time, len(windows))}
	for name, w := range windows {
		open, until := w.state(now)
		c.changes[name] = until
		c.until = soonerOf(c.until, until)
		if open {
			c.open = append(c.open, name)
		}
	}
	slices.Sort(c.open)
	c.key = strings.Join(c.open, ",")
	return c
}

// holds says whether the clock is right about t.
func (c *clock) holds(t time.Time) bool { return c != nil && !t.Before(c.at) && t.Before(c.until) }

// isOpen says whether one of the windows is open.
func (c *clock) isOpen(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(c.open, name) })
}

// opens is when the first of several closed windows opens; zero when none does within the horizon or is defined.
func (c *clock) opens(names []string) time.Time {
	var first time.Time
	for _, name := range names {
		if at, known := c.changes[name]; known && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// maxTogether bounds how many lists of windows a clock remembers.
const maxTogether = 1024

// closes is when none of the windows is open any more, of which at least one is open now.
func (c *clock) closes(names []string) time.Time {
	if len(names) == 1 {
		return c.changes[names[0]]
	}
	key := strings.Join(names, ",")
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, known := c.together[key]; known {
		return t
	}
	t := c.union(names)
	if c.together == nil || len(c.together) >= maxTogether {
		c.together = map[string]time.Time{}
	}
	c.together[key] = t
	return t
}

// union follows windows that overlap or touch to where the last of them closes, no further than the horizon.
func (c *clock) union(names []string) time.Time {
	end := c.at
	for moved := true; moved && end.Before(c.at.Add(windowHorizon)); {
		moved = false
		for _, name := range names {
			if w := c.windows[name]; w != nil {
				if open, until := w.state(end); open && until.After(end) {
					end, moved = until, true
				}
			}
		}
	}
	return end
}
