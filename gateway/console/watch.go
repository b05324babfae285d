package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// How a live session is followed. Its recording is read as it grows: nobody who watches, however slowly, holds it up.
const (
	lookEvery  = 150 * time.Millisecond // at a recording that has not grown
	pulseEvery = 5 * time.Second        // a blank line shows that the stream is alive
	takeWithin = 15 * time.Second       // a watcher who does not take what is sent is gone
	lastWords  = 10 * time.Second       // a recording has to end after its session
	tailSize   = 64 << 10               // bytes of what was shown before the watcher came
	maxOpened  = 256                    // channels whose beginning is shown though it is older
)

// FormatMoments are a transcript's moments in the watcher's language, for the page.
const FormatMoments = "moments"

// apiWatch streams what a live session shows, from its last screenful on, as Entry or Moment per line. It ends with the
// session.
func (c *Console) apiWatch(w http.ResponseWriter, r *http.Request, v *visitor) error {
	format := orElse(r.URL.Query().Get("format"), FormatEntries)
	if format != FormatEntries && format != FormatMoments {
		return badRequest("format: want %s or %s, not %q", FormatEntries, FormatMoments, format)
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	watching, err := c.cfg.Door.Watch(ctx, v.principal(), r.PathValue("id"))
	if err != nil {
		return err
	}
	defer func() {
		if err := watching.Close(context.WithoutCancel(ctx)); err != nil {
			c.cfg.Log.Error("the end of a watch is not on record", zap.Error(err))
		}
	}()
	defer context.AfterFunc(watching.Context(), cancel)()
	reader, err := recorder.Open(watching.Path(), c.cfg.Authority.RecordingIdentity())
	if err != nil {
		return err
	}
	defer reader.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Accel-Buffering", "no") // for a proxy before the gateway
	out := &watchStream{w: w, flow: http.NewResponseController(w)}
	f := &follower{reader: reader, over: watching.Over(), out: out, present: func() bool { _, err := c.meet(r, loggedIn); return err == nil }}
	f.show = out.entry
	if format == FormatMoments {
		m := newLiveTranscript(out, v.lang)
		f.show, f.settle = m.take, m.send
	}
	if err := f.run(ctx); err != nil && ctx.Err() == nil {
		c.cfg.Log.Info("a watch broke off", zap.String("session", r.PathValue("id")), zap.Error(err))
		panic(http.ErrAbortHandler)
	}
	return nil
}

// watchStream writes lines that the watcher has to take in time.
type watchStream struct {
	w    io.Writer
	flow *http.ResponseController
}

func (s *watchStream) line(value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.send(append(line, '\n'))
}

func (s *watchStream) send(line []byte) error {
	if err := s.flow.SetWriteDeadline(time.Now().Add(takeWithin)); err != nil {
		return err
	}
	_, err := s.w.Write(line)
	return err
}

func (s *watchStream) entry(e recorder.Entry) error { return s.line(entryOf(e)) }

// follower reads a recording that is being written.
type follower struct {
	reader  *recorder.Reader
	over    <-chan struct{}
	out     *watchStream
	present func() bool                // whether the watcher is still logged in
	show    func(recorder.Entry) error // one entry
	settle  func() error               // when there is no more for now; optional
	last    time.Duration
	giveUp  time.Time // when a recording whose session is over is waited for no longer
}

func (f *follower) run(ctx context.Context) error {
	if ended, err := f.catchUp(); ended || err != nil {
		return err
	}
	for pulse := time.Now(); ctx.Err() == nil; {
		if time.Since(pulse) >= pulseEvery {
			if pulse = time.Now(); !f.present() {
				return nil
			}
			if err := f.out.send([]byte("\n")); err != nil {
				return err
			}
		}
		e, err := f.next()
		switch {
		case errors.Is(err, io.EOF):
			return f.pause()
		case errors.Is(err, recorder.ErrCut):
			if err := f.pause(); err != nil {
				return err
			}
			if !f.wait(ctx) {
				return nil
			}
		case err != nil:
			return err
		default:
			if seen, ok := watchable(e); ok {
				if err := f.show(seen); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// catchUp passes over what has been recorded and shows the end of it; true when the recording is over.
func (f *follower) catchUp() (ended bool, err error) {
	t := tail{opened: make(map[uint32]recorder.Entry)}
	for {
		e, err := f.next()
		if errors.Is(err, io.EOF) || errors.Is(err, recorder.ErrCut) {
			ended = errors.Is(err, io.EOF)
			break
		}
		if err != nil {
			return false, err
		}
		if seen, ok := watchable(e); ok {
			t.add(seen)
		}
	}
	for _, e := range t.entries() {
		if err := f.show(e); err != nil {
			return false, err
		}
	}
	return ended, f.pause()
}

// next is the next entry, a gap where one cannot be read.
func (f *follower) next() (recorder.Entry, error) {
	e, err := f.reader.Next()
	var damage *recorder.DamageError
	if errors.As(err, &damage) {
		return recorder.Entry{Offset: f.last, Kind: recorder.KindGap, Data: gapNote(damage)}, nil
	}
	if err == nil {
		f.last = e.Offset
	}
	return e, err
}

// pause sends what was written so far.
func (f *follower) pause() error {
	if f.settle != nil {
		if err := f.settle(); err != nil {
			return err
		}
	}
	return f.out.flow.Flush()
}

// wait gives the recording time to grow; false when it will not any more.
func (f *follower) wait(ctx context.Context) bool {
	select {
	case <-f.over:
		// Its last entries come now.
		if f.giveUp.IsZero() {
			f.giveUp = time.Now().Add(lastWords)
		}
		if time.Now().After(f.giveUp) {
			return false
		}
	default:
	}
	select {
	case <-time.After(lookEvery):
		return true
	case <-ctx.Done():
		return false
	}
}

// tail keeps the end of what was shown, and the beginnings of what is still open.
type tail struct {
	kept   []recorder.Entry
	size   int
	opened map[uint32]recorder.Entry // by channel: those that are not kept
}

func (t *tail) add(e recorder.Entry) {
	if e.Kind == recorder.KindExit {
		delete(t.opened, e.Channel)
	}
	t.kept, t.size = append(t.kept, e), t.size+len(e.Data)
	for t.size > tailSize && len(t.kept) > 1 {
		old := t.kept[0]
		t.kept, t.size = t.kept[1:], t.size-len(old.Data)
		switch old.Kind {
		case recorder.KindStart:
			if len(t.opened) < maxOpened {
				t.opened[old.Channel] = old
			}
		case recorder.KindExit:
			delete(t.opened, old.Channel)
		}
	}
}

func (t *tail) entries() []recorder.Entry {
	var all []recorder.Entry
	for _, e := range t.opened {
		all = append(all, e)
	}
	return append(all, t.kept...)
}

// watchable is what a watcher sees of an entry: what the person sees, what was decided about files and what was refused.
// What was typed stays in the recording, for not everything that is typed is shown, and so do the bytes of files and of HTTP.
func watchable(e recorder.Entry) (recorder.Entry, bool) {
	switch e.Kind {
	case recorder.KindOutput, recorder.KindStderr, recorder.KindNotice, recorder.KindResize, recorder.KindStart, recorder.KindExit,
		recorder.KindGap, recorder.KindEnd:
		return e, true
	case recorder.KindDecided:
		return watchableDecision(e)
	case recorder.KindExchange:
		var x recorder.Exchange
		if json.Unmarshal(e.Data, &x) != nil {
			return e, false
		}
		x.RequestHeader, x.ResponseHeader = nil, nil
		return withJSON(e, x)
	}
	return e, false
}

// watchableDecision leaves out what a decision was made of, and those of allowed commands, whose start or echo shows.
func watchableDecision(e recorder.Entry) (recorder.Entry, bool) {
	var d struct {
		Action struct {
			Operation string        `json:"operation"`
			Command   string        `json:"command,omitempty"`
			Needs     []policy.Need `json:"needs,omitempty"`
		} `json:"action"`
		Decision struct {
			ID      string          `json:"id"`
			Effect  policy.Effect   `json:"effect"`
			Reasons []policy.Reason `json:"reasons,omitempty"`
		} `json:"decision"`
	}
	if json.Unmarshal(e.Data, &d) != nil {
		return e, false
	}
	if d.Decision.Effect == policy.Allow && !access.OnFile(d.Action.Operation) {
		return e, false
	}
	return withJSON(e, d)
}

func withJSON(e recorder.Entry, value any) (recorder.Entry, bool) {
	data, err := json.Marshal(value)
	e.Data = data
	return e, err == nil
}

// Moment is a moment of a transcript in the watcher's language.
type Moment struct {
	At      string   `json:"at"` // since the session began
	Class   string   `json:"class"`
	Word    string   `json:"word,omitempty"`
	Tag     bool     `json:"tag,omitempty"`
	Head    string   `json:"head,omitempty"`
	Channel uint32   `json:"channel,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
	Note    string   `json:"note,omitempty"`
	Text    string   `json:"text,omitempty"`
}

// liveTranscript turns entries into moments as they come.
type liveTranscript struct {
	transcript
	out  *watchStream
	lang string
}

func newLiveTranscript(out *watchStream, lang string) *liveTranscript {
	return &liveTranscript{transcript: *newTranscript(0), out: out, lang: lang}
}

func (t *liveTranscript) take(e recorder.Entry) error {
	t.transcript.take(e)
	if len(t.moments) >= momentsPerPage/2 || len(t.run.Text) >= maxMomentText/2 {
		return t.send()
	}
	return nil
}

// send sends the moments so far. What was a moment then goes on in another one.
func (t *liveTranscript) send() error {
	t.flush()
	for _, m := range t.moments {
		seen := Moment{At: m.At, Class: m.Class, Tag: m.Tag, Head: plainVisible(m.Head), Channel: m.Channel, Note: m.Note, Text: m.Text}
		if m.Word != "" {
			seen.Word = say(t.lang, m.Word)
		}
		for _, reason := range m.Reasons {
			seen.Reasons = append(seen.Reasons, reasonText(t.lang, reason))
		}
		if err := t.out.line(seen); err != nil {
			return err
		}
	}
	t.moments, t.from = nil, t.count
	clear(t.rows)
	return nil
}
