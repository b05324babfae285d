package audit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sekisho/sekisho/recorder"
)

// Verify checks the log in dir from front to back, offline, also while it is written to. What is wrong with the log stands
// in the Report; an error means that it could not be read.
func Verify(dir string, trusted ed25519.PublicKey) (Report, error) {
	if len(trusted) != ed25519.PublicKeySize {
		return Report{}, errors.New("verifying the audit log: the trusted key is not an Ed25519 public key")
	}
	report, err := verify(dir, trusted)
	if err != nil {
		return report, fmt.Errorf("verifying the audit log %s: %w", dir, err)
	}
	return report, nil
}

func verify(dir string, trusted ed25519.PublicKey) (Report, error) {
	var report Report
	limits, err := sizes(dir)
	if err != nil {
		return report, err
	}
	w, err := newWalk(dir, trusted, limits, true, report.find)
	if err != nil {
		return report, err
	}
	defer w.close()
	if err := w.run(); err != nil {
		return report, err
	}
	for _, c := range w.cursors {
		report.Classes = append(report.Classes, ClassReport{Class: c.class, Events: c.seq, Segment: c.segment, Head: c.last,
			Unsigned: c.unsigned, Closed: c.closed, Torn: c.torn != nil})
		if c.segment == 0 {
			c.report(FaultMissing, "", 0, 0, 0, "class %s has no segment", c.class)
		}
	}
	report.Vendors = len(w.vendors)
	return report, nil
}

// sizes takes the size of every file at one moment between two commits, so that a running log can be verified.
func sizes(dir string) (map[string]int64, error) {
	release, err := lockForReading(filepath.Join(dir, commitLock))
	if err != nil {
		return nil, err
	}
	defer release()
	all := map[string]int64{}
	for _, class := range recorder.Classes {
		entries, err := os.ReadDir(filepath.Join(dir, string(class)))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all[filepath.Join(dir, string(class), e.Name())] = info.Size()
		}
	}
	return all, nil
}
