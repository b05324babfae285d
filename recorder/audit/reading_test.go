package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// readAll is every line of a reading, and checks that Size promised as many bytes.
func readAll(t *testing.T, r *Reading) []string {
	t.Helper()
	defer r.Close()
	var lines []string
	var size int64
	var buf []byte
	for {
		block, err := r.Next(buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		size += int64(len(block))
		lines = append(lines, strings.Split(strings.TrimSuffix(string(block), "\n"), "\n")...)
		buf = block
	}
	if size != r.Size() {
		t.Errorf("read %d bytes of %d", size, r.Size())
	}
	return lines
}

func TestAReadingBeginsAtItsTimeAndEndsWhereTheLogEnded(t *testing.T) {
	begin := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	now := begin
	c := newConfig(t)
	c.Now = func() time.Time { return now }
	l := open(t, c)
	defer closeLog(t, l)
	l.segmentSize = 2000 // a few events each
	var times []time.Time
	var lines []string
	for i := range 60 {
		if i%7 != 0 { // some come at the same moment
			now = now.Add(time.Second)
		}
		line := fmt.Sprint("step ", i, strings.Repeat("x", i*i)) // some are larger than a segment
		times = append(times, appendTo(t, l, command("acme", line)).At)
		lines = append(lines, line)
	}
	for _, class := range recorder.Classes[2:] {
		r, err := l.Read(class, begin)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, r); len(got) != 0 {
			t.Errorf("class %s has lines: %q", class, got)
		}
	}
	for i := -2; i <= 62; i++ {
		since := begin.Add(time.Duration(i) * time.Second)
		r, err := l.Read(recorder.ClassCommand, since)
		if err != nil {
			t.Fatal(err)
		}
		appendTo(t, l, command("acme", "too late"))
		first := 0
		for first < len(times) && times[first].Before(since) {
			first++
		}
		got := readAll(t, r)
		if want := len(lines) - first; len(got) < want {
			t.Fatalf("since %s: %d lines, want %d", since, len(got), want)
		}
		for n, line := range got[:len(lines)-first] {
			if !strings.Contains(line, lines[first+n]+`"`) {
				t.Fatalf("since %s, line %d is not %q: %s", since, n, lines[first+n], line)
			}
		}
		for n, line := range got[len(lines)-first:] { // those that were added before this reading began
			if !strings.Contains(line, "too late") || n >= i+2 {
				t.Fatalf("since %s: %s was added after the reading had begun", since, line)
			}
		}
	}
}

