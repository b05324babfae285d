package recorder

import (
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	headEvery   = 10 * time.Second // between signed heads while entries come
	keepBuffer  = 4 << 10          // a larger buffer goes back to the pool when it has been used
	smallBuffer = 64 << 10         // from here on a buffer is taken from the pool instead of grown
	rawFrom     = queueLimit / 2   // a batch that has grown to this is stored in raw blocks
	packRate    = 16 << 20         // bytes/s: what compressing may cost a session is bounded, the rest is stored in raw blocks
	packBurst   = 32 << 20         // bytes that may come faster than that
	slowDisk    = 100e6            // bytes/s; unless the disk is slower than this: then compressing is what saves time
	bulkSync    = 1 << 20          // what is synced in pieces this large need not stay in the page cache
)

// tape is the file side of a Writer: it packs, encrypts, chains, signs, writes and syncs. It is not safe for concurrent use.
type tape struct {
	file   *os.File
	wrote  []string // the other paths that the first sync makes durable
	aead   cipher.AEAD
	signer ed25519.PrivateKey
	now    func() time.Time
	began  time.Time // Header.Started

	chain  *chain
	number uint32 // of the next record
	size   int64
	synced int64         // size at the last sync
	busy   time.Duration // spent in writing and syncing since then
	slow   bool          // the disk, not the compressor, is what holds up
	packer packer

	budget  float64 // bytes that may be compressed
	spentAt time.Time

	unsigned bool      // records follow the last head
	signedAt time.Time // monotonic: when the last head was signed, or the file begun
	head     Head
}

// newTape writes the preamble and the header record.
func newTape(file *os.File, p preamble, aead cipher.AEAD, c Config, h Header) (*tape, error) {
	start := p.encode()
	t := &tape{file: file, aead: aead, signer: c.Signer, now: c.Now, began: h.Started,
		chain: newChain(start), signedAt: time.Now(), budget: packBurst}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(text) > maxHeader {
		return nil, fmt.Errorf("the header of the recording is %d bytes of JSON; %d are possible", len(text), maxHeader)
	}
	t.packer.out = append(make([]byte, 0, keepBuffer), start...)
	record := t.reserve()
	t.packer.out = append(t.packer.out, text...)
	t.finish(record, recordHeader{kind: typeHeader, at: t.elapsed()})
	return t, t.write()
}

// store appends the batch's records; with a head when one is due.
func (t *tape) store(b *batch) error {
	t.takeBuffer(len(b.buf))
	raw := !t.slow && (len(b.buf) >= rawFrom || !t.spend(len(b.buf)))
	err := b.pieces(func(p piece) error {
		h := recordHeader{kind: typeData, at: p.at}
		if p.fresh {
			h.flags = flagFrame
			t.packer.begin(raw)
		}
		record := t.reserve()
		if err := t.packer.pack(p.entries, p.fresh); err != nil {
			return err
		}
		t.finish(record, h)
		return nil
	})
	if err != nil {
		return err
	}
	if t.unsigned && time.Since(t.signedAt) >= headEvery {
		t.sign(false)
	}
	return t.write()
}

// spend takes n bytes from what may be compressed; false when there is not so much left.
func (t *tape) spend(n int) bool {
	now := time.Now()
	t.budget = min(packBurst, t.budget+packRate*now.Sub(t.spentAt).Seconds())
	t.spentAt = now
	if t.budget < float64(n) {
		return false
	}
	t.budget -= float64(n)
	return true
}

// rest ends the frame and signs what is there, because for a while nothing may follow.
func (t *tape) rest() error {
	t.packer.rest()
	if t.unsigned {
		t.sign(false)
	}
	return t.write()
}

// resting reports whether rest would do nothing.
func (t *tape) resting() bool { return t.packer.encoder == nil && !t.unsigned }

// end signs the final head.
func (t *tape) end() error {
	t.packer.rest()
	t.sign(true)
	return t.write()
}

// sync makes everything written durable.
func (t *tape) sync() error {
	began := time.Now()
	if err := t.file.Sync(); err != nil {
		return err
	}
	for _, path := range t.wrote {
		if err := syncPath(path); err != nil {
			return err
		}
	}
	t.wrote = nil
	t.busy += time.Since(began)
	if n := t.size - t.synced; n >= bulkSync {
		t.slow = float64(n)/t.busy.Seconds() < slowDisk
		forget(t.file, t.synced, n)
	}
	t.synced, t.busy = t.size, 0
	return nil
}

// reserve leaves room for a record's header at the end of the output and returns where the record begins.
func (t *tape) reserve() int {
	start := len(t.packer.out)
	t.packer.out = append(t.packer.out, make([]byte, headerSize)...)
	return start
}

// finish encrypts and chains the record that begins at start.
func (t *tape) finish(start int, h recordHeader) {
	h.number = t.number
	t.packer.out = h.seal(t.aead, t.packer.out, start)
	t.close(start)
	t.unsigned = true
}

func (t *tape) sign(final bool) {
	h := recordHeader{kind: typeHead, number: t.number, at: t.elapsed(), length: headSize}
	if final {
		h.flags = flagFinal
	}
	sum, at := t.chain.sum, t.now()
	start := t.reserve()
	h.put(t.packer.out[start:])
	t.packer.out = appendHead(t.packer.out, h, sum, at, t.signer)
	t.head = parseHead(t.packer.out[start+headerSize:]).head(int(t.number))
	t.close(start)
	t.unsigned, t.signedAt = false, time.Now()
}

// close chains the record that begins at start and appends its check.
func (t *tape) close(start int) {
	t.packer.out = append(t.packer.out, t.chain.add(t.packer.out[start:])...)
	t.number++
}

// elapsed is how long the recording has run, by the wall clock.
func (t *tape) elapsed() time.Duration { return max(0, t.now().Sub(t.began)) }

// write puts the collected records into the file.
func (t *tape) write() error {
	if len(t.packer.out) == 0 {
		return nil
	}
	began := time.Now()
	n, err := t.file.Write(t.packer.out)
	t.size += int64(n)
	t.busy += time.Since(began)
	t.giveBuffer()
	return err
}

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, queueLimit+frameSize)
	return &b
}}

func (t *tape) takeBuffer(n int) {
	if n >= smallBuffer && cap(t.packer.out) < n {
		t.packer.out = *buffers.Get().(*[]byte)
	}
}

func (t *tape) giveBuffer() {
	t.packer.out = giveBuffer(t.packer.out)
}

// giveBuffer empties b, or returns it to the pool when it is too large to be kept by an idle session.
func giveBuffer(b []byte) []byte {
	switch {
	case cap(b) <= keepBuffer:
		return b[:0]
	case cap(b) >= queueLimit && cap(b) <= 2*queueLimit:
		b = b[:0]
		buffers.Put(&b)
	}
	return nil
}

// syncPath makes a file or a folder that was written by somebody else's handle durable.
func syncPath(path string) error {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
