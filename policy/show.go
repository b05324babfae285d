package policy

// Shown is what a vendor may do on a target as the policy's tables and rules have it, and where each part comes from.
type Shown struct {
	Revision    int               `json:"revision"`
	Vendor      string            `json:"vendor"`
	Type        string            `json:"type"`
	Chain       []string          `json:"chain"` // the vendor's id, then its parents'
	Target      string            `json:"target"`
	Cells       []ShownCell       `json:"cells"`             // one for each right, in the matrix's order
	Paths       []ShownOverride   `json:"paths,omitempty"`   // overrides that hold for some paths only, in the order they apply
	Windows     []ShownWindow     `json:"windows"`           // of the vendor and its parents
	Obligations Obligations       `json:"obligations"`       // the strictest of the chain
	Bounds      []ShownObligation `json:"bounds"`            // where the obligations come from
	Rules       []ShownRule       `json:"rules,omitempty"`   // rules that may narrow a cell further
	Notices     []Reason          `json:"notices,omitempty"` // why nothing is allowed at all: target not listed, cut off …
}

// Place is where something stands in the policy folder. Line and Column count from 1.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// ShownCell is the effective cell of one right where no path override applies.
type ShownCell struct {
	Right  Right       `json:"right"`
	Cell   string      `json:"cell"`  // always | approval | never: the least of Links
	Table  string      `json:"table"` // M-1…M-5 of the vendor that limits it
	By     string      `json:"by"`    // the vendor of the chain that limits it, "" when Go itself does (admin)
	Links  []ShownLink `json:"links"` // the vendor's own, then its parents'
	Effect Effect      `json:"effect"`
	// Reasons are what the rules say to somebody of this vendor who meets every control (C-1…C-5) and asks for this right
	// on nothing in particular; Effect is their answer. It differs from Cell where a rule narrows it.
	Reasons []Reason `json:"reasons,omitempty"`
}

// ShownLink is one vendor's own cell.
type ShownLink struct {
	Vendor   string `json:"vendor"`
	Type     string `json:"type"`
	Table    string `json:"table"`
	Cell     string `json:"cell"`
	Override string `json:"override,omitempty"` // the override that set it
	Place    Place  `json:"place"`
}

// ShownOverride is an override for a path that applies to a vendor of the chain on this target.
type ShownOverride struct {
	Name        string           `json:"name"`
	Vendor      string           `json:"vendor"` // the vendor of the chain that it applies to
	Path        string           `json:"path"`
	Cells       map[Right]string `json:"cells,omitempty"`
	Obligations Obligations      `json:"obligations"`
	Place       Place            `json:"place"`
}

// ShownWindow is one working window of a vendor of the chain.
type ShownWindow struct {
	Vendor string `json:"vendor"`
	Name   string `json:"name"`
	Known  bool   `json:"known"` // windows.yaml has it
	Text   string `json:"text"`  // as windows.yaml says it: its days, hours and zone
	Place  Place  `json:"place"`
}

// ShownObligation is a place that adds to the obligations.
type ShownObligation struct {
	Vendor      string      `json:"vendor"`
	From        string      `json:"from"` // every, a vendor type, or override NAME
	Obligations Obligations `json:"obligations"`
	Place       Place       `json:"place"`
}

// ShownRule is a rule of the guardrail or a vendor type that may say approval or deny whatever the cell is.
type ShownRule struct {
	Package string `json:"package"`
	Rule    string `json:"rule"` // approval | deny
	Text    string `json:"text"` // its source, at most 12 lines
	Place   Place  `json:"place"`
}

// Show tells what v may do on target, with parents from the direct one up to the head of the chain.
func (r *Revision) Show(v Vendor, parents []Vendor, target string) Shown {
	s := Shown{Revision: r.number, Vendor: v.ID, Type: v.Type, Chain: []string{v.ID}, Target: target}
	for i := range parents {
		s.Chain = append(s.Chain, parents[i].ID)
	}
	return s
}
