package replay

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sekisho/sekisho/recorder"
)

// Bounds of a text export.
const (
	maxLine      = 4 << 10  // runes; a longer line is broken
	maxBodyShown = 64 << 10 // of one body
	maxBodies    = 4 << 20  // bytes of bodies kept for the exchanges that refer to them
)

// ExportText writes a recording as UTF-8 text for reading and searching: who and where, then line by line when it was, on
// which channel, what it is and what it says. Terminal sequences are left out, nothing that was overwritten on a screen
// is; HTTP exchanges stand with their headers and readable bodies. The error is recorder.ErrCut when the recording has no
// end; what there is has then been written.
func ExportText(w io.Writer, r *recorder.Reader) error {
	t := &transcript{w: bufio.NewWriter(w), streams: map[stream]*lines{}, bodies: map[string][]byte{},
		coming: map[uint32][]byte{}}
	t.heading(r.Header())
	var failed error
	for e, err := range Entries(r) {
		if err != nil {
			failed = err
			break
		}
		t.entry(e)
	}
	t.endLines(func(stream) bool { return true })
	if err := t.w.Flush(); err != nil {
		return err
	}
	return failed
}

// transcript writes a text export. Errors of w stay with it until it is flushed.
type transcript struct {
	w       *bufio.Writer
	streams map[stream]*lines
	bodies  map[string][]byte // by hash
	kept    int               // bytes of bodies
	coming  map[uint32][]byte // by channel: the response that streams
}

func (t *transcript) heading(h recorder.Header) {
	fmt.Fprintf(t.w, "session  %s\nwho      %s of %s\nwhere    %s over %s\nwhen     %s\n", visible(h.Session), visible(h.Person),
		visible(h.Vendor), where(h), visible(h.Protocol), h.Started.UTC().Format(time.RFC3339))
	if h.Source != nil {
		fmt.Fprintf(t.w, "from     %s %s\n", h.Source.IP, visible(h.Source.Client))
	}
	fmt.Fprintln(t.w)
}

// labels name the streams.
var labels = map[recorder.Kind]string{recorder.KindOutput: "out", recorder.KindStderr: "err", recorder.KindInput: "in",
	recorder.KindNotice: "gate"}

func (t *transcript) entry(e recorder.Entry) {
	switch e.Kind {
	case recorder.KindOutput, recorder.KindStderr, recorder.KindInput, recorder.KindNotice:
		t.text(e)
		if e.Kind == recorder.KindNotice { // whole in itself, with or without a line feed
			t.endLines(func(s stream) bool { return s.channel == e.Channel && s.kind == e.Kind })
		}
		return
	case recorder.KindBody:
		t.body(e)
		return
	case recorder.KindExit:
		t.endLines(func(s stream) bool { return s.channel == e.Channel })
	case recorder.KindEnd:
		t.endLines(func(stream) bool { return true })
	}
	if words := note(e); words != "" {
		t.put(e.Offset, e.Channel, "--", words)
	}
	if e.Kind == recorder.KindExchange {
		t.exchange(e)
	}
}

func (t *transcript) put(at time.Duration, channel uint32, label, line string) {
	s := at.Truncate(time.Millisecond)
	text := fmt.Sprintf("%02d:%02d:%02d.%03d %3d %-4s %s", int(s.Hours()), int(s.Minutes())%60, int(s.Seconds())%60,
		s.Milliseconds()%1000, channel, label, line)
	fmt.Fprintln(t.w, strings.TrimRight(text, " "))
}

func (t *transcript) text(e recorder.Entry) {
	key := stream{e.Channel, e.Kind}
	l, ok := t.streams[key]
	if !ok {
		l = &lines{filter: filter{plain: true}, put: func(at time.Duration, line string) {
			t.put(at, e.Channel, labels[key.kind], line)
		}}
		t.streams[key] = l
	}
	l.write(e.Offset, e.Data)
}

// endLines writes what has no end of line yet, in the order in which it began.
func (t *transcript) endLines(which func(stream) bool) {
	var open []*lines
	for key, l := range t.streams {
		if which(key) {
			open = append(open, l)
			delete(t.streams, key)
		}
	}
	slices.SortFunc(open, func(a, b *lines) int { return int(a.began - b.began) })
	for _, l := range open {
		l.end()
	}
}

func (t *transcript) body(e recorder.Entry) {
	if len(e.Data) < 32 {
		return
	}
	content := e.Data[32:]
	if len(t.coming[e.Channel]) < maxBodyShown {
		t.coming[e.Channel] = append(t.coming[e.Channel], content[:min(len(content), maxBodyShown)]...)
	}
	if t.kept += len(content); t.kept > maxBodies {
		clear(t.bodies)
		t.kept = len(content)
	}
	t.bodies[hex.EncodeToString(e.Data[:32])] = content
}

