package recorder

import (
	"crypto/ed25519"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

var update = flag.Bool("update", false, "write the golden recording of the current version anew")

const goldenDir = "testdata/v1"

var goldenHeader = Header{Session: "s-01KAN8GV00GOLDEN", Person: "hanako", Vendor: "acme-maintenance",
	Chain: []string{"acme-maintenance"}, Target: "db1", Login: "app", Protocol: "ssh",
	Started: time.Date(2026, 11, 22, 9, 15, 2, 0, time.UTC), Decision: "d-01KAN8GV00", Revision: 12}

// goldenEntries is what every version's golden recording holds: one entry of each kind.
var goldenEntries = []Entry{
	{Kind: KindDecided, Channel: 1, Data: []byte(`{"id":"d-1","effect":"allow"}`)},
	{Kind: KindStart, Channel: 1, Data: []byte(`{"kind":"ssh.shell","terminal":true,"size":"80x24"}`)},
	{Offset: 12 * time.Millisecond, Channel: 1, Kind: KindNotice, Data: []byte("この操作は記録されます\r\n")},
	{Offset: 20 * time.Millisecond, Channel: 1, Kind: KindOutput, Data: []byte("$ ")},
	{Offset: 900*time.Millisecond + time.Microsecond, Channel: 1, Kind: KindInput, Data: []byte("ls\r")},
	{Offset: time.Second, Channel: 1, Kind: KindOutput, Data: []byte("ls\r\nreport.txt\r\n$ ")},
	{Offset: time.Second, Channel: 1, Kind: KindStderr, Data: []byte("warning\n")},
	{Offset: 2 * time.Minute, Channel: 1, Kind: KindResize, Data: []byte("120x40")},
	{Offset: 3 * time.Minute, Channel: 2, Kind: KindBody, Data: append(make([]byte, 32), "{}"...)},
	{Offset: 3 * time.Minute, Channel: 2, Kind: KindExchange, Data: []byte(`{"method":"GET","url":"https://orders/"}`)},
	{Offset: 4 * time.Minute, Channel: 1, Kind: KindGap, Data: []byte(`{"reason":"test","bytes":1}`)},
	{Offset: 5 * time.Minute, Channel: 1, Kind: KindExit, Data: []byte(`{"status":0}`)},
}

func TestGoldenRecordingOfVersion1StillReadsAndVerifies(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	text, err := os.ReadFile(filepath.Join(goldenDir, "identity.txt"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	path := Path(goldenDir, goldenHeader.Session)
	r, err := Open(path, id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if h := r.Header(); h.Person != "hanako" || !h.Started.Equal(goldenHeader.Started) || h.Revision != 12 {
		t.Errorf("header %+v", h)
	}
	read, err := drain(r)
	if err != io.EOF || len(read) != len(goldenEntries)+1 {
		t.Fatalf("%d entries, %v", len(read), err)
	}
	for i, e := range goldenEntries {
		if !sameEntry(read[i], e) {
			t.Errorf("entry %d reads %+v, want %+v", i, read[i], e)
		}
	}
	public, err := os.ReadFile(filepath.Join(goldenDir, "signer.pub"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := Verify(path, ed25519.PublicKey(public))
	if err != nil || !report.OK() {
		t.Errorf("verify: %v %v", err, report.Err())
	}
}

func writeGolden(t *testing.T) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(goldenDir), os.MkdirAll(goldenDir, 0o755)); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	d.Dir = goldenDir
	d.Now = func() time.Time { return goldenHeader.Started.Add(6 * time.Minute) }
	w, err := Create(d.Config, goldenHeader)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, goldenEntries...)
	if err := w.Close("logout"); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(filepath.Join(goldenDir, "identity.txt"), []byte(d.id.String()+"\n"), 0o644),
		os.WriteFile(filepath.Join(goldenDir, "signer.pub"), d.trusted, 0o644))
	if err != nil {
		t.Fatal(err)
	}
}
