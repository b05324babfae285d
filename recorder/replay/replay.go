// Package replay shows what a recording holds: played in a terminal, exported as an asciicast or as text. What cannot be read
// is marked where it is missing. What is shown cannot act on the terminal of whoever looks at it.
package replay

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// Options of Play; the zero value shows everything without waiting.
type Options struct {
	At      time.Duration // wait only from here on: what was shown before is drawn at once
	Speed   float64       // 1 as it was, 2 twice as fast, 0 without waiting
	MaxIdle time.Duration // no pause is longer than this, before Speed; 0 is no limit
}

// Entries gives the entries of r, with a gap in place of what cannot be read. Its last error is recorder.ErrCut when the
// recording has no end.
func Entries(r *recorder.Reader) iter.Seq2[recorder.Entry, error] {
	return func(yield func(recorder.Entry, error) bool) {
		var last time.Duration
		for {
			e, err := r.Next()
			var damage *recorder.DamageError
			if errors.As(err, &damage) {
				e, err = gapFor(damage, last), nil
			}
			if err == io.EOF || !yield(e, err) || err != nil {
				return
			}
			last = e.Offset
		}
	}
}

func gapFor(damage *recorder.DamageError, at time.Duration) recorder.Entry {
	data, err := json.Marshal(recorder.GapNote{Reason: "damaged: " + damage.Error(), Bytes: damage.Length})
	if err != nil {
		panic(err) // a string and a number
	}
	return recorder.Entry{Offset: at, Kind: recorder.KindGap, Data: data}
}

// Play writes what was shown to w at its pace, and where it stands in words: which command began and how it ended, HTTP
// exchanges, gaps. It returns the first error of entries, after what came before it, or ctx's when ctx ends.
func Play(ctx context.Context, w io.Writer, entries iter.Seq2[recorder.Entry, error], o Options) error {
	if o.Speed < 0 || o.At < 0 || o.MaxIdle < 0 {
		return errors.New("replay: offset, speed and longest pause are never negative")
	}
	p := &player{out: w, view: newView(), options: o, began: time.Now()}
	err := p.play(ctx, entries)
	_, closing := w.Write(p.view.close())
	return errors.Join(err, closing)
}

type player struct {
	out     io.Writer
	view    *view
	options Options
	began   time.Time
	due     time.Duration // since began: when the next entry is shown
	last    time.Duration // offset of the last entry shown
}

func (p *player) play(ctx context.Context, entries iter.Seq2[recorder.Entry, error]) error {
	for e, err := range entries {
		if err != nil {
			return err
		}
		drawn := p.view.draw(e)
		if len(drawn) == 0 {
			continue
		}
		if err := p.wait(ctx, e.Offset); err != nil {
			return err
		}
		if _, err := p.out.Write(drawn); err != nil {
			return err
		}
	}
	return nil
}

// wait pauses until it is offset's turn.
func (p *player) wait(ctx context.Context, offset time.Duration) error {
	gap := max(0, offset-max(p.last, p.options.At))
	p.last = max(p.last, offset)
	if p.options.Speed == 0 || gap == 0 {
		return ctx.Err()
	}
	if p.options.MaxIdle > 0 {
		gap = min(gap, p.options.MaxIdle)
	}
	p.due += time.Duration(float64(gap) / p.options.Speed)
	t := time.NewTimer(max(0, p.due-time.Since(p.began)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
