package sshproxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/sshproxy/shell"
	"github.com/sekisho/sekisho/recorder"
)

// firstPrompt is how long a gated shell may take until its first prompt. One that takes longer may have been replaced by
// another program in a start file, and is used only by who may execute anything.
const firstPrompt = 10 * time.Second

// gated is a shell that asks about each line.
type gated struct {
	channel *channel
	keys    *keys
	showing sync.Mutex // output and notices go the same way, so that they keep their order on the screen

	ending sync.WaitGroup
	last   chan struct{} // closed when the last line's end is on record; of the gate
	others *access.Grant // to use the shell undecided; of consult, and read when the gate is closed
}

// carryGated starts the pumps of such a shell; replying is held.
func (ch *channel) carryGated(token string) {
	ch.greet()
	ch.welcomeBack()
	g := &gated{channel: ch, keys: newKeys(ch), last: make(chan struct{})}
	close(g.last)
	gate := shell.New(ch.conn.ctx, shell.Config{
		Token:      token,
		Patience:   firstPrompt,
		Incomplete: access.Incomplete,
		Decide:     g.decide,
		Ungated:    g.consult,
		Happened:   g.happened,
		ToClient: func(data []byte) error {
			g.keys.shown(data)
			return g.show(recorder.KindOutput, data)
		},
		Notify: g.notify,
		ToTarget: func(data []byte) error {
			_, err := ch.upstream.Write(data)
			return err
		},
	})
	ch.move(func() {
		pump(ch.upstream, gate.FromTarget)
		gate.Close()
		g.close()
	}, func() {
		pump(ch.keys, func(data []byte) error {
			if err := g.keys.typed(data, gate.Editing()); err != nil {
				return err
			}
			return gate.FromClient(data)
		})
	})
}

// close puts on record what is still open when the shell has ended.
func (g *gated) close() {
	g.keys.close()
	g.ending.Wait()
	if g.others != nil {
		g.others.End(recorder.OK, nil)
	}
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
		Opaque: line.Opaque, Once: newToken(), Channel: ch.number, Terminal: true}
	grant, err := ch.session.Authorize(ctx, op)
	if refusal, ok := waitable(err); ok {
		refusal.Waits = true
		g.notify("\n" + refusalText(refusal))
		grant, err = ch.approved(ctx, refusal, op)
	}
	if err != nil {
		return nil, errors.New(ch.refusalOf(err))
	}
	return &runningLine{gated: g, grant: grant, line: line, began: ch.session.Offset()}, nil
}

// consult asks the door whether a shell that shows no prompt of ours may be used: as any program, whose input is on record
// and not decided.
func (g *gated) consult(ctx context.Context) error {
	ch := g.channel
	grant, err := ch.session.Authorize(ctx, access.Operation{Kind: "ssh.shell", Channel: ch.number, Terminal: true})
	if err != nil {
		g.notify("\n" + noticeNoGate.text() + ch.refusalOf(err))
		ch.upstream.Close()
		return err
	}
	g.others = grant
	g.notify("\n" + noticeUngated.text())
	g.happened(shell.Within, "")
	return nil
}

// happened puts on record what the shell did beside running lines.
func (g *gated) happened(what shell.Happening, line string) {
	kind, outcome, reason := "", recorder.Lost, ""
	switch what {
	case shell.Stopped:
		kind, outcome, reason = "command.refused", recorder.Refused, "not_asked"
	case shell.Within:
		kind, reason = "shell.lost", "input goes into what runs: it is recorded, not decided"
	case shell.Back:
		kind, outcome, reason = "shell.back", recorder.OK, "lines are decided again"
	case shell.Disagrees:
		kind, reason = "shell.disagrees", "what the shell says does not agree with what it said before"
	}
	detail := map[string]any{"operation": "ssh.line", "reasons": []string{reason}}
	if line != "" {
		detail["line"] = access.Masked(line)
	}
	ch := g.channel
	if err := ch.session.Event(context.WithoutCancel(ch.conn.ctx), recorder.ClassCommand, kind, outcome, detail); err != nil {
		ch.conn.proxy.cfg.Log.Error("what a shell did is not on record", zap.String("session", ch.session.ID()), zap.Error(err))
	}
	if what == shell.Within {
		ch.record(recorder.KindGap, []byte(`{"reason":"integration lost: what is typed from here on is recorded, not decided"}`))
	}
}

// runningLine is an allowed line of a gated shell.
type runningLine struct {
	gated *gated
	grant *access.Grant
	line  shell.Line
	began time.Duration // in the recording
}

// Ended puts the line on record, after the one before it. Nobody waits for that: the next prompt is shown meanwhile.
func (r *runningLine) Ended(status int) {
	g := r.gated
	ended := g.channel.session.Offset()
	before, done := g.last, make(chan struct{})
	g.last = done
	g.ending.Go(func() {
		defer close(done)
		<-before
		r.record(status, ended)
	})
}

func (r *runningLine) record(status int, ended time.Duration) {
	detail := map[string]any{"cwd": r.line.Dir, "ms": (ended - r.began).Milliseconds(), "began_ms": r.began.Milliseconds(),
		"ended_ms": ended.Milliseconds(), "channel": r.gated.channel.number}
	if r.line.Dir == "" {
		delete(detail, "cwd")
	}
	if r.line.Differs {
		detail["screen_differs"] = true
	}
	if status < 0 {
		detail["reason"] = "the shell did not say how it ended"
		r.grant.End(recorder.Lost, detail)
		return
	}
	detail["exit"] = status
	r.grant.End(recorder.OK, detail)
}
