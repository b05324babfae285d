package main

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/recorder"
)

// longestPause is the longest a replay waits where nothing happened.
const longestPause = 2 * time.Second

// play writes what was shown on screen at the pace it was shown, from at on.
func play(ctx context.Context, out io.Writer, entries iter.Seq2[console.Entry, error], at time.Duration, speed float64) error {
	view := newScreen(out)
	defer view.Close()
	last := at
	for e, err := range entries {
		if err != nil {
			return err
		}
		offset := time.Duration(e.OffsetMS) * time.Millisecond
		if !shown(e.Kind) {
			continue
		}
		if speed > 0 && offset > last {
			pause := min(time.Duration(float64(offset-last)/speed), longestPause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		last = max(last, offset)
		data := e.Base64
		if e.Text != "" {
			data = []byte(e.Text)
		}
		if _, err := view.Write(data); err != nil {
			return err
		}
	}
	return nil
}

// shown tells whether an entry was on the contractor's screen.
func shown(kind recorder.Kind) bool {
	return kind == recorder.KindOutput || kind == recorder.KindStderr || kind == recorder.KindNotice
}
