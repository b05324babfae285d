package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// Decided is what an event says about the decision it stands for, or the context that such events name. The bytes are those
// of the line.
type Decided struct {
	ID       []byte // d-…
	Session  []byte // s-…, empty for what is no part of a session
	Revision int
	Input    []byte // JSON; nil for a context

	// Of a context only.
	At      time.Time
	Context []byte // JSON
	Ref     string // its name, sha256:HEX
}

var (
	contextMark = []byte(`,"kind":"` + KindContext + `",`)
	detailMark  = []byte(`,"detail":`)
	inputMark   = []byte(`,"input":{`)
)

// DecidedIn yields of a block of lines the contexts and the events that hold a decision's input, and passes over all others.
func DecidedIn(block []byte) iter.Seq2[Decided, error] {
	return func(yield func(Decided, error) bool) {
		for len(block) > 0 {
			line, rest, _ := bytes.Cut(block, []byte("\n"))
			block = rest
			d, ok, err := decidedIn(line)
			if (ok || err != nil) && !yield(d, err) {
				return
			}
		}
	}
}

// decidedIn looks for the marks in the order in which they stand in a line (headOf).
func decidedIn(line []byte) (Decided, bool, error) {
	head, tail := line, line
	if at := bytes.Index(line, detailMark); at >= 0 {
		head, tail = line[:at], line[at:]
	}
	if at := bytes.Index(tail, inputMark); at >= 0 {
		at += len(line) - len(tail)
		d, err := inputOf(line, head[:min(len(head), at)], line[at+len(inputMark)-1:len(line)-1])
		return d, d.Input != nil, err
	}
	if bytes.Contains(head, contextMark) {
		d, err := contextOf(line, head, tail)
		return d, true, err
	}
	return Decided{}, false, nil
}

// inputOf takes an event apart whose last field seems to be input. What is unusual is parsed.
func inputOf(line, head, input []byte) (Decided, error) {
	if bytes.IndexByte(head, '\\') >= 0 || !isObject(input) || line[len(line)-1] != '}' {
		return parseDecided(line)
	}
	d := Decided{Input: input}
	d.Session, head = field(head, `,"session":"`)
	d.ID, head = field(head, `,"decision":"`)
	_, digits, _ := bytes.Cut(head, []byte(`,"revision":`))
	for _, c := range digits {
		if c < '0' || c > '9' {
			break
		}
		d.Revision = d.Revision*10 + int(c-'0')
	}
	return d, nil
}

// field cuts a field's text out of a head, and returns what follows it.
func field(head []byte, key string) (text, rest []byte) {
	_, after, ok := bytes.Cut(head, []byte(key))
	if !ok {
		return nil, head
	}
	text, rest, _ = bytes.Cut(after, []byte{'"'})
	return text, rest
}

// isObject tells whether b, a piece of a JSON object's text that begins at a brace, is one object and nothing after it.
func isObject(b []byte) bool {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i == len(b)-1
			}
		}
	}
	return false
}

func parseDecided(line []byte) (Decided, error) {
	var e struct {
		Decision string          `json:"decision"`
		Session  string          `json:"session"`
		Revision int             `json:"revision"`
		Input    json.RawMessage `json:"input"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return Decided{}, fmt.Errorf("a line of the audit log: %w", err)
	}
	return Decided{ID: []byte(e.Decision), Session: []byte(e.Session), Revision: e.Revision, Input: e.Input}, nil
}

// contextOf takes a context's event apart and checks that it is what its name says.
func contextOf(line, head, tail []byte) (Decided, error) {
	at, err := time.Parse(time.RFC3339Nano, textField(head, `,"at":"`))
	if err != nil {
		return Decided{}, fmt.Errorf("a line of the audit log: %w", err)
	}
	if object, ok := bytes.CutPrefix(tail, []byte(`,"detail":{"context":`)); ok {
		if end := bytes.LastIndex(object, []byte(`,"sha256":"`)); end >= 0 {
			d := Decided{At: at, Context: object[:end], Ref: textField(object[end:], `,"sha256":"`)}
			if d.Ref == nameOf(d.Context) {
				return d, nil
			}
		}
	}
	var e struct {
		Detail struct {
			Context json.RawMessage `json:"context"`
			Ref     string          `json:"sha256"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return Decided{}, fmt.Errorf("a line of the audit log: %w", err)
	}
	if e.Detail.Ref != nameOf(e.Detail.Context) {
		return Decided{}, fmt.Errorf("the context %s is not what its name says: %w", e.Detail.Ref, ErrCorrupted)
	}
	return Decided{At: at, Context: e.Detail.Context, Ref: e.Detail.Ref}, nil
}

// nameOf is the name of a context.
func nameOf(object []byte) string {
	sum := sha256.Sum256(object)
	return "sha256:" + hex.EncodeToString(sum[:])
}
