package policy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
)

// maxUntil is how long any answer may be used.
const maxUntil = time.Minute

// Engine decides Inputs under its current Revision. All methods may be called at the same time.
type Engine struct {
	now     func() time.Time
	current atomic.Pointer[state]

	mu        sync.Mutex // guards listeners
	listeners []func()
}

// state is a revision with what was learnt under it.
type state struct {
	revision *Revision
	memo     memo
	clock    atomic.Pointer[clock]
}

// NewEngine makes an engine that decides under rev; with a nil rev it denies everything. Now stamps decision ids and stands
// in for an Input without a time.
func NewEngine(rev *Revision, now func() time.Time) *Engine {
	e := &Engine{now: now}
	e.current.Store(&state{revision: rev})
	return e
}

// Revision is the revision that decides now.
func (e *Engine) Revision() *Revision { return e.current.Load().revision }

// Swap lets rev decide from now on and calls the OnChange functions. Decisions under way finish under the old one.
func (e *Engine) Swap(rev *Revision) {
	e.current.Store(&state{revision: rev})
	e.mu.Lock()
	listeners := e.listeners[:len(e.listeners):len(e.listeners)]
	e.mu.Unlock()
	for _, changed := range listeners {
		changed()
	}
}

// OnChange has changed called after every Swap, from the goroutine that swaps.
func (e *Engine) OnChange(changed func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listeners = append(e.listeners, changed)
}

// Decide answers one Input. It never panics: whatever goes wrong is a deny with the reason policy-error, and Fault tells
// the cause.
func (e *Engine) Decide(ctx context.Context, in Input) (d Decision) {
	now := in.Time.Now
	if now.IsZero() {
		now = e.now()
	}
	s := e.current.Load()
	d = Decision{ID: newID(e.now()), Until: now}
	defer func() {
		if p := recover(); p != nil {
			d.fail(fmt.Errorf("panic while deciding: %v", p))
		}
	}()
	if s.revision == nil {
		d.deny(reasonNoPolicy)
		return d
	}
	d.Revision = s.revision.number
	if refused := in.refusal(); refused != nil {
		d.deny(*refused)
		return d
	}
	if err := s.decide(ctx, &in, now, &d); err != nil {
		d.fail(err)
	}
	return d
}

// newID is d- and a ULID.
func newID(now time.Time) string { return "d-" + ulid.MustNewDefault(now).String() }

func (s *state) decide(ctx context.Context, in *Input, now time.Time, d *Decision) error {
	c := s.clockAt(now)
	e := &ends{now: now, next: soonerOf(now.Add(maxUntil), c.until)}
	links := linksOf(s.revision, in, c, e)
	var buffer [1024]byte
	key := appendKey(buffer[:0], in, links, c)
	p := s.memo.get(key)
	if p == nil {
		var err error
		if p, err = newPlan(ctx, s.revision, in, links, c); err != nil {
			return err
		}
		s.memo.put(key, p)
	}
	d.apply(p, in, e)
	return nil
}

// clockAt reads all windows, which is needed again only when one opens or closes.
func (s *state) clockAt(now time.Time) *clock {
	c := s.clock.Load()
	if !c.holds(now) {
		c = readClock(s.revision.windows, now)
		s.clock.Store(c)
	}
	return c
}
