package policy

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Limits of a judge's memory.
const (
	judgeAnswers = 1 << 17 // of one package
	judgeCells   = 1 << 14 // of one standing
	judgeClocks  = 1 << 12
)

// judge decides the past under one revision, many times a second. It says what an Engine would say, remembers more, leaves
// out what nobody asks of the past (ends, leases' names), and belongs to one goroutine.
type judge struct {
	state     *state
	asked     map[string][]*program // guardrail and vendor type, by type; of "" the guardrail alone
	answers   map[*program]map[string]*answer
	standings map[*stance]*standing
	classes   map[string]*standing // by what tells stances apart
	places    map[*override]int    // in the matrix
	clocks    []*clock             // by the time they begin
	inquiry   inquiry              // of the decision at hand
}

// answer is what one package says about one need of one vendor.
type answer struct {
	opinion
	effect Effect
	fault  error
}

// standing remembers the cells of all subjects of a type that the same overrides select.
type standing struct{ cells map[cellKey]cellValue }

type cellKey struct {
	right Right
	path  resourcePath
}

type cellValue struct{ cell, override string }

// ruling is a decision about the past.
type ruling struct {
	effect      Effect
	need        int // the first need that has this effect, -1 when none is to blame
	obligations Obligations
	fault       error
}

func newJudge(r *Revision) *judge {
	j := &judge{state: &state{revision: r}, answers: map[*program]map[string]*answer{}, standings: map[*stance]*standing{},
		classes: map[string]*standing{}, asked: map[string][]*program{"": {r.guard}}, places: map[*override]int{}}
	for i := range r.matrix.overrides {
		j.places[&r.matrix.overrides[i]] = i
	}
	for name, kind := range r.kinds {
		j.asked[name] = []*program{r.guard, kind}
	}
	return j
}

// decide is what Engine.Decide says about in at a moment.
func (j *judge) decide(ctx context.Context, in *Input, now time.Time) ruling {
	if in.refusal() != nil {
		return ruling{need: -1}
	}
	q := j.inquire(in, now)
	if q.reads.has(fieldLabels) && tooLargeLabels(in.Target.Labels) {
		return ruling{need: -1}
	}
	r := ruling{effect: Allow, need: -1}
	for i, need := range needsOf(in) {
		effect, fault := j.need(ctx, need)
		if fault != nil {
			return ruling{need: -1, fault: fault}
		}
		if effect == Approval && len(in.Action.Needs) > 0 {
			if _, ok := raise(in.Leases, in.Person.ID, in.Target.Name, need, now); ok {
				effect = Allow
			}
		}
		if effect < r.effect {
			r.effect, r.need = effect, i
		}
		if effect == Deny {
			break
		}
	}
	r.obligations = q.obligations()
	return r
}

// inquire finds out about the vendors of the chain. The inquiry is good until the next one.
func (j *judge) inquire(in *Input, now time.Time) *inquiry {
	q := &j.inquiry
	q.in, q.clock, q.ends, q.links = in, j.clockAt(now), ends{now: now, next: now}, q.links[:0]
	q.begin(j.state)
	return q
}

// need is the least of what guardrail and vendor type say to every vendor of the chain.
func (j *judge) need(ctx context.Context, need Need) (Effect, error) {
	least := Allow
	for l := range j.inquiry.links {
		asked := j.questionOf(&j.inquiry.links[l], need)
		for _, p := range j.programs(&j.inquiry.links[l]) {
			a := j.say(ctx, p, &asked)
			if a.fault != nil {
				return Deny, a.fault
			}
			if least = min(least, a.effect); least == Deny {
				return Deny, nil
			}
		}
	}
	return least, nil
}

// programs are the packages that are asked about one vendor of the chain.
func (j *judge) programs(l *link) []*program {
	if j.inquiry.guardOnly {
		return j.asked[""]
	}
	return j.asked[l.vendor.Type]
}

