package access

import (
	"context"
	"errors"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// Errors that a Store returns and callers branch on.
var (
	ErrNotFound = errors.New("not found")
	ErrAnswered = errors.New("already answered")
)

// Store keeps requests, leases and the list of sessions. Every method is one transaction.
type Store interface {
	EmergencyStore

	PutRequest(ctx context.Context, r ApprovalRequest) error
	Request(ctx context.Context, id string) (ApprovalRequest, error)
	// Requests lists newest first; an empty status means every status.
	Requests(ctx context.Context, status RequestStatus, limit int) ([]ApprovalRequest, error)
	// AnswerRequest moves a request from pending to approved or denied and stores its leases in the same transaction.
	// ErrAnswered when it is no longer pending.
	AnswerRequest(ctx context.Context, id string, a Answer, leases []policy.Lease) error

	// Leases lists those that end after now: of one person, or of everybody when person is "".
	Leases(ctx context.Context, person string, now time.Time) ([]policy.Lease, error)
	RevokeLease(ctx context.Context, id string, now time.Time) error

	PutSession(ctx context.Context, s SessionRecord) error
	Session(ctx context.Context, id string) (SessionRecord, error)
	Sessions(ctx context.Context, q SessionQuery) ([]SessionRecord, error)

	PutCutOff(ctx context.Context, c CutOff) error
	DeleteCutOff(ctx context.Context, vendor string) error
	CutOffs(ctx context.Context) ([]CutOff, error)
}

// RequestStatus is where an approval request stands.
type RequestStatus string

// The statuses; all but pending are final.
const (
	RequestPending  RequestStatus = "pending"
	RequestApproved RequestStatus = "approved"
	RequestDenied   RequestStatus = "denied"
	RequestExpired  RequestStatus = "expired"
)

// ApprovalRequest asks a second person for one operation's rights.
type ApprovalRequest struct {
	ID        string        `json:"id"` // r-ULID
	Status    RequestStatus `json:"status"`
	Person    string        `json:"person"`
	Vendor    string        `json:"vendor"`
	Target    string        `json:"target"`
	Login     string        `json:"login,omitempty"`
	Session   string        `json:"session,omitempty"`
	Operation string        `json:"operation"`
	Command   string        `json:"command,omitempty"` // masked
	Needs     []policy.Need `json:"needs"`             // those whose cell is △
	Reason    string        `json:"reason,omitempty"`
	Decision  string        `json:"decision"`
	CreatedAt time.Time     `json:"created_at"`
	Expires   time.Time     `json:"expires"` // unanswered by then: expired
	Answer    Answer        `json:"answer,omitzero"`
}

// Answer is what an approver said.
type Answer struct {
	Status  RequestStatus `json:"status"`
	By      string        `json:"by"`
	At      time.Time     `json:"at"`
	Minutes int           `json:"minutes,omitempty"` // how long the leases live
	Reason  string        `json:"reason,omitempty"`
}

// SessionRecord is a session as the list shows it, live or ended.
type SessionRecord struct {
	ID        string    `json:"id"` // s-ULID
	Person    string    `json:"person"`
	Vendor    string    `json:"vendor"`
	Target    string    `json:"target"`
	Login     string    `json:"login,omitempty"`
	Protocol  string    `json:"protocol"`
	SourceIP  string    `json:"source_ip"`
	Enforced  string    `json:"enforced"` // the weakest label so far
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	EndReason string    `json:"end_reason,omitempty"`
	Recording string    `json:"recording"` // path below the gateway's folder
}

// SessionQuery narrows a list; zero fields do not.
type SessionQuery struct {
	Person string
	Vendor string
	Target string
	Live   bool
	Since  time.Time
	Limit  int
}

// CutOff shuts a vendor out at once (I-1).
type CutOff struct {
	Vendor string    `json:"vendor"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}
