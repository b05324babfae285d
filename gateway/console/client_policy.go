package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
)

// Policy is the revision in force with those that may follow it.
func (c *Client) Policy(ctx context.Context) (PolicyStatus, error) {
	var status PolicyStatus
	return status, c.get(ctx, "/api/v1/policy", &status)
}

// PolicyHistory lists every revision, newest first.
func (c *Client) PolicyHistory(ctx context.Context) iter.Seq2[revision.Version, error] {
	return list[revision.Version](ctx, c, "/api/v1/policy/history", nil)
}

// PolicyRevision is one revision with its files; number 0 is the one in force.
func (c *Client) PolicyRevision(ctx context.Context, number int) (PolicyRevision, error) {
	var found PolicyRevision
	return found, c.get(ctx, "/api/v1/policy/revisions/"+strconv.Itoa(number), &found)
}

// CheckPolicy looks files over as applying them would.
func (c *Client) CheckPolicy(ctx context.Context, files revision.Files) (policy.Report, error) {
	var report policy.Report
	return report, c.post(ctx, "/api/v1/policy/check", map[string]PolicyFiles{"files": policyFiles(files)}, &report)
}

// PlanPolicy says what applying files would change.
func (c *Client) PlanPolicy(ctx context.Context, files revision.Files) (revision.Plan, error) {
	var plan revision.Plan
	return plan, c.post(ctx, "/api/v1/policy/plan", map[string]PolicyFiles{"files": policyFiles(files)}, &plan)
}

// ApplyPolicy makes a revision; its status says whether it is in force. change.Base is the plan's.
func (c *Client) ApplyPolicy(ctx context.Context, change revision.Change) (revision.Version, error) {
	var version revision.Version
	return version, c.post(ctx, "/api/v1/policy/apply", PolicyChange{Files: policyFiles(change.Files), Base: change.Base,
		Reason: change.Reason, Ticket: change.Ticket, Source: change.Source, ActivateAt: change.ActivateAt}, &version)
}

// ConfirmPolicy is the yes of a second person.
func (c *Client) ConfirmPolicy(ctx context.Context, number int) (revision.Version, error) {
	return c.actOnPolicy(ctx, number, "confirm", "", "")
}

// RejectPolicy is somebody else's no to a revision that is not in force yet.
func (c *Client) RejectPolicy(ctx context.Context, number int, reason string) (revision.Version, error) {
	return c.actOnPolicy(ctx, number, "reject", reason, "")
}

// WithdrawPolicy takes one's own revision back before it is in force.
func (c *Client) WithdrawPolicy(ctx context.Context, number int, reason string) (revision.Version, error) {
	return c.actOnPolicy(ctx, number, "withdraw", reason, "")
}

// RollbackPolicy makes a new revision of an earlier one's files.
func (c *Client) RollbackPolicy(ctx context.Context, number int, reason, ticket string) (revision.Version, error) {
	return c.actOnPolicy(ctx, number, "rollback", reason, ticket)
}

func (c *Client) actOnPolicy(ctx context.Context, number int, act, reason, ticket string) (revision.Version, error) {
	var version revision.Version
	body := struct {
		Reason string `json:"reason"`
		Ticket string `json:"ticket"`
	}{reason, ticket}
	return version, c.post(ctx, fmt.Sprintf("/api/v1/policy/revisions/%d/%s", number, act), body, &version)
}

// ShowPolicy is what a vendor may do on a target, and where each part comes from.
func (c *Client) ShowPolicy(ctx context.Context, vendor, target string) (policy.Shown, error) {
	var shown policy.Shown
	return shown, c.get(ctx, "/api/v1/policy/show?"+url.Values{"vendor": {vendor}, "target": {target}}.Encode(), &shown)
}

// ExplainDecision says how a decision on record came about.
func (c *Client) ExplainDecision(ctx context.Context, id string) (PolicyExplanation, error) {
	var explained PolicyExplanation
	return explained, c.get(ctx, "/api/v1/policy/explain/"+url.PathEscape(id), &explained)
}

// SimulatePolicy decides the past again under other files. progress is told how far it is; it may be nil.
func (c *Client) SimulatePolicy(ctx context.Context, ask PolicySimulation, progress func(SimulationLine)) (*policy.Simulation, error) {
	resp, err := c.send(ctx, http.MethodPost, c.cfg.BaseURL+"/api/v1/policy/simulate", ask)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	d := json.NewDecoder(resp.Body)
	for {
		var line SimulationLine
		if err := d.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("the simulation broke off: %w", err)
		}
		switch {
		case line.Failed != nil:
			return nil, line.Failed
		case line.Result != nil:
			return line.Result, nil
		case progress != nil:
			progress(line)
		}
	}
}

// AskSimulation makes the question of SimulatePolicy from files.
func AskSimulation(files revision.Files) PolicySimulation {
	return PolicySimulation{Files: policyFiles(files)}
}
