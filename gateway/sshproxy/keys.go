package sshproxy

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

const (
	// unechoed stands in the recording for a stretch of typing that the terminal did not show: a password, say. It is always
	// as long as this, whatever was typed.
	unechoed = "••••••••"

	// echoTime is how long the terminal may take to show what was typed.
	echoTime = time.Second

	// echoRoom is how many bytes the target may write for each key until what was typed has come back among them. In more
	// than that anything can be found.
	echoRoom = 64

	// maxUnseen bounds what waits for its echo, in bytes.
	maxUnseen = 4 << 10
)

// keys puts what a person types at a terminal on record: at once where it goes into a line editor, otherwise when it has come
// back in the output, and masked when it does not within a second. It errs on the side of masking: the keys of a program
// that draws something else for them are masked, too.
type keys struct {
	channel *channel
	waits   atomic.Bool // something waits for its echo

	mu      sync.Mutex // guards the fields below; held while recording, so that keys keep their order
	unseen  []byte     // typed, and not on record
	found   int        // of these, how many have come back
	around  int        // bytes of output since unseen began
	overdue *time.Timer
	failed  error
}

func newKeys(ch *channel) *keys { return &keys{channel: ch} }

// typed takes a piece of input. editing says that a line editor reads it, up to its first Enter.
func (k *keys) typed(data []byte, editing bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if editing {
		n := bytes.IndexAny(data, "\r\n") + 1
		if n == 0 {
			n = len(data)
		}
		k.settle()
		k.record(data[:n])
		data = data[n:]
	}
	if len(data) == 0 {
		return k.failed
	}
	if len(k.unseen) == 0 {
		k.waits.Store(true)
		k.overdue = time.AfterFunc(echoTime, k.expire)
	}
	k.unseen = append(k.unseen, data...)
	k.skip()
	if len(k.unseen) > maxUnseen {
		k.settle()
	}
	return k.failed
}

// shown takes a piece of output.
func (k *keys) shown(data []byte) {
	if !k.waits.Load() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.around += len(data)
	if k.around > echoRoom*(len(k.unseen)+1) {
		return
	}
	for _, b := range data {
		if k.found < len(k.unseen) && b == k.unseen[k.found] {
			k.found++
			k.skip()
		}
	}
	if k.found == len(k.unseen) {
		k.settle()
	}
}

// skip passes over control characters, which come back as something else or not at all. Alone they give nothing away.
func (k *keys) skip() {
	for k.found < len(k.unseen) && isControl(k.unseen[k.found]) {
		k.found++
	}
}

func isControl(b byte) bool { return b < 0x20 || b == 0x7f }

func (k *keys) expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
}

// settle puts what is unseen on record, masked from the line on that did not come back whole.
func (k *keys) settle() {
	if k.overdue != nil {
		k.overdue.Stop()
		k.overdue = nil
	}
	if len(k.unseen) == 0 {
		return
	}
	hidden := 0
	if k.found == len(k.unseen) {
		hidden = len(k.unseen)
	} else if i := bytes.LastIndexAny(k.unseen[:k.found], "\r\n"); i >= 0 {
		hidden = i + 1
	}
	k.record(append(k.unseen[:hidden:hidden], masked(k.unseen[hidden:])...))
	k.unseen, k.found, k.around = nil, 0, 0
	k.waits.Store(false)
}

// masked leaves the control characters, and one mask for each stretch between them.
func masked(data []byte) (out []byte) {
	for i, b := range data {
		switch {
		case isControl(b):
			out = append(out, b)
		case i == 0 || isControl(data[i-1]):
			out = append(out, unechoed...)
		}
	}
	return out
}

func (k *keys) record(data []byte) {
	if err := k.channel.record(recorder.KindInput, data); err != nil {
		k.failed = errors.Join(k.failed, err)
	}
}

// close puts the rest on record when nothing more is shown.
func (k *keys) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
}

// carryKeys starts the pumps of something with a terminal that is not asked about each line; replying is held.
func (ch *channel) carryKeys() {
	ch.greet()
	k := newKeys(ch)
	ch.move(func() {
		pump(ch.upstream, func(data []byte) error {
			if err := ch.record(recorder.KindOutput, data); err != nil {
				return err
			}
			k.shown(data)
			_, err := ch.client.Write(data)
			return err
		})
		k.close()
	}, func() {
		pump(ch.keys, func(data []byte) error {
			if err := k.typed(data, false); err != nil {
				return err
			}
			_, err := ch.upstream.Write(data)
			return err
		})
	})
}
