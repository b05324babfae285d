package policy

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Limits of a judge's memory.
const (
	judgeAnswers = 1 << 18
	judgeClocks  = 1 << 12
)

// judge decides the past under one revision, many times a second: what the rules say is remembered by exactly those inputs
// that they read. It says what an Engine would say and belongs to one goroutine.
type judge struct {
	revision *Revision
	guard    []part            // what the guardrail reads
	parts    map[string][]part // what guardrail and vendor type read
	clocks   []*clock          // by the time they begin
	answers  map[string]*answer
	links    []link // of the decision at hand
	bounds   []Obligations
	key      []byte
}

// answer is what guardrail and vendor type say about one need of one vendor.
type answer struct {
	effect         Effect
	deny, approval []Reason
	fault          error
}

// ruling is a decision about the past.
type ruling struct {
	effect      Effect
	need        int // the first need that has this effect
	obligations Obligations
	fault       error
}

func newJudge(r *Revision) *judge {
	j := &judge{revision: r, parts: map[string][]part{}, answers: map[string]*answer{}}
	var guard []*ast.Rule
	for _, name := range answers {
		guard = append(guard, r.compiler.GetRulesExact(answerRef(guardrailPackage, name))...)
	}
	j.guard = partsOf(inputsRead(r.compiler, guard))
	for _, name := range append([]string{staffType}, VendorTypes...) {
		rules := slices.Clone(guard)
		for _, answer := range answers {
			rules = append(rules, r.compiler.GetRulesExact(answerRef(name, answer))...)
		}
		j.parts[name] = partsOf(inputsRead(r.compiler, rules))
	}
	return j
}

// decide is what Engine.Decide says about in at a moment, without ends and leases' names.
func (j *judge) decide(ctx context.Context, in *Input, now time.Time) ruling {
	if in.refusal() != nil {
		return ruling{}
	}
	c := j.clockAt(now)
	e := &ends{now: now, next: now}
	j.link(in, c, e)
	r := ruling{effect: Allow, need: -1}
	for i, need := range needsOf(in) {
		effect := Allow
		for l := range j.links {
			a := j.ask(ctx, in, &j.links[l], need, c)
			if a.fault != nil {
				return ruling{fault: a.fault}
			}
			effect = min(effect, a.effect)
		}
		if effect == Approval && len(in.Action.Needs) > 0 {
			if _, ok := raise(in.Leases, in.Person.ID, in.Target.Name, need, now); ok {
				effect = Allow
			}
		}
		if effect < r.effect {
			r.effect, r.need = effect, i
		}
	}
	for _, bound := range j.bounds {
		r.obligations = r.obligations.and(bound)
	}
	return r
}

// reasons are why a ruling was no allow: as Engine.Decide words them.
func (j *judge) reasons(ctx context.Context, in *Input, now time.Time, r ruling) []Reason {
	if refused := in.refusal(); refused != nil {
		return []Reason{*refused}
	}
	if r.fault != nil {
		return []Reason{reasonError}
	}
	if r.effect == Allow || r.need < 0 {
		return nil
	}
	c := j.clockAt(now)
	j.link(in, c, &ends{now: now, next: now})
	var list []Reason
	for l := range j.links {
		a := j.ask(ctx, in, &j.links[l], needsOf(in)[r.need], c)
		if r.effect == Deny {
			list = j.links[l].append(list, a.deny)
		} else {
			list = j.links[l].append(list, a.approval)
		}
	}
	if len(list) == 0 {
		return []Reason{reasonSilent}
	}
	return list
}

// link finds out about the vendors of the chain.
func (j *judge) link(in *Input, c *clock, e *ends) {
	j.links, j.bounds = j.links[:0], j.bounds[:0]
	for i := -1; i < len(in.Parents); i++ {
		v := &in.Vendor
		if i >= 0 {
			v = &in.Parents[i]
		}
		bound := j.revision.matrix.obligationsFor(subject{v.Type, v.ID, in.Target.Name})
		j.bounds = append(j.bounds, bound)
		j.links = append(j.links, link{vendor: v, own: i < 0, facts: factsOf(in, v, bound.MFAMaxAge, c, e)})
	}
}

