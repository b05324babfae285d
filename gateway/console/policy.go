package console

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
)

// policyLimit bounds a body that carries a policy: its files as JSON strings.
const policyLimit = 2*revision.MaxBytes + bodyLimit

// PolicyStatus is the revision in force with those that may follow it.
type PolicyStatus struct {
	InForce revision.Version   `json:"in_force"`
	Open    []revision.Version `json:"open"` // waiting for a second person or for their time, oldest first
}

// PolicyRevision is one revision with its files.
type PolicyRevision struct {
	revision.Version
	Content PolicyFiles `json:"content"`
}

// Folder is its files.
func (r PolicyRevision) Folder() revision.Files { return r.Content.files() }

// PolicyFiles are a policy folder's files, by name.
type PolicyFiles map[string]string

func (f PolicyFiles) files() revision.Files {
	files := revision.Files{}
	for name, text := range f {
		files[name] = []byte(text)
	}
	return files
}

func policyFiles(files revision.Files) PolicyFiles {
	out := PolicyFiles{}
	for name, data := range files {
		out[name] = string(data)
	}
	return out
}

// PolicyChange asks for a revision of these files; see revision.Change.
type PolicyChange struct {
	Files      PolicyFiles `json:"files"`
	Base       int         `json:"base"`
	Reason     string      `json:"reason"`
	Ticket     string      `json:"ticket"`
	Source     string      `json:"source,omitempty"`
	ActivateAt time.Time   `json:"activate_at,omitzero"`
}

// PolicySimulation asks what these files would have decided.
type PolicySimulation struct {
	Files PolicyFiles `json:"files"`
	Since time.Time   `json:"since,omitzero"`
	Until time.Time   `json:"until,omitzero"`
}

// SimulationLine is one line of a simulation's answer: how far it is, and last its result or why there is none.
type SimulationLine struct {
	Done   int64              `json:"done,omitempty"`  // bytes of the record read
	Total  int64              `json:"total,omitempty"` // bytes
	Count  int64              `json:"count,omitempty"` // decisions made again
	Result *policy.Simulation `json:"result,omitempty"`
	Failed *Problem           `json:"problem,omitempty"`
}

// PolicyExplanation is a decision on record with what its policy said and says why.
type PolicyExplanation struct {
	Decision    string             `json:"decision"`
	At          time.Time          `json:"at"`
	Session     string             `json:"session,omitempty"`
	Revision    int                `json:"revision"` // that decided
	Effect      policy.Effect      `json:"effect"`   // as it was
	Capped      []string           `json:"capped,omitempty"`
	Input       *policy.Input      `json:"input,omitempty"` // nil when there was nothing to decide on: no such target
	Explanation policy.Explanation `json:"explanation"`
}

func (c *Console) routePolicyAPI(mux *http.ServeMux) {
	const at = "/api/v1/policy"
	mux.Handle("GET "+at, c.api(loggedIn, c.apiPolicy))
	mux.Handle("GET "+at+"/history", c.api(loggedIn, c.apiPolicyHistory))
	mux.Handle("GET "+at+"/revisions/{number}", c.api(loggedIn, c.apiPolicyRevision))
	mux.Handle("POST "+at+"/revisions/{number}/{act}", c.api(loggedIn, c.apiPolicyAct))
	mux.Handle("POST "+at+"/check", c.api(loggedIn, c.apiPolicyCheck))
	mux.Handle("POST "+at+"/plan", c.api(loggedIn, c.apiPolicyPlan))
	mux.Handle("POST "+at+"/apply", c.api(loggedIn, c.apiPolicyApply))
	mux.Handle("POST "+at+"/simulate", c.api(loggedIn, c.apiPolicySimulate))
	mux.Handle("GET "+at+"/show", c.api(loggedIn, c.apiPolicyShow))
	mux.Handle("GET "+at+"/explain/{decision}", c.api(loggedIn, c.apiPolicyExplain))
}

func (c *Console) apiPolicy(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.policy.show", ""); err != nil {
		return err
	}
	return answer(w, http.StatusOK, PolicyStatus{InForce: c.cfg.Policy.Current(), Open: c.cfg.Policy.Open()})
}

func (c *Console) apiPolicyHistory(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.policy.history", ""); err != nil {
		return err
	}
	return answerLines(c, w, each(c.cfg.Policy.History()))
}

