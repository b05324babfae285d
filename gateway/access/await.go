package access

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// awaitEvery is how often a request that somebody waits for is looked at.
const awaitEvery = 300 * time.Millisecond

// Await waits until a request of this session's person is no longer pending, and says what became of it. It ends with ctx
// and with the session.
func (s *Session) Await(ctx context.Context, request string) (RequestStatus, error) {
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for {
		s.used(s.door.cfg.Now()) // it is others who are waited for
		r, err := s.door.cfg.Store.Request(ctx, request)
		switch {
		case err != nil && ctx.Err() == nil:
			return "", fmt.Errorf("waiting for request %s: %w", request, err)
		case err == nil && r.Person != s.principal.Person:
			return "", ErrNotFound
		case err == nil && r.Status != RequestPending:
			return r.Status, nil
		case err == nil && !s.door.cfg.Now().Before(r.Expires):
			return RequestExpired, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", ctx.Err()
		case <-s.ctx.Done():
			return "", context.Cause(s.ctx)
		}
	}
}

// Withdraw takes a request of this session's person back, because nobody waits for its answer any more.
func (s *Session) Withdraw(ctx context.Context, request string) error {
	err := s.door.Cancel(ctx, s.principal, request)
	if errors.Is(err, ErrAnswered) {
		return nil
	}
	return err
}
