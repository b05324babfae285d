package sshproxy

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// answerTimes is how many times as long as for the whole handshake a target may take to answer one request: starting a
// program can be slow.
const answerTimes = 4

// channel is one session channel of the contractor joined to one on the target: a shell or a command, with what was asked
// for it before. The request loop (run) hears the client, listen hears the target, and pumps move the bytes.
type channel struct {
	conn     *connection
	link     *link
	session  *access.Session
	number   uint32 // in the recording
	client   ssh.Channel
	upstream ssh.Channel

	// Of the request loop.
	terminal  terminal
	setting   int               // requests for variables
	variables map[string]string // that the target was given

	// replying is held from sending a request to the target until its answer has been passed on, and while closing:
	// otherwise the close of a quick command overtakes the answer to its exec. It guards the fields below.
	replying sync.Mutex
	asked    bool // the target was asked for a shell or command: it is not asked again, whatever it answers
	started  bool // it was started
	ended    bool // EOF was sent to the client
	closed   bool // the client was told that the channel is over
	onscreen bool // there is a terminal: notices need CR LF

	grant    *access.Grant  // of a shell or command; set before the pumps start
	transfer *transfer      // of SFTP; set before the pumps start
	pumps    sync.WaitGroup // what the target writes, to the client
	input    sync.WaitGroup // what the client writes, to the target
	drained  chan struct{}  // closed when everything a started program wrote has been passed on

	inputEnded chan struct{} // closed when the client writes nothing more
	waiting    func()        // stops waiting for an approval; nil when nothing does
	launches   sync.WaitGroup
	keys       io.Reader // what the person types

	sent, written atomic.Int64 // bytes of the client, and of the target

	stderr  stderrLock
	exit    *exit // how the program ended; of listen
	settled sync.Once
}

func newChannel(c *connection, l *link, client, upstream ssh.Channel) *channel {
	return &channel{conn: c, link: l, session: l.session, number: c.numbers.Add(1), client: client, upstream: upstream,
		variables: make(map[string]string), drained: make(chan struct{}), inputEnded: make(chan struct{}), keys: client}
}

// run carries the channel until the client has closed it.
func (ch *channel) run(requests, answers <-chan *ssh.Request) {
	var listening sync.WaitGroup
	listening.Go(func() {
		defer ch.conn.proxy.guard("target requests", ch.abort)
		ch.listen(answers)
	})
	for req := range requests {
		ch.request(req)
	}
	if ch.waiting != nil {
		ch.waiting()
	}
	ch.upstream.Close()
	ch.launches.Wait()
	listening.Wait()
	ch.pumps.Wait()
	ch.input.Wait()
	ch.settle(recorder.Lost, map[string]any{"reason": "the client closed the channel"})
	if ch.transfer != nil {
		ch.transfer.end()
	}
}

// abort closes both sides; it is what a panic leaves to do.
func (ch *channel) abort() {
	ch.conn.client.Close()
	ch.link.client.Close()
}

// request takes one request of the client.
func (ch *channel) request(req *ssh.Request) {
	switch req.Type {
	case "pty-req":
		ch.openTerminal(req)
	case "env":
		ch.setVariable(req)
	case "window-change":
		ch.resize(req)
	case "shell":
		ch.start(req, access.Operation{Kind: "ssh.shell"})
	case "exec":
		ch.exec(req)
	case "subsystem":
		ch.startSubsystem(req)
	case "signal":
		if s, ok := parseSignal(req.Payload); ok {
			ch.relay(req, ssh.Marshal(s))
			return
		}
		reply(req, false)
	case "break":
		var b breaking
		if ssh.Unmarshal(req.Payload, &b) == nil {
			ch.relay(req, ssh.Marshal(b))
			return
		}
		reply(req, false)
	case "eow@openssh.com":
		ch.relay(req, nil)
	case "auth-agent-req@openssh.com":
		ch.conn.note(noticeAgent)
		reply(req, false)
	case "x11-req":
		ch.conn.note(noticeX11)
		reply(req, false)
	default:
		// keepalive@openssh.com and what nobody knows: a refusal is an answer.
		reply(req, false)
	}
}

// relay passes a request on and its answer back.
func (ch *channel) relay(req *ssh.Request, payload []byte) {
	ch.replying.Lock()
	defer ch.replying.Unlock()
	ok, err := ch.ask(req.Type, req.WantReply, payload)
	reply(req, ok && err == nil)
}

// ask sends a request to the target. While its answer is waited for nothing more of the client is read, not even that it has
// gone away, so a target which does not answer loses the connection.
func (ch *channel) ask(name string, answer bool, payload []byte) (bool, error) {
	if answer {
		overdue := time.AfterFunc(answerTimes*ch.conn.proxy.cfg.Limits.Upstream, func() { ch.link.client.Close() })
		defer overdue.Stop()
	}
	return ch.upstream.SendRequest(name, answer, payload)
}

