package audit

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
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

func newConfig(t testing.TB) Config {
	t.Helper()
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Dir: filepath.Join(t.TempDir(), "audit"), Signer: signer}
}

func (c Config) public() ed25519.PublicKey { return c.Signer.Public().(ed25519.PublicKey) }

func open(t testing.TB, c Config) *Log {
	t.Helper()
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t testing.TB, l *Log, e recorder.Event) recorder.Event {
	t.Helper()
	stored, err := l.Append(context.Background(), e)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func command(vendor, line string) recorder.Event {
	return recorder.Event{Class: recorder.ClassCommand, Kind: "command.run", Outcome: recorder.OK, Person: "hanako",
		Vendor: vendor, Target: "db1", Detail: map[string]any{"line": line}}
}

func login(vendor string) recorder.Event {
	return recorder.Event{Class: recorder.ClassLogin, Kind: "login.ssh", Outcome: recorder.OK, Person: "hanako", Vendor: vendor}
}

// fill appends events of two vendors and of none to three classes.
func fill(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		appendTo(t, l, command([]string{"acme", "beta"}[i%2], fmt.Sprint("ls ", i)))
		if i%3 == 0 {
			appendTo(t, l, login("acme"))
		}
		if i%4 == 0 {
			appendTo(t, l, recorder.Event{Class: recorder.ClassConfig, Kind: "gateway.started", Outcome: recorder.OK})
		}
	}
}

