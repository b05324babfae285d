package policy

import "time"

// Decision is the answer to one Input.
type Decision struct {
	ID          string       `json:"id"` // d-ULID
	Effect      Effect       `json:"effect"`
	Reasons     []Reason     `json:"reasons,omitempty"` // never empty unless Effect is Allow
	Until       time.Time    `json:"until"`             // the answer must not be used after this
	Obligations Obligations  `json:"obligations"`
	Revision    int          `json:"revision"`
	Needs       []NeedEffect `json:"needs,omitempty"` // the effect of each need, in the Input's order
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
