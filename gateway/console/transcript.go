package console

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// How much of a recording one page shows.
const (
	momentsPerPage = 300
	maxMomentText  = 16 << 10        // bytes of one block of output
	joinWithin     = 2 * time.Second // output closer together than this is one block
	maxBodyShown   = 16 << 10        // bytes of an HTTP body
	maxBodiesKept  = 256             // bodies remembered for the exchanges that follow
)

// moment is one entry of a transcript, or a run of output.
type moment struct {
	N       int
	At      string // since the session began
	Class   string // of the style sheet
	Word    string // key of words
	Tag     bool
	Head    string
	Channel uint32
	Reasons []policy.Reason
	// Decision is the id of the one that let this through or refused it.
	Decision string
	Note     string
	Text     string
	Clipped  bool // Text is not all of it
	Parts    []part
}

// part is something that can be unfolded.
type part struct{ Word, Text string }

// transcript turns the entries of a recording into moments and keeps those of one page.
type transcript struct {
	from    int
	moments []moment
	count   int
	cut     bool // the recording does not end

	run    moment // output being joined; Class "" when there is none
	runKey runKey
	began  time.Duration // of the run
	last   time.Duration
	plain  map[runKey]*plainText

	bodies  map[string][]byte // by hash, those that exchanges to come may name
	streams map[uint32][]byte // by channel, responses that are still coming
	rows    map[uint32]int    // by channel, the moment of the HTTP request that goes on there
}

// runKey tells output streams apart.
type runKey struct {
	channel uint32
	kind    recorder.Kind
}

func newTranscript(from int) *transcript {
	return &transcript{from: from, plain: map[runKey]*plainText{}, bodies: map[string][]byte{},
		streams: map[uint32][]byte{}, rows: map[uint32]int{}}
}

// readTranscript reads the page of a recording that begins with moment from.
func readTranscript(r *recorder.Reader, from int) (*transcript, error) {
	t := newTranscript(from)
	for {
		entry, err := r.Next()
		var damage *recorder.DamageError
		switch {
		case errors.Is(err, io.EOF):
			t.flush()
			return t, nil
		case errors.Is(err, recorder.ErrCut):
			t.flush()
			t.cut = true
			return t, nil
		case errors.As(err, &damage):
			t.flush()
			t.add(t.last, moment{Class: "gap", Word: "transcript.gap", Tag: true, Head: damage.Error()})
			continue
		case err != nil:
			return nil, err
		}
		t.take(entry)
	}
}

// more tells whether moments follow the page.
func (t *transcript) more() bool { return t.count > t.from+len(t.moments) }

func (t *transcript) add(at time.Duration, m moment) {
	if t.count >= t.from && len(t.moments) < momentsPerPage {
		m.N, m.At = t.count, stamp(at)
		t.moments = append(t.moments, m)
	}
	t.count++
}

// stamp is an offset as h:mm:ss.t.
func stamp(d time.Duration) string {
	tenths := d.Milliseconds() / 100
	return fmt.Sprintf("%d:%02d:%02d.%d", tenths/36000, tenths/600%60, tenths/10%60, tenths%10)
}

func (t *transcript) take(e recorder.Entry) {
	switch e.Kind {
	case recorder.KindOutput, recorder.KindStderr, recorder.KindInput, recorder.KindNotice:
		t.takeText(e)
	case recorder.KindBody:
		t.takeBody(e)
	case recorder.KindExchange:
		t.flush()
		t.takeExchange(e)
	default:
		t.flush()
		if m := t.event(e); e.Kind != recorder.KindStart || !t.goesOn(e.Channel) {
			t.add(e.Offset, m)
		}
	}
	t.last = e.Offset
}