// exchange writes headers and bodies below an exchange's line.
func (t *transcript) exchange(e recorder.Entry) {
	var x recorder.Exchange
	if json.Unmarshal(e.Data, &x) != nil {
		return
	}
	if x.Open {
		delete(t.coming, e.Channel)
		return
	}
	t.headers(e, ">", x.RequestHeader)
	t.show(e, ">", x.RequestBody)
	t.headers(e, "<", x.ResponseHeader)
	t.show(e, "<", x.ResponseBody)
	delete(t.coming, e.Channel)
}

func (t *transcript) headers(e recorder.Entry, label string, h http.Header) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		t.put(e.Offset, e.Channel, label, visible(name+": "+strings.Join(h[name], ", ")))
	}
}

func (t *transcript) show(e recorder.Entry, label string, ref recorder.BodyRef) {
	content, ok := t.bodies[ref.SHA256]
	if ref.Streamed {
		content, ok = t.coming[e.Channel]
	}
	switch {
	case ref.Bytes == 0 && ref.Omitted == "":
		return
	case ref.Omitted != "":
		t.put(e.Offset, e.Channel, label, fmt.Sprintf("[body, %d bytes, not all recorded: %s]", ref.Bytes, visible(ref.Omitted)))
	case ref.SHA256 != "":
		words := fmt.Sprintf("[body, %d bytes, %s, sha256 %s]", ref.Bytes, visible(ref.Type), visible(ref.SHA256))
		t.put(e.Offset, e.Channel, label, words)
	}
	if !ok || binary(content) {
		return
	}
	l := lines{filter: filter{plain: true}, put: func(at time.Duration, line string) { t.put(at, e.Channel, label, line) }}
	l.write(e.Offset, content[:min(len(content), maxBodyShown)])
	l.end()
	if len(content) > maxBodyShown {
		t.put(e.Offset, e.Channel, label, fmt.Sprintf("[and %d bytes more]", len(content)-maxBodyShown))
	}
}

// lines makes lines of text out of the bytes of one stream.
type lines struct {
	filter filter
	put    func(at time.Duration, line string)
	began  time.Duration // of the line
	line   []rune
	count  int // runes added since the line began, so that erasing cannot make it endless
	binary int // bytes that are no text
}

func (l *lines) write(at time.Duration, data []byte) {
	if len(l.line) == 0 && l.binary == 0 {
		l.began = at
	}
	if binary(data) {
		l.endLine()
		l.binary += len(data)
		return
	}
	l.endBinary()
	for _, r := range string(l.filter.filter(nil, data)) {
		switch {
		case r == '\n':
			l.put(l.began, l.text())
			l.line, l.count, l.began = l.line[:0], 0, at
		case r == '\r':
			l.line = append(l.line, r)
		default:
			l.add(at, r)
		}
	}
}

func (l *lines) add(at time.Duration, r rune) {
	if n := len(l.line); n > 0 && l.line[n-1] == '\r' { // it was not followed by a line feed: the line is drawn over
		l.endLine()
	}
	if len(l.line) == 0 {
		l.began = at
	}
	l.line = append(l.line, r)
	n := len(l.line)
	if n >= 4 && l.line[n-3] == '\b' && l.line[n-2] == ' ' && r == '\b' { // how a terminal rubs out a character
		l.line = l.line[:n-4]
	}
	if l.count++; l.count >= maxLine {
		l.endLine()
	}
}

// end writes what is left.
func (l *lines) end() {
	l.endLine()
	l.endBinary()
}

func (l *lines) endLine() {
	if text := l.text(); text != "" {
		l.put(l.began, text)
	}
	l.line, l.count = l.line[:0], 0
}

func (l *lines) endBinary() {
	if l.binary > 0 {
		l.put(l.began, fmt.Sprintf("[%d bytes that are no text]", l.binary))
		l.binary = 0
	}
}

func (l *lines) text() string { return strings.NewReplacer("\b", "", "\r", "").Replace(string(l.line)) }

// binary reports whether data is not meant to be read. Characters cut in half at either end are not counted.
func binary(data []byte) bool {
	if bytes.IndexByte(data, 0) >= 0 {
		return true
	}
	if len(data) < 64 {
		return false
	}
	wrong := 0
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			wrong++
		}
		rest = rest[size:]
	}
	return wrong > len(data)/8
}
