package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// KindContext is the kind of an event that only holds what decisions name (FORMAT.md). A search leaves it out unless it
// asks for that kind or for the hash that names one.
const KindContext = "decision.context"

// Query narrows a search; zero fields do not.
type Query struct {
	Text    string // anywhere in the event's values, upper and lower case alike
	Class   recorder.Class
	Person  string
	Vendor  string
	Session string
	Target  string
	Kind    string
	Since   time.Time // at or after
	Until   time.Time // before
	Limit   int       // the newest so many
}

// clockSlack is how far the clock may have been set back within the log without a search by time missing anything.
const clockSlack = 24 * time.Hour

// Search yields the matching events, newest first. It reads what was stored when it began.
func (l *Log) Search(ctx context.Context, q Query) iter.Seq2[recorder.Event, error] {
	l.mu.Lock()
	ends := make(map[recorder.Class]place, len(l.ready))
	for class, end := range l.ready {
		ends[class] = end
	}
	l.mu.Unlock()
	return func(yield func(recorder.Event, error) bool) {
		s := &search{ctx: ctx, query: q, filter: newFilter(q)}
		defer s.close()
		for _, class := range recorder.Classes {
			if q.Class == "" || q.Class == class {
				s.sources = append(s.sources, &source{dir: l.dir, class: class, segment: ends[class].segment,
					end: ends[class].offset})
			}
		}
		for n := 0; q.Limit <= 0 || n < q.Limit; n++ {
			e, err := s.next()
			if err != nil {
				yield(recorder.Event{}, fmt.Errorf("searching the audit log: %w", err))
				return
			}
			if e == nil || !yield(*e, nil) {
				return
			}
		}
	}
}

// search merges the classes by time.
type search struct {
	ctx     context.Context
	query   Query
	filter  filter
	sources []*source
}

func (s *search) close() {
	for _, c := range s.sources {
		c.close()
	}
}

// next is the newest match that has not been returned; nil when there is none.
func (s *search) next() (*recorder.Event, error) {
	var newest *source
	for _, c := range s.sources {
		if err := s.fill(c); err != nil {
			return nil, err
		}
		if c.event != nil && (newest == nil || newer(c.event, newest.event)) {
			newest = c
		}
	}
	if newest == nil {
		return nil, nil
	}
	e := newest.event
	newest.event = nil
	return e, nil
}

func newer(a, b *recorder.Event) bool {
	if !a.At.Equal(b.At) {
		return a.At.After(b.At)
	}
	return a.ID > b.ID
}

// fill looks for c's next match.
func (s *search) fill(c *source) error {
	for n := 0; c.event == nil && !c.done; n++ {
		if n%1024 == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		line, err := c.previous()
		if err != nil {
			return err
		}
		if line == nil {
			continue
		}
		if s.query.passed(line) {
			c.done = true
			return nil
		}
		if !s.filter.mayMatch(line) {
			continue
		}
		var e recorder.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("class %s, segment %d, byte %d: %w", c.class, c.segment, c.end, err)
		}
		if s.query.matches(&e) {
			c.event = &e
		}
	}
	return nil
}

// source reads one class from back to front.
type source struct {
	dir     string
	class   recorder.Class
	segment int
	file    *os.File
	end     int64  // of the file: everything before it has not been read
	block   []byte // the bytes before what was returned; begins at end
	event   *recorder.Event
	done    bool
}

const searchBlock = 256 << 10

// previous is the line before the last one returned; nil when the segment has no more.
func (c *source) previous() ([]byte, error) {
	for {
		body := bytes.TrimSuffix(c.block, []byte("\n"))
		start := bytes.LastIndexByte(body, '\n') + 1
		if start > 0 || c.end == 0 && len(body) > 0 {
			line := body[start:]
			c.block = c.block[:start]
			return line, nil
		}
		if c.end == 0 {
			return nil, c.older()
		}
		if err := c.extend(); err != nil {
			return nil, err
		}
	}
}

// extend reads the block before end.
func (c *source) extend() error {
	if c.file == nil {
		var err error
		if c.file, err = os.Open(segmentPath(c.dir, c.class, c.segment, linesExt)); err != nil {
			return err
		}
	}
	n := min(c.end, searchBlock)
	b := make([]byte, n, n+int64(len(c.block)))
	if _, err := c.file.ReadAt(b, c.end-n); err != nil {
		return err
	}
	c.block = append(b, c.block...)
	c.end -= n
	return nil
}

