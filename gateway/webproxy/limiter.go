package webproxy

import (
	"sync"
	"time"
)

// Bounds of a limiter.
const (
	limitEvery = time.Minute
	limitKeys  = 4096
)

// limiter lets each key through once a minute, so that one peer that fails all the time does not fill the audit log.
type limiter struct {
	now func() time.Time

	mu   sync.Mutex
	last map[string]seen
}

// seen is when a key was let through, and how many times it was not since.
type seen struct {
	at      time.Time
	skipped int
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, last: make(map[string]seen)}
}

// pass tells whether key may go through now and how many were held back since the last that did.
func (l *limiter) pass(key string) (ok bool, skipped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	s, known := l.last[key]
	if known && now.Sub(s.at) < limitEvery {
		s.skipped++
		l.last[key] = s
		return false, 0
	}
	if !known && len(l.last) >= limitKeys {
		l.forget(now)
	}
	l.last[key] = seen{at: now}
	return true, s.skipped
}

// forget drops what is older than a minute, or everything when nothing is.
func (l *limiter) forget(now time.Time) {
	for key, s := range l.last {
		if now.Sub(s.at) >= limitEvery {
			delete(l.last, key)
		}
	}
	if len(l.last) >= limitKeys {
		clear(l.last)
	}
}
