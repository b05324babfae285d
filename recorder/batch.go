package recorder

import "time"

const frameAge = 60 * time.Second // a frame that spans this much is closed

// batch is a run of accepted entries in their stored form, with the places where a new frame begins.
type batch struct {
	buf  []byte
	at   time.Duration // offset of the first entry
	cuts []cut
}

// worstSize bounds what the batch takes in the file.
func (b *batch) worstSize() int64 {
	if len(b.buf) == 0 {
		return 0
	}
	return worstEntry(len(b.buf)) + int64(len(b.cuts))*worstRecord
}

// worstRecord bounds what a record, its frame's header and a head after it add.
const worstRecord = 512

// worstEntry bounds what n bytes of entries take in the file as a record of their own.
func worstEntry(n int) int64 { return int64(n) + int64(n)>>7 + worstRecord }

// cut is the place in a batch where a frame begins.
type cut struct {
	pos int
	at  time.Duration
}

// piece is a part of a batch that lies in one frame.
type piece struct {
	entries []byte
	at      time.Duration
	fresh   bool // begins the frame
}

// pieces calls yield for each part of b that lies in one frame, in order.
func (b *batch) pieces(yield func(piece) error) error {
	p := piece{at: b.at}
	start := 0
	for _, c := range b.cuts {
		if p.entries = b.buf[start:c.pos]; len(p.entries) > 0 {
			if err := yield(p); err != nil {
				return err
			}
		}
		p, start = piece{at: c.at, fresh: true}, c.pos
	}
	if p.entries = b.buf[start:]; len(p.entries) > 0 {
		return yield(p)
	}
	return nil
}

// framer decides, entry by entry, where frames begin, and keeps offsets from ever decreasing.
type framer struct {
	open  bool
	fill  int           // bytes in the open frame
	began time.Duration // offset of its first entry
	last  time.Duration // offset of the last entry
}

// add appends e to b.
func (f *framer) add(b *batch, e Entry) {
	e.Offset = max(e.Offset.Truncate(time.Microsecond), f.last)
	if len(b.buf) == 0 {
		b.at = e.Offset
	}
	before := f.last
	if !f.open || f.fill >= frameSize || e.Offset-f.began >= frameAge {
		b.cuts = append(b.cuts, cut{pos: len(b.buf), at: e.Offset})
		*f = framer{open: true, began: e.Offset}
		before = 0
	}
	start := len(b.buf)
	b.buf = appendEntry(b.buf, e, before)
	f.fill += len(b.buf) - start
	f.last = e.Offset
}

// close ends the open frame: the next entry begins another.
func (f *framer) close() { f.open = false }
