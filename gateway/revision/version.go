package revision

import (
	"fmt"
	"time"
)

// Status is where a revision stands.
type Status string

// The statuses. Superseded, withdrawn and rejected are final.
const (
	Waiting    Status = "waiting"   // for a second person
	Scheduled  Status = "scheduled" // for its time
	Active     Status = "active"    // in force
	Superseded Status = "superseded"
	Withdrawn  Status = "withdrawn" // by its author
	Rejected   Status = "rejected"  // by somebody else, or by the gateway itself
)

// Version is one revision of the policy and what became of it.
type Version struct {
	Number      int        `json:"number"` // from 1; decisions name it
	Hash        string     `json:"hash"`   // sha256:HEX over names and bytes of its files
	Status      Status     `json:"status"`
	Author      string     `json:"author"` // person id; @folder for the first one
	Reason      string     `json:"reason"`
	Ticket      string     `json:"ticket,omitempty"`
	Source      string     `json:"source,omitempty"` // where the files came from: a folder, or a git commit
	Base        int        `json:"base,omitempty"`   // the revision in force that it was made from
	RollbackOf  int        `json:"rollback_of,omitempty"`
	Files       []FileInfo `json:"files"` // by name
	CreatedAt   time.Time  `json:"created_at"`
	ActivateAt  time.Time  `json:"activate_at,omitzero"` // scheduled: not before
	ActivatedAt time.Time  `json:"activated_at,omitzero"`
	ConfirmedBy string     `json:"confirmed_by,omitempty"`
	ConfirmedAt time.Time  `json:"confirmed_at,omitzero"`
	EndedBy     string     `json:"ended_by,omitempty"` // who withdrew or rejected it
	EndedAt     time.Time  `json:"ended_at,omitzero"`
	Why         string     `json:"why,omitempty"` // it was withdrawn or rejected
	Signature   string     `json:"signature"`     // base64 of the Ed25519 signature over all but what came later
}

// pending tells whether the revision may still come into force.
func (v Version) pending() bool { return v.Status == Waiting || v.Status == Scheduled }

// stepKind is something that happens to a revision.
type stepKind string

const (
	stepMade      stepKind = "made"      // and waits, is scheduled or goes on at once
	stepConfirmed stepKind = "confirmed" // by a second person
	stepActivated stepKind = "activated"
	stepRejected  stepKind = "rejected"
	stepWithdrawn stepKind = "withdrawn"
)

// step is a line of the book as it is signed.
type step struct {
	Seq      int64     `json:"seq"`
	Number   int       `json:"number"`
	Kind     stepKind  `json:"kind"`
	By       string    `json:"by"`
	At       time.Time `json:"at"` // UTC
	Why      string    `json:"why,omitempty"`
	Previous string    `json:"previous,omitempty"` // the signature of the step before
	Made     *made     `json:"made,omitempty"`
}

// made is what a revision is from the start.
type made struct {
	Hash         string     `json:"hash"`
	Reason       string     `json:"reason"`
	Ticket       string     `json:"ticket,omitempty"`
	Source       string     `json:"source,omitempty"`
	Base         int        `json:"base,omitempty"`
	RollbackOf   int        `json:"rollback_of,omitempty"`
	ActivateAt   time.Time  `json:"activate_at,omitzero"`
	SecondPerson bool       `json:"second_person,omitempty"`
	Files        []FileInfo `json:"files"`
}

func (m *made) version(s step, signature string) Version {
	v := Version{Number: s.Number, Hash: m.Hash, Status: Scheduled, Author: s.By, Reason: m.Reason, Ticket: m.Ticket,
		Source: m.Source, Base: m.Base, RollbackOf: m.RollbackOf, Files: m.Files, CreatedAt: s.At, ActivateAt: m.ActivateAt,
		Signature: signature}
	if m.SecondPerson {
		v.Status = Waiting
	}
	return v
}

// after is the revision once s has happened to it; an impossible step is an error.
func (v Version) after(s step) (Version, error) {
	from := v.Status
	switch {
	case s.Kind == stepConfirmed && from == Waiting:
		v.Status, v.ConfirmedBy, v.ConfirmedAt = Scheduled, s.By, s.At
	case s.Kind == stepActivated && from == Scheduled:
		v.Status, v.ActivatedAt = Active, s.At
	case s.Kind == stepRejected && v.pending():
		v.Status, v.EndedBy, v.EndedAt, v.Why = Rejected, s.By, s.At, s.Why
	case s.Kind == stepWithdrawn && v.pending():
		v.Status, v.EndedBy, v.EndedAt, v.Why = Withdrawn, s.By, s.At, s.Why
	default:
		return v, fmt.Errorf("policy revision %d is %s and cannot be %s: %w", v.Number, from, s.Kind, ErrState)
	}
	return v, nil
}
