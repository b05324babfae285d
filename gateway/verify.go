package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// Check is what verifying one recording or audit log found.
type Check struct {
	Path     string   `json:"path"`
	OK       bool     `json:"ok"`
	Summary  string   `json:"summary"`
	Findings []string `json:"findings,omitempty"`
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

// verifyFolder checks the audit log and every recording below a gateway's folder.
func verifyFolder(ctx context.Context, dir string, trusted ed25519.PublicKey) ([]Check, error) {
	log, err := verifyAudit(filepath.Join(dir, auditDir), trusted)
	if err != nil {
		return nil, err
	}
	recordings, err := verifyRecordings(ctx, filepath.Join(dir, recordingsDir), trusted)
	return append([]Check{log}, recordings...), err
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
	check := Check{Path: path, OK: report.OK(), Summary: fmt.Sprintf("%d records, %d bytes, closed and signed", report.Records, report.Bytes)}
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
	var events uint64
	for _, c := range report.Classes {
		events += c.Events
	}
	check := Check{Path: dir, OK: report.OK(), Summary: fmt.Sprintf("%d events, chains whole and signed", events)}
	for _, f := range report.Findings {
		check.Findings = append(check.Findings, fmt.Sprintf("%s in %s, line %d, byte %d: %s", f.Fault, f.File, f.Line, f.Offset, f.What))
	}
	if !report.OK() {
		check.Summary = problems(len(check.Findings) + report.More)
	}
	return check, nil
}