func lines(t testing.TB, c Config, class recorder.Class) [][]byte {
	t.Helper()
	b, err := os.ReadFile(segmentPath(c.Dir, class, 1, linesExt))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.SplitAfter(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
}

func mustVerify(t testing.TB, c Config) Report {
	t.Helper()
	report, err := Verify(c.Dir, c.public())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func found(t testing.TB, l *Log, q Query) []recorder.Event {
	t.Helper()
	var events []recorder.Event
	for e, err := range l.Search(context.Background(), q) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

func TestAppendedEventIsOnDiskAsTheSpecSays(t *testing.T) {
	c := newConfig(t)
	now := time.Date(2026, 11, 22, 9, 15, 2, 123456789, time.FixedZone("JST", 9*3600))
	c.Now = func() time.Time { return now }
	l := open(t, c)
	defer closeLog(t, l)
	e := appendTo(t, l, command("acme", "echo '<&>' > /tmp/報告"))
	if e.V != 1 || e.ID == "" || e.Table != "R-2" || !e.At.Equal(now) || e.VSeq != 1 || e.VPrev != "" {
		t.Errorf("stored as %+v", e)
	}
	want := fmt.Sprintf(`{"v":1,"id":%q,"at":"2026-11-22T00:15:02.123456789Z","class":"command","kind":"command.run",`+
		`"table":"R-2","outcome":"ok","person":"hanako","vendor":"acme","target":"db1","vseq":1,`+
		`"detail":{"line":"echo '<&>' > /tmp/報告"}}`, e.ID)
	if got := string(lines(t, c, recorder.ClassCommand)[0]); got != want {
		t.Errorf("the line is\n%s\nwant\n%s", got, want)
	}
}

func TestEachClassHasItsOwnFileAndTable(t *testing.T) {
	c := newConfig(t)
	l := open(t, c)
	defer closeLog(t, l)
	for i, class := range recorder.Classes {
		e := appendTo(t, l, recorder.Event{Class: class, Kind: "x", Outcome: recorder.OK})
		if want := fmt.Sprint("R-", i+1); e.Table != want {
			t.Errorf("class %s is of table %s, want %s", class, e.Table, want)
		}
		if n := len(lines(t, c, class)); n != 1 {
			t.Errorf("class %s holds %d lines", class, n)
		}
	}
}

func TestVendorChainGoesAcrossClasses(t *testing.T) {
	c := newConfig(t)
	l := open(t, c)
	defer closeLog(t, l)
	appendTo(t, l, login("acme"))
	appendTo(t, l, command("acme", "ls"))
	third := appendTo(t, l, login("acme"))
	other := appendTo(t, l, login("beta"))
	if third.VSeq != 3 || other.VSeq != 1 || other.VPrev != "" {
		t.Errorf("vseq %d and %d", third.VSeq, other.VSeq)
	}
	if want := (vendorState{seq: 2, hash: link{}.next(lines(t, c, recorder.ClassCommand)[0]).hash}).prev(); third.VPrev != want {
		t.Errorf("vprev %s, want %s", third.VPrev, want)
	}
	e := appendTo(t, l, recorder.Event{Class: recorder.ClassLogin, Kind: "login.failed", Outcome: recorder.Failed})
	if e.VSeq != 0 {
		t.Errorf("an event of no vendor has vseq %d", e.VSeq)
	}
}

func TestWhatTheCallerFilledOfTheLogsFieldsIsReplaced(t *testing.T) {
	l := open(t, newConfig(t))
	defer closeLog(t, l)
	e := command("acme", "ls")
	e.V, e.ID, e.At, e.Table, e.VSeq, e.VPrev = 9, "forged", time.Unix(0, 0), "R-5", 99, "sha256:00"
	if got := appendTo(t, l, e); got.ID == "forged" || got.V != 1 || got.Table != "R-2" || got.VSeq != 1 || got.VPrev != "" ||
		got.At.Year() < 2000 {
		t.Errorf("stored as %+v", got)
	}
}

func TestImpossibleEventsAreRefusedAndTheRestGoesOn(t *testing.T) {
	l := open(t, newConfig(t))
	defer closeLog(t, l)
	for name, e := range map[string]recorder.Event{
		"no class":         {Kind: "x", Outcome: recorder.OK},
		"an unknown class": {Class: "secret", Kind: "x", Outcome: recorder.OK},
		"no kind":          {Class: recorder.ClassLogin, Outcome: recorder.OK},
		"no outcome":       {Class: recorder.ClassLogin, Kind: "x"},
		"detail that is no JSON": {Class: recorder.ClassLogin, Kind: "x", Outcome: recorder.OK,
			Detail: map[string]any{"f": func() {}}},
		"more than 1 MiB": {Class: recorder.ClassLogin, Kind: "x", Outcome: recorder.OK, Vendor: "acme",
			Detail: map[string]any{"x": strings.Repeat("x", maxLine)}},
	} {
		if _, err := l.Append(context.Background(), e); err == nil {
			t.Errorf("%s: the event was stored", name)
		}
	}
	if e := appendTo(t, l, login("acme")); e.VSeq != 1 {
		t.Errorf("a refused event took vseq %d", e.VSeq-1)
	}
}

func TestReopenedLogGoesOn(t *testing.T) {
	c := newConfig(t)
	for i := range 3 {
		l := open(t, c)
		e := appendTo(t, l, command("acme", "ls"))
		if e.VSeq != uint64(i+1) {
			t.Errorf("after %d openings vseq is %d", i, e.VSeq)
		}
		closeLog(t, l)
	}
	report := mustVerify(t, c)
	if !report.OK() || report.Classes[1].Events != 3 || !report.Classes[1].Closed || report.Classes[1].Unsigned != 0 {
		t.Errorf("%+v %v", report.Classes[1], report.Err())
	}
}

func TestOnlyOneProcessWrites(t *testing.T) {
	c := newConfig(t)
	l := open(t, c)
	if _, err := Open(c); !errors.Is(err, ErrLocked) {
		t.Errorf("a second opening: %v", err)
	}
	closeLog(t, l)
	closeLog(t, open(t, c))
}

func TestClosedLogRefusesEvents(t *testing.T) {
	l := open(t, newConfig(t))
	closeLog(t, l)
	if _, err := l.Append(context.Background(), login("acme")); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	closeLog(t, l)
}

func TestManyProducersShareCommitsAndTheLogVerifiesMeanwhile(t *testing.T) {
	c := newConfig(t)
	l := open(t, c)
	l.segmentSize = 50_000
	var group sync.WaitGroup
	for p := range 50 {
		group.Go(func() {
			for i := range 40 {
				appendTo(t, l, command(fmt.Sprint("vendor", p%7), fmt.Sprint(i)))
				appendTo(t, l, login(fmt.Sprint("vendor", p%7)))
			}
		})
	}
	for range 10 {
		if report := mustVerify(t, c); !report.OK() {
			t.Error(report.Err())
		}
	}
	group.Wait()
	closeLog(t, l)
	report := mustVerify(t, c)
	if !report.OK() || report.Classes[0].Events != 2000 || report.Classes[1].Events != 2000 || report.Vendors != 7 {
		t.Errorf("%+v %v", report, report.Err())
	}
	if n := report.Classes[1].Segment; n < 3 {
		t.Errorf("the log was verified over %d segments only", n)
	}
	commits := 0
	for n := 1; n <= report.Classes[1].Segment; n++ {
		commits += bytes.Count(read(t, segmentPath(c.Dir, recorder.ClassCommand, n, headsExt)), []byte("\n"))
	}
	if commits >= 2000 {
		t.Errorf("2000 events took %d commits: none was shared", commits)
	}
}

func TestHeadsAreSignedWithinTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConfig(t)
		l := open(t, c)
		appendTo(t, l, login("acme"))
		if report := mustVerify(t, c); report.Classes[0].Unsigned != 1 {
			t.Errorf("%d events are unsigned at once", report.Classes[0].Unsigned)
		}
		time.Sleep(signEvery)
		synctest.Wait()
		if report := mustVerify(t, c); report.Classes[0].Unsigned != 0 || !report.OK() {
			t.Errorf("%d events are unsigned after 10 s, %v", report.Classes[0].Unsigned, report.Err())
		}
		closeLog(t, l)
	})
}

