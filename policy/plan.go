package policy

import (
	"context"
	"slices"
	"sync"
)

// inquiry is one Input on its way through the rules, with what is looked up for it once. The engine's are pooled with a copy
// of their Input, so that a decision that was made before takes next to no memory: nothing that outlives a decision may
// point into one.
type inquiry struct {
	in        *Input
	clock     *clock
	ends      ends
	links     []link
	guardOnly bool   // only the guardrail is asked: for connecting and for self-service
	reads     fields // what the rules that are asked read
	key       []byte
	copied    Input
}

var inquiries = sync.Pool{New: func() any { return &inquiry{links: make([]link, 0, 1+maxParents)} }}

// release hands the inquiry back for the next decision.
func (q *inquiry) release() {
	if cap(q.key) <= 2*memoKey {
		inquiries.Put(q)
	}
}

// link is one vendor of the chain with its facts.
type link struct {
	vendor *Vendor
	own    bool
	facts  facts
	*stance
}

// plan is what the rules say about each need of an action, before leases: the least over guardrail, vendor type and the
// vendors of the chain. Connecting has the one zero need. It never changes.
type plan struct {
	effects        []Effect
	deny, approval [][]Reason // by need
}

// begin finds out about every vendor of the chain.
func (q *inquiry) begin(s *state) {
	in := q.in
	q.guardOnly = len(in.Action.Needs) == 0 || !in.staff() && selfService(in.Action.Operation)
	q.reads = s.revision.guard.reads
	q.links = slices.Grow(q.links[:0], 1+len(in.Parents))[:1+len(in.Parents)] // with the stances of the decision before
	for i := range q.links {
		l := &q.links[i]
		if l.own = i == 0; l.own {
			l.vendor = &in.Vendor
		} else {
			l.vendor = &in.Parents[i-1]
		}
		l.stance = s.stances.again(l.stance, s.revision, subject{l.vendor.Type, l.vendor.ID, in.Target.Name})
		if !q.guardOnly {
			q.reads |= l.kind.reads
		}
		l.facts = factsOf(in, l.vendor, l.obligations.MFAMaxAge, q.clock, &q.ends)
	}
	if q.reads.has(fieldWindows) {
		q.ends.at(q.clock.until)
	}
}

// needsOf lists what is decided: the action's needs, or the zero need of connecting.
func needsOf(in *Input) []Need {
	if len(in.Action.Needs) == 0 {
		return []Need{{}}
	}
	return in.Action.Needs
}

// obligations are the strictest of the chain.
func (q *inquiry) obligations() Obligations {
	bound := q.links[0].obligations
	for l := range q.links[1:] {
		bound = bound.and(q.links[1+l].obligations)
	}
	return bound
}

// planFor finds the plan that was made when the rules saw the same, or makes it.
func (s *state) planFor(ctx context.Context, q *inquiry) (*plan, error) {
	q.key = q.appendKey(q.key[:0])
	if p, ok := s.plans.get(q.key); ok {
		return p, nil
	}
	p, err := s.newPlan(ctx, q)
	if err != nil {
		return nil, err
	}
	if p.small() {
		s.plans.put(q.appendKey(q.key[:0]), p)
	}
	return p, nil
}

// Bounds on what is remembered of one plan and one opinion: a rule may put what a contractor types into its reasons.
const (
	maxKeptReasons = 256
	maxKeptText    = 8 << 10 // bytes
)

// small says whether a plan may be remembered.
func (p *plan) small() bool {
	reasons := 0
	for i := range p.effects {
		reasons += len(p.deny[i]) + len(p.approval[i])
	}
	return reasons <= maxKeptReasons
}

// newPlan asks the rules about every need of every vendor of the chain.
func (s *state) newPlan(ctx context.Context, q *inquiry) (*plan, error) {
	needs := needsOf(q.in)
	p := &plan{effects: make([]Effect, len(needs)), deny: make([][]Reason, len(needs)), approval: make([][]Reason, len(needs))}
	b := newBudget(ctx)
	for i, need := range needs {
		p.effects[i] = Allow
		for l := range q.links {
			if err := s.hear(b, q, p, i, need, &q.links[l]); err != nil {
				return nil, err
			}
		}
		if p.effects[i] == Deny && len(p.deny[i]) == 0 {
			p.deny[i] = []Reason{reasonSilent}
		}
	}
	return p, nil
}

// hear puts one need to the guardrail and the vendor type of one link. The guardrail alone answers for connecting and for
// self-service.
func (s *state) hear(b *budget, q *inquiry, p *plan, i int, need Need, l *link) error {
	asked := q.questionOf(l, need)
	said, err := s.ask(b, q, s.revision.guard, asked)
	if err != nil {
		return err
	}
	p.add(i, l, said)
	if q.guardOnly {
		return nil
	}
	if said, err = s.ask(b, q, l.kind, asked); err != nil {
		return err
	}
	p.add(i, l, said)
	return nil
}

// questionOf looks up what the matrix says about a need.
func (q *inquiry) questionOf(l *link, need Need) question {
	asked := question{vendor: l.vendor, own: l.own, facts: &l.facts, need: need}
	var path resourcePath
	if need != (Need{}) && (l.byPath || q.reads.has(fieldPath)) {
		path = pathOf(q.in.Action.Protocol, need)
		asked.path = path.String()
	}
	var c cell
	c, asked.override = l.cellFor(need.Right, path)
	asked.cell = c.String()
	return asked
}

// ask has a package of rules answer, unless it has answered a question that looked the same to it.
func (s *state) ask(b *budget, q *inquiry, p *program, asked question) (opinion, error) {
	q.key = q.appendQuestion(append(q.key[:0], p.number), &asked, p.reads)
	if said, ok := s.opinions.get(q.key); ok {
		return said, nil
	}
	said, err := p.answer(b, documentOf(q.in, q.clock, p.reads).input(asked))
	if err == nil && said.small() {
		s.opinions.put(q.key, said)
	}
	return said, err
}

// add takes an opinion in: the effect can only shrink.
func (p *plan) add(i int, l *link, o opinion) {
	p.effects[i] = min(p.effects[i], o.effect())
	p.deny[i] = l.append(p.deny[i], o.deny)
	p.approval[i] = l.append(p.approval[i], o.approval)
}

func (l *link) append(list, more []Reason) []Reason {
	for _, reason := range more {
		if !l.own {
			reason = reason.ofParent(l.vendor.ID)
		}
		list = addReason(list, reason)
	}
	return list
}
