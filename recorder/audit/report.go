package audit

import (
	"errors"
	"fmt"

	"github.com/sekisho/sekisho/recorder"
)

// The faults a Finding of the audit log can have; FaultMissing is its own: events of a vendor are missing.
const (
	FaultDamaged                  = recorder.FaultDamaged
	FaultSwapped                  = recorder.FaultSwapped
	FaultCut                      = recorder.FaultCut
	FaultUnclosed                 = recorder.FaultUnclosed
	FaultTrailing                 = recorder.FaultTrailing
	FaultSignature                = recorder.FaultSignature
	FaultSigner                   = recorder.FaultSigner
	FaultMissing   recorder.Fault = "missing"
)

const maxFindings = 100 // after so many the rest is only counted

// Finding is one thing that is wrong with the log.
type Finding struct {
	Fault  recorder.Fault `json:"fault"`
	Class  recorder.Class `json:"class"`
	File   string         `json:"file"`           // below the log's folder
	Line   int            `json:"line,omitempty"` // from 1
	Offset int64          `json:"offset"`
	Length int64          `json:"length,omitempty"`
	What   string         `json:"what"`
}

// Report is what Verify found out.
type Report struct {
	Classes  []ClassReport `json:"classes"`
	Vendors  int           `json:"vendors"`
	Findings []Finding     `json:"findings,omitempty"`
	More     int           `json:"more,omitempty"` // findings beyond the first 100
}

// ClassReport is the state of one class.
type ClassReport struct {
	Class    recorder.Class `json:"class"`
	Events   uint64         `json:"events"`
	Segment  int            `json:"segment"`            // number of the newest
	Head     Head           `json:"head"`               // the last signed one that holds
	Unsigned uint64         `json:"unsigned,omitempty"` // events after it
	Closed   bool           `json:"closed"`
	Torn     bool           `json:"torn,omitempty"` // a crash left half a commit behind; the next start cuts it off
}

// OK reports whether nothing is wrong.
func (r Report) OK() bool { return len(r.Findings) == 0 }

// Err is nil when nothing is wrong, else an error that names every finding.
func (r Report) Err() error {
	var errs []error
	for _, f := range r.Findings {
		errs = append(errs, fmt.Errorf("%s: %s: %s", f.Fault, f.File, f.What))
	}
	return errors.Join(errs...)
}

func (r *Report) find(f Finding) {
	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, f)
	} else {
		r.More++
	}
}
