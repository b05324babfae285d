package sshproxy

import (
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/recorder"
)

// eofPatience is how long EOF waits for an exit status while the client's input is still open.
const eofPatience = time.Second

// stderrLock keeps notices and the target's bytes apart: the library shares one buffer between the writers of a stream.
type stderrLock struct{ sync.Mutex }

// carry starts the pumps of a shell or command that has just been started; replying is held.
func (ch *channel) carry() {
	ch.greet()
	ch.move(func() { ch.pass(ch.upstream, recorder.KindOutput, ch.client) },
		func() { ch.pass(ch.keys, recorder.KindInput, ch.upstream) })
}

// greet says what the target said before its login and what this connection asked for in vain; replying is held.
func (ch *channel) greet() {
	ch.say(ch.link.takeBanner())
	for _, n := range ch.conn.takeNotes() {
		ch.tell(n.text())
	}
}

// move starts the pumps: output moves what the target writes, input what the client does.
func (ch *channel) move(output, input func()) {
	ch.pumps.Go(func() {
		defer ch.conn.proxy.guard("output", ch.abort)
		output()
	})
	ch.pumps.Go(func() {
		defer ch.conn.proxy.guard("error output", ch.abort)
		ch.pass(ch.upstream.Stderr(), recorder.KindStderr, lockedWriter{&ch.stderr, ch.client.Stderr()})
	})
	ch.input.Go(func() {
		defer ch.conn.proxy.guard("input", ch.abort)
		input()
		// EOF passes through: the program may go on writing.
		ch.upstream.CloseWrite()
		close(ch.inputEnded)
	})
	go func() {
		ch.pumps.Wait()
		close(ch.drained)
	}()
}

// pass moves one stream, each piece on record before it is shown.
func (ch *channel) pass(from io.Reader, kind recorder.Kind, to io.Writer) {
	count := &ch.written
	if kind == recorder.KindInput {
		count = &ch.sent
	}
	pump(from, func(data []byte) error {
		if err := ch.record(kind, data); err != nil {
			return err
		}
		count.Add(int64(len(data)))
		_, err := to.Write(data)
		return err
	})
}

type lockedWriter struct {
	lock sync.Locker
	w    io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.w.Write(p)
}

// tell writes a notice of the gateway's own to the contractor's stderr, on record as such; replying is held.
func (ch *channel) tell(text string) {
	if text == "" {
		return
	}
	// A session that is over records nothing more; why it is over stands in its last entry.
	ch.record(recorder.KindNotice, []byte(text))
	ch.write(text)
}

// say passes on what the target said outside its channels; replying is held.
func (ch *channel) say(text string) {
	if text != "" && ch.record(recorder.KindStderr, []byte(text)) == nil {
		ch.write(text)
	}
}

func (ch *channel) write(text string) {
	if ch.onscreen {
		text = crlf(text)
	}
	lockedWriter{&ch.stderr, ch.client.Stderr()}.Write([]byte(text))
}

// listen hears the target until it closes the channel, then finishes.
//
// EOF of its output is held back until the exit status is known: OpenSSH's client answers EOF with a close when its own
// input has ended, the library confirms a close at once, and after that no status can be sent. A client whose input is
// still open may be waiting for the EOF, so for it the wait is short.
func (ch *channel) listen(answers <-chan *ssh.Request) {
	drained := ch.drained
	var patience <-chan time.Time
	for open := true; open; {
		select {
		case req, ok := <-answers:
			if open = ok; open {
				ch.answer(req)
			}
			if open && drained == nil && ch.exit != nil {
				ch.endOutput()
			}
		case <-drained:
			drained = nil
			if ch.exit != nil {
				ch.endOutput()
			}
			patience = time.After(eofPatience)
		case <-patience:
			select {
			case <-ch.inputEnded:
			default:
				ch.endOutput()
			}
		}
	}
	ch.replying.Lock()
	started := ch.started
	ch.replying.Unlock()
	if started {
		<-ch.drained
	}
	ch.finish()
}

// answer takes one request of the target. A keepalive wants any answer; nothing else a target asks for is passed on.
func (ch *channel) answer(req *ssh.Request) {
	switch req.Type {
	case "exit-status", "exit-signal":
		if e := parseExit(req); e != nil && ch.exit == nil {
			ch.exit = e
		}
	case "eow@openssh.com":
		ch.client.SendRequest(req.Type, false, nil)
	}
	reply(req, false)
}
