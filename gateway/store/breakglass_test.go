package store_test

import (
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
)

func emergency(id string, at time.Time) access.Emergency {
	return access.Emergency{ID: id, Person: "ren", Reason: "db1 is down", Incident: "INC-7", Targets: []string{"*"}, At: at,
		Until: at.Add(time.Hour), SourceIP: "203.0.113.9", Revision: 3, Proof: access.EmergencyProof{Certificate: "17",
			WebAuthnAt: at.Add(-time.Second), AAGUID: "aa", SSHSerial: "18", Fingerprint: "SHA256:x"}}
}

func keepsEmergencies(t *testing.T, db state) {
	ctx, s := t.Context(), db.Access()
	_, err := s.Emergency(ctx, "g-1")
	wantErr(t, err, access.ErrNotFound)
	first, second := emergency("g-1", noon), emergency("g-2", noon.Add(time.Minute))
	ok(t, s.PutEmergency(ctx, first))
	ok(t, s.PutEmergency(ctx, second))
	got, err := s.Emergency(ctx, "g-1")
	ok(t, err)
	want(t, got, first)

	// Its sessions, its end and its reviews come later; what is there stays.
	first.Sessions = []string{"s-1", "s-2"}
	first.EndedAt, first.EndedBy, first.EndReason = noon.Add(time.Minute), "ren", "db1 is up"
	first.Reviews = []access.EmergencyReview{{By: "mika", At: noon.Add(time.Hour), Verdict: access.VerdictJustified, Reason: "it was"}}
	ok(t, s.PutEmergency(ctx, first))
	later := first
	later.EndedAt, later.EndedBy, later.EndReason, later.Reason = noon.Add(2*time.Hour), "eve", "never", "nothing"
	later.Reviews = []access.EmergencyReview{{By: "mika", At: noon.Add(3 * time.Hour), Verdict: access.VerdictUnjustified, Reason: "changed"},
		{By: "aoi", At: noon.Add(2 * time.Hour), Verdict: access.VerdictUnjustified, Reason: "no need"}}
	ok(t, s.PutEmergency(ctx, later))
	first.Reviews = append(first.Reviews, later.Reviews[1])
	got, err = s.Emergency(ctx, "g-1")
	ok(t, err)
	want(t, got, first)

	list, err := s.Emergencies(ctx, 10)
	ok(t, err)
	want(t, list, []access.Emergency{second, first})
	list, err = s.Emergencies(ctx, 1)
	ok(t, err)
	want(t, list, []access.Emergency{second})
}
