package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// Check is what verifying one recording or audit log found.
type Check struct {
	Path     string   `json:"path"`
	OK       bool     `json:"ok"`
	Summary  string   `json:"summary"`
	Findings []string `json:"findings,omitempty"`

	session string        // of a recording
	head    recordingHead // of a recording
}

// Verify checks a recording, an audit log's folder or a gateway's folder, offline. key is evidence.pub in PEM.
func Verify(ctx context.Context, path string, key []byte) ([]Check, error) {
	trusted, err := parseEvidenceKey(key)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case !info.IsDir():
		check, err := verifyRecording(path, trusted)
		return []Check{check}, err
	case exists(filepath.Join(path, ConfigFile)):
		return verifyFolder(ctx, path, trusted)
	case filepath.Base(path) == recordingsDir:
		return verifyRecordings(ctx, path, trusted)
	}
	check, err := verifyAudit(path, trusted)
	return []Check{check}, err
}

func parseEvidenceKey(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the evidence key is not in PEM; it is the gateway's evidence.pub")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the evidence key: %w", err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the evidence key is not an Ed25519 key; it is the gateway's evidence.pub")
	}
	return key, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// verifyFolder checks the audit log, the policy's revisions and every recording below a gateway's folder.
func verifyFolder(ctx context.Context, dir string, trusted ed25519.PublicKey) ([]Check, error) {
	log, err := verifyAudit(filepath.Join(dir, auditDir), trusted)
	if err != nil {
		return nil, err
	}
	recordings, err := verifyRecordings(ctx, filepath.Join(dir, recordingsDir), trusted)
	if err != nil {
		return nil, err
	}
	known, err := endedSessions(filepath.Join(dir, auditDir, string(recorder.ClassCommand)))
	if err != nil {
		return nil, err
	}
	policies, err := verifyPolicy(ctx, dir, trusted)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]Check{log}, policies, compare(dir, recordings, known)), nil
}

// recordingHead is what a session.end event says of the recording it closed.
type recordingHead struct {
	Records int    `json:"records"`
	SHA256  string `json:"sha256"`
}

// endedSessions reads from the log what every closed recording must be. The log itself is verified apart from this.
func endedSessions(dir string) (map[string]recordingHead, error) {
	segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	known := map[string]recordingHead{}
	for _, segment := range segments {
		text, err := os.ReadFile(segment)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text) {
			var event struct {
				Kind    string `json:"kind"`
				Session string `json:"session"`
				Detail  struct {
					Recording *recordingHead `json:"recording"`
				} `json:"detail"`
			}
			if json.Unmarshal(line, &event) == nil && event.Kind == "session.end" && event.Detail.Recording != nil {
				known[event.Session] = *event.Detail.Recording
			}
		}
	}
	return known, nil
}

// compare holds the recordings to what the log knows of them: one that was replaced, cut at a seam or taken away is named.
func compare(dir string, recordings []Check, known map[string]recordingHead) []Check {
	for i := range recordings {
		check := &recordings[i]
		head, ok := known[check.session]
		delete(known, check.session)
		if ok && head != check.head {
			check.OK = false
			check.Findings = append(check.Findings, fmt.Sprintf("the audit log knows it with %d records ending in %.12s…, this file has %d ending in %.12s…",
				head.Records, head.SHA256, check.head.Records, check.head.SHA256))
			check.Summary = problems(len(check.Findings))
		}
	}
	for _, session := range slices.Sorted(maps.Keys(known)) {
		recordings = append(recordings, Check{Path: recorder.Path(filepath.Join(dir, recordingsDir), session), Summary: problems(1),
			Findings: []string{"the audit log knows this recording, but the file is gone"}})
	}
	return recordings
}

func verifyRecordings(ctx context.Context, dir string, trusted ed25519.PublicKey) ([]Check, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.rec"))
	if err != nil {
		return nil, err
	}
	checks := make([]Check, 0, len(paths))
	for _, path := range paths {
		if ctx.Err() != nil {
			return checks, ctx.Err()
		}
		check, err := verifyRecording(path, trusted)
		if err != nil {
			return checks, err
		}
		checks = append(checks, check)
	}
	return checks, nil
}

func verifyRecording(path string, trusted ed25519.PublicKey) (Check, error) {
	report, err := recorder.Verify(path, trusted)
	if err != nil {
		return Check{}, err
	}
	check := Check{Path: path, OK: report.OK(), Summary: fmt.Sprintf("%d records, %d bytes, closed and signed", report.Records, report.Bytes),
		session: report.Session, head: recordingHead{Records: report.Head.Records, SHA256: report.Head.SHA256}}
	for _, f := range report.Findings {
		check.Findings = append(check.Findings, fmt.Sprintf("%s at byte %d (record %d): %s", f.Fault, f.Offset, f.Record, f.What))
	}
	if !report.OK() {
		check.Summary = problems(len(check.Findings))
	}
	return check, nil
}

func problems(n int) string {
	if n == 1 {
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", n)
}

func verifyAudit(dir string, trusted ed25519.PublicKey) (Check, error) {
	report, err := audit.Verify(dir, trusted)
	if err != nil {
		return Check{}, err
	}
	var events, unsigned uint64
	for _, c := range report.Classes {
		events += c.Events
		unsigned += c.Unsigned
	}
	check := Check{Path: dir, OK: report.OK(), Summary: fmt.Sprintf("%d events, chains whole and signed", events)}
	if unsigned > 0 {
		check.Summary = fmt.Sprintf("%d events, chains whole; the last %d not signed yet", events, unsigned)
	}
	for _, f := range report.Findings {
		check.Findings = append(check.Findings, fmt.Sprintf("%s in %s, line %d, byte %d: %s", f.Fault, f.File, f.Line, f.Offset, f.What))
	}
	if !report.OK() {
		check.Summary = problems(len(check.Findings) + report.More)
	}
	return check, nil
}
