package access

import (
	"context"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// watchGrace is how long a session that has to be watched goes on when nobody watches it any more.
const watchGrace = 30 * time.Second

// WaitsForWatcher is SessionRecord.Waits of a session in which nothing starts until somebody of the company watches it.
const WaitsForWatcher = "watcher"

// lacksWatcher tells whether policy wants the session to be watched for this and nobody does.
func (s *Session) lacksWatcher(r *ruling) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Effect != policy.Allow || !(r.Obligations.Supervise || s.decision.Obligations.Supervise) {
		return false
	}
	if len(s.watchers) == 0 {
		return true
	}
	s.supervised = true
	return false
}

// NotWatched is the refusal of everything in a session that has to be watched and is not, nil in every other.
func (s *Session) NotWatched() *Refusal {
	r := ruling{Decision: s.ruled()}
	if !s.lacksWatcher(&r) {
		return nil
	}
	return &Refusal{Effect: policy.Deny, Reasons: []policy.Reason{notWatched}, Decision: r.ID, Watch: s.id}
}

// ruled is the decision that holds the session open.
func (s *Session) ruled() policy.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.decision
}

// AwaitWatcher waits until somebody of the company watches the session; it ends with ctx and with the session.
func (s *Session) AwaitWatcher(ctx context.Context) error {
	s.awaiting.Add(1)
	defer s.awaiting.Add(-1)
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for {
		if len(s.watching()) > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// keepWatched ends a session that has to be watched and is not, after a warning.
func (s *Session) keepWatched(now time.Time) {
	s.mu.Lock()
	bound := s.decision.Obligations.Supervise && (s.supervised || len(s.grants) > 0)
	for g := range s.grants {
		bound = bound || g.ruling.Obligations.Supervise
	}
	if !bound || len(s.watchers) > 0 {
		s.unwatched, s.alone = time.Time{}, false
		s.mu.Unlock()
		return
	}
	if s.unwatched.IsZero() {
		s.unwatched = now
	}
	left := watchGrace - now.Sub(s.unwatched)
	first := !s.alone
	s.alone = true
	s.mu.Unlock()
	switch {
	case left <= 0:
		s.kill(&Ended{Reason: "not watched", EN: "it has to be watched by somebody of the company and nobody does",
			JA: "監視が必要なセッションですが、監視する担当者がいなくなりました"})
	case first:
		s.warn(Warning{Left: left, EN: "nobody watches this session any more: it ends in 30 seconds unless somebody does",
			JA: "監視する担当者がいなくなりました。30 秒以内に再開されない場合、セッションを終了します"})
	}
}

var notWatched = policy.Reason{
	ID: "not_watched",
	EN: "Somebody of the company has to watch this session, and nobody does.",
	JA: "このセッションは担当者による監視が必要ですが、現在監視されていません。",
}