func TestLogGoesOverSegments(t *testing.T) {
	c := newConfig(t)
	l := open(t, c)
	l.segmentSize = 2000
	fill(t, l, 60)
	want := found(t, l, Query{})
	closeLog(t, l)
	numbers, err := segments(c.Dir, recorder.ClassCommand)
	if err != nil || len(numbers) < 3 {
		t.Fatalf("segments %v, %v", numbers, err)
	}
	if report := mustVerify(t, c); !report.OK() || report.Classes[1].Events != 60 || report.Classes[1].Segment != len(numbers) {
		t.Errorf("%+v %v", report.Classes[1], report.Err())
	}
	l = open(t, c)
	defer closeLog(t, l)
	if e := appendTo(t, l, command("acme", "again")); e.VSeq != 51 {
		t.Errorf("vseq %d", e.VSeq)
	}
	if got := found(t, l, Query{}); len(got) != len(want)+1 {
		t.Errorf("%d events are found, want %d", len(got), len(want)+1)
	}
}

func TestMissingSegmentIsNamed(t *testing.T) {
	c := newConfig(t)
	l := open(t, c)
	l.segmentSize = 2000
	fill(t, l, 60)
	closeLog(t, l)
	for _, ext := range []string{linesExt, headsExt} {
		if err := os.Remove(segmentPath(c.Dir, recorder.ClassCommand, 2, ext)); err != nil {
			t.Fatal(err)
		}
	}
	report := mustVerify(t, c)
	if report.OK() || report.Findings[0].Fault != FaultCut {
		t.Errorf("%v", report.Err())
	}
	if _, err := Open(c); !errors.Is(err, ErrCorrupted) {
		t.Errorf("opening: %v", err)
	}
}

