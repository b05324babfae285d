// Package policy answers one question for its caller: may this person do this, now? An Engine holds one compiled
// Revision of the policy folder, decides Inputs against it and swaps to the next revision atomically. Whatever is not
// expressly allowed is denied, with a reason.
package policy

import (
	"fmt"
	"slices"
)

// Effect is what a decision says. The zero value is Deny, so a forgotten assignment shuts the door.
type Effect uint8

// The effects in order of generosity: the least of several is the smallest.
const (
	Deny Effect = iota
	Approval
	Allow
)

var effectNames = [...]string{"deny", "approval", "allow"}

func (e Effect) String() string {
	if int(e) >= len(effectNames) {
		return effectNames[Deny]
	}
	return effectNames[e]
}

// MarshalText writes deny, approval or allow.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads deny, approval or allow and refuses everything else.
func (e *Effect) UnmarshalText(text []byte) error {
	for i, name := range effectNames {
		if string(text) == name {
			*e = Effect(i)
			return nil
		}
	}
	return fmt.Errorf("effect %q: want deny, approval or allow", text)
}

// Right is a column of the permission matrix (M-1…M-5).
type Right string

// The rights. Admin is never granted to a contractor, whatever a policy says.
const (
	Read    Right = "read"
	Write   Right = "write"
	Execute Right = "execute"
	Delete  Right = "delete"
	Admin   Right = "admin"
)

// Rights lists every right in the matrix's order.
var Rights = []Right{Read, Write, Execute, Delete, Admin}

// number is the right's place in Rights, from 1; 0 is no right.
func (r Right) number() byte { return byte(slices.Index(Rights, r) + 1) }
