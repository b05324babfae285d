package console

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/sekisho/sekisho/recorder"
)

// record writes entries as one closed recording and opens it.
func record(t *testing.T, entries ...recorder.Entry) func() *recorder.Reader {
	t.Helper()
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const session = "s-01JDA9V3Q4W"
	w, err := recorder.Create(recorder.Config{Dir: dir, Recipient: key.Recipient(), Signer: signer},
		recorder.Header{Session: session, Person: "hanako", Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close("closed"); err != nil {
		t.Fatal(err)
	}
	return func() *recorder.Reader {
		r, err := recorder.Open(recorder.Path(dir, session), key)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
}

func transcribe(t *testing.T, r *recorder.Reader, from int) *transcript {
	t.Helper()
	read, err := readTranscript(r, from)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func out(at time.Duration, text string) recorder.Entry {
	return recorder.Entry{Offset: at, Channel: 1, Kind: recorder.KindOutput, Data: []byte(text)}
}

func TestOutputThatComesTogetherIsOneMoment(t *testing.T) {
	open := record(t, out(0, "hel"), out(time.Second, "lo\r\n"), out(9*time.Second, "later\n"),
		recorder.Entry{Offset: 9 * time.Second, Channel: 1, Kind: recorder.KindStderr, Data: []byte("oops\n")})
	read := transcribe(t, open(), 0)
	var texts []string
	for _, m := range read.moments {
		texts = append(texts, m.At+" "+m.Class+" "+m.Text)
	}
	want := []string{"0:00:00.0 output hello\n", "0:00:09.0 output later\n", "0:00:09.0 stderr oops\n", "0:00:09.0 end "}
	if strings.Join(texts, "|") != strings.Join(want, "|") {
		t.Errorf("moments %q, want %q", texts, want)
	}
}

func TestALongRecordingIsReadPageByPage(t *testing.T) {
	var entries []recorder.Entry
	const blocks = 2*momentsPerPage + 10
	for i := range blocks {
		entries = append(entries, out(time.Duration(i)*3*time.Second, fmt.Sprintf("block %d\n", i)))
	}
	open := record(t, entries...)
	seen := 0
	for from := 0; ; from += momentsPerPage {
		read := transcribe(t, open(), from)
		for _, m := range read.moments {
			if m.N != seen || m.Class == "output" && m.Text != fmt.Sprintf("block %d\n", seen) {
				t.Fatalf("moment %d is %+v", seen, m)
			}
			seen++
		}
		if !read.more() {
			break
		}
	}
	if seen != blocks+1 {
		t.Errorf("%d moments, want %d and the end", seen, blocks)
	}
}

func TestAHugeBlockIsClippedAndSaysSo(t *testing.T) {
	open := record(t, out(0, strings.Repeat("x", maxMomentText)), out(0, "more\n"))
	read := transcribe(t, open(), 0)
	if m := read.moments[0]; len(m.Text) != maxMomentText || !m.Clipped {
		t.Errorf("%d bytes, clipped %v", len(m.Text), m.Clipped)
	}
}

func TestExchangesShowTheirBodies(t *testing.T) {
	body := func(text string) recorder.Entry {
		sum := sha256.Sum256([]byte(text))
		return recorder.Entry{Channel: 7, Kind: recorder.KindBody, Data: append(sum[:], text...)}
	}
	exchange := func(x recorder.Exchange) recorder.Entry {
		data, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		return recorder.Entry{Channel: 7, Kind: recorder.KindExchange, Data: data}
	}
	question := `{"q":1}`
	sum := sha256.Sum256([]byte(question))
	decided := recorder.Entry{Channel: 7, Kind: recorder.KindDecided, Data: []byte(`{"action":{"protocol":"https",` +
		`"operation":"http.request","command":"POST /search"},"decision":{"effect":"allow","id":"d-1"}}`)}
	start := recorder.Entry{Channel: 7, Kind: recorder.KindStart, Data: []byte(`{"kind":"http.request","command":"POST /search"}`)}
	open := record(t, decided, start, body(question),
		exchange(recorder.Exchange{Method: "POST", URL: "https://orders.test/search", Status: 200, Open: true,
			RequestBody: recorder.BodyRef{SHA256: hex.EncodeToString(sum[:]), Bytes: 7, Type: "application/json"}}),
		body("first,"), body("second"),
		exchange(recorder.Exchange{Method: "POST", URL: "https://orders.test/search", Status: 200,
			RequestBody:  recorder.BodyRef{SHA256: hex.EncodeToString(sum[:]), Bytes: 7, Type: "application/json"},
			ResponseBody: recorder.BodyRef{Bytes: 12, Type: "text/csv; charset=utf-8", Streamed: true}}),
		exchange(recorder.Exchange{Method: "GET", URL: "https://orders.test/logo", Status: 200,
			ResponseBody: recorder.BodyRef{Bytes: 9, Type: "image/png", Omitted: "too large"}}))
	read := transcribe(t, open(), 0)
	if len(read.moments) != 3 {
		t.Fatalf("moments %+v", read.moments)
	}
	for i, want := range []string{"first,second", "too large"} {
		if got := fmt.Sprint(read.moments[i].Parts); !strings.Contains(got, want) {
			t.Errorf("exchange %d shows %q, want %q in it", i, got, want)
		}
	}
	if parts := read.moments[0].Parts; !strings.Contains(parts[0].Text, question) {
		t.Errorf("the request's body is not shown: %q", parts)
	}
	if m := read.moments[0]; m.Head != "POST https://orders.test/search → 200" || m.Channel != 7 || m.Decision != "d-1" {
		t.Errorf("head %+v", m)
	}
}

func TestARequestThatNeverEndsIsShownAsItBegan(t *testing.T) {
	open := record(t,
		recorder.Entry{Channel: 3, Kind: recorder.KindDecided, Data: []byte(`{"action":{"operation":"http.request",` +
			`"command":"GET /feed"},"decision":{"effect":"allow","id":"d-1"}}`)},
		recorder.Entry{Channel: 4, Kind: recorder.KindDecided, Data: []byte(`{"action":{"operation":"http.request",` +
			`"command":"DELETE /x"},"decision":{"effect":"deny","id":"d-2"}}`)},
		recorder.Entry{Channel: 3, Kind: recorder.KindExchange, Data: []byte(`{"method":"GET","url":"/feed","status":200,"open":true}`)})
	var rows []string
	for _, m := range transcribe(t, open(), 0).moments {
		rows = append(rows, fmt.Sprint(m.N, m.Class, m.Head, m.Decision))
	}
	want := []string{"0exchangeGET /feed → 200d-1", "1refusedDELETE /xd-2", "2endclosed"}
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
}
