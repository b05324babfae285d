package sshproxy

import (
	"context"
	"errors"
	"sync"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/sshproxy/shell"
	"github.com/sekisho/sekisho/recorder"
)

// gated is a shell that asks about each line.
type gated struct {
	channel *channel
	showing sync.Mutex // output and notices go the same way, so that they keep their order on the screen
}

// carryGated starts the pumps of such a shell; replying is held.
func (ch *channel) carryGated(token string) {
	ch.greet()
	g := &gated{channel: ch}
	gate := shell.New(ch.conn.ctx, shell.Config{
		Token:      token,
		Incomplete: access.Incomplete,
		Decide:     g.decide,
		Skipped:    g.skipped,
		ToClient:   func(data []byte) error { return g.show(recorder.KindOutput, data) },
		Notify:     g.notify,
		ToTarget: func(data []byte) error {
			_, err := ch.upstream.Write(data)
			return err
		},
	})
	ch.move(func() {
		pump(ch.upstream, gate.FromTarget)
		gate.Close()
	}, func() {
		pump(ch.keys, func(data []byte) error {
			if err := ch.record(recorder.KindInput, data); err != nil {
				return err
			}
			return gate.FromClient(data)
		})
	})
}

// show shows something once it is on record.
func (g *gated) show(kind recorder.Kind, data []byte) error {
	g.showing.Lock()
	defer g.showing.Unlock()
	if err := g.channel.record(kind, data); err != nil {
		return err
	}
	_, err := g.channel.client.Write(data)
	return err
}

func (g *gated) notify(text string) { g.show(recorder.KindNotice, []byte(crlf(text))) }

// decide asks the door about a line; ctx ends with Ctrl-C. What needs an approval waits for it.
func (g *gated) decide(ctx context.Context, line shell.Line) (shell.Running, error) {
	ch := g.channel
	op := access.Operation{Kind: "ssh.line", Command: line.Text, Dir: line.Dir, Aliases: line.Aliases, Functions: line.Functions,
		Once: newToken(), Channel: ch.number, Terminal: true}
	grant, err := ch.session.Authorize(ctx, op)
	if refusal, ok := waitable(err); ok {
		refusal.Waits = true
		g.notify("\n" + refusalText(refusal))
		grant, err = ch.approved(ctx, refusal, op)
	}
	if err != nil {
		return nil, errors.New(ch.refusalOf(err))
	}
	return runningLine{grant}, nil
}

// skipped puts on record that the shell ran into a command that nobody was asked about, and did not run it.
func (g *gated) skipped(line string) {
	ch := g.channel
	detail := map[string]any{"operation": "ssh.line", "line": access.Masked(line), "reasons": []string{"not_asked"}}
	if err := ch.session.Event(ch.conn.ctx, recorder.ClassCommand, "command.refused", recorder.Refused, detail); err != nil {
		ch.conn.proxy.cfg.Log.Error("a refusal is not on record", zap.String("session", ch.session.ID()), zap.Error(err))
	}
}

// runningLine is an allowed line of a gated shell.
type runningLine struct{ grant *access.Grant }

// Ended puts the line on record.
func (r runningLine) Ended(status int, cwd string) {
	if status < 0 {
		r.grant.End(recorder.Lost, map[string]any{"reason": "the shell did not say how it ended"})
		return
	}
	r.grant.End(recorder.OK, map[string]any{"exit": status, "cwd": cwd})
}
