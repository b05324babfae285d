package sshproxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/sshproxy/shell"
	"github.com/sekisho/sekisho/recorder"
)

// launch is a shell or command on its way to being started.
type launch struct {
	channel *channel
	op      access.Operation
	request string // what the target is asked
	payload []byte
	carry   func()        // starts the pumps; replying is held
	answer  func(ok bool) // tells the client whether it was started
	waited  bool          // the client was told so already, and has waited since
}

// gate has the shell ask about each line, where there is a terminal and the account's shell is one that can.
func (l *launch) gate() {
	ch := l.channel
	if !ch.hasTerminal() {
		return
	}
	token := newToken()
	line, ok := shell.Command(ch.link.account().shell, token)
	if !ok {
		l.carry = func() {
			ch.carryKeys()
			ch.tell(noticeUngated.text())
		}
		return
	}
	l.op.Gated = true
	l.request, l.payload = "exec", ssh.Marshal(execution{line})
	l.carry = func() { ch.carryGated(token) }
}

// newToken is 128 bits that nobody guesses, in hex.
func newToken() string {
	var token [16]byte
	rand.Read(token[:])
	return hex.EncodeToString(token[:])
}

// wait tells the person that a request waits, and starts once it is approved. Requests of the client go on being heard
// meanwhile.
func (l *launch) wait(refusal *access.Refusal) {
	ch := l.channel
	ctx, cancel := context.WithCancel(ch.conn.ctx)
	ch.waiting = cancel
	refusal.Waits = true
	ch.replying.Lock()
	ch.asked = true
	l.answer(true)
	ch.tell(refusalText(refusal))
	ch.replying.Unlock()
	l.answer, l.waited = func(bool) {}, true
	keys := newTyping(ch.client, cancel)
	ch.keys = keys
	ch.launches.Go(func() {
		defer ch.conn.proxy.guard("waiting for an approval", ch.abort)
		l.begin(ch.approved(ctx, refusal, l.op))
	})
}

// begin starts what was granted, or refuses.
func (l *launch) begin(grant *access.Grant, err error) {
	ch := l.channel
	if err != nil {
		ch.refuse(l.answer, ch.refusalOf(err))
		return
	}
	if err := ch.record(recorder.KindStart, ch.startEntry(l.op, grant, ch.terminal)); err != nil {
		grant.End(recorder.Failed, map[string]any{"reason": "not recorded"})
		ch.refuse(l.answer, ch.refusalOf(err))
		return
	}
	if l.run(grant) {
		return
	}
	ch.settle(recorder.Failed, map[string]any{"reason": "the target did not start it"})
	if cause := context.Cause(ch.session.Context()); cause != nil {
		// The session ended while the target was being asked: that is why, and ssh's own words would not say it.
		ch.refuse(l.answer, ch.refusalOf(cause))
		return
	}
	if l.waited {
		ch.refuse(l.answer, noticeNotStarted.text())
		return
	}
	ch.replying.Lock()
	defer ch.replying.Unlock()
	l.answer(false)
}

// run has the target start it and, when it does, tells the client so and lets the bytes flow.
func (l *launch) run(grant *access.Grant) bool {
	ch := l.channel
	ch.replying.Lock()
	defer ch.replying.Unlock()
	ch.grant, ch.asked = grant, true
	ok, err := ch.ask(l.request, true, l.payload)
	if !ok || err != nil {
		return false
	}
	l.answer(true)
	ch.started = true
	l.carry()
	return true
}

// account is what the target says of the login's account.
type account struct {
	shell string // its login shell, "" when that is not known
	quiet bool   // it has a .hushlogin
}

// account asks the target once.
func (l *link) account() account {
	l.accountOnce.Do(func() { l.theAccount = l.askAccount() })
	return l.theAccount
}

func (l *link) askAccount() account {
	side, requests, err := l.client.OpenChannel("session", nil)
	if err != nil {
		return account{}
	}
	defer side.Close()
	go ssh.DiscardRequests(requests)
	question := `exec sh -c 'echo "$SHELL"; [ -e ~/.hushlogin ] && echo quiet; :'`
	if ok, err := side.SendRequest("exec", true, ssh.Marshal(execution{question})); !ok || err != nil {
		return account{}
	}
	var said []byte
	err = pump(side, func(data []byte) error {
		if said = append(said, data...); len(said) > maxName {
			return errors.New("too long for a path")
		}
		return nil
	})
	shell, rest, _ := strings.Cut(string(said), "\n")
	if err != nil || !printable(shell, maxName) {
		return account{}
	}
	return account{shell: shell, quiet: rest == "quiet\n"}
}

// welcomeBack says when and from where the person was here last, as a login does; replying is held. The gateway's own list
// tells: on the target every login comes from the gateway.
func (ch *channel) welcomeBack() {
	if ch.link.account().quiet {
		return
	}
	last, ok, err := ch.session.Previous(ch.conn.ctx)
	if err != nil || !ok {
		return // nothing hangs on it
	}
	ch.tell(fmt.Sprintf("Last login: %s from %s\n", last.StartedAt.UTC().Format("Mon Jan _2 15:04:05 2006 MST"), last.SourceIP))
}