// takeBody keeps the beginning of a body for the exchange that will name it.
func (t *transcript) takeBody(e recorder.Entry) {
	if len(e.Data) < 32 {
		return
	}
	sum, body := hex.EncodeToString(e.Data[:32]), e.Data[32:]
	if stream, ok := t.streams[e.Channel]; ok {
		room := max(0, maxBodyShown-len(stream))
		t.streams[e.Channel] = append(stream, body[:min(len(body), room)]...)
		return
	}
	if len(t.bodies) < maxBodiesKept {
		t.bodies[sum] = body[:min(len(body), maxBodyShown)]
	}
}

var textClasses = map[recorder.Kind]struct{ class, word string }{
	recorder.KindOutput: {"output", ""},
	recorder.KindStderr: {"stderr", "transcript.stderr"},
	recorder.KindInput:  {"input", "transcript.input"},
	recorder.KindNotice: {"notice", "transcript.notice"},
}

// takeText joins text of one stream that comes close together.
func (t *transcript) takeText(e recorder.Entry) {
	key := runKey{e.Channel, e.Kind}
	text := t.text(key, e.Data)
	if text == "" {
		return
	}
	if t.run.Class == "" || t.runKey != key || e.Offset-t.last > joinWithin {
		t.flush()
		look := textClasses[e.Kind]
		t.run, t.runKey, t.began = moment{Class: look.class, Word: look.word}, key, e.Offset
	}
	if room := maxMomentText - len(t.run.Text); room > 0 {
		t.run.Text += strings.ToValidUTF8(text[:min(len(text), room)], "")
	} else {
		t.run.Clipped = true
	}
}

func (t *transcript) text(key runKey, data []byte) string {
	if key.kind == recorder.KindInput {
		return typed(data)
	}
	p, ok := t.plain[key]
	if !ok {
		p = &plainText{}
		t.plain[key] = p
	}
	return p.clean(data)
}

// flush ends the run of output.
func (t *transcript) flush() {
	if t.run.Class == "" {
		return
	}
	t.add(t.began, t.run)
	t.run = moment{}
}

// event is the moment of an entry that is not text.
func (t *transcript) event(e recorder.Entry) moment {
	m := moment{Channel: e.Channel, Tag: true}
	switch e.Kind {
	case recorder.KindResize:
		m.Class, m.Word, m.Head = "resize", "transcript.resize", string(typed(e.Data))
	case recorder.KindStart:
		var op recorder.Operation
		m.read(e.Data, &op)
		m.Class, m.Word, m.Head = "start", "transcript.start", orElse(op.Command, op.Kind)
	case recorder.KindExit:
		var exit recorder.ExitStatus
		m.read(e.Data, &exit)
		m.Class, m.Word, m.Head = "exit", "transcript.exit", exitText(exit)
	case recorder.KindDecided:
		t.decided(&m, e)
	case recorder.KindGap:
		var gap recorder.GapNote
		m.read(e.Data, &gap)
		m.Class, m.Word, m.Head = "gap", "transcript.gap", gap.Reason
	case recorder.KindEnd:
		var end recorder.EndNote
		m.read(e.Data, &end)
		m.Class, m.Word, m.Head = "end", "transcript.end", end.Reason
	default:
		m.Class, m.Head = "gap", fmt.Sprintf("kind %d, %d bytes", e.Kind, len(e.Data))
	}
	return m
}

