package access

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// RequestStatus is where an approval request stands.
type RequestStatus string

// The statuses; all but pending are final.
const (
	RequestPending   RequestStatus = "pending"
	RequestApproved  RequestStatus = "approved"
	RequestDenied    RequestStatus = "denied"
	RequestExpired   RequestStatus = "expired"   // nobody, or not enough people, answered in time
	RequestCancelled RequestStatus = "cancelled" // by whoever asked
)

// ApprovalRequest asks other people for leases: for one operation that met a △, or for work that is planned.
type ApprovalRequest struct {
	ID        string        `json:"id"` // r-ULID
	Status    RequestStatus `json:"status"`
	Person    string        `json:"person"`
	Vendor    string        `json:"vendor"`
	Target    string        `json:"target"`
	Login     string        `json:"login,omitempty"`
	Session   string        `json:"session,omitempty"`   // "" for one that was asked ahead
	Operation string        `json:"operation,omitempty"` // "" for one that was asked ahead by patterns
	Command   string        `json:"command,omitempty"`   // masked
	Needs     []policy.Need `json:"needs,omitempty"`     // of the operation, those whose cell is △
	Asked     []Scope       `json:"asked"`               // what was asked for
	Scopes    []Scope       `json:"scopes"`              // what an approval gives: what was asked for, as narrowed by answers so far
	Minutes   int           `json:"minutes,omitempty"`   // how long each lease lives, as narrowed; 0: not said
	Reason    string        `json:"reason,omitempty"`
	Ticket    string        `json:"ticket,omitempty"`
	From      time.Time     `json:"from,omitzero"`   // booked ahead: when the first lease begins; zero: at the answer
	Every     string        `json:"every,omitempty"` // booked ahead: day | week between occurrences, "" for one
	Times     int           `json:"times,omitempty"` // booked ahead: how many occurrences
	Decision  string        `json:"decision,omitempty"`
	CreatedAt time.Time     `json:"created_at"`
	Expires   time.Time     `json:"expires"` // unanswered by then: expired
	Escalated time.Time     `json:"escalated,omitzero"`
	Answers   []Answer      `json:"answers,omitempty"` // in the order given
	Answer    Answer        `json:"answer,omitzero"`   // the one that decided it

	Terms *Terms `json:"terms,omitempty"` // not stored
}

// Scope is what a lease covers: see policy.MatchLease for patterns.
type Scope struct {
	Right   policy.Right `json:"right"`
	Pattern string       `json:"pattern"`
}

// Answer is what one person said.
type Answer struct {
	Status  RequestStatus `json:"status"` // approved | denied; cancelled and expired as the answer that decided it
	By      string        `json:"by,omitempty"`
	At      time.Time     `json:"at"`
	Minutes int           `json:"minutes,omitempty"` // as this answer left them
	Scopes  []Scope       `json:"scopes,omitempty"`  // as this answer left them
	Reason  string        `json:"reason,omitempty"`
}

// Terms is how a request has to be answered under the policy of the moment.
type Terms struct {
	Need       int      `json:"need"`        // approvals of different people
	Have       int      `json:"have"`        // that count so far
	MaxMinutes int      `json:"max_minutes"` // of a lease
	Exact      bool     `json:"exact"`       // no wide patterns
	Ticket     bool     `json:"ticket"`      // a ticket is required
	Routes     []string `json:"routes"`      // of approvals.yaml that count
	MayAnswer  bool     `json:"may_answer"`  // the person who looks at it
}

// RequestQuery narrows a list, newest first; zero fields do not.
type RequestQuery struct {
	Status RequestStatus
	Person string
	Limit  int
}

// Lease is a lease with where it came from. It is for the vendor and the login that were approved.
type Lease struct {
	policy.Lease
	Vendor    string     `json:"vendor,omitempty"` // "" in one of an older gateway: any
	Login     string     `json:"login,omitempty"`  // "" of an app, or in one of an older gateway: any
	Request   string     `json:"request"`
	GrantedBy []string   `json:"granted_by"`
	GrantedAt time.Time  `json:"granted_at"`
	Revoked   Revocation `json:"revoked,omitzero"`
}

// Revocation is how a lease ended before its time.
type Revocation struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// Digest is a hash of everything that somebody who answers decides by: sha256:HEX. It changes when the request does.
func (r ApprovalRequest) Digest() string {
	r.Terms, r.Escalated = nil, time.Time{}
	r.CreatedAt, r.Expires, r.From = r.CreatedAt.UTC(), r.Expires.UTC(), r.From.UTC()
	r.Answers = slices.Clone(r.Answers)
	for i := range r.Answers {
		r.Answers[i].At = r.Answers[i].At.UTC()
	}
	r.Answer.At = r.Answer.At.UTC()
	text, err := json.Marshal(r)
	if err != nil { // only texts, numbers and times of this century
		panic(err)
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}