// older moves to the segment before.
func (c *source) older() error {
	c.close()
	c.segment--
	c.block = nil
	info, err := os.Stat(segmentPath(c.dir, c.class, c.segment, linesExt))
	if os.IsNotExist(err) || c.segment < 1 {
		c.done = true
		return nil
	}
	if err != nil {
		return err
	}
	c.end = info.Size()
	return nil
}

func (c *source) close() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}

// filter passes over lines that cannot match without parsing them.
type filter struct {
	fields [][]byte
	text   []byte // in lower case
	lower  []byte // scratch
}

func newFilter(q Query) filter {
	var f filter
	for _, field := range []struct{ key, value string }{{"person", q.Person}, {"vendor", q.Vendor}, {"session", q.Session},
		{"target", q.Target}, {"kind", q.Kind}} {
		if field.value != "" {
			f.fields = append(f.fields, []byte(`"`+field.key+`":`+quote(field.value)))
		}
	}
	if q.Text != "" {
		text := quote(lowerASCII(q.Text))
		f.text = []byte(text[1 : len(text)-1])
	}
	return f
}

func (f *filter) mayMatch(line []byte) bool {
	for _, field := range f.fields {
		if !bytes.Contains(line, field) {
			return false
		}
	}
	if f.text == nil {
		return true
	}
	f.lower = append(f.lower[:0], line...)
	for i, c := range f.lower {
		if 'A' <= c && c <= 'Z' {
			f.lower[i] = c + 'a' - 'A'
		}
	}
	return bytes.Contains(f.lower, f.text)
}

// quote is s as it stands in a line.
func quote(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// matches decides on the parsed event.
func (q *Query) matches(e *recorder.Event) bool {
	return same(q.Person, e.Person) && same(q.Vendor, e.Vendor) && same(q.Session, e.Session) && same(q.Target, e.Target) &&
		same(q.Kind, e.Kind) && (q.Since.IsZero() || !e.At.Before(q.Since)) && (q.Until.IsZero() || e.At.Before(q.Until)) &&
		q.inText(e)
}

// passed reports whether line is so old that nothing before it can match.
func (q *Query) passed(line []byte) bool {
	if q.Since.IsZero() {
		return false
	}
	at, err := time.Parse(time.RFC3339Nano, textField(line, `,"at":"`))
	return err == nil && at.Before(q.Since.Add(-clockSlack))
}

func same(want, got string) bool { return want == "" || want == got }

func (q *Query) inText(e *recorder.Event) bool {
	if q.Text == "" {
		return e.Kind != KindContext || q.Kind == KindContext
	}
	want := lowerASCII(q.Text)
	has := func(s string) bool { return strings.Contains(lowerASCII(s), want) }
	if e.Kind == KindContext && q.Kind != KindContext {
		return strings.HasPrefix(want, "sha256:") && holds(e.Detail["sha256"], has)
	}
	if e.Source != nil && (has(e.Source.IP.String()) || has(e.Source.Client)) {
		return true
	}
	return slices.ContainsFunc([]string{e.ID, string(e.Class), e.Kind, e.Table, string(e.Outcome), e.Person, e.Vendor, e.Session,
		e.Target, e.Login, e.Decision, e.Lease, e.Enforced}, has) || slices.ContainsFunc(e.Chain, has) ||
		holds(e.Detail, has) || holdsJSON(e.Input, has)
}

func holdsJSON(object json.RawMessage, has func(string) bool) bool {
	var v any
	return len(object) > 0 && json.Unmarshal(object, &v) == nil && holds(v, has)
}

// holds looks at every value of a JSON document.
func holds(v any, has func(string) bool) bool {
	switch v := v.(type) {
	case string:
		return has(v)
	case map[string]any:
		for _, member := range v {
			if holds(member, has) {
				return true
			}
		}
		return false
	case []any:
		return slices.ContainsFunc(v, func(member any) bool { return holds(member, has) })
	case float64:
		return has(strconv.FormatFloat(v, 'f', -1, 64))
	case nil:
		return false
	}
	return has(fmt.Sprint(v))
}
