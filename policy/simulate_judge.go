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
	judgeAnswers = 1 << 17
	judgeCells   = 1 << 14 // of one standing
	judgeClocks  = 1 << 12
)

// judge decides the past under one revision, many times a second: what the rules say is remembered by exactly those inputs
// that they read. It says what an Engine would say and belongs to one goroutine.
type judge struct {
	revision  *Revision
	packages  map[string]*opinions // the guardrail and every type, by name
	standings map[subject]*standing
	classes   map[string]*standing // by what tells subjects apart
	clocks    []*clock             // by the time they begin
	links     []link               // of the decision at hand
	standing  []*standing          // of its links
	key       []byte
}

// opinions is what one package said, by the inputs that it reads.
type opinions struct {
	parts []part
	said  map[string]*answer
}

// answer is what one package says about one need of one vendor.
type answer struct {
	opinion
	effect Effect
	fault  error
}

// standing is what the matrix says about subjects that the same overrides select.
type standing struct {
	obligations Obligations
	cells       map[cellKey]cellValue
}

type cellKey struct {
	right Right
	path  resourcePath
}

type cellValue struct{ cell, override string }

// ruling is a decision about the past.
type ruling struct {
	effect      Effect
	need        int // the first need that has this effect
	obligations Obligations
	fault       error
}

func newJudge(r *Revision) *judge {
	j := &judge{revision: r, packages: map[string]*opinions{}, standings: map[subject]*standing{},
		classes: map[string]*standing{}}
	for _, name := range askedPackages() {
		var rules []*ast.Rule
		for _, answer := range answers {
			rules = append(rules, r.compiler.GetRulesExact(answerRef(name, answer))...)
		}
		j.packages[name] = &opinions{parts: partsOf(inputsRead(r.compiler, rules)), said: map[string]*answer{}}
	}
	return j
}

// decide is what Engine.Decide says about in at a moment, without ends and leases' names.
func (j *judge) decide(ctx context.Context, in *Input, now time.Time) ruling {
	if in.refusal() != nil {
		return ruling{need: -1}
	}
	c := j.clockAt(now)
	j.link(in, now, c)
	r := ruling{effect: Allow, need: -1}
	for i, need := range needsOf(in) {
		effect, fault := j.need(ctx, in, need, c)
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
	for _, s := range j.standing {
		r.obligations = r.obligations.and(s.obligations)
	}
	return r
}

// need is the least of what guardrail and vendor type say to every vendor of the chain.
func (j *judge) need(ctx context.Context, in *Input, need Need, c *clock) (Effect, error) {
	least := Allow
	for l := range j.links {
		q := j.asking(in, l, need, c)
		for _, name := range q.packages() {
			a := j.say(ctx, name, &q)
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

// reasons are why a ruling was no allow: as Engine.Decide words them for the need that counts.
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
	j.link(in, now, c)
	var list []Reason
	for l := range j.links {
		q := j.asking(in, l, needsOf(in)[r.need], c)
		for _, name := range q.packages() {
			a := j.say(ctx, name, &q)
			if a.fault != nil {
				return []Reason{reasonError}
			}
			if r.effect == Deny {
				list = j.links[l].append(list, a.deny)
			} else {
				list = j.links[l].append(list, a.approval)
			}
		}
	}
	if len(list) == 0 {
		return []Reason{reasonSilent}
	}
	return list
}

// link finds out about the vendors of the chain.
func (j *judge) link(in *Input, now time.Time, c *clock) {
	e := &ends{now: now, next: now}
	j.links, j.standing = j.links[:0], j.standing[:0]
	for i := -1; i < len(in.Parents); i++ {
		v := &in.Vendor
		if i >= 0 {
			v = &in.Parents[i]
		}
		s := j.standingOf(subject{v.Type, v.ID, in.Target.Name})
		j.standing = append(j.standing, s)
		j.links = append(j.links, link{vendor: v, own: i < 0, facts: factsOf(in, v, s.obligations.MFAMaxAge, c, e)})
	}
}

// standingOf finds what the matrix says about a subject: the same for all of a type that the same overrides select.
func (j *judge) standingOf(who subject) *standing {
	if s := j.standings[who]; s != nil {
		return s
	}
	class := appendTexts(nil, who.vendorType)
	for i := range j.revision.matrix.overrides {
		class = appendFlags(class, j.revision.matrix.overrides[i].selects(who))
	}
	s := j.classes[string(class)]
	if s == nil {
		s = &standing{obligations: j.revision.matrix.obligationsFor(who), cells: map[cellKey]cellValue{}}
		j.classes[string(class)] = s
	}
	if len(j.standings) >= judgeAnswers {
		clear(j.standings)
	}
	j.standings[who] = s
	return s
}

// asking prepares a question to one vendor of the chain.
func (j *judge) asking(in *Input, l int, need Need, c *clock) asking {
	q := asking{in: in, link: &j.links[l], need: need, windows: c}
	if need != (Need{}) {
		q.path = pathOf(in.Action.Protocol, need)
	}
	cells, key := j.standing[l].cells, cellKey{need.Right, q.path}
	value, ok := cells[key]
	if !ok {
		set, by := j.revision.matrix.cellFor(subject{q.link.vendor.Type, q.link.vendor.ID, in.Target.Name}, need.Right, q.path)
		value = cellValue{set.String(), by}
		if len(cells) >= judgeCells {
			clear(cells)
		}
		cells[key] = value
	}
	q.cellValue = value
	return q
}

// say puts a question to one package, or remembers what it said.
func (j *judge) say(ctx context.Context, name string, q *asking) *answer {
	o := j.packages[name]
	j.key = j.key[:0]
	for _, p := range o.parts {
		j.key = p(j.key, q)
	}
	if known := o.said[string(j.key)]; known != nil {
		return known
	}
	a := j.revision.evaluate(ctx, name, q)
	if ctx.Err() == nil {
		if len(o.said) >= judgeAnswers {
			clear(o.said)
		}
		o.said[string(j.key)] = a
	}
	return a
}

// evaluate asks one package. A type's program asks the guardrail, too.
func (r *Revision) evaluate(ctx context.Context, name string, q *asking) (a *answer) {
	defer func() {
		if p := recover(); p != nil {
			a = &answer{fault: fmt.Errorf("panic while deciding: %v", p)}
		}
	}()
	program := r.guard
	if name != guardrailPackage {
		program = r.programs[name]
	}
	v, err := program.run(ctx, q.document())
	if err != nil {
		return &answer{fault: err}
	}
	if name != guardrailPackage {
		return &answer{opinion: v.kind, effect: v.kind.effect()}
	}
	return &answer{opinion: v.guard, effect: v.guard.effect()}
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
	in      *Input
	link    *link
	need    Need
	path    resourcePath
	windows *clock
	cellValue
}

// document is what the rules read.
func (q *asking) document() *ast.Term {
	return newDocument(q.in, q.windows).input(question{vendor: q.link.vendor, own: q.link.own, facts: &q.link.facts, need: q.need,
		path: q.path.String(), cell: q.cell, override: q.override})
}

// packages are those that are asked: the guardrail alone about connecting and about self-service.
func (q *asking) packages() []string {
	if q.need == (Need{}) || !q.in.staff() && selfService(q.in.Action.Operation) {
		return guardrailOnly
	}
	return guardrailAnd[q.link.vendor.Type]
}

var (
	guardrailOnly = []string{guardrailPackage}
	guardrailAnd  = func() map[string][]string {
		all := map[string][]string{}
		for _, name := range askedPackages()[1:] {
			all[name] = []string{guardrailPackage, name}
		}
		return all
	}()
)

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
