package policy

import (
	"net/netip"
	"time"
)

// StaffVendor is the reserved vendor that the company's own people belong to.
const StaffVendor = "@staff"

// GatewayTarget is the reserved target that staff operations (gateway.noun.verb) act on.
const GatewayTarget = "@gateway"

// Input is everything a decision may depend on. It is complete: deciding a stored Input again under the same revision
// gives the same effect, so it is what is kept for explanation and simulation.
type Input struct {
	Person  Person   `json:"person"`
	Vendor  Vendor   `json:"vendor"`            // the person's own vendor
	Parents []Vendor `json:"parents,omitempty"` // from the direct parent up to the head of the chain (V-6)
	Auth    Auth     `json:"auth"`
	Source  Source   `json:"source"`
	Target  Target   `json:"target"`
	Action  Action   `json:"action"`
	Time    Clock    `json:"time"`
	Leases  []Lease  `json:"leases,omitempty"` // leases of this person on this target; applied in Go, last
	// BreakGlass is the emergency access that a member of staff has declared; nil for everybody else.
	BreakGlass *BreakGlass `json:"break_glass,omitempty"`
}

// MaxBreakGlass is the longest that an emergency lasts, whatever a policy says.
const MaxBreakGlass = time.Hour

// BreakGlass is a declared emergency: until then its person may reach targets, on record and reviewed afterwards.
type BreakGlass struct {
	ID    string    `json:"id"` // g-ULID
	Until time.Time `json:"until"`
}

// Person is who asks. Roles are the staff roles; a contractor has none.
type Person struct {
	ID     string   `json:"id"`
	Vendor string   `json:"vendor"`
	Roles  []string `json:"roles,omitempty"`
}

// Vendor is one link of a contractor's chain with the directory facts the controls C-2…C-5 need.
type Vendor struct {
	ID       string         `json:"id"`
	Type     string         `json:"type"`            // development | maintenance | operations | consulting | temporary; staff for @staff
	Chain    []string       `json:"chain,omitempty"` // this vendor's id, then its parents'
	Risk     *int           `json:"risk,omitempty"`  // V-1 level 0–4; nil when never assessed
	Contract Contract       `json:"contract"`
	Networks []netip.Prefix `json:"networks,omitempty"` // C-3
	Windows  []string       `json:"windows,omitempty"`  // C-2, names from windows.yaml
	Targets  []string       `json:"targets,omitempty"`  // C-5
	CutOff   bool           `json:"cut_off,omitempty"`  // I-1
}

// Contract is the half-open span [From, Until) in which a vendor may work. Zero times never match.
type Contract struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Auth is how the person proved who they are (C-1, C-4).
type Auth struct {
	Kind string `json:"kind"` // human | machine
	Cert Cert   `json:"cert"`
	MFA  MFA    `json:"mfa"`
}

// Cert is the certificate that was verified; an empty Serial means none was.
type Cert struct {
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after"`
}

// MFA is the second factor and when it was given; a zero At means never.
type MFA struct {
	Method string    `json:"method"` // webauthn | totp
	At     time.Time `json:"at"`
	UV     bool      `json:"uv"` // the authenticator verified the user
}

// Source is where the connection comes from.
type Source struct {
	IP netip.Addr `json:"ip"`
}

// Target is what is acted on.
type Target struct {
	Name        string            `json:"name"`
	Kind        string            `json:"kind"` // ssh | https | tcp | gateway
	Login       string            `json:"login,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Sensitivity string            `json:"sensitivity,omitempty"`
	Enforcement string            `json:"enforcement,omitempty"` // kernel | wire | parsed | recorded
}

// Action is one operation and the rights it needs.
type Action struct {
	Protocol  string `json:"protocol"`  // ssh | https | gateway
	Operation string `json:"operation"` // ssh.connect, ssh.exec, ssh.shell, http.connect, http.request, gateway.noun.verb
	Command   string `json:"command,omitempty"`
	Opaque    bool   `json:"opaque,omitempty"`
	Needs     []Need `json:"needs,omitempty"`
}

// Need is one right on one resource: a path, a quoted argv, "METHOD /path", or sha256:HEX of an opaque line.
type Need struct {
	Right    Right  `json:"right"`
	Resource string `json:"resource"`
}

// Clock is the decision's moment; Zone is the gateway's IANA zone.
type Clock struct {
	Now  time.Time `json:"now"`
	Zone string    `json:"zone"`
}

// Lease is an approved exception: it raises one approval cell to allow and never lifts a deny.
type Lease struct {
	ID      string    `json:"id"`
	Person  string    `json:"person"`
	Target  string    `json:"target"`
	Right   Right     `json:"right"`
	Pattern string    `json:"pattern"`       // exact resource, or with * for any run of characters but never across an opaque line
	From    time.Time `json:"from,omitzero"` // booked ahead: not before; zero is at once
	Until   time.Time `json:"until"`
}
