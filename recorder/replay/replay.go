// Package replay shows what a recording holds: played in a terminal, exported as an asciicast or as text. Whatever cannot be
// read is marked where it is missing. What is shown cannot act on the terminal of whoever looks at it.
package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/sekisho/sekisho/recorder"
)

// entries calls yield for every entry of r, and with a gap wherever some cannot be read. The error is recorder.ErrCut when
// the recording has no end.
func entries(r *recorder.Reader, yield func(recorder.Entry) error) error {
	var last time.Duration
	for {
		e, err := r.Next()
		var damage *recorder.DamageError
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &damage):
			data, marshalErr := json.Marshal(recorder.GapNote{Reason: "damaged: " + damage.Error(), Bytes: damage.Length})
			if marshalErr != nil {
				return marshalErr
			}
			e = recorder.Entry{Offset: last, Kind: recorder.KindGap, Data: data}
		case err != nil:
			return err
		}
		last = e.Offset
		if err := yield(e); err != nil {
			return err
		}
	}
}

// note says in words what an entry that is no output stands for; "" for one that needs no words.
func note(e recorder.Entry) string {
	switch e.Kind {
	case recorder.KindStart:
		var op recorder.Operation
		if json.Unmarshal(e.Data, &op) == nil {
			return visible(strings.TrimSpace(op.Kind + " " + op.Command))
		}
	case recorder.KindExit:
		var exit recorder.ExitStatus
		if json.Unmarshal(e.Data, &exit) == nil && exit.Status != nil {
			return fmt.Sprintf("exit %d", *exit.Status)
		}
		return visible("killed by SIG" + exit.Signal)
	case recorder.KindExchange:
		var x recorder.Exchange
		if json.Unmarshal(e.Data, &x) == nil && !x.Open {
			return visible(fmt.Sprintf("%s %s: %d in %d ms %s", x.Method, x.URL, x.Status, x.DurationMS, x.Error))
		}
	case recorder.KindGap:
		var gap recorder.GapNote
		if json.Unmarshal(e.Data, &gap) == nil {
			return visible(fmt.Sprintf("gap: %s (%d bytes)", gap.Reason, gap.Bytes))
		}
	case recorder.KindEnd:
		var end recorder.EndNote
		if json.Unmarshal(e.Data, &end) == nil {
			return visible("end: " + end.Reason)
		}
	}
	return ""
}

// visible is s without what could act on a terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
