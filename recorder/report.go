package recorder

import (
	"crypto/ed25519"
	"errors"
	"fmt"
)

// Fault is what a Finding found.
type Fault string

// The faults of FORMAT.md.
const (
	FaultDamaged   Fault = "damaged"   // bytes were changed
	FaultSwapped   Fault = "swapped"   // another record stands in this place
	FaultCut       Fault = "cut"       // the file stops inside a record
	FaultUnclosed  Fault = "unclosed"  // the file stops between two records, before its final head
	FaultTrailing  Fault = "trailing"  // something follows the final head
	FaultSignature Fault = "signature" // a signed head is not over the records before it
	FaultSigner    Fault = "signer"    // somebody else than the trusted key signs
)

// Finding is one thing that is wrong with a recording. It lies in the Length bytes from Offset on.
type Finding struct {
	Fault  Fault  `json:"fault"`
	Record int    `json:"record"` // number; -1 for the preamble
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	What   string `json:"what"`
}

// Report is what Verify found out.
type Report struct {
	Session  string            `json:"session,omitempty"`
	Signer   ed25519.PublicKey `json:"signer,omitempty"` // as the preamble names it
	Records  int               `json:"records"`
	Bytes    int64             `json:"bytes"`
	Closed   bool              `json:"closed"`   // a valid final head stands at the end
	Head     Head              `json:"head"`     // the last one that is valid
	Unsigned int               `json:"unsigned"` // records after it
	Findings []Finding         `json:"findings,omitempty"`
}

// OK reports whether the recording is whole, closed and signed by the trusted key.
func (r Report) OK() bool { return len(r.Findings) == 0 && r.Closed }

// Err is nil for a recording that is OK, else an error that names every finding.
func (r Report) Err() error {
	if r.OK() {
		return nil
	}
	errs := make([]error, 0, len(r.Findings))
	for _, f := range r.Findings {
		errs = append(errs, fmt.Errorf("%s: %s", f.Fault, f.What))
	}
	return errors.Join(errs...)
}
