package webproxy_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/webproxy"
	"github.com/sekisho/sekisho/recorder"
)

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func TestAnExchangeIsOnRecordWithItsBodiesAndWithoutItsSecrets(t *testing.T) {
	const reply = `{"id": 7, "card": {"number": "4111111111111111"}, "access_token": "tok-SECRET"}`
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "sid=SECRET")
		w.Header().Set("X-Request-Id", "42")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, reply)
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	const sent = `{"card": {"number": "4111111111111111"}, "amount": 3}`
	r := v.request(http.MethodPost, appHost, "/orders?token=SECRET&page=2", strings.NewReader(sent))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer SECRET")
	r.Header.Set("X-Api-Key", "SECRET")
	r.AddCookie(&http.Cookie{Name: "sid", Value: "SECRET"})
	if res := v.do(r); res.text != reply || res.Header.Get("Set-Cookie") != "sid=SECRET" {
		t.Fatalf("the client got %q", res.text)
	}
	if got := g.last(); got.Header.Get("Authorization") != "Bearer SECRET" || got.URL.RawQuery != "token=SECRET&page=2" {
		t.Error("redaction changed what the app got")
	}
	event := g.run(1)
	tape := v.settled()
	for _, e := range tape {
		if bytes.Contains(e.Data, []byte("SECRET")) || bytes.Contains(e.Data, []byte("4111111111111111")) || bytes.Contains(e.Data, []byte(v.cookie[appHost])) {
			t.Errorf("a secret is on record in an entry of kind %d: %s", e.Kind, e.Data)
		}
	}
	all, stored := exchanges(t, tape), bodies(t, tape)
	if len(all) != 1 {
		t.Fatalf("%d exchanges", len(all))
	}
	x := all[0]
	if x.Method != "POST" || x.Status != http.StatusCreated || x.URL != "https://"+appHost+"/orders?token=[redacted]&page=2" ||
		!strings.HasPrefix(x.Decision, "d-") || x.Open || x.Error != "" || x.ResponseHeader.Get("X-Request-Id") != "42" {
		t.Errorf("%+v", x)
	}
	if got := stored[x.RequestBody.SHA256]; got != `{"card": {"number": "[redacted]"}, "amount": 3}` || x.RequestBody.Omitted != "redacted" || x.RequestBody.Bytes != int64(len(sent)) {
		t.Errorf("request body %q, %+v", got, x.RequestBody)
	}
	if got := stored[x.ResponseBody.SHA256]; got != `{"id": 7, "card": {"number": "[redacted]"}, "access_token": "[redacted]"}` || x.ResponseBody.Type != "application/json" {
		t.Errorf("response body %q, %+v", got, x.ResponseBody)
	}
	if event.Outcome != recorder.OK || event.Decision != x.Decision || event.Detail["method"] != "POST" || event.Detail["path"] != "/orders" ||
		number(event.Detail["status"]) != 201 || number(event.Detail["bytes"]) != int64(len(reply)) ||
		event.Detail["sha256"] != x.ResponseBody.SHA256 || event.Enforced != "wire" || event.Table == "R-1" {
		t.Errorf("R-2 event %+v", event)
	}
	kinds := []recorder.Kind{}
	for _, e := range tape {
		if e.Channel == 1 {
			kinds = append(kinds, e.Kind)
		}
	}
	want := []recorder.Kind{recorder.KindDecided, recorder.KindStart, recorder.KindBody, recorder.KindBody, recorder.KindExchange}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("entries %v, want %v", kinds, want)
	}
}

