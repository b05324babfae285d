package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// The size of the terminal of a session that had none, and the largest that is believed.
const (
	defaultCols = 80
	defaultRows = 24
	maxCells    = 1000
)

// ExportCast writes a recording as asciicast v3 (docs.asciinema.org/manual/asciicast/v3): what was shown and what stands
// in words is output ("o"), changes of size are "r", commands and gaps have a marker ("m"), the last exit status ends it
// ("x"). What the contractor typed is left out: a terminal echoes what is meant to be seen. The error is recorder.ErrCut
// when the recording has no end; what there is has then been written.
func ExportCast(w io.Writer, r *recorder.Reader) error {
	c := &cast{w: bufio.NewWriter(w), header: r.Header(), view: newView()}
	var failed error
	for e, err := range Entries(r) {
		if err != nil {
			failed = err
			break
		}
		if err := c.entry(e); err != nil {
			return err
		}
	}
	if err := c.finish(); err != nil {
		return err
	}
	return failed
}

// cast writes events. The header needs the size of the terminal, so what comes before the first output waits for it.
type cast struct {
	w       *bufio.Writer
	header  recorder.Header
	view    *view
	begun   bool
	term    castTerm
	waiting []recorder.Entry
	last    time.Duration
	exit    string
}

type castTerm struct {
	Cols int    `json:"cols"`
	Rows int    `json:"rows"`
	Type string `json:"type,omitempty"`
}

const maxWaiting = 64 // entries that wait for a size that may never come

func (c *cast) entry(e recorder.Entry) error {
	if c.begun {
		return c.event(e)
	}
	switch e.Kind {
	case recorder.KindStart:
		op := operation(e)
		c.resize(op.Size)
		c.term.Type = op.Term
	case recorder.KindResize:
		c.resize(string(e.Data))
	}
	c.waiting = append(c.waiting, e)
	if e.Kind == recorder.KindOutput || e.Kind == recorder.KindStderr || len(c.waiting) >= maxWaiting {
		return c.begin()
	}
	return nil
}

// resize takes COLSxROWS; false when it is not a size.
func (c *cast) resize(size string) bool {
	cols, rows, _ := strings.Cut(size, "x")
	n, colsErr := strconv.Atoi(cols)
	m, rowsErr := strconv.Atoi(rows)
	if colsErr != nil || rowsErr != nil || n < 1 || m < 1 || n > maxCells || m > maxCells {
		return false
	}
	c.term.Cols, c.term.Rows = n, m
	return true
}

func (c *cast) begin() error {
	c.begun = true
	if c.term.Cols == 0 {
		c.term.Cols, c.term.Rows = defaultCols, defaultRows
	}
	header := struct {
		Version   int      `json:"version"`
		Term      castTerm `json:"term"`
		Timestamp int64    `json:"timestamp"`
		Title     string   `json:"title"`
	}{3, c.term, c.header.Started.Unix(), fmt.Sprintf("%s on %s (%s)", c.header.Person, where(c.header), c.header.Session)}
	if err := c.line(header); err != nil {
		return err
	}
	for _, e := range c.waiting {
		if err := c.event(e); err != nil {
			return err
		}
	}
	c.waiting = nil
	return nil
}

// where is login@target, or the target alone.
func where(h recorder.Header) string {
	return visible(strings.TrimPrefix(h.Login+"@"+h.Target, "@"))
}

func (c *cast) event(e recorder.Entry) error {
	switch e.Kind {
	case recorder.KindResize:
		if c.resize(string(e.Data)) {
			return c.put(e.Offset, "r", fmt.Sprintf("%dx%d", c.term.Cols, c.term.Rows))
		}
		return nil
	case recorder.KindStart, recorder.KindGap:
		if err := c.put(e.Offset, "m", note(e)); err != nil {
			return err
		}
	case recorder.KindExit:
		c.exit = strings.TrimPrefix(exitNote(e.Data), "exit ")
	}
	if drawn := c.view.draw(e); len(drawn) > 0 {
		return c.put(e.Offset, "o", string(drawn))
	}
	return nil
}

// put writes an event; its time counts from the one before.
func (c *cast) put(at time.Duration, code, data string) error {
	interval := max(0, at-c.last)
	c.last = max(c.last, at)
	seconds := json.Number(strconv.FormatFloat(interval.Seconds(), 'f', 6, 64))
	return c.line([]any{seconds, code, data})
}

func (c *cast) line(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := c.w.Write(b.Bytes())
	return err
}

func (c *cast) finish() error {
	if !c.begun {
		if err := c.begin(); err != nil {
			return err
		}
	}
	if _, err := strconv.Atoi(c.exit); err == nil {
		if err := c.put(c.last, "x", c.exit); err != nil {
			return err
		}
	}
	return c.w.Flush()
}
