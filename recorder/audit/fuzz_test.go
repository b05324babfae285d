package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/sekisho/sekisho/recorder"
)

func FuzzLine(f *testing.F) {
	detail, err := encodeDetail(map[string]any{"line": `echo "x"`, "vendor": "forged", "n": 1})
	if err != nil {
		f.Fatal(err)
	}
	e := command("acme", "")
	e.V, e.ID, e.VSeq, e.VPrev = 1, "01J", 4711, "sha256:00"
	line, err := encode(e, detail)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{"v":1,"id":"1","at":"2026-11-22T00:00:00Z","class":"command","kind":"x","table":"R-2","outcome":"ok"}`))
	f.Add([]byte(`{"id":"1","vendor":"a\u0062","vseq":1,"vprev":"x","detail":{"vseq":2}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		_, _ = readLink(line)
		e, err := decode(line, recorder.ClassCommand)
		if err != nil {
			return
		}
		detail, err := encodeDetail(e.Detail)
		if err != nil {
			t.Fatal(err)
		}
		again, err := encode(e, detail)
		if err != nil {
			return // too long
		}
		quick, err := readLink(again)
		if err != nil {
			t.Fatal(err)
		}
		if full, err := parseLink(again); err != nil || quick != full {
			t.Fatalf("%s: quick %+v, full %+v, %v", again, quick, full, err)
		}
	})
}

func FuzzHead(f *testing.F) {
	c := newConfig(f)
	f.Add(bytes.TrimSuffix(appendHeadLine(nil, Head{Seq: 1, Bytes: 2, SHA256: chainStart("x").String()}, nil), []byte("\n")))
	f.Add(bytes.TrimSuffix(appendHeadLine(nil, Head{V: 1, Class: "command", Segment: 1, SHA256: chainStart("x").String(),
		Closed: true}, c.Signer), []byte("\n")))
	f.Fuzz(func(t *testing.T, line []byte) {
		h, err := parseHeadLine(line)
		if err != nil {
			return
		}
		object, err := json.Marshal(h.Head)
		if err != nil || !bytes.HasPrefix(line, object) {
			t.Fatalf("%s is taken for %s", line, object)
		}
		if h.sum.String() != h.SHA256 {
			t.Fatalf("hash %s is taken for %s", h.SHA256, h.sum)
		}
	})
}

// FuzzLog: whatever stands in the files of a class, Verify answers, and only what was written verifies.
func FuzzLog(f *testing.F) {
	c := newConfig(f)
	l, err := Open(c)
	if err != nil {
		f.Fatal(err)
	}
	fill(f, l, 3)
	closeLog(f, l)
	linesPath := segmentPath(c.Dir, recorder.ClassCommand, 1, linesExt)
	headsPath := segmentPath(c.Dir, recorder.ClassCommand, 1, headsExt)
	lines, err := os.ReadFile(linesPath)
	if err != nil {
		f.Fatal(err)
	}
	heads, err := os.ReadFile(headsPath)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(lines, heads)
	f.Add(lines[:100], heads)
	f.Add(lines, heads[:len(heads)/2])
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, newLines, newHeads []byte) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(c.Dir)); err != nil {
			t.Fatal(err)
		}
		for path, b := range map[string][]byte{linesPath: newLines, headsPath: newHeads} {
			if err := os.WriteFile(filepath.Join(dir, "command", filepath.Base(path)), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		report, err := Verify(dir, c.public())
		if err != nil {
			t.Fatal(err)
		}
		if command := report.Classes[1]; report.OK() && command.Closed && !bytes.Equal(lines, newLines) {
			t.Fatalf("changed lines verify: %+v", command)
		}
	})
}
