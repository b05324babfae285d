package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/sekisho/sekisho/recorder"
)

const (
	eventVersion = 1
	maxLine      = 1 << 20
)

// encode gives the line of e, without its line feed. Detail must hold the event's detail as JSON already.
func encode(e recorder.Event, detail json.RawMessage) ([]byte, error) {
	stored := struct {
		recorder.Event
		Detail json.RawMessage `json:"detail,omitempty"`
		Input  json.RawMessage `json:"input,omitempty"`
	}{e, detail, e.Input}
	stored.Event.Detail, stored.Event.Input = nil, nil
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(stored); err != nil {
		return nil, err
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(line) >= maxLine {
		return nil, fmt.Errorf("the event is %d bytes; %d are possible", len(line), maxLine-1)
	}
	return line, nil
}

// encodeDetail is separate from encode because it is done by whoever appends, before the event has its place.
func encodeDetail(detail map[string]any) (json.RawMessage, error) {
	if len(detail) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(detail); err != nil {
		return nil, fmt.Errorf("its detail: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode parses a line strictly: it must be exactly one event of this class.
func decode(line []byte, class recorder.Class) (recorder.Event, error) {
	var e recorder.Event
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return e, err
	}
	if d.InputOffset() != int64(len(line)) {
		return e, errors.New("something follows the event")
	}
	switch {
	case e.V != eventVersion:
		return e, fmt.Errorf("version %d of events is not known here", e.V)
	case e.Class != class:
		return e, fmt.Errorf("an event of class %q stands among those of %q", e.Class, class)
	case e.ID == "" || e.Kind == "" || e.At.IsZero():
		return e, errors.New("the event has no id, kind or time")
	}
	return e, nil
}

// link is what chains an event to the vendor's event before it.
type link struct {
	id     string
	vendor string
	vseq   uint64
	vprev  string
}

// headOf is what stands before detail and input. Quotes inside JSON strings are escaped, and no field before these two holds
// an object with the keys of an event, so it can be searched as text; one with a backslash has to be parsed.
func headOf(line []byte) []byte {
	head, _, _ := bytes.Cut(line, []byte(`,"detail":`))
	head, _, _ = bytes.Cut(head, []byte(`,"input":`))
	return head
}

// readLink takes the link out of a line.
func readLink(line []byte) (link, error) {
	head := headOf(line)
	if bytes.IndexByte(head, '\\') >= 0 {
		return parseLink(line)
	}
	l := link{id: textField(head, `"id":"`), vendor: textField(head, `,"vendor":"`), vprev: textField(head, `,"vprev":"`)}
	if _, rest, ok := bytes.Cut(head, []byte(`,"vseq":`)); ok {
		end := bytes.IndexAny(rest, ",}")
		n, err := strconv.ParseUint(string(rest[:max(end, 0)]), 10, 64)
		if err != nil {
			return parseLink(line)
		}
		l.vseq = n
	}
	return l, nil
}

func textField(b []byte, key string) string {
	_, rest, ok := bytes.Cut(b, []byte(key))
	if !ok {
		return ""
	}
	return string(rest[:max(bytes.IndexByte(rest, '"'), 0)])
}

func parseLink(line []byte) (link, error) {
	var e struct {
		ID     string `json:"id"`
		Vendor string `json:"vendor"`
		VSeq   uint64 `json:"vseq"`
		VPrev  string `json:"vprev"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return link{}, err
	}
	return link{id: e.ID, vendor: e.Vendor, vseq: e.VSeq, vprev: e.VPrev}, nil
}

// vendorState is the last event of one vendor.
type vendorState struct {
	seq  uint64
	hash [sha256.Size]byte
}

func (s vendorState) prev() string {
	if s.seq == 0 {
		return ""
	}
	return "sha256:" + hex.EncodeToString(s.hash[:])
}

// follows reports whether l is the vendor's event after s.
func (s vendorState) follows(l link) bool { return l.vseq == s.seq+1 && l.vprev == s.prev() }

// next is the state after the event l in line.
func (l link) next(line []byte) vendorState {
	return vendorState{seq: l.vseq, hash: sha256.Sum256(line)}
}
