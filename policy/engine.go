package policy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// maxUntil is how long any answer may be used.
const maxUntil = time.Minute

// Engine decides Inputs under its current Revision. All methods may be called at the same time.
type Engine struct {
	now     func() time.Time
	ids     *ids
	current atomic.Pointer[state]

	mu        sync.Mutex // guards listeners
	listeners []func()
}

// state is a revision with what was learnt under it.
type state struct {
	revision *Revision
	clock    atomic.Pointer[clock]
	stances  stances
	plans    memo[*plan]   // by what all rules that are asked see of an Input
	opinions memo[opinion] // by what one package of rules sees of one question
}

// NewEngine makes an engine that decides under rev; with a nil rev it denies everything. Now stamps decision ids and stands
// in for an Input without a time.
func NewEngine(rev *Revision, now func() time.Time) *Engine {
	e := &Engine{now: now, ids: newIDs()}
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
	d = Decision{ID: e.ids.next(e.now()), Until: now}
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

func (s *state) decide(ctx context.Context, in *Input, now time.Time, d *Decision) error {
	q := inquiries.Get().(*inquiry)
	q.copied = *in
	q.in, q.clock = &q.copied, s.clockAt(now)
	q.ends = ends{now: now, next: now.Add(maxUntil)}
	q.begin(s)
	err := s.answer(ctx, q, d)
	q.release()
	return err
}

func (s *state) answer(ctx context.Context, q *inquiry, d *Decision) error {
	if q.reads.has(fieldLabels) && tooLargeLabels(q.in.Target.Labels) {
		d.deny(reasonTooLarge)
		return nil
	}
	p, err := s.planFor(ctx, q)
	if err != nil {
		return err
	}
	d.Obligations = q.obligations()
	d.apply(p, q.in, &q.ends)
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