// ask puts one need of one vendor to the rules, or remembers what they said.
func (j *judge) ask(ctx context.Context, in *Input, l *link, need Need, c *clock) *answer {
	q := asking{in: in, link: l, need: need, windows: c}
	if need != (Need{}) {
		q.path = pathOf(in.Action.Protocol, need)
	}
	set, by := j.revision.matrix.cellFor(subject{l.vendor.Type, l.vendor.ID, in.Target.Name}, need.Right, q.path)
	q.cell, q.override = set.String(), by
	guardOnly := need == (Need{}) || !in.staff() && selfService(in.Action.Operation)
	parts := j.guard
	j.key = append(j.key[:0], 0)
	if !guardOnly {
		parts = j.parts[l.vendor.Type]
		j.key = appendTexts(j.key[:0], l.vendor.Type)
	}
	for _, p := range parts {
		j.key = p(j.key, &q)
	}
	if known := j.answers[string(j.key)]; known != nil {
		return known
	}
	a := j.evaluate(ctx, &q, guardOnly)
	if ctx.Err() == nil {
		if len(j.answers) >= judgeAnswers {
			clear(j.answers)
		}
		j.answers[string(j.key)] = a
	}
	return a
}

func (j *judge) evaluate(ctx context.Context, q *asking, guardOnly bool) (a *answer) {
	defer func() {
		if p := recover(); p != nil {
			a = &answer{fault: fmt.Errorf("panic while deciding: %v", p)}
		}
	}()
	program := j.revision.guard
	if !guardOnly {
		program = j.revision.programs[q.link.vendor.Type]
	}
	v, err := program.run(ctx, newDocument(q.in, q.windows).input(question{vendor: q.link.vendor, own: q.link.own,
		facts: &q.link.facts, need: q.need, path: q.path.String(), cell: q.cell, override: q.override}))
	if err != nil {
		return &answer{fault: err}
	}
	a = &answer{effect: v.guard.effect(), deny: v.guard.deny, approval: v.guard.approval}
	if !guardOnly {
		a.effect = min(a.effect, v.kind.effect())
		a.deny, a.approval = append(a.deny, v.kind.deny...), append(a.approval, v.kind.approval...)
	}
	return a
}

// clockAt reads all windows, which is needed again only when one opens or closes.
func (j *judge) clockAt(now time.Time) *clock {
	i := sort.Search(len(j.clocks), func(i int) bool { return j.clocks[i].at.After(now) })
	if i > 0 && j.clocks[i-1].holds(now) {
		return j.clocks[i-1]
	}
	c := readClock(j.revision.windows, now)
	if len(j.clocks) >= judgeClocks {
		j.clocks, i = nil, 0
	}
	j.clocks = slices.Insert(j.clocks, i, c)
	return c
}

// asking is one question to the rules.
type asking struct {
	in             *Input
	link           *link
	need           Need
	path           resourcePath
	cell, override string
	windows        *clock
}

// part writes one part of a question's document into a key, so that no two values look alike.
type part func(key []byte, q *asking) []byte

// partsOf are the parts that rules with these inputs depend on.
func partsOf(inputs []string) []part {
	var parts []part
	for _, d := range documentParts {
		if slices.ContainsFunc(inputs, func(name string) bool { return reads(name, d.name) }) {
			parts = append(parts, d.part)
		}
	}
	return parts
}

