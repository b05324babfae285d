package revision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
)

// How often the clock is looked at, how far ahead the next revision is compiled, and how long to wait after a failure.
const (
	lookEvery = 200 * time.Millisecond
	ahead     = 10 * time.Second
	retryIn   = 5 * time.Second
)

// prepared is the next scheduled revision, compiled.
type prepared struct {
	number int
	files  Files
	rev    *policy.Revision
	err    error // why it cannot come into force
}

// Serve puts scheduled revisions in force within a second of their time, until ctx ends.
func (l *Live) Serve(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		l.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look compiles the next revision ahead of its time and puts it in force when that has come.
func (l *Live) look(ctx context.Context) {
	now := l.cfg.Now()
	v, soon := l.book.Load().due(now.Add(ahead))
	if !soon || now.Before(l.retry) {
		return
	}
	if l.ready == nil || l.ready.number != v.Number {
		l.ready = l.prepare(ctx, v)
	}
	if v.ActivateAt.After(now) {
		return
	}
	err := l.turn(ctx, l.ready)
	l.ready = nil
	if err != nil && ctx.Err() == nil {
		l.retry = now.Add(retryIn)
		l.cfg.Log.Error("a scheduled policy revision is not in force yet", zap.Int("revision", v.Number), zap.Error(err))
	}
}

func (l *Live) prepare(ctx context.Context, v Version) *prepared {
	p := &prepared{number: v.Number}
	if p.files, p.err = l.files(ctx, v); p.err == nil {
		p.rev, p.err = l.Candidate(ctx, p.files, v.Number)
	}
	return p
}

// turn puts a scheduled revision in force, or rejects it when it cannot be any more. An error means neither.
func (l *Live) turn(ctx context.Context, p *prepared) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	v, err := l.book.Load().version(p.number)
	if err != nil || v.Status != Scheduled {
		return err // withdrawn or overtaken in the meantime
	}
	why := p.err
	if why == nil {
		why = l.keepsIn(ctx, p.rev)
	}
	if why == nil && l.cfg.SecondPerson && v.ConfirmedBy == "" {
		why = fmt.Errorf("a second person has to confirm every change by now, and nobody has: %w", ErrState)
	}
	d := l.draft()
	if why != nil {
		return l.turnDown(ctx, d, v, why)
	}
	_, err = l.activate(ctx, identity.Principal{}, d, activation{number: p.number, files: p.files, rev: p.rev})
	return err
}

// turnDown rejects a scheduled revision when trying again would not help.
func (l *Live) turnDown(ctx context.Context, d *draft, v Version, why error) error {
	if !final(why) {
		return why
	}
	if err := d.add(step{Number: v.Number, Kind: stepRejected, By: gatewayItself, Why: clip(why.Error())}); err != nil {
		return err
	}
	l.cfg.Log.Error("a scheduled policy revision was rejected", zap.Int("revision", v.Number), zap.Error(why))
	_, err := l.answer(ctx, identity.Principal{}, "policy.rejected", d, v.Number)
	return err
}

// final tells whether a revision cannot come into force for a reason of its own.
func final(why error) bool {
	var broken *Invalid
	return errors.As(why, &broken) || errors.Is(why, ErrTampered) || errors.Is(why, ErrLockedOut) || errors.Is(why, ErrState)
}

// clip bounds a reason, at the end of a character.
func clip(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "")
}