func (c *Console) apiPolicyRevision(w http.ResponseWriter, r *http.Request, v *visitor) error {
	number, err := revisionNumber(r)
	if err != nil {
		return err
	}
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.policy.show", strconv.Itoa(number)); err != nil {
		return err
	}
	version, files, err := c.cfg.Policy.Get(r.Context(), number)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, PolicyRevision{version, policyFiles(files)})
}

func revisionNumber(r *http.Request) (int, error) {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil || number < 0 {
		return 0, badRequest("%q is not the number of a revision", r.PathValue("number"))
	}
	return number, nil
}

// apiPolicyAct is what is done to a revision that is there: confirm, reject, withdraw, rollback.
func (c *Console) apiPolicyAct(w http.ResponseWriter, r *http.Request, v *visitor) error {
	act := r.PathValue("act")
	number, err := revisionNumber(r)
	if err != nil {
		return err
	}
	var body struct {
		Reason string `json:"reason"`
		Ticket string `json:"ticket"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	if !slices.Contains([]string{"confirm", "reject", "withdraw", "rollback"}, act) {
		return errNoRoute
	}
	ctx, by := r.Context(), v.principal()
	if err := c.cfg.Door.Act(ctx, by, "gateway.policy."+act, fmt.Sprintf("revision %d: %s", number, body.Reason)); err != nil {
		return err
	}
	var done revision.Version
	switch act {
	case "confirm":
		done, err = c.cfg.Policy.Confirm(ctx, by, number)
	case "reject":
		done, err = c.cfg.Policy.Reject(ctx, by, number, body.Reason)
	case "withdraw":
		done, err = c.cfg.Policy.Withdraw(ctx, by, number, body.Reason)
	case "rollback":
		done, err = c.cfg.Policy.Rollback(ctx, by, number, body.Reason, body.Ticket)
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, done)
}

// decodePolicy reads a body with a policy. Who may not do anything with one is refused before so much is read.
func (c *Console) decodePolicy(w http.ResponseWriter, r *http.Request, v *visitor, verb string, into any) error {
	operation := "gateway.policy." + verb
	if !c.may(r.Context(), v, operation) {
		if err := c.cfg.Door.Act(r.Context(), v.principal(), operation, ""); err != nil {
			return err
		}
	}
	return decode(w, r, policyLimit, into)
}

func (c *Console) apiPolicyCheck(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Files PolicyFiles `json:"files"`
	}
	if err := c.decodePolicy(w, r, v, "check", &body); err != nil {
		return err
	}
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.policy.check", ""); err != nil {
		return err
	}
	report, err := c.cfg.Policy.Check(r.Context(), body.Files.files())
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, report)
}

func (c *Console) apiPolicyPlan(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Files PolicyFiles `json:"files"`
	}
	if err := c.decodePolicy(w, r, v, "plan", &body); err != nil {
		return err
	}
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.policy.plan", ""); err != nil {
		return err
	}
	plan, err := c.cfg.Policy.Plan(r.Context(), body.Files.files())
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, plan)
}

func (c *Console) apiPolicyApply(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body PolicyChange
	if err := c.decodePolicy(w, r, v, "apply", &body); err != nil {
		return err
	}
	ctx, by := r.Context(), v.principal()
	if err := c.cfg.Door.Act(ctx, by, "gateway.policy.apply", body.Ticket+": "+body.Reason); err != nil {
		return err
	}
	applied, err := c.cfg.Policy.Apply(ctx, by, revision.Change{Files: body.Files.files(), Base: body.Base,
		Reason: body.Reason, Ticket: body.Ticket, Source: body.Source, ActivateAt: body.ActivateAt})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, applied)
}

func (c *Console) apiPolicyShow(w http.ResponseWriter, r *http.Request, v *visitor) error {
	vendor, target := r.FormValue("vendor"), r.FormValue("target")
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.policy.show", vendor+" on "+target); err != nil {
		return err
	}
	shown, err := c.showPolicy(r.Context(), vendor, target)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, shown)
}

// showPolicy is what a vendor may do on a target under the policy in force.
func (c *Console) showPolicy(ctx context.Context, vendor, target string) (policy.Shown, error) {
	dir := c.cfg.Directory.Current()
	links := dir.Links(vendor)
	if len(links) == 0 || vendor == policy.StaffVendor {
		return policy.Shown{}, fmt.Errorf("vendor %q: %w", vendor, access.ErrNotFound)
	}
	t, ok := dir.Target(target)
	if !ok {
		return policy.Shown{}, fmt.Errorf("target %q: %w", target, access.ErrNotFound)
	}
	return c.cfg.Engine.Revision().Show(ctx, links[0], links[1:], policy.Target{Name: t.Name, Kind: t.Kind(), Labels: t.Labels})
}

func (c *Console) apiPolicyExplain(w http.ResponseWriter, r *http.Request, v *visitor) error {
	ctx := r.Context()
	kept, capped, err := c.cfg.Door.KeptDecision(ctx, v.principal(), r.PathValue("decision"))
	if err != nil {
		return err
	}
	explained, err := c.explain(ctx, kept, capped)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, explained)
}

func (c *Console) explain(ctx context.Context, kept policy.Kept, capped []string) (PolicyExplanation, error) {
	e := PolicyExplanation{Decision: kept.ID, At: kept.At, Session: kept.Session, Revision: kept.Revision, Effect: kept.Effect,
		Capped: capped, Input: kept.Input}
	rev, err := c.cfg.Policy.Revision(ctx, kept.Revision)
	if err != nil {
		return e, err
	}
	opts := policy.ExplainOptions{Now: kept.At}
	for _, id := range capped {
		opts.Capped = append(opts.Capped, access.OwnReason(id))
	}
	if kept.Input == nil { // there was nothing to decide on
		e.Explanation = policy.Explanation{Revision: kept.Revision, Reasons: opts.Capped, Capped: true}
		return e, nil
	}
	e.Explanation, err = rev.Explain(ctx, *kept.Input, opts)
	return e, err
}

// apiPolicySimulate answers line by line: what goes wrong after the first line is the last one.
func (c *Console) apiPolicySimulate(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body PolicySimulation
	if err := c.decodePolicy(w, r, v, "simulate", &body); err != nil {
		return err
	}
	ctx, by := r.Context(), v.principal()
	if err := c.cfg.Door.Act(ctx, by, "gateway.policy.check", ""); err != nil {
		return err
	}
	candidate, err := c.cfg.Policy.Candidate(ctx, body.Files.files(), c.cfg.Policy.Current().Number+1)
	if err != nil {
		return err
	}
	select {
	case c.simulating <- struct{}{}:
	default:
		return errSimulating
	}
	defer func() { <-c.simulating }()
	history, read, err := c.cfg.Door.History(ctx, by, body.Since, body.Until)
	if err != nil {
		return err
	}
	lines := newSimulationLines(w, read)
	result, err := c.simulate(ctx, candidate, history, lines.progress)
	if err != nil {
		lines.send(SimulationLine{Failed: c.problemOf(v.lang, err)})
		return nil
	}
	lines.send(SimulationLine{Result: result})
	return nil
}

var errSimulating = &Problem{Status: http.StatusTooManyRequests, Title: "Too many simulations",
	Detail: "Another simulation is running; try again when it is done. / 別のシミュレーションを実行中です。"}

func (c *Console) simulate(
	ctx context.Context, candidate *policy.Revision, history iter.Seq2[[]policy.Kept, error], progress func(int64),
) (*policy.Simulation, error) {
	again, err := c.cfg.Door.Reclassify(candidate)
	if err != nil {
		return nil, err
	}
	opts := policy.SimulateOptions{Reclassify: again, Progress: progress}
	return policy.Simulate(ctx, c.cfg.Engine.Revision(), candidate, history, opts)
}

// simulationLines writes a simulation's answer as it goes on.
type simulationLines struct {
	encoder *json.Encoder
	flush   func() error
	read    access.Progress
}

func newSimulationLines(w http.ResponseWriter, read access.Progress) *simulationLines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	s := &simulationLines{encoder: json.NewEncoder(w), flush: http.NewResponseController(w).Flush, read: read}
	s.progress(0)
	return s
}

func (s *simulationLines) progress(count int64) {
	done, total := s.read()
	s.send(SimulationLine{Done: done, Total: total, Count: count})
}

// send leaves the errors of a caller who is gone to the context.
func (s *simulationLines) send(line SimulationLine) {
	if s.encoder.Encode(line) == nil {
		s.flush()
	}
}
