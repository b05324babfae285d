package policy

import (
	"context"
	"errors"
	"iter"
	"time"
)

// SimulateOptions are what a simulation may ask its caller.
type SimulateOptions struct {
	// Reclassify tells which rights the action would need under the candidate's command catalogue. Capped says that the
	// door would refuse it whatever the policy says (a line that is now opaque on a target that refuses such lines). With
	// ok false the needs on record stay and the decision is counted in Unclassified. Nil keeps all needs. It is called
	// from several goroutines.
	Reclassify func(in *Input) (action Action, capped, ok bool)
	// Progress is told how many decisions are done, at most ten times a second, never from two goroutines at once.
	Progress func(done int64)
	// Groups bounds how many groups are reported; 0 is 200.
	Groups int
}

// Simulation is what a candidate would have done to the decisions of the past.
type Simulation struct {
	Base      int       `json:"base"`      // the revision compared with
	Candidate int       `json:"candidate"` // the candidate's number
	Decisions int64     `json:"decisions"`
	From      time.Time `json:"from,omitzero"` // the first decision
	To        time.Time `json:"to,omitzero"`   // the last
	Changed   int64     `json:"changed"`
	Sessions  int64     `json:"sessions"` // with a change
	// Changes are the changed decisions in groups, the ones that refuse most first.
	Changes []Group `json:"changes"`
	More    int     `json:"more,omitempty"` // groups that were left out
	// MoreDecisions are the decisions in them.
	MoreDecisions int64 `json:"more_decisions,omitempty"`
	// Totals counts changes by what they were and would be.
	Totals []Total `json:"totals"`
	// Unclassified counts the decisions whose needs were kept because they could not be told again.
	Unclassified int64 `json:"unclassified"`
	// Capped counts the decisions that something other than policy refused; they stay refused.
	Capped int64 `json:"capped"`
	// Differs counts the decisions whose effect on record is not what the base revision says today: another revision, or
	// another state, decided them.
	Differs int64 `json:"differs"`
	Faults  int64 `json:"faults"` // decisions at which the candidate's rules failed
	// Fault is the first of these failures.
	Fault string        `json:"fault,omitempty"`
	Took  time.Duration `json:"took"` // nanoseconds
}

// Total counts decisions by effect under the base and under the candidate.
type Total struct {
	From  Effect `json:"from"`
	To    Effect `json:"to"`
	Count int64  `json:"count"`
}

// Group is a number of changed decisions that are alike. An empty field, other than From and To, means several.
type Group struct {
	From      Effect    `json:"from"` // under the base
	To        Effect    `json:"to"`   // under the candidate
	Count     int64     `json:"count"`
	Vendor    string    `json:"vendor,omitempty"`
	Type      string    `json:"type,omitempty"`   // vendor type
	Person    string    `json:"person,omitempty"` // "" when several
	People    int       `json:"people"`
	Target    string    `json:"target,omitempty"`
	Operation string    `json:"operation"`
	Right     Right     `json:"right,omitempty"` // of the need that decides
	What      string    `json:"what"`            // the program, or the folder
	Reasons   []Reason  `json:"reasons,omitempty"`
	Sessions  []string  `json:"sessions"`                // some
	SessionsN int64     `json:"session_count,omitempty"` // all
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Example   string    `json:"example"` // a decision's id
	Command   string    `json:"command,omitempty"`
}

// Simulate decides history again under base and candidate and reports where they differ. It reads history once, in any order,
// and never changes it.
func Simulate(
	ctx context.Context, base, candidate *Revision, history iter.Seq2[[]Kept, error], opts SimulateOptions,
) (*Simulation, error) {
	return nil, errors.New("simulating is not possible yet")
}
