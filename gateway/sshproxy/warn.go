package sshproxy

import (
	"time"

	"github.com/sekisho/sekisho/gateway/access"
)

// warnPipes is how long before the end a channel without a terminal is warned too: its stderr may be a log, in which every
// word of the gateway's is one too many.
const warnPipes = time.Minute

// warn tells everybody who uses a session that it is about to end, on record: at a terminal each warning, elsewhere the last
// one and on stderr alone, so that no pipe and no file transfer ever has a word of it.
func (c *connection) warn(w access.Warning) {
	defer c.proxy.guard("warning", func() {})
	c.mu.Lock()
	all := make([]*channel, 0, len(c.live))
	for ch := range c.live {
		all = append(all, ch)
	}
	c.mu.Unlock()
	for _, ch := range all {
		go func() {
			defer c.proxy.guard("warning", func() {})
			ch.warn(w)
		}()
	}
}

func (ch *channel) warn(w access.Warning) {
	text := notice{w.EN, w.JA}.text()
	ch.replying.Lock()
	defer ch.replying.Unlock()
	switch {
	case ch.closed || !ch.asked:
	case ch.onscreen:
		ch.tell("\n" + text) // whatever stands in the line is not ours
	case w.Left <= warnPipes:
		ch.tell(text)
	}
}
