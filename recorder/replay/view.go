package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/recorder"
)

// view draws entries for a terminal.
type view struct {
	streams  map[stream]*filter
	terminal map[uint32]bool // channels whose output is drawn by a terminal
	midLine  bool            // the last thing drawn did not end its line
	drew     bool            // something was drawn that may have changed the terminal's modes
}

// stream is one flow of bytes: standard output and standard error of a channel are two.
type stream struct {
	channel uint32
	kind    recorder.Kind
}

func newView() *view {
	return &view{streams: map[stream]*filter{}, terminal: map[uint32]bool{}}
}

// draw gives what a terminal shows for e.
func (v *view) draw(e recorder.Entry) []byte {
	switch e.Kind {
	case recorder.KindOutput, recorder.KindStderr, recorder.KindNotice:
		return v.output(e)
	case recorder.KindStart:
		return v.start(e)
	case recorder.KindExit:
		defer v.forget(e.Channel)
		if v.terminal[e.Channel] {
			return nil
		}
	}
	if words := note(e); words != "" {
		return v.words(words)
	}
	return nil
}

func (v *view) output(e recorder.Entry) []byte {
	key := stream{e.Channel, e.Kind}
	f, ok := v.streams[key]
	if !ok {
		f = &filter{}
		v.streams[key] = f
	}
	out := f.filter(make([]byte, 0, len(e.Data)), e.Data)
	if !v.terminal[e.Channel] {
		out = bytes.ReplaceAll(bytes.ReplaceAll(out, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	}
	if len(out) > 0 {
		v.midLine = out[len(out)-1] != '\n'
		v.drew = v.drew || bytes.IndexByte(out, 0x1b) >= 0
	}
	return out
}

func (v *view) start(e recorder.Entry) []byte {
	op := operation(e)
	if op.Terminal {
		v.terminal[e.Channel] = true
		return nil
	}
	if op.Command == "" {
		return nil
	}
	return v.words("$ " + visible(op.Command))
}

// words is a line of our own, told apart by being dim.
func (v *view) words(s string) []byte {
	line := "\x1b[2m" + s + "\x1b[0m\r\n"
	if v.midLine {
		line = "\r\n" + line
	}
	v.midLine = false
	return []byte(line)
}

func (v *view) forget(channel uint32) {
	delete(v.terminal, channel)
	for key := range v.streams {
		if key.channel == channel {
			delete(v.streams, key)
		}
	}
}

// close gives the terminal back as it was: main screen, cursor, wrapping, keys, scroll region, colours and characters.
func (v *view) close() []byte {
	if !v.drew {
		return nil
	}
	return []byte("\x1b[?1049l\x1b[?25h\x1b[?7h\x1b[?1l\x1b>\x1b[r\x1b[0m\x1b(B\x0f")
}

// operation is what begins with a KindStart entry.
func operation(e recorder.Entry) recorder.Operation {
	var op recorder.Operation
	if json.Unmarshal(e.Data, &op) != nil {
		return recorder.Operation{}
	}
	return op
}

// note says in words what an entry that is no output stands for; "" for one that needs none.
func note(e recorder.Entry) string {
	switch e.Kind {
	case recorder.KindStart:
		op := operation(e)
		return visible(strings.TrimSpace(op.Kind + " " + op.Command))
	case recorder.KindExit:
		return exitNote(e.Data)
	case recorder.KindExchange:
		return exchangeNote(e.Data)
	case recorder.KindDecided:
		return decisionNote(e.Data)
	case recorder.KindGap:
		return gapNote(e.Data)
	case recorder.KindEnd:
		var end recorder.EndNote
		if json.Unmarshal(e.Data, &end) == nil {
			return visible(strings.TrimSuffix("end: "+end.Reason, ": "))
		}
	}
	return ""
}

func exitNote(data []byte) string {
	var exit recorder.ExitStatus
	switch {
	case json.Unmarshal(data, &exit) != nil:
		return ""
	case exit.Status != nil:
		return "exit " + strconv.Itoa(*exit.Status)
	}
	return visible("ended by signal " + exit.Signal)
}

func exchangeNote(data []byte) string {
	var x recorder.Exchange
	if json.Unmarshal(data, &x) != nil || x.Open {
		return ""
	}
	answer := "no response"
	if x.Status != 0 {
		answer = strconv.Itoa(x.Status)
	}
	words := fmt.Sprintf("%s %s: %s in %d ms, %d bytes sent, %d received", x.Method, x.URL, answer, x.DurationMS,
		x.RequestBody.Bytes, x.ResponseBody.Bytes)
	if x.Error != "" {
		words += ": " + x.Error
	}
	return visible(words)
}

// decisionNote names what was not allowed, and operations on files; what else was allowed shows by itself.
func decisionNote(data []byte) string {
	type decision struct {
		ID      string `json:"id"`
		Effect  string `json:"effect"`
		Reasons []struct {
			EN string `json:"en"`
		} `json:"reasons"`
	}
	var entry struct {
		Action struct {
			Operation string `json:"operation"`
			Needs     []struct {
				Right    string `json:"right"`
				Resource string `json:"resource"`
			} `json:"needs"`
		} `json:"action"`
		Decision decision `json:"decision"`
	}
	if json.Unmarshal(data, &entry) != nil {
		return ""
	}
	d := entry.Decision
	switch {
	case d.Effect == "allow" && strings.HasPrefix(entry.Action.Operation, "sftp."):
		words := entry.Action.Operation
		for _, need := range entry.Action.Needs {
			words += " " + need.Right + " " + need.Resource
		}
		return visible(words)
	case d.Effect == "allow" || d.Effect == "":
		return ""
	}
	words := fmt.Sprintf("decided: %s (%s)", d.Effect, d.ID)
	for _, r := range d.Reasons {
		words += " " + r.EN
	}
	return visible(words)
}

func gapNote(data []byte) string {
	var gap recorder.GapNote
	if json.Unmarshal(data, &gap) != nil {
		return "gap: something is missing here"
	}
	words := "gap: " + gap.Reason
	if gap.Bytes > 0 {
		words += fmt.Sprintf(" (%d bytes)", gap.Bytes)
	}
	return visible(words)
}

// visible is s without what could act on a terminal.
func visible(s string) string {
	var f filter
	f.plain = true
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, string(f.filter(nil, []byte(s))))
}
