package sshproxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/sshproxy/scp"
	"github.com/sekisho/sekisho/gateway/sshproxy/sftp"
	"github.com/sekisho/sekisho/recorder"
)

// maxExplained is how many different refusals one transfer explains; a program that tries more reads its statuses.
const maxExplained = 32

// transfer is SFTP on a channel.
type transfer struct {
	channel   *channel
	filter    *sftp.Filter
	explained map[string]bool // what the person has been told; of the filter, which decides one operation at a time
}

// startTransfer starts the target's SFTP server behind a filter that asks the door about each operation. Starting it shows
// and changes nothing, so there is nothing to decide yet.
func (ch *channel) startTransfer(req *ssh.Request) {
	entry, err := json.Marshal(recorder.Operation{Kind: "ssh.sftp", Enforced: access.LabelWire, Env: ch.variables})
	if err != nil {
		panic(err) // strings always marshal
	}
	if err := ch.record(recorder.KindStart, entry); err != nil {
		ch.refuse(answering(req), ch.refusalOf(err))
		return
	}
	ch.replying.Lock()
	defer ch.replying.Unlock()
	ch.asked = true
	ok, err := ch.ask(req.Type, true, req.Payload)
	if !ok || err != nil {
		reply(req, false)
		return
	}
	reply(req, true)
	ch.started = true
	ch.greet()
	t := &transfer{channel: ch, explained: make(map[string]bool)}
	t.filter = sftp.New(ch.conn.ctx, sftp.Config{
		Authorize: ch.session.Authorize,
		Record:    ch.record,
		Explain:   t.explain,
		Channel:   ch.number,
		Client:    ch.client,
		Target:    ch.upstream,
		Bodies:    ch.conn.proxy.bodies,
		OpenSSH:   strings.HasPrefix(string(ch.link.client.ServerVersion()), "SSH-2.0-OpenSSH_"),
	})
	ch.transfer = t
	ch.move(func() { t.carry(t.filter.FromTarget, ch.upstream) }, func() { t.carry(t.filter.FromClient, ch.client) })
}

// carry moves one direction until it ends or cannot go on, which ends the transfer.
func (t *transfer) carry(move func(io.Reader) error, from io.Reader) {
	err := move(from)
	if err == nil {
		return
	}
	ch := t.channel
	if ch.session.Context().Err() == nil && ch.link.down.Err() == nil && ch.conn.ctx.Err() == nil {
		ch.conn.proxy.cfg.Log.Warn("a file transfer was broken off", zap.String("session", ch.session.ID()), zap.Error(err))
		if errors.Is(err, sftp.ErrMalformed) || errors.Is(err, scp.ErrMalformed) {
			ch.replying.Lock()
			ch.tell(noticeMalformed.text())
			ch.replying.Unlock()
		}
	}
	ch.upstream.Close()
}

// explain tells the person on stderr why something was refused, each reason once: clients show no more of an answer than
// "Permission denied".
func (t *transfer) explain(refusal *access.Refusal) {
	text := refusalText(refusal)
	about, _, _ := strings.Cut(text, refusal.Decision)
	if t.explained[about] || len(t.explained) >= maxExplained {
		return
	}
	t.explained[about] = true
	t.channel.replying.Lock()
	defer t.channel.replying.Unlock()
	if !t.channel.closed {
		t.channel.tell(text)
	}
}

// startCopy starts scp's own protocol (scp -O) between the client and the target's scp. What each path is the target tells
// on an SFTP channel beside it.
func (ch *channel) startCopy(req *ssh.Request, line string) {
	command, ok := scp.Parse(line)
	if !ok {
		ch.refuseStart(req, "ssh.exec", "scp", noticeCopy)
		return
	}
	resolver, err := ch.resolver()
	if err != nil {
		ch.refuseStart(req, "ssh.exec", "scp", noticeCopyPath)
		return
	}
	from, inside := "", false
	if command.Upload {
		from, inside, err = resolver.Real(command.Path)
	} else {
		from, err = resolver.Parent(command.Path)
	}
	if err != nil {
		resolver.Close()
		ch.refuseStart(req, "ssh.exec", "scp", noticeCopyPath)
		return
	}
	entry, err := json.Marshal(recorder.Operation{Kind: "ssh.scp", Command: command.On(from), Enforced: access.LabelWire})
	if err != nil {
		panic(err) // strings always marshal
	}
	if err := ch.record(recorder.KindStart, entry); err != nil {
		resolver.Close()
		ch.refuse(answering(req), ch.refusalOf(err))
		return
	}
	t := &transfer{channel: ch, explained: make(map[string]bool)}
	cfg := scp.Config{Command: command, Path: from, Inside: inside,
		Resolve: func(path string) (string, error) { real, _, err := resolver.Real(path); return real, err },
		Authorize: func(ctx context.Context, op access.Operation) (scp.Granted, error) {
			return ch.session.Authorize(ctx, op)
		},
		Record: ch.record, Explain: t.explain, Channel: ch.number, Bodies: int64(ch.conn.proxy.bodies),
		Client: ch.client, Target: ch.upstream}
	ch.replying.Lock()
	defer ch.replying.Unlock()
	ch.asked = true
	ok, err = ch.ask(req.Type, true, ssh.Marshal(execution{command.On(from)}))
	if !ok || err != nil {
		resolver.Close()
		reply(req, false)
		return
	}
	reply(req, true)
	ch.started = true
	ch.greet()
	copied := make(chan struct{})
	ch.move(func() {
		defer resolver.Close()
		t.carry(func(io.Reader) error { return scp.Run(ch.conn.ctx, cfg) }, nil)
		close(copied)
		io.Copy(io.Discard, ch.upstream) // nothing of the protocol comes after its end
	}, func() { <-copied })
}

// resolver asks the target about paths on an SFTP channel of its own.
func (ch *channel) resolver() (*sftp.Resolver, error) {
	side, requests, err := ch.link.client.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	if ok, err := side.SendRequest("subsystem", true, ssh.Marshal(subsystem{"sftp"})); !ok || err != nil {
		side.Close()
		return nil, errors.Join(errors.New("the target offers no SFTP"), err)
	}
	return sftp.NewResolver(side)
}

// end puts what the end of the channel left open on record.
func (t *transfer) end() {
	t.filter.Close(recorder.Lost, "the transfer ended before it was closed")
}
