package recorder

import (
	"encoding/json"
	"net/netip"
	"time"
)

// Class is a retention class of the monitoring table.
type Class string

// The classes R-1…R-5 in order.
const (
	ClassLogin   Class = "login"   // R-1, 3 years
	ClassCommand Class = "command" // R-2, 1 year
	ClassFile    Class = "file"    // R-3, 1 year
	ClassConfig  Class = "config"  // R-4, 5 years
	ClassExport  Class = "export"  // R-5, 3 years
)

// Classes lists every class in the table's order.
var Classes = []Class{ClassLogin, ClassCommand, ClassFile, ClassConfig, ClassExport}

// Table returns the requirement id of the class (R-1…R-5), "" for a class that does not exist.
func (c Class) Table() string {
	for i, class := range Classes {
		if c == class {
			return "R-" + string(rune('1'+i))
		}
	}
	return ""
}

// Outcome is how the act an event describes ended.
type Outcome string

// The outcomes of spec events.
const (
	OK      Outcome = "ok"
	Refused Outcome = "refused"
	Pending Outcome = "pending"
	Failed  Outcome = "failed"
	Lost    Outcome = "lost"
)

// Event is one line of the audit log. Unknown fields are absent, never zero or empty. The log fills V, ID, At, Table,
// VSeq and VPrev; the caller fills the rest.
type Event struct {
	V        int            `json:"v"`
	ID       string         `json:"id"`
	At       time.Time      `json:"at"` // UTC
	Class    Class          `json:"class"`
	Kind     string         `json:"kind"` // command.run, login.ssh, …
	Table    string         `json:"table"`
	Outcome  Outcome        `json:"outcome"`
	Person   string         `json:"person,omitempty"`
	Vendor   string         `json:"vendor,omitempty"`
	Chain    []string       `json:"chain,omitempty"`
	Session  string         `json:"session,omitempty"`
	Target   string         `json:"target,omitempty"`
	Login    string         `json:"login,omitempty"`
	Source   *Source        `json:"source,omitempty"`
	Decision string         `json:"decision,omitempty"`
	Revision int            `json:"revision,omitempty"`
	Lease    string         `json:"lease,omitempty"`
	Enforced string         `json:"enforced,omitempty"` // kernel | wire | parsed | recorded
	OffsetMS *int64         `json:"offset_ms,omitempty"`
	VSeq     uint64         `json:"vseq,omitempty"`
	VPrev    string         `json:"vprev,omitempty"` // sha256:HEX of the vendor's previous stored line
	Detail   map[string]any `json:"detail,omitempty"`
	// Input is what the decision was made of, as the door keeps it (gateway/access); always the last field of a line.
	Input json.RawMessage `json:"input,omitempty"`
}

// Source is where the peer of an event connected from.
type Source struct {
	IP     netip.Addr `json:"ip"`
	Port   uint16     `json:"port,omitempty"`
	Client string     `json:"client,omitempty"`
}
