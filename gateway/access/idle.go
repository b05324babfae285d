package access

import (
	"fmt"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// keepIdle ends a session that nobody uses, after a warning. Input of the person and output of the target are use, in any of
// its channels: keystrokes, what a command prints, bytes of a file or a forward. So is a command that runs without a terminal,
// even when it says nothing: a script waits for it and no screen stands open. A silent shell or program on a terminal is none,
// nor are a client's keepalives. HTTPS sessions have their own end in the web proxy.
func (s *Session) keepIdle(now time.Time) {
	limit := s.door.cfg.Idle
	if limit <= 0 || s.protocol == "https" {
		return
	}
	if s.unattended() {
		s.used(now)
		return
	}
	last := s.lastUse.Load()
	quiet := now.Sub(time.Unix(0, last))
	minutes := wholeMinutes(limit)
	switch {
	case quiet >= limit:
		s.kill(&Ended{Reason: "idle", EN: fmt.Sprintf("nothing was typed or shown for %d minutes", minutes),
			JA: fmt.Sprintf("%d 分間操作がありませんでした", minutes)})
	case quiet >= limit-lastNotice && s.idleWarned.Swap(last) != last:
		s.warn(Warning{Left: limit - quiet,
			EN: "this session stands idle and ends in 1 minute; press a key to keep it",
			JA: "操作がないため 1 分後にセッションを終了します。続けるにはキーを押してください"})
	}
}

func (s *Session) used(now time.Time) { s.lastUse.Store(now.UnixNano()) }

// unattended tells whether a command runs that has no terminal.
func (s *Session) unattended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.grants {
		if g.op.Kind == "ssh.exec" && !g.op.Terminal {
			return true
		}
	}
	return false
}

// uses tells whether an entry of a recording shows that the session is used.
func uses(kind recorder.Kind) bool {
	switch kind {
	case recorder.KindOutput, recorder.KindStderr, recorder.KindInput, recorder.KindStart, recorder.KindExit, recorder.KindPacket,
		recorder.KindFile:
		return true
	}
	return false
}
