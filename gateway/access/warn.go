package access

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// Before a session ends for a reason that is known ahead (C-2), its person is warned this long before.
const (
	firstNotice = 10 * time.Minute
	lastNotice  = time.Minute
)

// Warning tells a person that their session is about to end.
type Warning struct {
	Left   time.Duration // until then
	EN, JA string
}

// OnWarning has hear called, on a goroutine of its own, with each warning to the session's person: 10 minutes and 1 minute
// before the session ends, and 1 minute before it is ended because it stands idle. What is to be warned of before that is
// told then.
func (s *Session) OnWarning(hear func(Warning)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hear = hear
}

// keepTime warns of what is about to end the session and ends it when its time has come; what policy decides is recheck's.
func (s *Session) keepTime(ctx context.Context, now time.Time) {
	if s.ctx.Err() != nil {
		return
	}
	if at, action := s.ending(); !at.IsZero() && s.due(at, now) {
		en, ja := s.whyEnding(ctx, at, action)
		left := at.Sub(now)
		clock := at.In(s.door.cfg.Zone).Format("15:04 MST")
		s.warn(Warning{Left: left,
			EN: fmt.Sprintf("this session ends in %s, at %s: %s", minutesEN(left), clock, en),
			JA: fmt.Sprintf("このセッションは%s（%s）に終了します: %s", afterJA(left), clock, ja)})
	}
	s.keepIdle(now)
	s.keepWatched(now)
}

// ending is when what is known now ends the session, and the action whose right then ends; the zero time when nothing does.
func (s *Session) ending() (at time.Time, action policy.Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, action = s.decision.Ends, connectAction(s.target, s.login, s.protocol)
	for g := range s.grants {
		if ends := g.ruling.Ends; !ends.IsZero() && (at.IsZero() || ends.Before(at)) {
			at, action = ends, g.action
		}
	}
	return at, action
}

// due says whether a warning of an end is to be given now. Each is given once for each end, the last one alone where the
// first comes too late.
func (s *Session) due(at, now time.Time) bool {
	notice := time.Duration(0)
	for _, n := range []time.Duration{firstNotice, lastNotice} {
		if !now.Before(at.Add(-n)) {
			notice = n
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if notice == 0 || s.hear == nil || !now.Before(at) {
		return false
	}
	maps.DeleteFunc(s.warned, func(end time.Time, _ time.Duration) bool { return !now.Before(end) })
	given, before := s.warned[at.UTC()]
	if before && given <= notice {
		return false
	}
	s.warned[at.UTC()] = notice
	return true
}

// whyEnding is what policy will say when the time has come.
func (s *Session) whyEnding(ctx context.Context, at time.Time, action policy.Action) (en, ja string) {
	en, ja = "your access ends then", "アクセスの期限です"
	in, ok := s.door.input(s.principal, s.target.Name, s.login, action)
	if !ok {
		return en, ja
	}
	in.Time.Now = at
	then := s.door.cfg.Engine.Decide(ctx, in)
	switch {
	case then.Effect == policy.Approval:
		return "its approval ends", "承認の期限です"
	case then.Effect == policy.Deny && len(then.Reasons) > 0:
		return then.Reasons[0].EN, then.Reasons[0].JA
	}
	return en, ja
}

func (s *Session) warn(w Warning) {
	s.mu.Lock()
	hear := s.hear
	s.mu.Unlock()
	if hear != nil {
		go hear(w)
	}
}

func minutesEN(d time.Duration) string {
	if n := wholeMinutes(d); n != 1 {
		return fmt.Sprintf("%d minutes", n)
	}
	return "1 minute"
}

func afterJA(d time.Duration) string { return fmt.Sprintf("%d 分後", wholeMinutes(d)) }

func wholeMinutes(d time.Duration) int { return int((d + time.Minute - 1) / time.Minute) }