func TestASegmentThatWasTornWhileReadingIsAnError(t *testing.T) {
	l := open(t, newConfig(t))
	defer closeLog(t, l)
	appendTo(t, l, command("acme", "ls"))
	r, err := l.Read(recorder.ClassCommand, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.size-- // as if its line feed were missing
	if _, err := r.Next(nil); !errors.Is(err, ErrCorrupted) {
		t.Errorf("got %v", err)
	}
}

// decidedLine is the stored line of an event with an input.
func decidedLine(t testing.TB, e recorder.Event) []byte {
	t.Helper()
	e.V, e.ID, e.At, e.Table = 1, "01J", time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), e.Class.Table()
	detail, err := encodeDetail(e.Detail)
	if err != nil {
		t.Fatal(err)
	}
	line, err := encode(e, detail)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestDecisionsAreFoundAmongOtherLines(t *testing.T) {
	input := `{"context":"sha256:00","action":{"command":"echo } \" {"},"now":"x"}`
	with := command("acme", `,"input":{"context":"forged"}`)
	with.Decision, with.Session, with.Revision, with.Input = "d-1", "s-1", 12, json.RawMessage(input)
	strange := with
	strange.Person, strange.Decision = `a"b`, "d-2"
	nested := command("acme", "x")
	nested.Decision, nested.Detail = "d-3", map[string]any{"a": 1, "input": map[string]any{"context": "forged"}}
	both := nested
	both.Decision, both.Input = "d-4", json.RawMessage(input)
	staff := recorder.Event{Class: recorder.ClassConfig, Kind: "gateway.x.y", Outcome: recorder.OK, Decision: "d-5", Revision: 3,
		Input: json.RawMessage(input)}
	var block []byte
	for _, e := range []recorder.Event{with, command("acme", "none"), strange, nested, both, staff} {
		block = append(append(block, decidedLine(t, e)...), '\n')
	}
	var got []string
	for d, err := range DecidedIn(block) {
		if err != nil {
			t.Fatal(err)
		}
		if string(d.Input) != input {
			t.Errorf("%s: input %s", d.ID, d.Input)
		}
		got = append(got, fmt.Sprintf("%s %s %d", d.ID, d.Session, d.Revision))
	}
	if want := "d-1 s-1 12, d-2 s-1 12, d-4  0, d-5  3"; strings.Join(got, ", ") != want {
		t.Errorf("found %q, want %q", strings.Join(got, ", "), want)
	}
}

func TestAContextIsTakenForWhatItsNameSaysOnly(t *testing.T) {
	object := json.RawMessage(`{"person":{"id":"hanako"}}`)
	e := recorder.Event{Class: recorder.ClassCommand, Kind: KindContext, Outcome: recorder.OK, Vendor: "acme", Detail: map[string]any{
		"context": object, "sha256": "sha256:c2ea2a1a16d9e5aeb8f9ae4ad65d5f0f9ad6f5ab1a4d3e7d8f3b2a1c0d9e8f70"}}
	for _, err := range DecidedIn(decidedLine(t, e)) {
		if !errors.Is(err, ErrCorrupted) {
			t.Errorf("a forged name: %v", err)
		}
	}
}

func FuzzDecided(f *testing.F) {
	e := command("acme", `,"input":{"a":"}"}`)
	e.Decision, e.Session, e.Revision, e.Input = "d-1", "s-1", 12, json.RawMessage(`{"context":"x","action":{}}`)
	f.Add(decidedLine(f, e))
	e.Detail["input"] = map[string]any{"context": "forged"}
	f.Add(decidedLine(f, e))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := decode(line, recorder.ClassCommand)
		if err != nil || bytes.ContainsRune(line, '\n') || len(e.Input) > 0 && e.Input[0] != '{' || e.Kind == KindContext {
			return
		}
		detail, err := encodeDetail(e.Detail)
		if err != nil {
			return
		}
		stored, err := encode(e, detail)
		if err != nil {
			return
		}
		quick, ok, err := decidedIn(stored)
		if err != nil {
			t.Fatal(err)
		}
		full, err := parseDecided(stored)
		if err != nil {
			t.Fatal(err)
		}
		if ok != (full.Input != nil) || ok && (!bytes.Equal(quick.ID, full.ID) || !bytes.Equal(quick.Session, full.Session) ||
			quick.Revision != full.Revision || !bytes.Equal(quick.Input, full.Input)) {
			t.Fatalf("%s: quick %+v, full %+v", stored, quick, full)
		}
	})
}

func TestASearchShowsContextsOnlyWhenAsked(t *testing.T) {
	l := open(t, newConfig(t))
	defer closeLog(t, l)
	ctx := appendTo(t, l, recorder.Event{Class: recorder.ClassCommand, Kind: KindContext, Outcome: recorder.OK, Person: "hanako",
		Vendor: "acme", Detail: map[string]any{"context": json.RawMessage(`{"zone":"UTC"}`), "sha256": "sha256:abc"}})
	run := command("acme", "ls")
	run.Input = json.RawMessage(`{"context":"sha256:abc","action":{"command":"ls"}}`)
	run = appendTo(t, l, run)
	for name, c := range map[string]struct {
		q    Query
		want string
	}{
		"everything":   {Query{}, run.ID},
		"her":          {Query{Person: "hanako", Text: "hanako"}, run.ID},
		"the kind":     {Query{Kind: KindContext}, ctx.ID},
		"the name":     {Query{Text: "sha256:abc"}, run.ID + " " + ctx.ID},
		"what it says": {Query{Text: "UTC"}, ""},
	} {
		var ids []string
		for e, err := range l.Search(context.Background(), c.q) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, e.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
