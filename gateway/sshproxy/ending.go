package sshproxy

import (
	"encoding/json"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// refusedStatus is the exit status of a command that was refused or waits for approval.
const refusedStatus = 126

// exit is how a program on the target ended. It is held back until its output has been passed on.
type exit struct {
	request string // exit-status or exit-signal
	payload []byte
	status  recorder.ExitStatus
	sent    bool // guarded by replying
}

// parseExit reads an exit-status or exit-signal; nil when it is malformed.
func parseExit(req *ssh.Request) *exit {
	if req.Type == "exit-status" {
		e, ok := parseExitStatus(req.Payload)
		if !ok {
			return nil
		}
		status := int(e.Status)
		return &exit{req.Type, ssh.Marshal(e), recorder.ExitStatus{Status: &status}, false}
	}
	e, ok := parseExitSignal(req.Payload)
	if !ok {
		return nil
	}
	return &exit{req.Type, ssh.Marshal(e), recorder.ExitStatus{Signal: e.Signal, Message: e.Message}, false}
}

// entry is the exit for the recording.
func (e *exit) entry() []byte {
	data, err := json.Marshal(e.status)
	if err != nil {
		panic(err) // a number or a string always marshals
	}
	return data
}

// detail is the exit for the event.
func (e *exit) detail() map[string]any {
	if e.status.Status != nil {
		return map[string]any{"exit": *e.status.Status}
	}
	return map[string]any{"signal": e.status.Signal}
}

// endOutput passes on that the target writes nothing more while its side of the channel stays open: the exit status, if
// it is known, then EOF.
func (ch *channel) endOutput() {
	if ch.session.Context().Err() != nil || ch.link.down.Err() != nil {
		return // there is still something to say
	}
	ch.settleExit()
	ch.replying.Lock()
	defer ch.replying.Unlock()
	if !ch.closed {
		ch.sendEnd()
	}
}

// settleExit puts the exit of the program on record, if it is known. The client hears of it afterwards.
func (ch *channel) settleExit() {
	if ch.exit != nil {
		ch.settle(recorder.OK, ch.exit.detail())
	}
}

// sendEnd sends the exit status, once it is known, and EOF, each once; replying is held.
func (ch *channel) sendEnd() {
	if ch.exit != nil && !ch.exit.sent {
		ch.exit.sent = true
		ch.client.SendRequest(ch.exit.request, false, ch.exit.payload)
	}
	if !ch.ended {
		ch.ended = true
		ch.client.CloseWrite()
	}
}

// finish ends the channel after the target has closed its side and everything it wrote has been passed on.
func (ch *channel) finish() {
	switch {
	case ch.exit != nil:
		ch.settleExit()
		ch.close("", ch.sendEnd)
	case ch.session.Context().Err() != nil:
		ch.farewell(causeOf(ch.session))
	case ch.link.down.Err() != nil:
		ch.settle(recorder.Lost, map[string]any{"reason": "the connection to the target was lost"})
		ch.close(ch.link.lost().text(), nil)
	default:
		ch.settle(recorder.Lost, map[string]any{"reason": "the target closed the channel without an exit status"})
		ch.close("", nil)
	}
}

// farewell tells why the door ended the session and closes the channel.
func (ch *channel) farewell(ended *access.Ended) {
	// The contractor is told first: the door waits less than a second.
	ch.close(endedNotice(ended).text(), nil)
	ch.settle(recorder.Lost, map[string]any{"reason": ended.Reason})
}

// settle puts the end of what ran on record. Only the first call does anything.
func (ch *channel) settle(outcome recorder.Outcome, detail map[string]any) {
	ch.settled.Do(func() {
		ch.replying.Lock()
		grant := ch.grant
		ch.replying.Unlock()
		if grant == nil {
			return
		}
		if outcome == recorder.OK {
			ch.record(recorder.KindExit, ch.exit.entry())
		}
		detail["bytes_in"], detail["bytes_out"] = ch.sent.Load(), ch.written.Load()
		grant.End(outcome, detail)
	})
}

// close tells the client that the channel is over: a last notice, what last sends, the close. Only the first call does
// anything.
func (ch *channel) close(text string, last func()) {
	ch.replying.Lock()
	defer ch.replying.Unlock()
	if ch.closed {
		return
	}
	ch.closed = true
	ch.tell(text)
	if last != nil {
		last()
	}
	ch.client.Close()
}

// refuse answers a request to start something: the reason on stderr, exit status 126. Nothing has reached the target.
func (ch *channel) refuse(answer func(ok bool), text string) {
	ch.replying.Lock()
	answer(true)
	ch.replying.Unlock()
	ch.close(text, func() {
		ch.client.SendRequest("exit-status", false, ssh.Marshal(exitStatus{refusedStatus}))
		ch.client.CloseWrite()
	})
	ch.upstream.Close()
}

// answering answers a request.
func answering(req *ssh.Request) func(ok bool) { return func(ok bool) { reply(req, ok) } }
