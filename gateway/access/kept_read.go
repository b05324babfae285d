package access

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
)

// Progress tells how much of the log a reading has behind it, in bytes. It may be called while the reading goes on.
type Progress func() (done, total int64)

// History yields in batches what was decided from since on and before until, in no order but that of each class. A zero
// until is now. Who asks must be allowed gateway.policy.simulate.
func (d *Door) History(ctx context.Context, by identity.Principal, since, until time.Time) (iter.Seq2[[]policy.Kept, error], Progress, error) {
	if err := d.Act(ctx, by, "gateway.policy.simulate", ""); err != nil {
		return nil, nil, err
	}
	return nil, nil, errors.New("past decisions cannot be read yet")
}

// KeptDecision returns one decision of the past and, where something other than policy refused it (Capped), the ids of the
// reasons. ErrNotFound when it is not on record. Who asks must be allowed gateway.policy.explain.
func (d *Door) KeptDecision(ctx context.Context, by identity.Principal, id string) (policy.Kept, []string, error) {
	if err := d.Act(ctx, by, "gateway.policy.explain", id); err != nil {
		return policy.Kept{}, nil, err
	}
	return policy.Kept{}, nil, errors.New("past decisions cannot be read yet")
}