// read decodes an entry's JSON; what cannot be read is shown as it is.
func (m *moment) read(data []byte, into any) {
	if err := json.Unmarshal(data, into); err != nil {
		m.Text = typed(data[:min(len(data), maxMomentText)])
	}
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func exitText(exit recorder.ExitStatus) string {
	if exit.Signal != "" {
		return "SIG" + exit.Signal
	}
	if exit.Status != nil {
		return fmt.Sprint(*exit.Status)
	}
	return "?"
}

// decided reads the decision of one operation. An HTTP request that was allowed goes on in the same moment.
func (t *transcript) decided(m *moment, e recorder.Entry) {
	var d struct {
		Action   policy.Action   `json:"action"`
		Decision policy.Decision `json:"decision"`
	}
	m.read(e.Data, &d)
	m.Head = orElse(d.Action.Command, d.Action.Operation)
	m.Decision, m.Reasons = d.Decision.ID, d.Decision.Reasons
	switch d.Decision.Effect {
	case policy.Allow:
		m.Class, m.Word = "decided", "transcript.allowed"
		if d.Action.Operation == "http.request" && len(t.rows) < maxBodiesKept {
			t.rows[e.Channel] = t.count
		}
	case policy.Approval:
		m.Class, m.Word = "refused", "transcript.approval"
	default:
		m.Class, m.Word = "refused", "transcript.refused"
	}
}

// takeExchange shows an HTTP request with its decision and its response as one moment, wherever in the recording they stand.
func (t *transcript) takeExchange(e recorder.Entry) {
	m := moment{Channel: e.Channel, Tag: true}
	var x recorder.Exchange
	m.read(e.Data, &x)
	t.exchange(&m, x)
	row, begun := t.rows[e.Channel]
	if x.Open && !begun && len(t.rows) < maxBodiesKept {
		t.rows[e.Channel] = t.count
	}
	if !x.Open {
		delete(t.rows, e.Channel)
	}
	if !begun {
		t.add(e.Offset, m)
		return
	}
	if i := row - t.from; i >= 0 && i < len(t.moments) {
		m.N, m.At, m.Reasons = t.moments[i].N, t.moments[i].At, t.moments[i].Reasons
		m.Decision = orElse(m.Decision, t.moments[i].Decision)
		t.moments[i] = m
	}
}

// goesOn tells whether the moment of an HTTP request goes on in a channel: its start is no other one.
func (t *transcript) goesOn(channel uint32) bool {
	_, ok := t.rows[channel]
	return ok
}

// exchange reads one HTTP request and its response, bodies and headers folded away. A response that streams comes when it
// begins and again, with its body, when it is over.
func (t *transcript) exchange(m *moment, x recorder.Exchange) {
	m.Class, m.Word, m.Decision = "exchange", "transcript.http", x.Decision
	body, streamed := t.streams[m.Channel]
	delete(t.streams, m.Channel)
	if x.Open && len(t.streams) < maxBodiesKept {
		t.streams[m.Channel] = nil
	}
	if !streamed || !x.ResponseBody.Streamed {
		body = t.bodies[x.ResponseBody.SHA256]
	}
	m.Head = fmt.Sprintf("%s %s → %d", x.Method, x.URL, x.Status)
	m.Note = fmt.Sprintf("%d ms", x.DurationMS)
	if x.Error != "" {
		m.Note += " · " + x.Error
	}
	m.Parts = []part{
		{"transcript.request", headerText(x.RequestHeader) + bodyText(x.RequestBody, t.bodies[x.RequestBody.SHA256])},
		{"transcript.response", headerText(x.ResponseHeader) + bodyText(x.ResponseBody, body)},
	}
	m.Parts = slices.DeleteFunc(m.Parts, func(p part) bool { return p.Text == "" })
}

func headerText(h http.Header) string {
	var b bytes.Buffer
	if h.Write(&b) != nil {
		return ""
	}
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

func bodyText(ref recorder.BodyRef, body []byte) string {
	if ref.SHA256 == "" && ref.Bytes == 0 {
		return ""
	}
	about := fmt.Sprintf("\n[%d bytes %s]", ref.Bytes, ref.Type)
	if ref.Omitted != "" {
		about = fmt.Sprintf("\n[%d bytes %s: %s]", ref.Bytes, ref.Type, ref.Omitted)
	}
	if len(body) == 0 || !isText(ref.Type) {
		return about + "\n"
	}
	var p plainText
	return about + "\n" + p.clean(body) + "\n"
}

func isText(mediaType string) bool {
	kind, _, _ := strings.Cut(strings.ToLower(mediaType), ";")
	kind = strings.TrimSpace(kind)
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "json") || strings.HasSuffix(kind, "xml") ||
		kind == "application/x-www-form-urlencoded" || kind == "application/javascript"
}
