package recorder

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// small records a short session with two heads and several records, and returns the file's bytes.
func (d desk) small(t *testing.T) []byte {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := d.create(t)
		for i, pause := range []time.Duration{1, 1, 12, 1, 1} {
			write(t, w, output(time.Duration(i)*time.Second, fmt.Sprintf("line %d\r\n", i)))
			time.Sleep(pause * time.Second)
		}
		if err := w.Close("done"); err != nil {
			t.Fatal(err)
		}
	})
	b, err := os.ReadFile(d.path())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// span is where a record stands in a file.
type span struct {
	recordHeader
	start, end int64
}

func spans(t *testing.T, b []byte) []span {
	t.Helper()
	_, raw, err := readPreamble(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var all []span
	for at := int64(len(raw)); at < int64(len(b)); {
		h, ok := parseRecordHeader(b[at : at+headerSize])
		if !ok {
			t.Fatalf("no header at %d", at)
		}
		all = append(all, span{h, at, at + h.stored()})
		at += h.stored()
	}
	return all
}

func (d desk) verify(t *testing.T, b []byte) Report {
	t.Helper()
	report, err := verify(bytes.NewReader(b), d.trusted)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// readBytes reads the recording b with the key of d's session.
func (d desk) readBytes(t *testing.T, b []byte) ([]Entry, error) {
	t.Helper()
	path := filepath.Join(d.Dir, "changed"+recExt)
	key, err := os.ReadFile(KeyPath(d.path()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.WriteFile(KeyPath(path), key, 0o600)); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, d.id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return drain(r)
}

func TestEveryFlippedByteIsNamed(t *testing.T) {
	d := newDesk(t)
	whole := d.small(t)
	if report := d.verify(t, whole); !report.OK() {
		t.Fatal(report.Err())
	}
	records := spans(t, whole)
	for at := range whole {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			b := bytes.Clone(whole)
			b[at] ^= mask
			report := d.verify(t, b)
			if len(report.Findings) != 1 || report.OK() || report.Err() == nil {
				t.Fatalf("byte %d flipped by %#x: %d findings: %v", at, mask, len(report.Findings), report.Err())
			}
			f := report.Findings[0]
			if f.Fault != FaultDamaged || f.Offset > int64(at) || int64(at) >= f.Offset+f.Length {
				t.Fatalf("byte %d flipped by %#x is reported as %+v", at, mask, f)
			}
			if want := recordAt(records, int64(at)); f.Record != want {
				t.Fatalf("byte %d lies in record %d and is reported in %d", at, want, f.Record)
			}
		}
	}
}

// recordAt is the number of the record that holds the byte at offset, -1 for the preamble.
func recordAt(records []span, offset int64) int {
	return slices.IndexFunc(records, func(s span) bool { return s.start <= offset && offset < s.end })
}

func TestReaderNeverReturnsAFlippedEntry(t *testing.T) {
	d := newDesk(t)
	whole := d.small(t)
	entries, _ := d.readBytes(t, whole)
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		read, err := d.readBytes(t, b)
		next := 0
		for _, e := range read {
			for next < len(entries) && !sameEntry(entries[next], e) {
				next++
			}
			if next == len(entries) {
				t.Fatalf("byte %d flipped: an entry was read that was never written: %+v", at, e)
			}
			next++
		}
		if len(read) < len(entries) && (err == nil || err == io.EOF) {
			t.Fatalf("byte %d flipped: %d of %d entries and no error", at, len(read), len(entries))
		}
	}
}

func sameEntry(a, b Entry) bool {
	return a.Offset == b.Offset && a.Channel == b.Channel && a.Kind == b.Kind && bytes.Equal(a.Data, b.Data)
}

func TestReaderGoesOnBehindADamage(t *testing.T) {
	d := newDesk(t)
	whole := d.small(t)
	var frames []span
	for _, s := range spans(t, whole) {
		if s.begins() {
			frames = append(frames, s)
		}
	}
	if len(frames) < 2 {
		t.Fatalf("the session has %d frames; two are needed", len(frames))
	}
	b := bytes.Clone(whole)
	b[frames[0].start+headerSize] ^= 1
	path := filepath.Join(d.Dir, "changed"+recExt)
	d.readBytes(t, b) // leaves the files behind
	r, err := Open(path, d.id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var damage *DamageError
	if _, err := r.Next(); !errors.As(err, &damage) {
		t.Fatalf("the damage is read as %v", err)
	}
	if damage.Offset != frames[0].start || damage.Offset+damage.Length != frames[1].start {
		t.Errorf("%v: want %d–%d", damage, frames[0].start, frames[1].start)
	}
	rest, err := drain(r)
	if err != io.EOF || len(rest) == 0 || rest[len(rest)-1].Kind != KindEnd {
		t.Errorf("behind the damage: %d entries, %v", len(rest), err)
	}
}

func TestEveryCutIsNamedAndWhatIsBeforeItReads(t *testing.T) {
	d := newDesk(t)
	whole := d.small(t)
	entries, _ := d.readBytes(t, whole)
	records := spans(t, whole)
	for length := range whole {
		b := whole[:length]
		report := d.verify(t, b)
		if len(report.Findings) != 1 || report.OK() {
			t.Fatalf("cut to %d bytes: %v", length, report.Err())
		}
		fault := FaultCut
		if slices.ContainsFunc(records, func(s span) bool { return s.start == int64(length) }) {
			fault = FaultUnclosed
		}
		if f := report.Findings[0]; f.Fault != fault || f.Offset > int64(length) {
			t.Fatalf("cut to %d bytes: %+v, want %s", length, f, fault)
		}
		if int64(length) < records[0].end {
			continue
		}
		read, err := d.readBytes(t, b)
		want := ErrCut
		if len(read) == len(entries) { // only the final head is missing
			want = io.EOF
		}
		if err != want {
			t.Fatalf("cut to %d bytes: reading ended with %v", length, err)
		}
		for i, e := range read {
			if !sameEntry(e, entries[i]) {
				t.Fatalf("cut to %d bytes: entry %d differs", length, i)
			}
		}
	}
}

func TestSwappedMissingAndRepeatedRecordsAreNamed(t *testing.T) {
	d := newDesk(t)
	whole := d.small(t)
	records := spans(t, whole)
	bytesOf := func(i int) []byte { return whole[records[i].start:records[i].end] }
	join := func(order ...int) []byte {
		b := bytes.Clone(whole[:records[0].start])
		for _, i := range order {
			b = append(b, bytesOf(i)...)
		}
		return b
	}
	all := make([]int, len(records))
	for i := range all {
		all[i] = i
	}
	for i := 1; i < len(all); i++ {
		for j := i + 1; j < len(all)-1; j++ {
			order := slices.Clone(all)
			order[i], order[j] = j, i
			report := d.verify(t, join(order...))
			if len(report.Findings) != 2 || report.Findings[0].Fault != FaultSwapped || report.Findings[0].Record != i ||
				report.Findings[1].Record != j {
				t.Errorf("records %d and %d swapped: %v", i, j, report.Err())
			}
		}
		if i == len(all)-1 {
			break
		}
		missing := d.verify(t, join(slices.Delete(slices.Clone(all), i, i+1)...))
		if len(missing.Findings) != 1 || missing.Findings[0].Fault != FaultSwapped || missing.Findings[0].Record != i {
			t.Errorf("record %d taken out: %v", i, missing.Err())
		}
		repeated := d.verify(t, join(slices.Insert(slices.Clone(all), i, i)...))
		if len(repeated.Findings) == 0 || repeated.Findings[0].Fault != FaultSwapped {
			t.Errorf("record %d repeated: %v", i, repeated.Err())
		}
	}
	if report := d.verify(t, join(append(all, 1)...)); len(report.Findings) != 1 ||
		report.Findings[0].Fault != FaultTrailing {
		t.Errorf("a record behind the end: %v", report.Err())
	}
}

// forge recomputes every CRC and check behind record i, as somebody without the signing key can.
func forge(t *testing.T, b []byte, from int) []byte {
	t.Helper()
	_, raw, err := readPreamble(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := newChain(raw)
	for i, s := range spans(t, b) {
		check := c.add(b[s.start : s.end-checkSize])
		if i >= from {
			copy(b[s.end-checkSize:], check)
		}
	}
	return b
}

func TestRecordRewrittenWithItsChecksIsCaughtByTheNextHead(t *testing.T) {
	d := newDesk(t)
	whole := d.small(t)
	for i, s := range spans(t, whole) {
		if s.kind == typeHead {
			continue
		}
		b := bytes.Clone(whole)
		b[s.start+headerSize] ^= 1
		report := d.verify(t, forge(t, b, i))
		if len(report.Findings) == 0 || report.Findings[0].Fault != FaultSignature {
			t.Errorf("record %d rewritten: %v", i, report.Err())
		}
	}
}

func TestRecordOfAnotherRecordingIsNamed(t *testing.T) {
	d := newDesk(t)
	whole := d.small(t)
	other := newDesk(t)
	other.Signer, other.trusted = d.Signer, d.trusted
	foreign := other.small(t)
	records, others := spans(t, whole), spans(t, foreign)
	for i := 1; i < len(records)-1; i++ {
		b := slices.Concat(whole[:records[i].start], foreign[others[i].start:others[i].end], whole[records[i].end:])
		report := d.verify(t, b)
		if len(report.Findings) == 0 || report.Findings[0].Record != i {
			t.Errorf("record %d of another recording: %v", i, report.Err())
		}
	}
}

func TestForeignSignerIsNamed(t *testing.T) {
	d := newDesk(t)
	whole := d.small(t)
	stranger, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify(bytes.NewReader(whole), stranger)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) != 1 || report.Findings[0].Fault != FaultSigner {
		t.Errorf("another trusted key: %v", report.Err())
	}
	if _, err := Verify(d.path(), stranger[:5]); err == nil {
		t.Error("a trusted key of 5 bytes was taken")
	}
}

func TestSomethingElseThanARecordingIsSaidToBeNone(t *testing.T) {
	d := newDesk(t)
	for name, b := range map[string][]byte{
		"text":        []byte(strings.Repeat("just some text\n", 100)),
		"short text":  []byte("hi"),
		"a cast":      []byte(`{"version":3,"term":{"cols":80,"rows":24}}` + "\n"),
		"version 200": append([]byte(magic+"\xc8"), make([]byte, 500)...),
	} {
		report := d.verify(t, b)
		if len(report.Findings) != 1 || report.Findings[0].Record != -1 {
			t.Errorf("%s: %v", name, report.Err())
		}
	}
	if _, err := Verify(filepath.Join(d.Dir, "none.rec"), d.trusted); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestVerifierGivesUpOnAFileFullOfDamage(t *testing.T) {
	d := newDesk(t)
	whole := d.small(t)
	records := spans(t, whole)
	b := bytes.Clone(whole[:records[1].start])
	for i := range uint32(100_000) { // headers that hold, each followed by one byte where a header should be
		h := recordHeader{kind: typeData, flags: flagFrame, number: 2*i + 1, length: tagSize + 1}
		record := make([]byte, h.stored()+1)
		h.put(record)
		b = append(b, record...)
	}
	if n := len(d.verify(t, b).Findings); n == 0 || n > maxFindings+1 {
		t.Errorf("%d findings", n)
	}
}