func (ch *channel) openTerminal(req *ssh.Request) {
	t, ok := parseTerminal(req.Payload)
	if !ok || ch.taken() {
		reply(req, false)
		return
	}
	ch.replying.Lock()
	// An answer is asked for even where the client wants none: whether there is a terminal decides how notices are written.
	ok, err := ch.ask(req.Type, true, ssh.Marshal(t))
	ok = ok && err == nil
	ch.onscreen = ok
	reply(req, ok)
	ch.replying.Unlock()
	if ok {
		ch.terminal = t
		ch.record(recorder.KindResize, []byte(t.window().String()))
	}
}

func (ch *channel) setVariable(req *ssh.Request) {
	v, passed := parseVariable(req.Payload)
	ch.setting++
	if !passed || ch.setting > maxEnv || ch.taken() {
		reply(req, false)
		return
	}
	ch.variables[v.Name] = v.Value
	ch.relay(req, ssh.Marshal(v))
}

func (ch *channel) resize(req *ssh.Request) {
	w, ok := parseWindow(req.Payload)
	if !ok || !ch.hasTerminal() {
		reply(req, false)
		return
	}
	ch.record(recorder.KindResize, []byte(w.String()))
	ch.relay(req, ssh.Marshal(w))
}

// hasTerminal tells whether the target gave a terminal; of the request loop.
func (ch *channel) hasTerminal() bool { return ch.terminal != terminal{} }

// taken tells whether the channel has had its try at a shell or command, or is over.
func (ch *channel) taken() bool {
	ch.replying.Lock()
	defer ch.replying.Unlock()
	return ch.asked || ch.closed
}

func (ch *channel) exec(req *ssh.Request) {
	line, ok := parseExecution(req.Payload)
	switch {
	case ch.taken():
		reply(req, false)
	case !ok:
		ch.refuse(answering(req), noticeLine.text())
	case transfers(line):
		if !ch.unwatched(req, "ssh.exec") {
			ch.startCopy(req, line)
		}
	default:
		ch.start(req, access.Operation{Kind: "ssh.exec", Command: line})
	}
}

func (ch *channel) startSubsystem(req *ssh.Request) {
	var s subsystem
	switch {
	case ch.taken() || ssh.Unmarshal(req.Payload, &s) != nil:
		reply(req, false)
	case s.Name == "sftp":
		if !ch.unwatched(req, "ssh.sftp") {
			ch.startTransfer(req)
		}
	default:
		ch.refuseStart(req, "ssh.subsystem", clean(s.Name, 64), noticeSubsystem)
	}
}

// refuseStart puts the refusal of what is never started on record, and says so.
func (ch *channel) refuseStart(req *ssh.Request, operation, what string, say notice) {
	detail := map[string]any{"operation": operation, "what": what, "reasons": []string{"not_available"}}
	if err := ch.session.Event(ch.conn.ctx, recorder.ClassCommand, "command.refused", recorder.Refused, detail); err != nil {
		ch.conn.proxy.cfg.Log.Error("a refusal is not on record", zap.String("session", ch.session.ID()), zap.Error(err))
	}
	ch.refuse(answering(req), say.text())
}

// start asks the door and, with its grant, lets the target start the shell or command. What needs an approval waits for it
// where a person looks at a terminal.
func (ch *channel) start(req *ssh.Request, op access.Operation) {
	if ch.taken() {
		reply(req, false)
		return
	}
	l := &launch{channel: ch, op: op, request: req.Type, payload: req.Payload, carry: ch.carry,
		answer: answering(req)}
	if ch.hasTerminal() {
		l.carry = ch.carryKeys
	}
	if op.Kind == "ssh.shell" {
		if len(req.Payload) != 0 {
			reply(req, false)
			return
		}
		l.gate()
	}
	l.op.Channel, l.op.Terminal = ch.number, ch.hasTerminal()
	grant, err := ch.session.Authorize(ch.conn.ctx, l.op)
	if refusal, ok := waitable(err); ok && l.op.Terminal {
		l.wait(refusal)
		return
	}
	l.begin(grant, err)
}

// startEntry says in the recording what begins; the door has masked the line.
func (ch *channel) startEntry(op access.Operation, grant *access.Grant, t terminal) []byte {
	entry := recorder.Operation{Kind: op.Kind, Command: grant.Line(), Terminal: op.Terminal, Enforced: grant.Label(),
		Decision: grant.Decision().ID, Env: ch.variables}
	if op.Terminal {
		entry.Term, entry.Size = t.Term, t.window().String()
	}
	data, err := json.Marshal(entry)
	if err != nil {
		panic(err) // strings and booleans always marshal
	}
	return data
}

// refusalOf words why an operation does not start.
func (ch *channel) refusalOf(err error) string {
	if refusal, ok := errors.AsType[*access.Refusal](err); ok {
		return refusalText(refusal)
	}
	if ended, ok := errors.AsType[*access.Ended](err); ok {
		return endedNotice(ended).text()
	}
	if said, ok := errors.AsType[told](err); ok {
		return said.notice.text()
	}
	ch.conn.proxy.cfg.Log.Error("an operation could not be decided", zap.String("session", ch.session.ID()), zap.Error(err))
	return noticeTrouble.text()
}

// record hands an entry of this channel to the recorder.
func (ch *channel) record(kind recorder.Kind, data []byte) error {
	return ch.session.Record(ch.number, kind, data)
}