func TestSearchFindsNewestFirst(t *testing.T) {
	c := newConfig(t)
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	c.Now = func() time.Time { at = at.Add(time.Second); return at }
	l := open(t, c)
	defer closeLog(t, l)
	fill(t, l, 300)
	e := command("acme", `grep "Hello World" /var/log/報告`)
	e.Person, e.Session, e.Target, e.Kind, e.Outcome = "taro", "s-1", "db2", "command.refused", recorder.Refused
	e.Detail["exit"], e.Detail["argv"] = 126, []string{"grep", "Hello World"}
	special := appendTo(t, l, e)
	fill(t, l, 10)
	all := found(t, l, Query{})
	if !slices.IsSortedFunc(all, func(a, b recorder.Event) int { return b.At.Compare(a.At) }) || len(all) != 300+100+75+1+10+4+3 {
		t.Errorf("%d events, or out of order", len(all))
	}
	for name, q := range map[string]Query{
		"text":                   {Text: "hello world"},
		"text with quotes":       {Text: `"HELLO WORLD"`},
		"Japanese text":          {Text: "報告"},
		"a number in the detail": {Text: "126", Kind: "command.refused"},
		"person":                 {Person: "taro"},
		"session":                {Session: "s-1"},
		"target":                 {Target: "db2"},
		"kind":                   {Kind: "command.refused"},
		"time":                   {Since: special.At, Until: special.At.Add(time.Nanosecond)},
		"everything at once": {Text: "grep", Class: recorder.ClassCommand, Person: "taro", Vendor: "acme", Session: "s-1",
			Target: "db2", Kind: "command.refused", Since: special.At, Limit: 5},
	} {
		if got := found(t, l, q); len(got) != 1 || got[0].ID != special.ID {
			t.Errorf("by %s: %d events", name, len(got))
		}
	}
	for name, q := range map[string]Query{
		"a key is no value":     {Text: "outcome"},
		"another person":        {Person: "tar"},
		"another class":         {Class: recorder.ClassLogin, Session: "s-1"},
		"before the log began":  {Until: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		"after its last moment": {Since: at.Add(time.Hour)},
	} {
		if got := found(t, l, q); len(got) != 0 {
			t.Errorf("%s: %d events, %+v", name, len(got), got[0])
		}
	}
	if got := found(t, l, Query{Limit: 7}); len(got) != 7 || got[0].ID != all[0].ID || got[6].ID != all[6].ID {
		t.Errorf("the newest 7: %d", len(got))
	}
}

func TestSearchStopsWithItsContext(t *testing.T) {
	l := open(t, newConfig(t))
	defer closeLog(t, l)
	fill(t, l, 5)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range l.Search(ctx, Query{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}

func TestAppendGivesUpWithItsContext(t *testing.T) {
	l := open(t, newConfig(t))
	defer closeLog(t, l)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Append(ctx, login("acme")); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestLinkIsReadTheSameQuicklyAndInFull(t *testing.T) {
	for _, e := range []recorder.Event{
		command("acme", `,"vendor":"forged","vseq":7,"detail":{}`),
		{ID: "1", Class: recorder.ClassLogin, Kind: `a"b`, Person: `\`, Detail: map[string]any{"vendor": "forged", "vseq": 3}},
		{ID: "2", Class: recorder.ClassLogin, Kind: "x", Vendor: "v", VSeq: 1 << 60, VPrev: "sha256:ab"},
		{ID: "3", Class: recorder.ClassLogin, Kind: "x", Source: &recorder.Source{Client: `,"vendor":"forged"`}},
	} {
		detail, err := encodeDetail(e.Detail)
		if err != nil {
			t.Fatal(err)
		}
		line, err := encode(e, detail)
		if err != nil {
			t.Fatal(err)
		}
		quick, err := readLink(line)
		if err != nil {
			t.Fatal(err)
		}
		if full, err := parseLink(line); err != nil || quick != full {
			t.Errorf("%s\nquick %+v\nfull  %+v %v", line, quick, full, err)
		}
	}
}

func TestEventsReadBackEqual(t *testing.T) {
	c := newConfig(t)
	l := open(t, c)
	defer closeLog(t, l)
	ms := int64(0)
	e := command("acme", "ls")
	e.OffsetMS, e.Chain, e.Enforced, e.Revision = &ms, []string{"acme", "head"}, "parsed", 12
	stored := appendTo(t, l, e)
	got := found(t, l, Query{})[0]
	a, _ := json.Marshal(stored)
	b, _ := json.Marshal(got)
	if !bytes.Equal(a, b) {
		t.Errorf("stored %s\nread   %s", a, b)
	}
	if !maps.Equal(e.Detail, map[string]any{"line": "ls"}) {
		t.Error("the caller's detail was changed")
	}
}
