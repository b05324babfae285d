package policy

import (
	"errors"
	"time"
)

// Decision is the answer to one Input.
type Decision struct {
	ID          string       `json:"id"` // d-ULID
	Effect      Effect       `json:"effect"`
	Reasons     []Reason     `json:"reasons,omitempty"` // never empty unless Effect is Allow
	Until       time.Time    `json:"until"`             // the answer must not be used after this
	Ends        time.Time    `json:"ends,omitzero"`     // of an Allow: when window, contract, certificate, MFA or lease ends it
	Obligations Obligations  `json:"obligations"`
	Revision    int          `json:"revision"`
	Needs       []NeedEffect `json:"needs,omitempty"` // the effect of each need, in the Input's order

	fault error
}

// NeedEffect is what was decided about one need; Lease names the lease that raised it, if one did.
type NeedEffect struct {
	Need
	Effect Effect `json:"effect"`
	Lease  string `json:"lease,omitempty"`
}

// Reason says why in both languages; Table cites the requirement (M-4, C-2).
type Reason struct {
	ID    string `json:"id"`
	Table string `json:"table,omitempty"`
	EN    string `json:"en"`
	JA    string `json:"ja"`
}

// Obligations bind whoever carries out an allowed action. Zero values oblige to nothing.
type Obligations struct {
	MFAMaxAge time.Duration `json:"mfa_max_age,omitempty"` // nanoseconds
	Download  string        `json:"download,omitempty"`    // "off" refuses file bodies (F-2)
	Watermark bool          `json:"watermark,omitempty"`
	Supervise bool          `json:"supervise,omitempty"`
	MaxBytes  int64         `json:"max_bytes,omitempty"`
}

// Fault is why the policy itself failed, for the operator's log; nil when it worked. A decision with a fault is a deny.
func (d Decision) Fault() error { return d.fault }

func (d *Decision) deny(r Reason) {
	d.Effect, d.Reasons, d.Needs, d.Obligations, d.Ends = Deny, []Reason{r}, nil, Obligations{}, time.Time{}
}

// maxFault bounds what a fault says, in bytes: OPA puts whole values into its errors.
const maxFault = 2048

func (d *Decision) fail(err error) {
	d.deny(reasonError)
	if d.fault = err; len(err.Error()) > maxFault {
		d.fault = errors.New(cut(err.Error(), maxFault))
	}
}

// apply turns a plan into the answer: leases raise approvals, the least of the needs counts, and its reasons stand.
func (d *Decision) apply(p *plan, in *Input, e *ends) {
	d.Effect = Allow
	if len(in.Action.Needs) > 0 {
		d.Needs = make([]NeedEffect, len(in.Action.Needs))
	}
	for i, effect := range p.effects {
		if i < len(d.Needs) {
			d.Needs[i] = raised(effect, &in.Action.Needs[i], in, e)
			effect = d.Needs[i].Effect
		}
		d.Effect = min(d.Effect, effect)
	}
	d.Until = e.next
	if d.Effect == Allow {
		d.Ends = e.last
		return
	}
	for i, effect := range p.effects {
		if i < len(d.Needs) {
			effect = d.Needs[i].Effect
		}
		if effect == d.Effect {
			d.Reasons = addAll(d.Reasons, p.reasons(i, effect))
		}
	}
}

// raised is the effect of a need after leases.
func raised(effect Effect, n *Need, in *Input, e *ends) NeedEffect {
	if effect != Approval {
		return NeedEffect{Need: *n, Effect: effect}
	}
	e.begins(in, n)
	l, ok := raise(in.Leases, in.Person.ID, in.Target.Name, *n, e.now)
	if !ok {
		return NeedEffect{Need: *n, Effect: effect}
	}
	e.at(l.Until)
	e.over(followed(l.Until, n, in))
	return NeedEffect{Need: *n, Effect: Allow, Lease: l.ID}
}

// maxFollowed bounds how many leases are followed from one to the next.
const maxFollowed = 16

// followed is when no lease covers a need any more that one covers until end.
func followed(end time.Time, n *Need, in *Input) time.Time {
	for range maxFollowed {
		l, ok := raise(in.Leases, in.Person.ID, in.Target.Name, *n, end)
		if !ok {
			break
		}
		end = l.Until
	}
	return end
}

// reasons are those for which need i has this effect.
func (p *plan) reasons(i int, effect Effect) []Reason {
	if effect == Deny {
		return p.deny[i]
	}
	return p.approval[i]
}

func addAll(list, more []Reason) []Reason {
	for _, r := range more {
		list = addReason(list, r)
	}
	return list
}
