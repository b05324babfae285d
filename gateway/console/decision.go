package console

import (
	"errors"
	"net/http"
)

// decisionView is one decision of the past with what it came from.
type decisionView struct {
	PolicyExplanation
	Current int // the revision in force
}

// showDecision explains a decision to a person.
func (c *Console) showDecision(w http.ResponseWriter, r *http.Request, v *visitor) error {
	ctx := r.Context()
	kept, capped, err := c.cfg.Door.KeptDecision(ctx, v.principal(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if kept.Input == nil {
		return errors.New("a decision on record has no input")
	}
	why, err := c.explain(ctx, kept, capped)
	if err != nil {
		return err
	}
	data := decisionView{PolicyExplanation: why, Current: c.cfg.Policy.Current().Number}
	c.render(w, http.StatusOK, "decision", c.newPage(r, v, "decision.title", data))
	return nil
}
