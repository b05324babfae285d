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
	states    map[string]windowState // of each window
	open      []string               // the names of the open windows, sorted
	key       string                 // open, joined

	mu       sync.Mutex
	together map[string]time.Time // when several open windows have closed, by their names
}

// windowState is whether a window is open and until when that stays so.
type windowState struct {
	open  bool
	until time.Time
}

func readClock(windows map[string]*window, now time.Time) *clock {
	c := &clock{at: now, until: now.Add(windowHorizon), windows: windows, states: make(map[string]windowState, len(windows))}
	for name, w := range windows {
		open, until := w.state(now)
		c.states[name] = windowState{open, until}
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

// hours says whether one of several windows is open, and when that changes: when none of them is open any more, or when the
// first of them opens. Of windows that nobody defined nothing is known, and the time is zero.
func (c *clock) hours(names []string) windowState {
	if len(names) == 1 {
		return c.states[names[0]]
	}
	var first windowState
	for _, name := range names {
		s, known := c.states[name]
		if s.open {
			return windowState{open: true, until: c.closes(names)}
		}
		if known && (first.until.IsZero() || s.until.Before(first.until)) {
			first = s
		}
	}
	return first
}

// maxTogether bounds how many lists of windows a clock remembers.
const maxTogether = 1024

// closes is when none of the windows is open any more, of which at least one is open now.
func (c *clock) closes(names []string) time.Time {
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
