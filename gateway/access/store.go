package access

import (
	"context"
	"errors"
	"time"
)

// Errors that a Store returns and callers branch on.
var (
	ErrNotFound = errors.New("not found")
	ErrAnswered = errors.New("already answered")
)

// Store keeps requests, leases and the list of sessions. Every method is one transaction.
type Store interface {
	EmergencyStore

	// PutRequest files a request; an id that is taken is an error.
	PutRequest(ctx context.Context, r ApprovalRequest) error
	Request(ctx context.Context, id string) (ApprovalRequest, error)
	Requests(ctx context.Context, q RequestQuery) ([]ApprovalRequest, error)
	// ChangeRequest hands the request as it is to change and stores what that leaves, together with the leases it returns.
	// Nobody else changes a request meanwhile. An error of change is returned as it is, with nothing stored.
	ChangeRequest(ctx context.Context, id string, change func(*ApprovalRequest) ([]Lease, error)) error

	// Leases lists those that end after now, in the order in which they end: of one person, or of everybody when person is "".
	Leases(ctx context.Context, person string, now time.Time) ([]Lease, error)
	// RevokeLease ends a lease at r.At and returns it as it was. ErrNotFound when it is unknown or has ended before.
	RevokeLease(ctx context.Context, id string, r Revocation) (Lease, error)

	PutSession(ctx context.Context, s SessionRecord) error
	Session(ctx context.Context, id string) (SessionRecord, error)
	Sessions(ctx context.Context, q SessionQuery) ([]SessionRecord, error)

	PutCutOff(ctx context.Context, c CutOff) error
	DeleteCutOff(ctx context.Context, vendor string) error
	CutOffs(ctx context.Context) ([]CutOff, error)
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

	// Of a live session, not stored.
	Waits    string `json:"waits,omitempty"`    // WaitsForWatcher: nothing starts until somebody watches
	Watchers string `json:"watchers,omitempty"` // who of the staff watches, sorted, with spaces between
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
