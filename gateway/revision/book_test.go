package revision

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// goldenKey signs the golden book; its seed is all zeros.
var goldenKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// goldenBook has a step of every kind.
func goldenBook(t *testing.T) []Entry {
	t.Helper()
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	d := &draft{book: &book{key: goldenKey.Public().(ed25519.PublicKey)}, signer: goldenKey, at: at}
	file := []FileInfo{{Name: "lib.rego", Size: 12, SHA256: digest([]byte("package lib\n"))}}
	for _, s := range []step{
		{Number: 1, Kind: stepMade, By: folderOwner, Made: &made{Hash: "sha256:01", Reason: "first", Source: "folder", Files: file}},
		{Number: 1, Kind: stepActivated, By: gatewayItself},
		{Number: 2, Kind: stepMade, By: "aya", Made: &made{Hash: "sha256:02", Reason: "no <dumps>", Ticket: "CHG-1", Base: 1, Files: file,
			ActivateAt: at.Add(time.Hour), SecondPerson: true}},
		{Number: 3, Kind: stepMade, By: "ken", Made: &made{Hash: "sha256:03", Reason: "夜間", Ticket: "CHG-2", Base: 1, Files: file}},
		{Number: 4, Kind: stepMade, By: "ken", Made: &made{Hash: "sha256:01", Reason: "back", Ticket: "CHG-3", Base: 1, RollbackOf: 1, Files: file}},
		{Number: 4, Kind: stepWithdrawn, By: "ken", Why: "not yet"},
		{Number: 2, Kind: stepConfirmed, By: "ken"},
		{Number: 2, Kind: stepActivated, By: gatewayItself},
		{Number: 3, Kind: stepRejected, By: gatewayItself, Why: "revision 2 came into force before it"},
	} {
		if err := d.add(s); err != nil {
			t.Fatal(err)
		}
	}
	return d.entries
}

// line is an entry as the golden file has it.
type line struct {
	Seq       int64           `json:"seq"`
	Number    int             `json:"number"`
	Record    json.RawMessage `json:"record"`
	Signature []byte          `json:"signature"`
}

func TestABookOfVersion1IsWrittenAndReadAsItAlwaysWas(t *testing.T) {
	var now bytes.Buffer
	for _, e := range goldenBook(t) {
		text, err := json.Marshal(line{Seq: e.Seq, Number: e.Number, Record: e.Record, Signature: e.Signature})
		if err != nil {
			t.Fatal(err)
		}
		now.Write(append(text, '\n'))
	}
	golden, err := os.ReadFile("testdata/book.v1.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(now.Bytes(), golden) {
		t.Errorf("written today:\n%s\nin testdata:\n%s", now.Bytes(), golden)
	}
	var entries []Entry
	for text := range bytes.Lines(golden) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, Entry{Seq: l.Seq, Number: l.Number, Record: l.Record, Signature: l.Signature})
	}
	b, err := (&book{key: goldenKey.Public().(ed25519.PublicKey)}).with(entries)
	if err != nil {
		t.Fatal(err)
	}
	want := []Status{Superseded, Active, Rejected, Withdrawn}
	for i, v := range b.versions {
		if v.Status != want[i] {
			t.Errorf("revision %d is %s, want %s", v.Number, v.Status, want[i])
		}
	}
	if v := b.current(); v.Number != 2 || v.Author != "aya" || v.ConfirmedBy != "ken" || v.Reason != "no <dumps>" {
		t.Errorf("in force is %+v", v)
	}
}

func TestStepsThatCannotFollowAreRefused(t *testing.T) {
	entries := goldenBook(t)
	for name, s := range map[string]step{
		"confirming what does not wait":      {Number: 2, Kind: stepConfirmed, By: "ken"},
		"activating what is in force":        {Number: 2, Kind: stepActivated, By: gatewayItself},
		"activating what was superseded":     {Number: 1, Kind: stepActivated, By: gatewayItself},
		"activating what was rejected":       {Number: 3, Kind: stepActivated, By: gatewayItself},
		"withdrawing what is in force":       {Number: 2, Kind: stepWithdrawn, By: "aya"},
		"rejecting what was withdrawn":       {Number: 4, Kind: stepRejected, By: "aya"},
		"a number that is taken":             {Number: 4, Kind: stepMade, By: "aya", Made: &made{Hash: "x"}},
		"a number too far":                   {Number: 6, Kind: stepMade, By: "aya", Made: &made{Hash: "x"}},
		"a revision of nothing":              {Number: 5, Kind: stepMade, By: "aya"},
		"a step of a revision that is not":   {Number: 9, Kind: stepActivated, By: gatewayItself},
		"a kind that nobody has heard of":    {Number: 2, Kind: "blessed", By: "aya"},
		"a revision without a number at all": {Kind: stepActivated, By: gatewayItself},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := (&book{key: goldenKey.Public().(ed25519.PublicKey)}).with(entries)
			if err != nil {
				t.Fatal(err)
			}
			d := &draft{book: b, signer: goldenKey}
			if err := d.add(s); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestARevisionMadeFromAnotherBaseNeverComesIntoForce(t *testing.T) {
	b, err := (&book{key: goldenKey.Public().(ed25519.PublicKey)}).with(goldenBook(t))
	if err != nil {
		t.Fatal(err)
	}
	d := &draft{book: b, signer: goldenKey}
	if err := d.add(step{Number: 5, Kind: stepMade, By: "aya", Made: &made{Hash: "x", Base: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := d.add(step{Number: 5, Kind: stepActivated, By: gatewayItself}); err == nil {
		t.Error("revision 5 was made from 1, 2 is in force, and it was taken")
	}
}
