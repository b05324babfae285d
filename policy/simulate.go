package policy

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"time"
)

// SimulateOptions are what a simulation may ask its caller.
type SimulateOptions struct {
	// Reclassify is asked when the two revisions' command catalogues differ. It tells which rights the action would need under the candidate's command catalogue. Capped says that the
	// door would refuse it whatever the policy says (a line that is now opaque on a target that refuses such lines). With
	// ok false the needs on record stay and the decision is counted in Unclassified; nil does so for all. Its answer must
	// depend on action and target alone: it is remembered. It is called from several goroutines, and not for what has no
	// command.
	Reclassify func(in *Input) (action Action, capped, ok bool)
	// Progress is told how many decisions are done, at most ten times a second, never from two goroutines at once.
	Progress func(done int64)
	// Groups bounds how many groups are reported; 0 is 40.
	Groups int
}

// Simulation is what a candidate would have done to the decisions of the past.
type Simulation struct {
	Base      int       `json:"base"`      // the number of the revision compared with
	Candidate int       `json:"candidate"` // the candidate's number
	Decisions int64     `json:"decisions"`
	From      time.Time `json:"from,omitzero"` // the first decision
	To        time.Time `json:"to,omitzero"`   // the last one
	Changed   int64     `json:"changed"`
	Sessions  int64     `json:"sessions"` // with a change; counted up to 65,536
	Totals    []Total   `json:"totals"`
	// Changes are the changed decisions in groups: refused first, then asked, then allowed; the largest first.
	Changes []Group `json:"changes"`
	// More counts the groups that were left out, MoreDecisions what is in them.
	More          int   `json:"more,omitempty"`
	MoreDecisions int64 `json:"more_decisions,omitempty"`
	// Bound counts the decisions that stay allowed, under other obligations.
	Bound int64 `json:"bound"`
	// Unclassified counts the decisions whose needs were kept because they could not be told again.
	Unclassified int64 `json:"unclassified"`
	// Capped counts the decisions that something other than policy refused; they stay refused.
	Capped int64 `json:"capped"`
	// Differs counts the decisions whose effect on record is not the base's: another revision decided them, or a lease or a
	// fact that is not in their input.
	Differs int64         `json:"differs"`
	Faults  int64         `json:"faults"`          // decisions at which the candidate's rules fail, which refuses
	Fault   string        `json:"fault,omitempty"` // the first of these failures
	Took    time.Duration `json:"took"`            // nanoseconds

	faultAt string // the decision of Fault
}

// Total counts decisions by their effect under the base and under the candidate.
type Total struct {
	From  Effect `json:"from"`
	To    Effect `json:"to"`
	Count int64  `json:"count"`
}

// simulators is how many goroutines decide; another one reads the history.
const simulators = 2

// Simulate decides history again under base and candidate and reports where they differ. It reads history once, in any order,
// and never changes it; what was decided under other revisions is compared under these two. The same history gives the same
// report.
func Simulate(
	ctx context.Context, base, candidate *Revision, history iter.Seq2[[]Kept, error], opts SimulateOptions,
) (*Simulation, error) {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan []Kept, simulators)
	done := make(chan *tally, simulators)
	var progress progress
	for range simulators {
		t := newTally(base, candidate, &opts)
		go func() {
			defer func() { done <- t }()
			for batch := range batches {
				t.take(ctx, batch)
				progress.add(int64(len(batch)))
			}
		}()
	}
	stop := progress.report(opts.Progress)
	err := feed(ctx, history, batches)
	whole := <-done
	for range simulators - 1 {
		whole.merge(<-done)
	}
	stop()
	if err != nil {
		return nil, fmt.Errorf("simulating: %w", err)
	}
	s := whole.simulation(opts.Groups)
	s.Base, s.Candidate, s.Took = base.number, candidate.number, time.Since(began)
	return s, nil
}

