package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	maxDevtoolsMessage = 16 << 20
	devtoolsBacklog    = 1024
)

// devtools speaks the Chrome DevTools Protocol over the browser's debugging pipe: JSON messages, a NUL after each. A pipe
// and not a port, because a port would let any program of this machine drive the browser.
type devtools struct {
	out    io.WriteCloser
	events chan devtoolsEvent // closed when the browser hung up

	mu      sync.Mutex
	next    int
	waiting map[int]chan devtoolsMessage // nil when the browser hung up
}

type devtoolsEvent struct {
	session string
	method  string
	params  json.RawMessage
}

type devtoolsMessage struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *devtoolsError  `json:"error,omitempty"`
}

type devtoolsError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var errHungUp = errors.New("the browser closed its debugging pipe")

func newDevtools(in io.ReadCloser, out io.WriteCloser) *devtools {
	d := &devtools{out: out, events: make(chan devtoolsEvent, devtoolsBacklog), waiting: map[int]chan devtoolsMessage{}}
	go d.read(in)
	return d
}

func (d *devtools) read(in io.ReadCloser) {
	defer in.Close()
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxDevtoolsMessage)
	s.Split(splitNUL)
	for s.Scan() {
		var m devtoolsMessage
		if json.Unmarshal(s.Bytes(), &m) != nil {
			break
		}
		if m.ID == 0 {
			d.events <- devtoolsEvent{m.Session, m.Method, m.Params}
			continue
		}
		d.mu.Lock()
		answer := d.waiting[m.ID]
		delete(d.waiting, m.ID)
		d.mu.Unlock()
		if answer != nil {
			answer <- m
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, answer := range d.waiting {
		close(answer)
	}
	d.waiting = nil
	close(d.events)
}

// call sends one command, to the browser itself or to the page of a session, and waits for its result.
func (d *devtools) call(ctx context.Context, session, method string, params, result any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer, err := d.send(devtoolsMessage{Session: session, Method: method, Params: body})
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", method, errHungUp)
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

func (d *devtools) send(m devtoolsMessage) (<-chan devtoolsMessage, error) {
	answer := make(chan devtoolsMessage, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		return nil, errHungUp
	}
	d.next++
	m.ID = d.next
	d.waiting[m.ID] = answer
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	_, err = d.out.Write(append(text, 0))
	return answer, err
}

// splitNUL is a bufio.SplitFunc.
func splitNUL(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	return 0, nil, nil
}
