package replay

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sekisho/sekisho/recorder"
)

// The terminal of a recording that had none.
const (
	defaultCols = 80
	defaultRows = 24
)

// ExportCast writes a recording as asciicast v3 (docs.asciinema.org/manual/asciicast/v3): what was shown as "o" events, what
// the contractor sent is left out, operations, decisions, exchanges and gaps are markers. The error is recorder.ErrCut when
// the recording has no end; what there is has then been written.
func ExportCast(w io.Writer, r *recorder.Reader) error {
	c := &cast{w: bufio.NewWriter(w), header: r.Header()}
	err := entries(r, c.entry)
	if flushed := c.finish(); flushed != nil {
		return flushed
	}
	return err
}

// cast writes events. The header needs the size of the terminal, so that entries before the first output wait for it.
type cast struct {
	w       *bufio.Writer
	header  recorder.Header
	begun   bool
	cols    int
	rows    int
	term    string
	waiting []recorder.Entry
	last    time.Duration
	tails   map[uint32][]byte // by channel: bytes of a character that is not whole yet
	err     error
}

// maxWaiting bounds what is held back for a size that may never come.
const maxWaiting = 64

func (c *cast) entry(e recorder.Entry) error {
	if c.begun {
		c.event(e)
		return c.err
	}
	c.learn(e)
	c.waiting = append(c.waiting, e)
	if shown(e.Kind) || len(c.waiting) >= maxWaiting {
		c.begin()
	}
	return c.err
}

func shown(k recorder.Kind) bool {
	return k == recorder.KindOutput || k == recorder.KindStderr || k == recorder.KindNotice
}

// learn takes the terminal's size and name from an entry, if it has them.
func (c *cast) learn(e recorder.Entry) {
	switch e.Kind {
	case recorder.KindStart:
		var op recorder.Operation
		if json.Unmarshal(e.Data, &op) == nil {
			c.resize(op.Size)
			c.term = op.Term
		}
	case recorder.KindResize:
		c.resize(string(e.Data))
	}
}

func (c *cast) resize(size string) bool {
	var cols, rows int
	if n, err := fmt.Sscanf(size, "%dx%d", &cols, &rows); n != 2 || err != nil || cols < 1 || rows < 1 || cols > 1000 || rows > 1000 {
		return false
	}
	c.cols, c.rows = cols, rows
	return true
}

func (c *cast) begin() {
	c.begun = true
	if c.cols == 0 {
		c.cols, c.rows = defaultCols, defaultRows
	}
	term := map[string]any{"cols": c.cols, "rows": c.rows}
	if c.term != "" {
		term["type"] = c.term
	}
	where := strings.TrimPrefix(c.header.Login+"@"+c.header.Target, "@")
	c.line(map[string]any{"version": 3, "term": term, "timestamp": c.header.Started.Unix(),
		"title": fmt.Sprintf("%s on %s (%s)", c.header.Person, where, c.header.Session)})
	for _, e := range c.waiting {
		c.event(e)
	}
	c.waiting = nil
}

func (c *cast) event(e recorder.Entry) {
	switch {
	case shown(e.Kind):
		if text := c.whole(e); text != "" {
			c.put(e.Offset, "o", text)
		}
	case e.Kind == recorder.KindResize:
		if c.resize(string(e.Data)) {
			c.put(e.Offset, "r", fmt.Sprintf("%dx%d", c.cols, c.rows))
		}
	default:
		if words := note(e); words != "" {
			c.put(e.Offset, "m", words)
		}
	}
}

// whole returns the characters that are complete, keeping the rest for the channel's next entry.
func (c *cast) whole(e recorder.Entry) string {
	if c.tails == nil {
		c.tails = map[uint32][]byte{}
	}
	data := append(c.tails[e.Channel], e.Data...)
	delete(c.tails, e.Channel)
	end := len(data)
	for back := 1; back <= utf8.UTFMax && back <= len(data); back++ {
		if b := data[len(data)-back]; utf8.RuneStart(b) {
			if !utf8.FullRune(data[len(data)-back:]) {
				end = len(data) - back
				c.tails[e.Channel] = append([]byte(nil), data[end:]...)
			}
			break
		}
	}
	return strings.ToValidUTF8(string(data[:end]), "\uFFFD")
}

// put writes an event; its time counts from the one before.
func (c *cast) put(at time.Duration, code, data string) {
	interval := max(0, at-c.last)
	c.last = max(c.last, at)
	c.line([]any{math.Round(interval.Seconds()*1e6) / 1e6, code, data})
}

func (c *cast) line(v any) {
	if c.err != nil {
		return
	}
	data, err := json.Marshal(v)
	if err == nil {
		_, err = c.w.Write(append(data, '\n'))
	}
	c.err = err
}

func (c *cast) finish() error {
	if !c.begun {
		c.begin()
	}
	if c.err != nil {
		return c.err
	}
	return c.w.Flush()
}

// decode reads one character; whole is false when data ends within one. A byte that is no character is U+FFFD.
func decode(data []byte) (r rune, size int, whole bool) {
	if !utf8.FullRune(data) {
		return 0, 0, false
	}
	r, size = utf8.DecodeRune(data)
	return r, size, true
}