func TestWhatHappensToEachKindOfBody(t *testing.T) {
	big := strings.Repeat("x", 5000)
	answers := map[string]struct{ kind, body, encoding string }{
		"/page":        {"text/html", "<p>hello", ""},
		"/big":         {"text/csv", big, ""},
		"/badjson":     {"application/json", `{"card": {"number": 4111`, ""},
		"/bigjson":     {"application/json", `{"card": "` + big + `"}`, ""},
		"/disguised":   {"text/html", ` {"card": {"number": 4111}}`, ""},
		"/lines":       {"application/x-ndjson", "{}\n", ""},
		"/gzip":        {"text/html", "\x1f\x8bxyz", "gzip"},
		"/none":        {"text/html", "", ""},
		"/page?again":  {"text/html", "<p>hello", ""},
		"/events":      {"text/event-stream", "data: 4111\n\n", ""},
		"/form?answer": {"application/x-www-form-urlencoded", "a=b&password=SECRET", ""},
	}
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		a := answers[r.RequestURI]
		w.Header().Set("Content-Type", a.kind)
		if a.encoding != "" {
			w.Header().Set("Content-Encoding", a.encoding)
		}
		io.WriteString(w, a.body)
	}, func(c *webproxy.Config) { c.MaxBody = 4096 })
	v := g.enrol("hanako", "acme").login(appHost)
	for target, a := range answers {
		if res := v.get(target); res.text != a.body {
			t.Errorf("%s: the client got %q", target, res.text)
		}
	}
	tape := v.settled()
	stored, got := bodies(t, tape), map[string]recorder.BodyRef{}
	for _, x := range exchanges(t, tape) {
		if !x.Open {
			got[strings.TrimPrefix(x.URL, "https://"+appHost)] = x.ResponseBody
		}
	}
	for target, want := range map[string]struct{ stored, omitted string }{
		"/page":        {"<p>hello", ""},
		"/page?again":  {"<p>hello", ""},
		"/big":         {"", "too large"},
		"/badjson":     {"", "cannot be redacted"},
		"/bigjson":     {"", "too large"},
		"/disguised":   {` {"card": {"number": "[redacted]"}}`, "redacted"},
		"/lines":       {"", "cannot be redacted"},
		"/gzip":        {"", "cannot be redacted"},
		"/events":      {"", "cannot be redacted"},
		"/form?answer": {"a=b&password=[redacted]", "redacted"},
	} {
		ref := got[target]
		body, kept := stored[ref.SHA256]
		if body != want.stored || kept != (want.stored != "") || ref.Omitted != want.omitted || ref.Bytes != int64(len(answers[target].body)) {
			t.Errorf("%s: %q, %+v", target, body, ref)
		}
		if !kept && ref.SHA256 != sum(answers[target].body) {
			t.Errorf("%s: the hash is of something else", target)
		}
	}
	if ref := got["/none"]; ref.Bytes != 0 || ref.SHA256 != "" {
		t.Errorf("an empty body: %+v", ref)
	}
	same := 0
	for _, e := range tape {
		if e.Kind == recorder.KindBody && string(e.Data[32:]) == "<p>hello" {
			same++
		}
	}
	if same != 1 {
		t.Errorf("the same body is stored %d times", same)
	}
}

func TestAStreamIsShownPieceByPieceEachOnRecordBefore(t *testing.T) {
	next := make(chan struct{})
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	}, nil)
	v := g.enrol("hanako", "acme")
	v.cookie[otherHost] = v.login(otherHost).cookie[otherHost]
	res, err := v.client.Do(v.request(http.MethodGet, otherHost, "/events", nil)) // this app redacts nothing
	must(t, err)
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for i := range 3 {
		line, err := lines.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q, %v", i, line, err)
		}
		lines.ReadString('\n')
		next <- struct{}{}
	}
	io.Copy(io.Discard, res.Body)
	id := g.live()
	v.do(v.form(otherHost, "/.sekisho/logout", nil))
	g.await("the session's end", func() bool { return len(g.events("session.end")) == 1 })
	tape := g.tape(id)
	all := exchanges(t, tape)
	if len(all) != 2 || !all[0].Open || all[0].Status != http.StatusOK || all[1].Open || !all[1].ResponseBody.Streamed ||
		all[1].ResponseBody.SHA256 != sum("data: 0\n\ndata: 1\n\ndata: 2\n\n") || all[1].ResponseBody.Bytes != 27 {
		t.Fatalf("%+v", all)
	}
	var pieces string
	for _, e := range tape {
		if e.Kind == recorder.KindBody {
			pieces += string(e.Data[32:])
		}
	}
	if sum(pieces) != all[1].ResponseBody.SHA256 {
		t.Errorf("pieces %q", pieces)
	}
}

func TestAPageOfUnknownLengthIsKeptAndAJSONOneRedacted(t *testing.T) {
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/json" {
			io.WriteString(w, `{"card":`)
			w.(http.Flusher).Flush()
			io.WriteString(w, `{"number":4111}}`)
			return
		}
		io.WriteString(w, strings.Repeat("p", 100_000)) // more than one read takes
	}, func(c *webproxy.Config) { c.MaxBody = 4096 })
	v := g.enrol("hanako", "acme").login(appHost)
	if res := v.get("/json"); res.text != `{"card":{"number":4111}}` {
		t.Errorf("%q", res.text)
	}
	if res := v.get("/long"); len(res.text) != 100_000 {
		t.Errorf("%d bytes", len(res.text))
	}
	tape := v.settled()
	all := exchanges(t, tape)
	if stored := bodies(t, tape)[all[0].ResponseBody.SHA256]; stored != `{"card":{"number":"[redacted]"}}` {
		t.Errorf("stored %q", stored)
	}
	last := all[len(all)-1].ResponseBody
	if last.Omitted != "too large" || last.Bytes != 100_000 || last.SHA256 != sum(strings.Repeat("p", 100_000)) {
		t.Errorf("%+v", last)
	}
	kept := 0
	for _, e := range tape {
		if e.Kind == recorder.KindBody && e.Channel == 2 {
			kept += len(e.Data) - 32
		}
	}
	if kept == 0 || kept > 4096 {
		t.Errorf("%d bytes are kept", kept)
	}
}

