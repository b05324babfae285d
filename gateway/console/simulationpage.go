package console

import (
	"net/http"
	"slices"

	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
)

// simulationSpans are how far back a simulation on the page may look.
var simulationSpans = []string{"24h", "7d", "30d"}

// simulationView is what a revision would have decided otherwise.
type simulationView struct {
	Version    revision.Version
	Since      string
	Result     *policy.Simulation
	MayExplain bool
}

// simulateRevision makes the decisions of the past again under a revision that is not in force.
func (c *Console) simulateRevision(w http.ResponseWriter, r *http.Request, v *visitor) error {
	number, err := revisionNumber(r)
	if err != nil {
		return err
	}
	span := formValue(w, r, "since")
	if !slices.Contains(simulationSpans, span) {
		return badRequest("since: want one of %v", simulationSpans)
	}
	since, err := c.moment("since", span)
	if err != nil {
		return err
	}
	ctx, by := r.Context(), v.principal()
	version, files, err := c.cfg.Policy.Get(ctx, number)
	if err != nil {
		return err
	}
	select {
	case c.simulating <- struct{}{}:
	default:
		return errSimulating
	}
	defer func() { <-c.simulating }()
	history, _, err := c.cfg.Door.History(ctx, by, since, c.cfg.Now())
	if err != nil {
		return err
	}
	candidate, err := c.cfg.Policy.Candidate(ctx, files, number)
	if err != nil {
		return err
	}
	data := simulationView{Version: version, Since: span, MayExplain: c.may(ctx, v, "gateway.policy.explain")}
	if data.Result, err = c.simulate(ctx, candidate, history, nil); err != nil {
		return err
	}
	c.render(w, http.StatusOK, "simulation", c.newPage(r, v, "simulation.title", data))
	return nil
}