// feed hands the history out in copies, since a reader may use a batch again.
func feed(ctx context.Context, history iter.Seq2[[]Kept, error], batches chan<- []Kept) error {
	defer close(batches)
	for batch, err := range history {
		if err != nil {
			return err
		}
		for part := range slices.Chunk(slices.Clone(batch), simulateBatch) {
			select {
			case batches <- part:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return ctx.Err()
}

// simulateBatch bounds what one goroutine decides before it looks at the context again.
const simulateBatch = 1024

// progress counts what is done.
type progress struct{ done atomic.Int64 }

func (p *progress) add(n int64) { p.done.Add(n) }

// report tells to about progress ten times a second until the returned function is called, and then once more.
func (p *progress) report(to func(done int64)) (stop func()) {
	if to == nil {
		return func() {}
	}
	ticker, quit, gone := time.NewTicker(100*time.Millisecond), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-ticker.C:
				to(p.done.Load())
			case <-quit:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(quit)
		<-gone
		to(p.done.Load())
	}
}

// tally is what one goroutine has found.
type tally struct {
	base, candidate *judge
	reclassify      *reclassifier
	groups          groups
	totals          [3][3]int64
	sessions        sessionSet
	found           Simulation // the counters
}

func newTally(base, candidate *Revision, opts *SimulateOptions) *tally {
	t := &tally{base: newJudge(base), candidate: newJudge(candidate), groups: groups{}, sessions: sessionSet{}}
	if !bytes.Equal(base.commands, candidate.commands) {
		t.reclassify = &reclassifier{ask: opts.Reclassify, known: map[string]reclassified{}}
	}
	return t
}

// take decides a batch.
func (t *tally) take(ctx context.Context, batch []Kept) {
	for i := range batch {
		if i%64 == 0 && ctx.Err() != nil {
			return
		}
		t.one(ctx, &batch[i])
	}
}

func (t *tally) one(ctx context.Context, k *Kept) {
	t.found.Decisions++
	t.found.span(k.At)
	switch {
	case k.Capped:
		t.found.Capped++
		t.totals[Deny][Deny]++
		return
	case k.Input == nil:
		t.found.Unclassified++
		t.totals[k.Effect][k.Effect]++
		return
	}
	now := k.Input.Time.Now
	if now.IsZero() {
		now = k.At
	}
	before := t.base.decide(ctx, k.Input, now)
	if before.effect != k.Effect {
		t.found.Differs++
	}
	in, capped := t.again(k.Input)
	var after ruling
	if !capped {
		after = t.candidate.decide(ctx, in, now)
	}
	if after.fault != nil {
		t.fault(k, after.fault)
	}
	t.totals[before.effect][after.effect]++
	if before.effect == after.effect {
		if after.effect == Allow && before.obligations != after.obligations {
			t.found.Bound++
		}
		return
	}
	t.changed(ctx, k, in, now, before, after, capped)
}

// again is the input as the candidate would classify it.
func (t *tally) again(in *Input) (again *Input, capped bool) {
	if t.reclassify == nil || in.Action.Command == "" {
		return in, false
	}
	r := t.reclassify.of(in)
	if !r.ok {
		t.found.Unclassified++
		return in, false
	}
	changed := *in
	changed.Action = r.action
	return &changed, r.capped
}

func (t *tally) fault(k *Kept, err error) {
	t.found.Faults++
	if t.found.Fault == "" || k.ID < t.found.faultAt {
		t.found.Fault, t.found.faultAt = err.Error(), k.ID
	}
}

// changed puts a decision that would be another one into its group.
func (t *tally) changed(ctx context.Context, k *Kept, in *Input, now time.Time, before, after ruling, capped bool) {
	t.found.Changed++
	t.sessions.add(k.Session)
	judge, r := t.candidate, after
	if after.effect > before.effect {
		in, judge, r = k.Input, t.base, before // why it was not allowed
	}
	reasons := []Reason{reasonOpaque}
	if !capped {
		reasons = judge.reasons(ctx, in, now, r)
	}
	t.groups.add(k, in, r.need, before.effect, after.effect, reasons)
}

// reasonOpaque stands for what the door says about a line that the candidate's catalogue can no longer tell.
var reasonOpaque = Reason{ID: "opaque_line",
	EN: "What this line does could not be told before it runs, and the target refuses such lines.",
	JA: "この行の動作は実行前に判定できず、この対象では許可されません。"}

// reclassifier remembers what an action needs.
type reclassifier struct {
	ask   func(in *Input) (action Action, capped, ok bool)
	known map[string]reclassified
	key   []byte
}

type reclassified struct {
	action     Action
	capped, ok bool
}

// of asks once for each action, target and login.
func (r *reclassifier) of(in *Input) reclassified {
	if r.ask == nil {
		return reclassified{}
	}
	a := &in.Action
	r.key = appendTexts(r.key[:0], a.Protocol, a.Operation, a.Command, in.Target.Name, in.Target.Kind, in.Target.Login)
	for _, n := range a.Needs {
		r.key = appendTexts(r.key, string(n.Right), n.Resource)
	}
	known, ok := r.known[string(r.key)]
	if !ok {
		known.action, known.capped, known.ok = r.ask(in)
		if len(r.known) >= judgeAnswers {
			clear(r.known)
		}
		r.known[string(r.key)] = known
	}
	return known
}

// span takes a moment in.
func (s *Simulation) span(t time.Time) {
	if s.From.IsZero() || t.Before(s.From) {
		s.From = t
	}
	if t.After(s.To) {
		s.To = t
	}
}

// merge takes in what another goroutine has found.
func (t *tally) merge(other *tally) {
	a, b := &t.found, &other.found
	a.Decisions, a.Changed, a.Bound = a.Decisions+b.Decisions, a.Changed+b.Changed, a.Bound+b.Bound
	a.Capped, a.Unclassified = a.Capped+b.Capped, a.Unclassified+b.Unclassified
	a.Differs, a.Faults = a.Differs+b.Differs, a.Faults+b.Faults
	if b.Decisions > 0 {
		a.span(b.From)
		a.span(b.To)
	}
	if b.Fault != "" && (a.Fault == "" || b.faultAt < a.faultAt) {
		a.Fault, a.faultAt = b.Fault, b.faultAt
	}
	for from := range t.totals {
		for to := range t.totals[from] {
			t.totals[from][to] += other.totals[from][to]
		}
	}
	t.sessions.merge(other.sessions)
	for key, g := range other.groups {
		t.groups.merge(key, g)
	}
}

// simulation writes the report.
func (t *tally) simulation(limit int) *Simulation {
	s := t.found
	s.Sessions = int64(len(t.sessions))
	s.Totals = []Total{}
	for from := range t.totals {
		for to, n := range t.totals[from] {
			if n > 0 {
				s.Totals = append(s.Totals, Total{From: Effect(from), To: Effect(to), Count: n})
			}
		}
	}
	if limit <= 0 {
		limit = defaultGroups
	}
	all := t.groups.readable(limit)
	s.Changes, s.MoreDecisions = shortlist(all, limit)
	s.More = len(all) - len(s.Changes)
	return &s
}
