package policy

import (
	"context"
	"errors"
	"time"
)

// Explanation says how a decision came about and what would have changed it.
type Explanation struct {
	Effect   Effect      `json:"effect"`
	Revision int         `json:"revision"`
	Reasons  []Reason    `json:"reasons,omitempty"`
	Until    time.Time   `json:"until"`
	Ends     time.Time   `json:"ends,omitzero"` // of an allow: when something ends it
	EndsBy   []Condition `json:"ends_by,omitempty"`
	// Needs are explained in the Input's order; connecting has one without a right.
	Needs []ExplainedNeed `json:"needs"`
	// Remedies would each have allowed what was not allowed, tried by deciding again. Empty when nothing that was tried
	// helps, and of an allow.
	Remedies []Remedy `json:"remedies,omitempty"`
	// Capped says that something other than the rules refused it (see ExplainOptions): no remedy counts.
	Capped bool   `json:"capped,omitempty"`
	Fault  string `json:"fault,omitempty"` // why the rules failed
}

// ExplainedNeed is one right on one resource with what every vendor of the chain was told about it.
type ExplainedNeed struct {
	Need
	Effect Effect          `json:"effect"`
	Lease  string          `json:"lease,omitempty"` // the lease that raised it
	Links  []ExplainedLink `json:"links"`
}

// ExplainedLink is what guardrail and vendor type say to one vendor of the chain.
type ExplainedLink struct {
	Vendor string         `json:"vendor"`
	Type   string         `json:"type"`
	Effect Effect         `json:"effect"`
	Cell   ShownLink      `json:"cell"`  // of the matrix; zero when connecting
	Rules  []FiredRule    `json:"rules"` // the rules that spoke
	Inputs []MatteredWord `json:"inputs"`
}

// FiredRule is a rule of the policy that said something.
type FiredRule struct {
	Package string   `json:"package"` // guardrail, staff or a vendor type
	Rule    string   `json:"rule"`    // allow, approval or deny
	Place   Place    `json:"place"`
	Reasons []Reason `json:"reasons,omitempty"`
}

// MatteredWord is an input that the rules which spoke have read, with the value that it had.
type MatteredWord struct {
	Name  string `json:"name"`  // input.facts.window
	Value string `json:"value"` // JSON
}

// Condition is a moment that ends an allow.
type Condition struct {
	ID    string    `json:"id"` // window, contract, certificate, mfa or lease
	Table string    `json:"table,omitempty"`
	At    time.Time `json:"at"`
	EN    string    `json:"en"`
	JA    string    `json:"ja"`
}

// Remedy is what would have allowed a decision that was not an allow, as a sentence in both languages. Several have to hold
// together.
type Remedy struct {
	IDs   []string `json:"ids"`             // window, mfa, network, contract, certificate, target, lease …
	Table string   `json:"table,omitempty"` // the requirements, as C-2 or C-2, C-4
	EN    string   `json:"en"`
	JA    string   `json:"ja"`
}

// ExplainOptions are what an explanation cannot tell from the Input.
type ExplainOptions struct {
	// Capped are the reasons for which something other than the rules refused the decision; see Kept.Capped.
	Capped []Reason
	Now    time.Time // stands in for an Input without a time
}

// Explain decides in again and says why.
func (r *Revision) Explain(ctx context.Context, in Input, opts ExplainOptions) (Explanation, error) {
	return Explanation{}, errors.New("explaining is not possible yet")
}
