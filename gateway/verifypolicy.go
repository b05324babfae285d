package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/recorder"
)

// verifyPolicy checks the signed book of policy revisions with every file in it, and that each revision which the record
// says came into force is there. The database itself may stand elsewhere: then there is nothing to check.
func verifyPolicy(ctx context.Context, dir string, trusted ed25519.PublicKey) ([]Check, error) {
	path := filepath.Join(dir, databaseFile)
	if !exists(path) {
		return nil, nil
	}
	applied, err := appliedRevisions(filepath.Join(dir, auditDir, string(recorder.ClassConfig)))
	if err != nil {
		return nil, err
	}
	db, err := store.OpenForReading(ctx, path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	check := Check{Path: path}
	versions, err := revision.Verify(ctx, db.Revision(), trusted)
	if err != nil {
		if !errors.Is(err, revision.ErrTampered) {
			return nil, err
		}
		check.Summary, check.Findings = "policy revisions", []string{err.Error()}
		return []Check{check}, nil
	}
	check.Findings = missing(versions, applied)
	check.OK, check.Summary = len(check.Findings) == 0, fmt.Sprintf("%d policy revision(s), signed", len(versions))
	return []Check{check}, nil
}

// missing names the revisions that were in force by the record and are not in the book.
func missing(versions []revision.Version, applied map[int]string) (findings []string) {
	for _, number := range slices.Sorted(maps.Keys(applied)) {
		if number < 1 || number > len(versions) || versions[number-1].Signature != applied[number] || versions[number-1].ActivatedAt.IsZero() {
			findings = append(findings, fmt.Sprintf("policy revision %d is on record as in force and is not in the database: it is an older copy, or was cut", number))
		}
	}
	return findings
}

// appliedRevisions reads from the log which revisions came into force, with their signatures. One that was taken back as
// failed or lost did not. The log itself is verified apart from this.
func appliedRevisions(dir string) (map[int]string, error) {
	segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	applied := map[int]string{}
	for _, segment := range segments {
		text, err := os.ReadFile(segment)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text) {
			var event struct {
				Kind     string           `json:"kind"`
				Outcome  recorder.Outcome `json:"outcome"`
				Revision int              `json:"revision"`
				Detail   struct {
					Signature string `json:"signature"`
				} `json:"detail"`
			}
			switch {
			case json.Unmarshal(line, &event) != nil || event.Kind != revision.AppliedKind:
			case event.Outcome == recorder.OK:
				applied[event.Revision] = event.Detail.Signature
			default:
				delete(applied, event.Revision)
			}
		}
	}
	return applied, nil
}
