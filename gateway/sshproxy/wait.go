package sshproxy

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/sekisho/sekisho/gateway/access"
)

// maxAhead bounds what a person may type while something of theirs waits, in bytes. More stays with the client.
const maxAhead = 16 << 10

// typing reads what the client sends while a command waits for its approval, and hands it to the command afterwards.
type typing struct {
	interrupt func() // Ctrl-C

	mu      sync.Mutex // guards the fields below
	changed *sync.Cond
	ahead   []byte
	err     error
	passing bool // the command runs: Ctrl-C is its own
}

func newTyping(from io.Reader, interrupt func()) *typing {
	t := &typing{interrupt: interrupt}
	t.changed = sync.NewCond(&t.mu)
	go t.read(from)
	return t
}

func (t *typing) read(from io.Reader) {
	buf := make([]byte, 1024)
	for {
		n, err := from.Read(buf)
		if !t.take(buf[:n], err) {
			return
		}
	}
}

func (t *typing) take(data []byte, err error) (more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.changed.Broadcast()
	if !t.passing {
		for i, b := range data {
			if b == 0x03 {
				t.ahead, data = nil, data[i+1:]
				t.interrupt()
				break
			}
		}
	}
	t.ahead = append(t.ahead, data...)
	if t.err = err; err != nil {
		t.interrupt()
		return false
	}
	for len(t.ahead) >= maxAhead {
		t.changed.Wait()
	}
	return true
}

// Read is for the command.
func (t *typing) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passing = true
	for len(t.ahead) == 0 && t.err == nil {
		t.changed.Wait()
	}
	if len(t.ahead) == 0 {
		return 0, t.err
	}
	n := copy(p, t.ahead)
	t.ahead = t.ahead[n:]
	t.changed.Broadcast()
	return n, nil
}

// approved waits until somebody has answered the request of a refusal, or watches where that is wanted, and asks the door
// again. It returns the refusal that stands in the end. A request that nobody waits for any more is withdrawn: after Ctrl-C,
// and when the session, the connection or the target's side of the channel has ended. An approval that comes too late finds
// nothing to start.
func (ch *channel) approved(ctx context.Context, refusal *access.Refusal, op access.Operation) (*access.Grant, error) {
	if refusal.Watch != "" {
		return ch.watched(ctx, op)
	}
	status, err := ch.session.Await(ctx, refusal.Request)
	if over := context.Cause(ch.session.Context()); over != nil || ctx.Err() != nil {
		err := ch.session.Withdraw(context.WithoutCancel(ctx), refusal.Request)
		switch {
		case over != nil:
			return nil, over
		case err != nil:
			return nil, err
		}
		return nil, told{noticeWithdrawn}
	}
	switch {
	case err != nil:
		return nil, err
	case status == access.RequestDenied:
		return nil, told{noticeDenied}
	case status != access.RequestApproved:
		return nil, told{noticeUnanswered}
	}
	grant, err := ch.session.Authorize(ctx, op)
	if again, ok := waitable(err); ok && again.Watch != "" {
		again.Waits = true
		ch.replying.Lock()
		ch.tell(refusalText(again))
		ch.replying.Unlock()
		return ch.watched(ctx, op)
	}
	return grant, err
}

// waitable is the refusal that an approval or somebody's watching would lift, if err is one.
func waitable(err error) (*access.Refusal, bool) {
	refusal, ok := errors.AsType[*access.Refusal](err)
	return refusal, ok && (refusal.Request != "" || refusal.Watch != "")
}
