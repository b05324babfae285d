package policy

import "time"

// Kept is one decision of the past as it was put on record: enough to decide it again.
type Kept struct {
	ID       string // d-ULID
	At       time.Time
	Session  string // s-ULID; "" for what staff did on the gateway
	Effect   Effect // as it was
	Revision int
	// Capped says that something other than policy refused it: a revoked credential, an opaque line, an obligation that
	// nobody carries out. No policy would have allowed it.
	Capped bool
	Input  *Input // may be shared with other Kepts; read only
}
