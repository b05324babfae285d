// Package replay shows what a recording holds: played in a terminal, exported as an asciicast or as text. Whatever cannot be
// read is marked where it is missing. What is shown cannot act on the terminal of whoever looks at it.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// Options of Play; the zero value plays from the start at the speed of the session.
type Options struct {
	At      time.Duration // begin here: what a terminal showed before is drawn at once, other output passed over
	Speed   float64       // 2 is twice as fast; default 1
	MaxIdle time.Duration // no pause is longer than this, before Speed; default no limit
}

// Play writes what the session showed to w, with its pauses. It returns nil at the end of the recording, also of one that
// stops without its end, and ctx's error when ctx ends.
func Play(ctx context.Context, w io.Writer, r *recorder.Reader, o Options) error {
	if o.Speed < 0 || o.At < 0 || o.MaxIdle < 0 {
		return errors.New("replay: at, speed and longest pause cannot be negative")
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	p := &player{out: w, view: newView(r.Header()), options: o, began: time.Now()}
	err := each(r, func(m moment) error { return p.show(ctx, m) })
	if p.view.terminal {
		_, resetErr := io.WriteString(w, resetTerminal)
		err = errors.Join(err, resetErr)
	}
	return err
}

// resetTerminal leaves the alternate screen, and gives cursor, colours, scroll region and keys back.
const resetTerminal = "\x1b[?1049l\x1b[?25h\x1b[?7h\x1b[?1l\x1b>\x1b[r\x1b[0m\x1b(B\r\n"

type player struct {
	out     io.Writer
	view    *view
	options Options
	began   time.Time
	due     time.Duration // since began
	last    time.Duration // offset of the moment before
}

func (p *player) show(ctx context.Context, m moment) error {
	text := p.view.render(m)
	if m.Offset < p.options.At {
		if p.view.drawn(m) {
			_, err := p.out.Write(text)
			return err
		}
		return ctx.Err()
	}
	if len(text) == 0 {
		return ctx.Err()
	}
	if err := p.wait(ctx, m.Offset); err != nil {
		return err
	}
	_, err := p.out.Write(text)
	return err
}

// wait pauses until it is offset's turn.
func (p *player) wait(ctx context.Context, offset time.Duration) error {
	gap := offset - max(p.last, p.options.At)
	p.last = offset
	if p.options.MaxIdle > 0 {
		gap = min(gap, p.options.MaxIdle)
	}
	p.due += time.Duration(float64(gap) / p.options.Speed)
	pause := p.due - time.Since(p.began)
	if pause <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// moment is an entry, or a mark that stands for entries that cannot be read.
type moment struct {
	recorder.Entry
	mark string
}

// each calls yield for every entry of r, and with a mark wherever some are missing.
func each(r *recorder.Reader, yield func(moment) error) error {
	var last time.Duration
	for {
		e, err := r.Next()
		m := moment{Entry: e}
		var damage *recorder.DamageError
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, recorder.ErrCut):
			return yield(moment{Entry: recorder.Entry{Offset: last},
				mark: "the recording stops here without its end: the session is still running, or the rest is missing"})
		case errors.As(err, &damage):
			m = moment{Entry: recorder.Entry{Offset: last}, mark: fmt.Sprintf("damaged: %v", damage)}
		case err != nil:
			return err
		default:
			last = e.Offset
		}
		if err := yield(m); err != nil {
			return err
		}
	}
}
