package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// maxWatchers bounds how many people watch one session at once.
const maxWatchers = 16

// Watching is a member of staff looking at a live session. It is over when Close is called, when the session ends, or when
// they may look no more.
type Watching struct {
	session *Session
	by      identity.Principal
	began   time.Time
	until   time.Time // of the decision; guarded by session.mu
	ctx     context.Context
	cancel  context.CancelCauseFunc
	closed  sync.Once
}

// Watch lets staff look at a live session of somebody else's (gateway.session.watch). Its beginning and its end are on record
// . What there is to see stands in the session's recording, from which the watcher reads, so that a slow one never holds
// the session up.
func (d *Door) Watch(ctx context.Context, by identity.Principal, id string) (*Watching, error) {
	s := d.find(id)
	what := clip(id, 64)
	if s != nil {
		what = s.described()
	}
	if err := d.Act(ctx, by, watchOperation, what); err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fmt.Errorf("session %s is not live: %w", clip(id, 64), ErrNotFound)
	}
	if d.samePerson(by.Person, s.principal.Person) {
		r := d.unfounded(ownSession)
		return nil, d.refuseRuled(ctx, by, watchOperation, what, &r)
	}
	w := &Watching{session: s, by: by, began: d.cfg.Now()}
	w.ctx, w.cancel = context.WithCancelCause(context.Background())
	if err := s.admit(w); err != nil {
		return nil, err
	}
	return w, nil
}

const watchOperation = "gateway.session.watch"

var (
	errTooManyWatchers = errors.New("too many people watch this session already")
	errWatchOver       = errors.New("watching is over")
)

// find returns a live session, nil when there is none of this id.
func (d *Door) find(id string) *Session {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.live[id]
}

// described names a session for the record of what staff does with it.
func (s *Session) described() string {
	return fmt.Sprintf("%s: %s of %s as %s on %s", s.id, s.principal.Person, s.principal.Vendor, s.login, s.target.Name)
}

func (s *Session) admit(w *Watching) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over || s.ctx.Err() != nil:
		return fmt.Errorf("session %s is not live: %w", s.id, ErrNotFound)
	case len(s.watchers) >= maxWatchers:
		return errTooManyWatchers
	}
	s.watchers[w] = struct{}{}
	return nil
}

// Context ends when the watcher may look no more, which is not when the session ends.
func (w *Watching) Context() context.Context { return w.ctx }

// Over is closed when the session has ended; what is left of its recording may still be shown.
func (w *Watching) Over() <-chan struct{} { return w.session.ctx.Done() }

// Path is where the session's recording stands.
func (w *Watching) Path() string {
	return recorder.Path(w.session.door.cfg.Recording.Dir, w.session.id)
}

// Session is the session as the list shows it.
func (w *Watching) Session() SessionRecord {
	return w.session.lively(w.session.record("", time.Time{}))
}

// Close says that nobody looks any more, and puts that on record. Only the first call does anything.
func (w *Watching) Close(ctx context.Context) error {
	var err error
	w.closed.Do(func() {
		w.cancel(errWatchOver)
		s, d := w.session, w.session.door
		s.mu.Lock()
		delete(s.watchers, w)
		if len(s.watchers) == 0 {
			s.unwatched = d.cfg.Now()
		}
		s.mu.Unlock()
		d.nudgeOnly()
		detail := map[string]any{"what": s.described(), "ms": d.cfg.Now().Sub(w.began).Milliseconds()}
		err = d.Event(ctx, w.by, recorder.ClassConfig, "gateway.session.watched", recorder.OK, detail)
	})
	return err
}

// recheckWatchers ends the looking of whoever may do so no longer.
func (s *Session) recheckWatchers(ctx context.Context, changed bool, now time.Time) {
	for _, w := range s.watching() {
		s.mu.Lock()
		fresh := now.Before(w.until)
		s.mu.Unlock()
		if fresh && !changed {
			continue
		}
		need := policy.Need{Right: policy.Admin, Resource: s.id}
		action := policy.Action{Protocol: "gateway", Operation: watchOperation, Needs: []policy.Need{need}}
		in, ok := s.door.input(w.by, policy.GatewayTarget, "", action)
		if !ok {
			w.cancel(errWatchOver)
			continue
		}
		ruled := s.door.verdict(ctx, w.by, in)
		if ruled.Effect != policy.Allow {
			w.cancel(errWatchOver)
		}
		s.mu.Lock()
		w.until = ruled.Until
		s.mu.Unlock()
	}
}

func (s *Session) watching() []*Watching {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Watching, 0, len(s.watchers))
	for w := range s.watchers {
		all = append(all, w)
	}
	return all
}

// lively adds to a session's record what only the live session knows.
func (s *Session) lively(r SessionRecord) SessionRecord {
	var who []string
	for _, w := range s.watching() {
		who = append(who, w.by.Person)
	}
	slices.Sort(who)
	r.Watchers = strings.Join(slices.Compact(who), " ")
	if s.awaiting.Load() > 0 {
		r.Waits = WaitsForWatcher
	}
	return r
}

func (d *Door) lively(records []SessionRecord) []SessionRecord {
	for i, r := range records {
		if s := d.find(r.ID); s != nil {
			records[i] = s.lively(r)
		}
	}
	return records
}

var ownSession = policy.Reason{
	ID: "own_session",
	EN: "Somebody else has to watch a session of your own.",
	JA: "自分のセッションは別の担当者が監視する必要があります。",
}
