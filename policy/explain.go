package policy

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
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
	Vendor string      `json:"vendor"`
	Type   string      `json:"type"`
	Effect Effect      `json:"effect"`
	Cell   ShownLink   `json:"cell"`  // of the matrix; zero when connecting
	Rules  []FiredRule `json:"rules"` // the rules that spoke
	// Inputs are what those rules have read that decided; when no rule spoke, what the rules read that could have allowed.
	Inputs []MatteredWord `json:"inputs"`
	// Unmet are the conditions at which the rules ended that could have allowed, of a package that said nothing.
	Unmet []UnmetCondition `json:"unmet,omitempty"`
}

// FiredRule is a rule of the policy that said something.
type FiredRule struct {
	Package string   `json:"package"` // guardrail, staff or a vendor type
	Rule    string   `json:"rule"`    // allow, approval or deny
	Place   Place    `json:"place"`
	Reasons []Reason `json:"reasons,omitempty"`
}

// MatteredWord is an input that the rules which decided have read, with the value that it had.
type MatteredWord struct {
	Name  string `json:"name"`  // input.facts.window
	Value string `json:"value"` // JSON
}

// UnmetCondition is where a rule that could have allowed ends.
type UnmetCondition struct {
	Package string `json:"package"`
	Text    string `json:"text"` // the condition as it was typed
	Place   Place  `json:"place"`
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

// Explain decides in again and says why. What the decision of the past was put on record with may differ: a revision explains
// what it says itself.
func (r *Revision) Explain(ctx context.Context, in Input, opts ExplainOptions) (Explanation, error) {
	if in.Time.Now.IsZero() {
		in.Time.Now = opts.Now
	}
	e, err := newExplainer(r, &in)
	if err != nil {
		return Explanation{}, err
	}
	d := e.decide(ctx, r, &in)
	out := Explanation{Effect: d.Effect, Revision: r.number, Reasons: d.Reasons, Until: d.Until, Ends: d.Ends, Needs: []ExplainedNeed{}}
	if d.Fault() != nil {
		out.Fault = d.Fault().Error()
	}
	if in.refusal() == nil {
		for i, need := range needsOf(&in) {
			explained := e.need(ctx, need)
			if i < len(d.Needs) {
				explained.Effect, explained.Lease = d.Needs[i].Effect, d.Needs[i].Lease
			}
			out.Needs = append(out.Needs, explained)
		}
	}
	switch {
	case len(opts.Capped) > 0:
		out.Effect, out.Capped, out.Reasons, out.Ends = Deny, true, addAll(slices.Clone(opts.Capped), d.Reasons), time.Time{}
	case d.Effect == Allow:
		out.EndsBy = e.endsBy(&d)
	default:
		out.Remedies = e.remedies(ctx, &d, out.Needs)
	}
	return out, ctx.Err()
}

// explainer asks one revision about one input, rule by rule.
type explainer struct {
	revision *Revision
	in       *Input
	places   *places
	tables   *tables
	judge    *judge
	inquiry  *inquiry // about in
}

func newExplainer(r *Revision, in *Input) (*explainer, error) {
	at, err := readPlaces(r.files)
	if err != nil {
		return nil, err
	}
	f, err := readFolder(files(r.files))
	if err != nil {
		return nil, err
	}
	data, err := f.data()
	if err != nil {
		return nil, err
	}
	tables, err := newTables(data)
	if err != nil {
		return nil, err
	}
	e := &explainer{revision: r, in: in, places: at, tables: tables, judge: newJudge(r)}
	if in.refusal() == nil {
		e.inquiry = e.judge.inquire(in, in.Time.Now)
	}
	return e, nil
}

// decide is what the gateway would say.
func (e *explainer) decide(ctx context.Context, r *Revision, in *Input) Decision {
	return NewEngine(r, func() time.Time { return in.Time.Now }).Decide(ctx, *in)
}

// need explains what every vendor of the chain is told about one need.
func (e *explainer) need(ctx context.Context, need Need) ExplainedNeed {
	out := ExplainedNeed{Need: need, Effect: Allow}
	for l := range e.inquiry.links {
		link := e.link(ctx, &e.inquiry.links[l], need)
		out.Effect = min(out.Effect, link.Effect)
		out.Links = append(out.Links, link)
	}
	return out
}

// link explains what one vendor of the chain is told.
func (e *explainer) link(ctx context.Context, l *link, need Need) ExplainedLink {
	v := l.vendor
	out := ExplainedLink{Vendor: v.ID, Type: v.Type, Effect: Allow, Rules: []FiredRule{}, Inputs: []MatteredWord{}}
	if need != (Need{}) && v.Type != staffType {
		out.Cell, _ = e.revision.linkFor(e.places, v, e.in.Target.Name, need.Right, pathOf(e.in.Action.Protocol, need))
	}
	document := newDocument(e.in, e.inquiry.clock).input(e.judge.questionOf(l, need))
	for _, p := range e.judge.programs(l) {
		name := guardrailPackage
		if p != e.revision.guard {
			name = v.Type
		}
		said := p.say(ctx, document)
		if said.effect < out.Effect {
			out.Effect, out.Inputs, out.Unmet = said.effect, nil, nil
		}
		fired := e.fired(ctx, name, document)
		for _, f := range fired {
			out.Rules = append(out.Rules, f.FiredRule)
		}
		if said.effect == out.Effect {
			out.Inputs = e.mattered(out.Inputs, document, e.decisive(name, said, fired))
		}
		if said.effect == Deny && len(said.deny) == 0 && said.fault == nil {
			out.Unmet = append(out.Unmet, e.unmet(ctx, name, document)...)
		}
	}
	return out
}

// spoken is a rule that said something.
type spoken struct {
	FiredRule
	rule *ast.Rule
}

// fired asks every rule of a package by itself.
func (e *explainer) fired(ctx context.Context, name string, document *ast.Term) []spoken {
	var list []spoken
	for _, answer := range answers {
		for _, rule := range e.revision.compiler.GetRulesExact(answerRef(name, answer)) {
			for ; rule != nil; rule = rule.Else {
				values := e.values(ctx, rule, document)
				if len(values) == 0 {
					continue
				}
				f := FiredRule{Package: name, Rule: answer, Place: placeOf(rule.Loc()), Reasons: reasonsIn(values)}
				if answer != "allow" || values[0].Value.Compare(ast.Boolean(true)) == 0 {
					list = append(list, spoken{f, rule})
				}
				break
			}
		}
	}
	return list
}

func reasonsIn(values []*ast.Term) []Reason {
	var list []Reason
	for _, value := range values {
		elements := []*ast.Term{value}
		if set, ok := value.Value.(ast.Set); ok {
			elements = set.Slice()
		}
		for _, element := range elements {
			if reason, err := readReason(element); err == nil {
				list = addReason(list, reason)
			}
		}
	}
	return list
}

// explained is the variable that a rule's answer is bound to.
const explained = ast.Var("explained")

// values are what a rule says by itself: nothing when its conditions do not hold.
func (e *explainer) values(ctx context.Context, rule *ast.Rule, document *ast.Term) []*ast.Term {
	value := rule.Head.Key
	if value == nil {
		value = rule.Head.Value
	}
	if value == nil {
		value = ast.BooleanTerm(true)
	}
	body := append(slices.Clone(rule.Body), ast.Equality.Expr(ast.NewTerm(explained), value))
	var values []*ast.Term
	e.run(ctx, body, document, func(result topdown.QueryResult) {
		if value := result[explained]; value != nil && len(values) < maxEntries {
			values = append(values, value)
		}
	})
	return values
}

// run evaluates a part of a rule as decisions do. A part that fails says nothing.
func (e *explainer) run(ctx context.Context, body ast.Body, document *ast.Term, each func(topdown.QueryResult)) {
	_ = topdown.NewQuery(body).
		WithCompiler(e.revision.compiler).
		WithStore(e.tables.store).
		WithTransaction(e.tables.txn).
		WithInput(document).
		WithStrictBuiltinErrors(true).
		WithCancel(newBudget(ctx)).
		Iter(ctx, func(result topdown.QueryResult) error {
			each(result)
			return nil
		})
}

// decisive are the rules that made a package say what it said: those of its answer, or all that allow when it said nothing.
func (e *explainer) decisive(name string, said *answer, fired []spoken) []*ast.Rule {
	want := [...]string{Deny: "deny", Approval: "approval", Allow: "allow"}[said.effect]
	var rules []*ast.Rule
	for _, f := range fired {
		if f.Rule == want {
			rules = append(rules, f.rule)
		}
	}
	if len(rules) == 0 {
		rules = e.revision.compiler.GetRulesExact(answerRef(name, "allow"))
	}
	return rules
}

// mattered adds the inputs that rules read, with their values.
func (e *explainer) mattered(list []MatteredWord, document *ast.Term, rules []*ast.Rule) []MatteredWord {
	read := fieldsRead(e.revision.compiler, rules)
	for i, name := range fieldNames {
		word := MatteredWord{Name: "input." + name}
		if !read.has(1<<i) || slices.ContainsFunc(list, func(w MatteredWord) bool { return w.Name == word.Name }) {
			continue
		}
		ref := ast.Ref{}
		for _, part := range strings.Split(name, ".") {
			ref = append(ref, ast.StringTerm(part))
		}
		if value, err := document.Value.Find(ref); err == nil {
			word.Value = clip(value.String(), maxCommandText)
			list = append(list, word)
		}
	}
	return list
}

// unmet finds, for each rule that could have allowed, the first condition that does not hold.
func (e *explainer) unmet(ctx context.Context, name string, document *ast.Term) []UnmetCondition {
	list := []UnmetCondition{}
	for _, rule := range e.revision.compiler.GetRulesExact(answerRef(name, "allow")) {
		for n := range rule.Body {
			holds := false
			e.run(ctx, slices.Clone(rule.Body[:n+1]), document, func(topdown.QueryResult) { holds = true })
			if !holds {
				at := rule.Body[n]
				list = append(list, UnmetCondition{Package: name, Text: strings.Trim(text(at), "`"), Place: placeOf(at.Loc())})
				break
			}
		}
	}
	return list
}
