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
	At       time.Time // of a context only
	Kind     string    // of a context only
	ID       []byte    // d-…
	Session  []byte    // s-…, empty for what is no part of a session
	Revision int
	Input    []byte // JSON, nil for a context
	Context  []byte // JSON of a context
	Ref      string // the context's name, sha256:HEX
}

var (
	contextMark = []byte(`,"kind":"` + KindContext + `",`)
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

func decidedIn(line []byte) (Decided, bool, error) {
	if _, input, ok := bytes.Cut(line, inputMark); ok {
		d, err := inputOf(line, input)
		return d, d.Input != nil, err
	}
	if bytes.Contains(headOf(line), contextMark) {
		d, err := readContext(line)
		return d, true, err
	}
	return Decided{}, false, nil
}

// inputOf takes an event apart whose last field seems to be the input that begins before rest. What is unusual is parsed.
func inputOf(line, rest []byte) (Decided, error) {
	head, input := headOf(line), line[len(line)-len(rest)-1:len(line)-1]
	if bytes.IndexByte(head, '\\') >= 0 || !isObject(input) || line[len(line)-1] != '}' {
		return parseDecided(line)
	}
	d := Decided{ID: bytesField(head, `,"decision":"`), Session: bytesField(head, `,"session":"`), Input: input}
	_, digits, _ := bytes.Cut(head, []byte(`,"revision":`))
	for _, c := range digits {
		if c < '0' || c > '9' {
			break
		}
		d.Revision = d.Revision*10 + int(c-'0')
	}
	return d, nil
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

// bytesField is textField without a copy.
func bytesField(b []byte, key string) []byte {
	_, rest, ok := bytes.Cut(b, []byte(key))
	if !ok {
		return nil
	}
	return rest[:max(bytes.IndexByte(rest, '"'), 0)]
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

func readContext(line []byte) (Decided, error) {
	var e struct {
		At     time.Time `json:"at"`
		Kind   string    `json:"kind"`
		Detail struct {
			Context json.RawMessage `json:"context"`
			Ref     string          `json:"sha256"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return Decided{}, fmt.Errorf("a line of the audit log: %w", err)
	}
	sum := sha256.Sum256(e.Detail.Context)
	if e.Detail.Ref != "sha256:"+hex.EncodeToString(sum[:]) {
		return Decided{}, fmt.Errorf("the context %s is not what its name says: %w", e.Detail.Ref, ErrCorrupted)
	}
	return Decided{At: e.At, Kind: e.Kind, Context: e.Detail.Context, Ref: e.Detail.Ref}, nil
}
