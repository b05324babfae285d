package replay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"

	"github.com/sekisho/sekisho/recorder"
)

var header = recorder.Header{Session: "s-01TEST", Person: "hanako", Vendor: "acme-maintenance", Target: "db1", Login: "app",
	Protocol: "ssh", Started: time.Date(2026, 11, 22, 9, 15, 2, 0, time.UTC),
	Source: &recorder.Source{IP: netip.MustParseAddr("203.0.113.9"), Client: "OpenSSH_9.2"}}

// record makes a recording of entries and opens it.
func record(t *testing.T, entries ...recorder.Entry) *recorder.Reader {
	t.Helper()
	path, id := recordFile(t, entries...)
	return openRecording(t, path, id)
}

func recordFile(t *testing.T, entries ...recorder.Entry) (string, age.Identity) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := recorder.Config{Dir: t.TempDir(), Recipient: id.Recipient(), Signer: signer,
		Now: func() time.Time { return header.Started.Add(time.Second) }}
	w, err := recorder.Create(c, header)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close("logout"); err != nil {
		t.Fatal(err)
	}
	return recorder.Path(c.Dir, header.Session), id
}

func openRecording(t *testing.T, path string, id age.Identity) *recorder.Reader {
	t.Helper()
	r, err := recorder.Open(path, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func entry(ms int, channel uint32, kind recorder.Kind, data any) recorder.Entry {
	e := recorder.Entry{Offset: time.Duration(ms) * time.Millisecond, Channel: channel, Kind: kind}
	switch data := data.(type) {
	case string:
		e.Data = []byte(data)
	case []byte:
		e.Data = data
	default:
		e.Data, _ = json.Marshal(data)
	}
	return e
}

// exec is a session that ran one command.
func exec() []recorder.Entry {
	return []recorder.Entry{
		entry(0, 1, recorder.KindStart, recorder.Operation{Kind: "ssh.exec", Command: "echo hello; exit 3"}),
		entry(10, 1, recorder.KindOutput, "hello\n"),
		entry(12, 1, recorder.KindStderr, "oops"),
		entry(20, 1, recorder.KindExit, recorder.ExitStatus{Status: new(3)}),
	}
}

// shell is a session with a terminal, where characters are split over entries.
func shell() []recorder.Entry {
	return []recorder.Entry{
		entry(0, 1, recorder.KindStart, recorder.Operation{Kind: "ssh.shell", Terminal: true, Term: "xterm", Size: "120x40"}),
		entry(0, 1, recorder.KindNotice, "この操作は記録されます\r\n"),
		entry(1000, 1, recorder.KindOutput, "\x1b[1m$ \x1b[0m"),
		entry(2000, 1, recorder.KindInput, "l"),
		entry(2001, 1, recorder.KindOutput, "l"),
		entry(2100, 1, recorder.KindInput, "s\r"),
		entry(2101, 1, recorder.KindOutput, "s\r\n\xe5\xa0"),
		entry(2102, 1, recorder.KindOutput, "\xb1.txt\r\n"),
		entry(3000, 1, recorder.KindResize, "80x24"),
		entry(3001, 1, recorder.KindOutput, "a\x1b]52;c;cm0gLXJm\x07b\r\n"),
		entry(60000, 1, recorder.KindExit, recorder.ExitStatus{Status: new(0)}),
	}
}

func body(text string) (recorder.Entry, recorder.BodyRef) {
	sum := bytes.Repeat([]byte{0xab}, 32)
	copy(sum, text)
	ref := recorder.BodyRef{SHA256: fmt.Sprintf("%x", sum), Bytes: int64(len(text)), Type: "application/json"}
	return entry(5, 2, recorder.KindBody, append(sum, text...)), ref
}

// web is a session of HTTP exchanges, the second one streamed.
func web() []recorder.Entry {
	sent, request := body(`{"state":"paid"}`)
	got, response := body("line one\nline two\n")
	part, _ := body("chunk")
	streamed := recorder.Exchange{Method: "GET", URL: "https://orders.test/export.csv", Status: 200, Open: true}
	done := streamed
	done.Open, done.ResponseBody = false, recorder.BodyRef{Bytes: 10, Type: "text/csv", Streamed: true}
	return []recorder.Entry{
		sent, got,
		entry(10, 2, recorder.KindExchange, recorder.Exchange{Method: "PUT", URL: "https://orders.test/orders/1", Status: 200,
			DurationMS: 12, RequestHeader: http.Header{"Content-Type": {"application/json"}, "Accept": {"*/*"}}, RequestBody: request,
			ResponseHeader: http.Header{"Server": {"orders\x1b[2J"}}, ResponseBody: response}),
		entry(11, 2, recorder.KindExchange, streamed), part, part,
		entry(14, 2, recorder.KindExchange, done),
		entry(20, 3, recorder.KindExchange, recorder.Exchange{Method: "DELETE", URL: "https://orders.test/orders/1", Status: 403}),
		entry(21, 3, recorder.KindDecided, map[string]any{"decision": map[string]any{"id": "d-1", "effect": "deny",
			"reasons": []map[string]string{{"en": "Consulting vendors may never delete (M-4)."}}}}),
	}
}

func text(t *testing.T, entries ...recorder.Entry) string {
	t.Helper()
	var b bytes.Buffer
	if err := ExportText(&b, record(t, entries...)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTextOfAnExecSession(t *testing.T) {
	want := `session  s-01TEST
who      hanako of acme-maintenance
where    app@db1 over ssh
when     2026-11-22T09:15:02Z
from     203.0.113.9 OpenSSH_9.2

00:00:00.000   1 --   ssh.exec echo hello; exit 3
00:00:00.010   1 out  hello
00:00:00.012   1 err  oops
00:00:00.020   1 --   exit 3
00:00:01.000   0 --   end: logout
`
	if got := text(t, exec()...); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTextOfAShellHasNoSequencesAndWholeCharacters(t *testing.T) {
	got := text(t, shell()...)
	for _, line := range []string{"gate この操作は記録されます\n", "out  $ ls\n", "in   ls\n", "out  報.txt\n",
		"out  ab\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if strings.ContainsAny(got, "\x1b\a\r\x00") {
		t.Errorf("control characters in %q", got)
	}
}

func TestTextKeepsWhatAScreenOverwrites(t *testing.T) {
	got := text(t, entry(0, 1, recorder.KindOutput, "rm -r /\rls     \r\n"),
		entry(1, 1, recorder.KindOutput, "lz\b \bs\r\n50%\r100%\r\n\r\nend"))
	want := []string{"out  rm -r /", "out  ls", "out  ls", "out  50%", "out  100%", "out", "out  end"}
	var lines []string
	for line := range strings.Lines(got) {
		if _, rest, ok := strings.Cut(line, "  1 out"); ok {
			lines = append(lines, strings.TrimRight("out"+rest, "\n"))
		}
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

func TestTextSumsUpWhatIsNoText(t *testing.T) {
	random := bytes.Repeat([]byte{0, 0xff, 0x80, 1}, 1000)
	got := text(t, entry(0, 1, recorder.KindOutput, random), entry(1, 1, recorder.KindOutput, random),
		entry(2, 1, recorder.KindOutput, "done\n"))
	if !strings.Contains(got, "out  [8000 bytes that are no text]\n") || !strings.Contains(got, "out  done\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestTextOfAWebSessionShowsExchangesWithHeadersAndBodies(t *testing.T) {
	got := text(t, web()...)
	last := 0
	for _, part := range []string{
		"--   PUT https://orders.test/orders/1: 200 in 12 ms, 16 bytes sent, 18 received",
		">    Accept: */*",
		">    Content-Type: application/json",
		">    [body, 16 bytes, application/json, sha256 ",
		`>    {"state":"paid"}`,
		"<    Server: orders",
		"<    line one",
		"<    line two",
		"--   GET https://orders.test/export.csv: 200",
		"<    chunkchunk",
		"--   DELETE https://orders.test/orders/1: 403",
		"--   decided: deny (d-1) Consulting vendors may never delete (M-4).",
	} {
		at := strings.Index(got, part)
		if at < last {
			t.Errorf("%q is missing or out of order in\n%s", part, got)
		}
		last = max(at, last)
	}
	if strings.Contains(got, "\x1b") {
		t.Error("an escape sequence of a header came through")
	}
}

// cut is a recording whose end is missing.
func cutRecording(t *testing.T, entries ...recorder.Entry) *recorder.Reader {
	t.Helper()
	path, id := recordFile(t, entries...)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-200); err != nil {
		t.Fatal(err)
	}
	return openRecording(t, path, id)
}

func TestCutRecordingIsShownAndSaidToBeCut(t *testing.T) {
	long := append(exec(), entry(100, 1, recorder.KindOutput, strings.Repeat("x", 300<<10)),
		entry(200, 1, recorder.KindOutput, "last\n"))
	for name, show := range map[string]func(io.Writer, *recorder.Reader) error{"text": ExportText, "cast": ExportCast,
		"play": func(w io.Writer, r *recorder.Reader) error {
			return Play(context.Background(), w, Entries(r), Options{})
		}} {
		var b bytes.Buffer
		if err := show(&b, cutRecording(t, long...)); !errors.Is(err, recorder.ErrCut) {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(b.String(), "hello") || strings.Contains(b.String(), "end: ") {
			t.Errorf("%s shows %.300s", name, b.String())
		}
	}
}

func TestDamageIsMarkedWhereItIs(t *testing.T) {
	var entries []recorder.Entry
	for i := range 3 {
		entries = append(entries, entry(i, 1, recorder.KindOutput, fmt.Sprintf("part %d %s\n", i, strings.Repeat("x", 300<<10))))
	}
	path, id := recordFile(t, entries...)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := len(b) / 2
	for range 3 { // somewhere in the middle of the three frames
		b[at] ^= 1
		at++
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := ExportText(&out, openRecording(t, path, id)); err != nil && !errors.Is(err, recorder.ErrCut) {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "gap: damaged: record ") {
		t.Errorf("the damage is not marked in\n%.2000s", out.String())
	}
}

// events reads a cast back.
func events(t *testing.T, cast []byte) (head map[string]any, all [][3]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(cast))
	if err := d.Decode(&head); err != nil {
		t.Fatal(err)
	}
	for {
		var e [3]any
		if err := d.Decode(&e); err == io.EOF {
			return head, all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

func castOf(t *testing.T, entries ...recorder.Entry) (map[string]any, [][3]any) {
	t.Helper()
	var b bytes.Buffer
	if err := ExportCast(&b, record(t, entries...)); err != nil {
		t.Fatal(err)
	}
	return events(t, b.Bytes())
}

func TestCastOfAShellHasSizeTimesAndWholeCharacters(t *testing.T) {
	head, all := castOf(t, shell()...)
	term := head["term"].(map[string]any)
	if head["version"] != 3.0 || term["cols"] != 120.0 || term["rows"] != 40.0 || term["type"] != "xterm" ||
		head["timestamp"] != float64(header.Started.Unix()) {
		t.Errorf("header %v", head)
	}
	var shown, codes strings.Builder
	total := 0.0
	for _, e := range all {
		total += e[0].(float64)
		codes.WriteString(e[1].(string))
		if e[1] == "o" {
			shown.WriteString(e[2].(string))
		}
	}
	if total < 59.9 || total > 60.1 {
		t.Errorf("it lasts %v s", total)
	}
	if want := "この操作は記録されます\r\n\x1b[1m$ \x1b[0mls\r\n報.txt\r\nab\r\n"; !strings.HasPrefix(shown.String(), want) {
		t.Errorf("shown %q", shown.String())
	}
	if got := codes.String(); strings.Count(got, "r") != 1 || strings.Contains(got, "i") || !strings.HasSuffix(got, "x") {
		t.Errorf("events %q", got)
	}
}

func TestCastOfAnExecSessionNamesTheCommandAndItsStatus(t *testing.T) {
	_, all := castOf(t, exec()...)
	last := all[len(all)-1]
	if last[1] != "x" || last[2] != "3" || all[0][1] != "m" || all[0][2] != "ssh.exec echo hello; exit 3" {
		t.Errorf("events %v", all)
	}
	if !slices.ContainsFunc(all, func(e [3]any) bool { return e[1] == "o" && e[2] == "hello\r\n" }) {
		t.Errorf("the output does not begin at the left: %v", all)
	}
}

func TestCastOfNothingIsStillACast(t *testing.T) {
	head, _ := castOf(t)
	if head["version"] != 3.0 || head["term"].(map[string]any)["cols"] != 80.0 {
		t.Errorf("header %v", head)
	}
}

func TestCastBelievesNoImpossibleSize(t *testing.T) {
	for _, size := range []string{"0x0", "-1x5", "99999x99999", "80", "x", "80x24x2", ""} {
		head, all := castOf(t, entry(0, 1, recorder.KindResize, size), entry(1, 1, recorder.KindOutput, "x"),
			entry(2, 1, recorder.KindResize, size))
		resized := slices.ContainsFunc(all, func(e [3]any) bool { return e[1] == "r" })
		if head["term"].(map[string]any)["cols"] != 80.0 || resized {
			t.Errorf("size %q: %v %v", size, head, all)
		}
	}
}

// clocked notes when each write comes.
type clocked struct {
	began time.Time
	at    []time.Duration
	bytes.Buffer
}

func (c *clocked) Write(b []byte) (int, error) {
	if len(b) > 0 {
		c.at = append(c.at, time.Since(c.began))
	}
	return c.Buffer.Write(b)
}

func of(entries ...recorder.Entry) iter.Seq2[recorder.Entry, error] {
	return func(yield func(recorder.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestPlayKeepsTheSessionsPace(t *testing.T) {
	out := func(s int) recorder.Entry { return entry(1000*s, 1, recorder.KindOutput, fmt.Sprint(s)) }
	for name, c := range map[string]struct {
		options Options
		want    []float64 // seconds
	}{
		"as it was":            {Options{Speed: 1}, []float64{1, 2, 10, 40}},
		"twice as fast":        {Options{Speed: 2}, []float64{0.5, 1, 5, 20}},
		"without waiting":      {Options{}, []float64{0, 0, 0, 0}},
		"no pause over 3 s":    {Options{Speed: 1, MaxIdle: 3 * time.Second}, []float64{1, 2, 5, 8}},
		"from 5 s on":          {Options{Speed: 1, At: 5 * time.Second}, []float64{0, 0, 5, 35}},
		"from behind its end":  {Options{Speed: 1, At: time.Hour}, []float64{0, 0, 0, 0}},
		"half the speed, at 9": {Options{Speed: 0.5, At: 9 * time.Second}, []float64{0, 0, 2, 62}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &clocked{began: time.Now()}
				if err := Play(t.Context(), w, of(out(1), out(2), out(10), out(40)), c.options); err != nil {
					t.Fatal(err)
				}
				for i, want := range c.want {
					if w.at[i].Seconds() != want {
						t.Errorf("entry %d is shown at %v, want %v s", i, w.at[i], want)
					}
				}
			})
		})
	}
}

func TestPlayStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := &clocked{began: time.Now()}
		shown := of(entry(0, 1, recorder.KindOutput, "\x1b[?25lnow"), entry(60_000, 1, recorder.KindOutput, "later"))
		err := Play(ctx, w, shown, Options{Speed: 1})
		if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(w.String(), "later") {
			t.Errorf("%v, shown %q", err, w.String())
		}
		if !strings.HasSuffix(w.String(), "\x1b[0m\x1b(B\x0f") {
			t.Errorf("the terminal is not given back: %q", w.String())
		}
	})
}

func TestPlayRefusesNegativeOptions(t *testing.T) {
	for _, o := range []Options{{Speed: -1}, {At: -1}, {MaxIdle: -1}} {
		if err := Play(context.Background(), io.Discard, of(), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestPlayOfAnExecSessionTellsCommandAndStatus(t *testing.T) {
	var b bytes.Buffer
	if err := Play(context.Background(), &b, Entries(record(t, exec()...)), Options{}); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[2m$ echo hello; exit 3\x1b[0m\r\nhello\r\noops\r\n\x1b[2mexit 3\x1b[0m\r\n\x1b[2mend: logout\x1b[0m\r\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestPlayOfAWebSessionIsATimelineOfExchanges(t *testing.T) {
	var b bytes.Buffer
	if err := Play(context.Background(), &b, Entries(record(t, web()...)), Options{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "https://orders.test/"); n != 3 {
		t.Errorf("%d exchanges in %q", n, b.String())
	}
}