// reasons are why a ruling was no allow: as Engine.Decide words them for the need that counts.
func (j *judge) reasons(ctx context.Context, in *Input, now time.Time, r ruling) []Reason {
	if refused := in.refusal(); refused != nil {
		return []Reason{*refused}
	}
	switch {
	case r.fault != nil:
		return []Reason{reasonError}
	case r.effect == Allow:
		return nil
	case r.need < 0:
		return []Reason{reasonTooLarge}
	}
	q := j.inquire(in, now)
	var list []Reason
	for l := range q.links {
		asked := j.questionOf(&q.links[l], needsOf(in)[r.need])
		for _, p := range j.programs(&q.links[l]) {
			a := j.say(ctx, p, &asked)
			if a.fault != nil {
				return []Reason{reasonError}
			}
			if r.effect == Deny {
				list = q.links[l].append(list, a.deny)
			} else {
				list = q.links[l].append(list, a.approval)
			}
		}
	}
	if len(list) == 0 {
		return []Reason{reasonSilent}
	}
	return list
}

// questionOf is inquiry.questionOf with the matrix's cells remembered.
func (j *judge) questionOf(l *link, need Need) question {
	if !l.byPath {
		return j.inquiry.questionOf(l, need)
	}
	key := cellKey{right: need.Right}
	if need != (Need{}) {
		key.path = pathOf(j.inquiry.in.Action.Protocol, need)
	}
	cells := j.standingOf(l).cells
	value, ok := cells[key]
	if !ok {
		c, by := l.cellFor(key.right, key.path)
		value = cellValue{c.String(), by}
		if len(cells) >= judgeCells {
			clear(cells)
		}
		cells[key] = value
	}
	return question{vendor: l.vendor, own: l.own, facts: &l.facts, need: need, path: key.path.String(), cell: value.cell,
		override: value.override}
}

// standingOf finds the standing of a link's stance.
func (j *judge) standingOf(l *link) *standing {
	if s := j.standings[l.stance]; s != nil {
		return s
	}
	class := appendText(nil, l.vendor.Type)
	for _, o := range l.overrides {
		class = binary.AppendUvarint(class, uint64(j.places[o]))
	}
	s := j.classes[string(class)]
	if s == nil {
		s = &standing{cells: map[cellKey]cellValue{}}
		j.classes[string(class)] = s
	}
	if len(j.standings) >= maxStances {
		clear(j.standings)
	}
	j.standings[l.stance] = s
	return s
}

// say puts a question to one package, or remembers what it said.
func (j *judge) say(ctx context.Context, p *program, asked *question) *answer {
	q := &j.inquiry
	known := j.answers[p]
	if known == nil {
		known = map[string]*answer{}
		j.answers[p] = known
	}
	q.key = q.appendQuestion(q.key[:0], asked, p.reads)
	if a := known[string(q.key)]; a != nil {
		return a
	}
	a := p.say(ctx, documentOf(q.in, q.clock, p.reads).input(*asked))
	if ctx.Err() == nil {
		if len(known) >= judgeAnswers {
			clear(known)
		}
		known[string(q.key)] = a
	}
	return a
}

// say asks the program of one package.
func (p *program) say(ctx context.Context, document *ast.Term) (a *answer) {
	defer func() {
		if p := recover(); p != nil {
			a = &answer{fault: fmt.Errorf("panic while deciding: %v", p)}
		}
	}()
	said, err := p.run(ctx, document)
	if err != nil {
		return &answer{fault: err}
	}
	return &answer{opinion: said, effect: said.effect()}
}

// clockAt reads all windows, which is needed again only when one opens or closes.
func (j *judge) clockAt(now time.Time) *clock {
	i := sort.Search(len(j.clocks), func(i int) bool { return j.clocks[i].at.After(now) })
	if i > 0 && j.clocks[i-1].holds(now) {
		return j.clocks[i-1]
	}
	c := readClock(j.state.revision.windows, now)
	if len(j.clocks) >= judgeClocks {
		j.clocks, i = nil, 0
	}
	j.clocks = slices.Insert(j.clocks, i, c)
	return c
}