// documentParts are all parts of the document that rules read (lib.rego).
var documentParts = []struct {
	name string
	part part
}{
	{"input.right", texts(func(q *asking) string { return string(q.need.Right) })},
	{"input.resource", texts(func(q *asking) string { return q.need.Resource })},
	{"input.path", texts(func(q *asking) string { return q.path.String() })},
	{"input.cell", texts(func(q *asking) string { return q.cell })},
	{"input.override", texts(func(q *asking) string { return q.override })},
	{"input.person.id", texts(func(q *asking) string { return q.in.Person.ID })},
	{"input.person.vendor", texts(func(q *asking) string { return q.in.Person.Vendor })},
	{"input.person.roles", func(key []byte, q *asking) []byte { return appendTexts(key, q.in.Person.Roles...) }},
	{"input.person.staff", flags(func(q *asking) bool { return q.in.staff() })},
	{"input.vendor.id", texts(func(q *asking) string { return q.link.vendor.ID })},
	{"input.vendor.type", texts(func(q *asking) string { return q.link.vendor.Type })},
	{"input.vendor.own", flags(func(q *asking) bool { return q.link.own })},
	{"input.vendor.risk", texts(func(q *asking) string { return riskText(q.link.vendor.Risk) })},
	{"input.chain", appendChain},
	{"input.auth.kind", texts(func(q *asking) string { return q.in.Auth.Kind })},
	{"input.auth.mfa.method", texts(func(q *asking) string { return q.in.Auth.MFA.Method })},
	{"input.auth.mfa.uv", flags(func(q *asking) bool { return q.in.Auth.MFA.UV })},
	{"input.source.ip", texts(func(q *asking) string { return q.in.Source.IP.String() })},
	{"input.target.name", texts(func(q *asking) string { return q.in.Target.Name })},
	{"input.target.kind", texts(func(q *asking) string { return q.in.Target.Kind })},
	{"input.target.login", texts(func(q *asking) string { return q.in.Target.Login })},
	{"input.target.labels", func(key []byte, q *asking) []byte { return appendLabels(key, q.in.Target.Labels) }},
	{"input.target.sensitivity", texts(func(q *asking) string { return q.in.Target.Sensitivity })},
	{"input.target.enforcement", texts(func(q *asking) string { return q.in.Target.Enforcement })},
	{"input.action.protocol", texts(func(q *asking) string { return q.in.Action.Protocol })},
	{"input.action.operation", texts(func(q *asking) string { return q.in.Action.Operation })},
	{"input.action.command", texts(func(q *asking) string { return q.in.Action.Command })},
	{"input.action.opaque", flags(func(q *asking) bool { return q.in.Action.Opaque })},
	{"input.facts.certificate", texts(func(q *asking) string { return q.link.facts.certificate })},
	{"input.facts.mfa", texts(func(q *asking) string { return q.link.facts.mfa })},
	{"input.facts.contract", texts(func(q *asking) string { return q.link.facts.contract })},
	{"input.facts.window", texts(func(q *asking) string { return q.link.facts.window })},
	{"input.facts.network", texts(func(q *asking) string { return q.link.facts.network })},
	{"input.facts.target", texts(func(q *asking) string { return q.link.facts.target })},
	{"input.facts.break_glass", texts(func(q *asking) string { return q.link.facts.breakGlass })},
	{"input.facts.cut_off", flags(func(q *asking) bool { return q.link.facts.cutOff })},
	{"input.windows", func(key []byte, q *asking) []byte { return appendTexts(key, q.windows.open...) }},
}

func texts(of func(q *asking) string) part {
	return func(key []byte, q *asking) []byte { return appendTexts(key, of(q)) }
}

func flags(of func(q *asking) bool) part {
	return func(key []byte, q *asking) []byte { return appendFlags(key, of(q)) }
}

func riskText(level *int) string {
	if level == nil {
		return ""
	}
	return fmt.Sprint(*level)
}

func appendChain(key []byte, q *asking) []byte {
	key = appendTexts(key, q.in.Vendor.ID)
	for i := range q.in.Parents {
		key = appendTexts(key, q.in.Parents[i].ID)
	}
	return key
}
