package access

import (
	"context"
	"time"
)

// previousAmong is how many of a person's sessions on a target are looked through for the last one with the same login.
const previousAmong = 20

// Previous is the last session before this one of the same person with the same login on the same target, as the gateway's
// own list has it; false when there is none.
func (s *Session) Previous(ctx context.Context) (SessionRecord, bool, error) {
	list, err := s.door.cfg.Store.Sessions(ctx, SessionQuery{Person: s.principal.Person, Target: s.target.Name, Limit: previousAmong})
	if err != nil {
		return SessionRecord{}, false, err
	}
	for _, r := range list {
		if r.ID != s.id && r.Login == s.login && r.Protocol == s.protocol && r.StartedAt.Before(s.started) {
			return r, true, nil
		}
	}
	return SessionRecord{}, false, nil
}

// Offset is where the session's recording is now.
func (s *Session) Offset() time.Duration { return s.offset() }
