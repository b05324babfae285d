package replay

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// ExportText writes a recording as plain UTF-8 text: who and where, then what was shown, with a dated line for each
// operation, decision, exchange, gap and end. Terminal control sequences are left out. The error is recorder.ErrCut when the
// recording has no end; what there is has then been written.
func ExportText(w io.Writer, r *recorder.Reader) error {
	out := &text{w: bufio.NewWriter(w), started: r.Header().Started}
	out.heading(r.Header())
	err := entries(r, out.entry)
	if flushed := out.flush(); flushed != nil {
		return flushed
	}
	return err
}

// text writes lines, keeping output that has not ended its line until it has.
type text struct {
	w       *bufio.Writer
	started time.Time
	line    plain
	channel uint32
	stderr  bool
}

func (t *text) heading(h recorder.Header) {
	fmt.Fprintf(t.w, "session  %s\nwho      %s of %s\nwhere    %s\nwhen     %s\n", visible(h.Session), visible(h.Person), visible(h.Vendor),
		visible(strings.TrimPrefix(h.Login+"@"+h.Target, "@")), h.Started.UTC().Format(time.RFC3339))
	if h.Source != nil {
		fmt.Fprintf(t.w, "from     %s %s\n", h.Source.IP, visible(h.Source.Client))
	}
	fmt.Fprintln(t.w)
}

func (t *text) entry(e recorder.Entry) error {
	switch e.Kind {
	case recorder.KindOutput, recorder.KindStderr, recorder.KindNotice:
		if stderr := e.Kind == recorder.KindStderr; t.channel != e.Channel || t.stderr != stderr {
			t.endLine()
			t.channel, t.stderr = e.Channel, stderr
		}
		t.line.write(e.Data, t.put)
	default:
		if words := note(e); words != "" {
			t.endLine()
			fmt.Fprintf(t.w, "[%s] %s\n", t.started.Add(e.Offset).UTC().Format("15:04:05.000"), words)
		}
	}
	return nil
}

func (t *text) put(line string) { fmt.Fprintln(t.w, line) }

func (t *text) endLine() {
	if rest := t.line.rest(); rest != "" {
		t.put(rest)
	}
}

func (t *text) flush() error {
	t.endLine()
	return t.w.Flush()
}

// plain collects the text of terminal output, line by line: escape sequences are dropped, a carriage return starts the line
// over unless a line feed follows, a backspace takes one character back.
type plain struct {
	line   []rune
	tail   []byte // bytes of a character that is not whole yet
	escape int    // 0 text, 1 after ESC, 2 in a control sequence, 3 in a string, 4 in a string after ESC
	cr     bool
}

// maxLine bounds one line; longer ones are broken.
const maxLine = 64 << 10

func (p *plain) write(data []byte, put func(string)) {
	data = append(p.tail, data...)
	p.tail = nil
	for len(data) > 0 {
		r, size, whole := decode(data)
		if !whole {
			p.tail = append([]byte(nil), data...)
			return
		}
		data = data[size:]
		p.rune(r, put)
	}
}

func (p *plain) rune(r rune, put func(string)) {
	if p.escape != 0 {
		p.inEscape(r)
		return
	}
	if p.cr && r != '\n' && r != '\r' {
		p.line = p.line[:0]
	}
	p.cr = r == '\r'
	switch {
	case r == '\n':
		put(string(p.line))
		p.line = p.line[:0]
	case r == 0x1b:
		p.escape = 1
	case r == '\b':
		p.line = p.line[:max(0, len(p.line)-1)]
	case r == '\t' || r >= 0x20 && (r < 0x7f || r >= 0xa0):
		if p.line = append(p.line, r); len(p.line) >= maxLine {
			put(string(p.line))
			p.line = p.line[:0]
		}
	}
}

func (p *plain) inEscape(r rune) {
	switch p.escape {
	case 1:
		switch {
		case r == '[':
			p.escape = 2
		case strings.ContainsRune("]PX^_", r):
			p.escape = 3
		case r >= 0x20 && r <= 0x2f: // an intermediate byte, one more follows
		default:
			p.escape = 0
		}
	case 2:
		if r >= 0x40 && r <= 0x7e || r < 0x20 {
			p.escape = 0
		}
	case 3:
		if r == 0x07 || r == 0x9c {
			p.escape = 0
		} else if r == 0x1b {
			p.escape = 4
		}
	case 4:
		p.escape = 3
		if r == '\\' {
			p.escape = 0
		}
	}
}

func (p *plain) rest() string {
	s := string(p.line)
	p.line, p.cr = p.line[:0], false
	return s
}