func TestFormsAreKeptWithoutTheirSecrets(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	v.send(http.MethodPost, "/login", "application/x-www-form-urlencoded", "user=hanako&password=SECRET&next=%2F")
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	w.WriteField("user", "hanako")
	w.WriteField("new_password", "SECRET")
	w.Close()
	v.send(http.MethodPost, "/login", w.FormDataContentType(), body.String())
	tape := v.settled()
	for _, e := range tape {
		if bytes.Contains(e.Data, []byte("SECRET")) {
			t.Errorf("a secret is on record in an entry of kind %d", e.Kind)
		}
	}
	all := exchanges(t, tape)
	if stored := bodies(t, tape)[all[0].RequestBody.SHA256]; stored != "user=hanako&password=[redacted]&next=%2F" {
		t.Errorf("form: %q", stored)
	}
	if ref := all[1].RequestBody; ref.Omitted != "cannot be redacted" || ref.SHA256 != sum(body.String()) {
		t.Errorf("multipart form: %+v", ref)
	}
}

func TestARefusalIsInTheRecordingAsThePersonSawIt(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("chie", "advice").login(appHost)
	p := v.do(v.request(http.MethodDelete, appHost, "/orders/1", nil)).problem(t)
	seen := false
	for _, e := range v.settled() {
		seen = seen || e.Kind == recorder.KindNotice && bytes.Contains(e.Data, []byte(p.Decision)) && bytes.Contains(e.Data, []byte("M-4"))
	}
	if !seen {
		t.Error("no notice on record")
	}
}

// zeros is a body of n bytes that nobody holds in memory.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

func TestLargeBodiesStreamInFlatMemory(t *testing.T) {
	const size = 96 << 20
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			io.Copy(w, &zeros{size})
			return
		}
		fmt.Fprint(w, n, err)
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	v.client = g.client(&v.cert, false)
	allocated := func(do func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for name, length := range map[string]int64{"of known size": size, "in chunks": -1} {
		used := allocated(func() {
			r := v.request(http.MethodPost, appHost, "/upload", io.NopCloser(&zeros{size}))
			r.ContentLength = length
			r.Header.Set("Content-Type", "application/octet-stream")
			if res := v.do(r); res.text != fmt.Sprint(size, nil) {
				t.Errorf("an upload %s: %s: %s", name, res.Status, res.text)
			}
		})
		if used > size*3/4 {
			t.Errorf("an upload %s allocated %d MiB", name, used>>20)
		}
	}
	used := allocated(func() {
		res, err := v.client.Do(v.request(http.MethodGet, appHost, "/file", nil))
		must(t, err)
		defer res.Body.Close()
		if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	if used > size*3/4 {
		t.Errorf("a download allocated %d MiB", used>>20)
	}
	e := g.run(3)
	if number(e.Detail["bytes"]) != size || e.Detail["sha256"] == nil {
		t.Errorf("%+v", e)
	}
}

func TestAnUploadThatIsTooLargeIsRefused(t *testing.T) {
	g := newGate(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }, func(c *webproxy.Config) {
		c.MaxUpload, c.MaxBody = 10_000, 1000
	})
	v := g.enrol("hanako", "acme").login(appHost)
	for name, length := range map[string]int64{"that says so": 20_000, "that does not": -1} {
		r := v.request(http.MethodPost, appHost, "/upload", io.NopCloser(&zeros{20_000}))
		r.ContentLength = length
		if res := v.do(r); res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("an upload %s: %s", name, res.Status)
		}
	}
	r := v.request(http.MethodPost, appHost, "/upload", io.NopCloser(&zeros{10_000}))
	r.ContentLength = 10_000
	if res := v.do(r); res.StatusCode != http.StatusOK {
		t.Errorf("an upload at the limit: %s: %s", res.Status, res.text)
	}
}

func TestAnUploadThatStallsIsGivenUp(t *testing.T) {
	g := newGate(t, hello, func(c *webproxy.Config) { c.StallTimeout = 300 * time.Millisecond })
	v := g.enrol("hanako", "acme").login(appHost)
	answer := v.raw("POST /orders HTTP/1.1\r\nHost: " + appHost + "\r\nCookie: __Host-sekisho=" + v.cookie[appHost] +
		"\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf")
	if !strings.HasPrefix(answer, "HTTP/1.1 408") {
		t.Errorf("%q", answer)
	}
	if len(g.app.requests()) != 0 {
		t.Error("half a request reached the app")
	}
}
