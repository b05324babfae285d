package console

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/sekisho/sekisho/policy"
)

// decisionView is one decision of the past with what it came from.
type decisionView struct {
	Kept    policy.Kept
	Why     policy.Explanation
	Current int // the revision that explains it
}

// showDecision explains a decision by deciding it again under the revision in force.
func (c *Console) showDecision(w http.ResponseWriter, r *http.Request, v *visitor) error {
	ctx := r.Context()
	kept, capped, err := c.cfg.Door.KeptDecision(ctx, v.principal(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if kept.Input == nil {
		return errors.New("a decision on record has no input")
	}
	revision := c.cfg.Engine.Revision()
	why, err := revision.Explain(ctx, *kept.Input, policy.ExplainOptions{Capped: cappedReasons(capped), Now: c.cfg.Now()})
	if err != nil {
		return fmt.Errorf("explaining decision %s: %w", kept.ID, err)
	}
	data := decisionView{Kept: kept, Why: why, Current: revision.Number()}
	c.render(w, http.StatusOK, "decision", c.newPage(r, v, "decision.title", data))
	return nil
}

func cappedReasons(ids []string) []policy.Reason {
	reasons := make([]policy.Reason, 0, len(ids))
	for _, id := range ids {
		reasons = append(reasons, policy.Reason{ID: id, EN: id, JA: id})
	}
	return reasons
}
