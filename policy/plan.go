package policy

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
)

// plan is what the rules say about each need of an action, before leases: the least over guardrail, vendor type and the
// vendors of the chain. Connecting has the one zero need.
type plan struct {
	effects        []Effect
	deny, approval [][]Reason // by need
	obligations    Obligations
}

// link is one vendor of the chain with its facts.
type link struct {
	vendor      *Vendor
	own         bool
	facts       facts
	obligations Obligations
}

// linksOf finds out about every vendor of the chain.
func linksOf(r *Revision, in *Input, c *clock, e *ends) []link {
	links := make([]link, 0, 1+len(in.Parents))
	for i := -1; i < len(in.Parents); i++ {
		v := &in.Vendor
		if i >= 0 {
			v = &in.Parents[i]
		}
		bound := r.matrix.obligationsFor(subject{v.Type, v.ID, in.Target.Name})
		links = append(links, link{vendor: v, own: i < 0, facts: factsOf(in, v, bound.MFAMaxAge, c, e), obligations: bound})
	}
	return links
}

// needsOf lists what is decided: the action's needs, or the zero need of connecting.
func needsOf(in *Input) []Need {
	if len(in.Action.Needs) == 0 {
		return []Need{{}}
	}
	return in.Action.Needs
}

// newPlan asks the rules about every need of every vendor of the chain.
func newPlan(ctx context.Context, r *Revision, in *Input, links []link, c *clock) (*plan, error) {
	needs := needsOf(in)
	p := &plan{effects: make([]Effect, len(needs)), deny: make([][]Reason, len(needs)), approval: make([][]Reason, len(needs))}
	doc := newDocument(in, c)
	for i, need := range needs {
		p.effects[i] = Allow
		for l := range links {
			if err := p.ask(ctx, r, in, doc, i, need, &links[l]); err != nil {
				return nil, err
			}
		}
		if p.effects[i] == Deny && len(p.deny[i]) == 0 {
			p.deny[i] = []Reason{reasonSilent}
		}
	}
	for l := range links {
		p.obligations = p.obligations.and(links[l].obligations)
	}
	return p, nil
}

// ask puts one need to the guardrail and the vendor type of one link. The guardrail alone answers for connecting and for
// self-service.
func (p *plan) ask(ctx context.Context, r *Revision, in *Input, doc *document, i int, need Need, l *link) error {
	path := resourcePath{}
	if need != (Need{}) {
		path = pathOf(in.Action.Protocol, need)
	}
	cell, override := r.matrix.cellFor(subject{l.vendor.Type, l.vendor.ID, in.Target.Name}, need.Right, path)
	q := question{vendor: l.vendor, own: l.own, facts: &l.facts, need: need, path: path.String(), cell: cell.String(),
		override: override}
	guardOnly := need == (Need{}) || !in.staff() && selfService(in.Action.Operation)
	program := r.guard
	if !guardOnly {
		program = r.programs[l.vendor.Type]
	}
	v, err := program.run(ctx, doc.input(q))
	if err != nil {
		return err
	}
	p.add(i, l, v.guard)
	if !guardOnly {
		p.add(i, l, v.kind)
	}
	return nil
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

// Limits of a memo.
const (
	memoEntries = 4096
	memoKey     = 2048 // bytes
)

// memo remembers plans by everything they depend on. The rules see no clock, only facts, and the facts are part of the key:
// an entry never goes stale while its revision lasts.
type memo struct {
	mu    sync.RWMutex
	plans map[string]*plan
}

func (m *memo) get(key []byte) *plan {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.plans[string(key)]
}

func (m *memo) put(key []byte, p *plan) {
	if len(key) > memoKey {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.plans == nil || len(m.plans) >= memoEntries {
		m.plans = make(map[string]*plan)
	}
	m.plans[string(key)] = p
}

// appendKey writes everything that a plan depends on: what a document shows to the rules and how each link stands.
func appendKey(key []byte, in *Input, links []link, c *clock) []byte {
	key = appendTexts(key, in.Person.ID, in.Person.Vendor, in.Auth.Kind, in.Auth.MFA.Method, in.Target.Name, in.Target.Kind,
		in.Target.Login, in.Target.Sensitivity, in.Target.Enforcement, in.Action.Protocol, in.Action.Operation,
		in.Action.Command, c.key)
	key = appendFlags(key, in.Auth.MFA.UV, in.Action.Opaque)
	key = appendTexts(key, in.Person.Roles...)
	ip := in.Source.IP.As16()
	key = append(key, ip[:]...)
	key = appendTexts(key, in.Source.IP.Zone())
	key = appendFlags(key, in.Source.IP.IsValid(), in.Source.IP.Is4())
	key = appendLabels(key, in.Target.Labels)
	for l := range links {
		key = links[l].appendKey(key)
	}
	for _, n := range in.Action.Needs {
		key = appendTexts(key, string(n.Right), n.Resource)
	}
	return key
}

func (l *link) appendKey(key []byte) []byte {
	f := &l.facts
	key = appendTexts(key, l.vendor.ID, l.vendor.Type, f.certificate, f.mfa, f.contract, f.window, f.network, f.target, f.breakGlass)
	level := int64(-1)
	if l.vendor.Risk != nil {
		level = int64(*l.vendor.Risk)
	}
	key = binary.AppendVarint(key, level)
	return appendFlags(key, f.cutOff, l.vendor.Risk == nil)
}

func appendLabels(key []byte, m map[string]string) []byte {
	names := make([]string, 0, 8)
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	key = binary.AppendUvarint(key, uint64(len(names)))
	for _, name := range names {
		key = appendTexts(key, name, m[name])
	}
	return key
}

// appendTexts writes how many texts there are and each with its length, so that no two lists look alike.
func appendTexts(key []byte, texts ...string) []byte {
	key = binary.AppendUvarint(key, uint64(len(texts)))
	for _, text := range texts {
		key = binary.AppendUvarint(key, uint64(len(text)))
		key = append(key, text...)
	}
	return key
}

func appendFlags(key []byte, flags ...bool) []byte {
	for _, flag := range flags {
		if flag {
			key = append(key, 1)
		} else {
			key = append(key, 0)
		}
	}
	return key
}
