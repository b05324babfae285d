package access

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// lookAgain is how long the door relies on what it knows of waiting requests: another gateway on the same store may have
// filed one, a new policy may escalate earlier.
const lookAgain = 30 * time.Second

// keepAttending looks after waiting requests until ctx ends, beside the sweep of live sessions, which must not wait for it.
// The function it returns waits for the end.
func (d *Door) keepAttending(ctx context.Context) (wait func()) {
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				d.attend(ctx)
			}
		}
	})
	return done.Wait
}

// attend lets requests expire and escalate when their time has come.
func (d *Door) attend(ctx context.Context) {
	now := d.cfg.Now()
	if due := d.due.Load(); due != 0 && now.UnixNano() < due {
		return
	}
	next := now.Add(lookAgain)
	d.due.Store(next.UnixNano()) // before looking: what is filed meanwhile sets it to 0 again
	waiting, err := d.cfg.Store.Requests(ctx, RequestQuery{Status: RequestPending})
	if err != nil {
		d.cfg.Log.Error("looking at waiting requests failed", zap.Error(err))
		return
	}
	for _, r := range waiting {
		r.complete()
		at, err := d.attendTo(ctx, r, now)
		if err != nil {
			d.cfg.Log.Error("looking after a request failed", zap.String("request", r.ID), zap.Error(err))
			continue
		}
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	d.due.CompareAndSwap(now.Add(lookAgain).UnixNano(), next.UnixNano())
}

// attendTo does what is due for one request and returns when something will be next.
func (d *Door) attendTo(ctx context.Context, r ApprovalRequest, now time.Time) (time.Time, error) {
	if !now.Before(r.Expires) {
		return time.Time{}, d.expire(ctx, r.ID)
	}
	next := r.Expires
	for _, p := range d.route(r).Panels {
		at := r.CreatedAt.Add(p.EscalateAfter)
		if p.EscalateAfter == 0 || !at.After(r.Escalated) {
			continue
		}
		if now.Before(at) {
			next = soonerOf(next, at)
			continue
		}
		if err := d.escalate(ctx, r.ID, at, p); err != nil {
			return time.Time{}, err
		}
	}
	return next, nil
}

func soonerOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// expire ends a request that nobody, or not enough people, have approved in time.
func (d *Door) expire(ctx context.Context, id string) error {
	return d.byItself(ctx, "gateway.request.expired", id, func(r *ApprovalRequest) map[string]any {
		if d.cfg.Now().Before(r.Expires) {
			return nil
		}
		r.Status, r.Answer = RequestExpired, Answer{Status: RequestExpired, At: r.Expires}
		return map[string]any{"after": r.Expires.Sub(r.CreatedAt).String()}
	})
}

// escalate puts on record that more people may answer from now on.
func (d *Door) escalate(ctx context.Context, id string, at time.Time, p policy.Panel) error {
	return d.byItself(ctx, "gateway.request.escalated", id, func(r *ApprovalRequest) map[string]any {
		if !at.After(r.Escalated) {
			return nil
		}
		r.Escalated = at
		return map[string]any{"to": slices.Clone(p.EscalateTo), "after": p.EscalateAfter.String()}
	})
}

// byItself changes a waiting request because its time has come; change returns nil when there is nothing to do any more.
func (d *Door) byItself(ctx context.Context, kind, id string, change func(*ApprovalRequest) map[string]any) error {
	d.answering.Lock()
	defer d.answering.Unlock()
	err := d.cfg.Store.ChangeRequest(ctx, id, func(r *ApprovalRequest) ([]Lease, error) {
		r.complete()
		if r.Status != RequestPending {
			return nil, nil
		}
		detail := change(r)
		if detail == nil {
			return nil, nil
		}
		detail["request"], detail["for"], detail["on"] = r.ID, r.Person, r.Target
		_, err := d.cfg.Audit.Append(ctx, recorder.Event{Class: recorder.ClassConfig, Kind: kind, Outcome: recorder.OK,
			Target: policy.GatewayTarget, Detail: detail})
		return nil, err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}
