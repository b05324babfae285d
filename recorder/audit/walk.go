package audit

import (
	"crypto/ed25519"

	"github.com/sekisho/sekisho/recorder"
)

// walk goes over all classes at once, in an order in which every event comes after its vendor's event before it.
type walk struct {
	cursors []*cursor // in the order of recorder.Classes
	vendors map[string]vendorState
}

func newWalk(dir string, trusted ed25519.PublicKey, limits map[string]int64, every bool, find func(Finding)) (*walk, error) {
	w := &walk{vendors: map[string]vendorState{}}
	for _, class := range recorder.Classes {
		c, err := newCursor(dir, class, trusted, limits, every, find)
		if err != nil {
			w.close()
			return nil, err
		}
		w.cursors = append(w.cursors, c)
	}
	return w, nil
}

func (w *walk) close() {
	for _, c := range w.cursors {
		c.close()
	}
}

// run walks to the end.
func (w *walk) run() error {
	for {
		moved, waiting, err := w.advance()
		if err != nil || len(waiting) == 0 && !moved {
			return err
		}
		if !moved {
			w.force(waiting)
		}
	}
}

// advance takes every line whose turn it is; waiting are the cursors whose next line has to wait for another class.
func (w *walk) advance() (moved bool, waiting []*cursor, err error) {
	for _, c := range w.cursors {
		for {
			s, err := c.peek()
			if err != nil {
				return moved, nil, err
			}
			if s == nil {
				break
			}
			if !w.fits(s.link) {
				waiting = append(waiting, c)
				break
			}
			w.take(c, s)
			moved = true
		}
	}
	return moved, waiting, nil
}

func (w *walk) fits(l link) bool {
	if l.vendor == "" {
		return l.vseq == 0 && l.vprev == ""
	}
	return w.vendors[l.vendor].follows(l)
}

func (w *walk) take(c *cursor, s *stored) {
	if s.vendor != "" {
		w.vendors[s.vendor] = s.next(s.line)
	}
	c.take()
}

// force resolves that every class waits for another. If no head vouches for one of these lines, it is a part of a commit
// that did not reach the disk whole. Otherwise the line before it is missing or was changed.
func (w *walk) force(waiting []*cursor) {
	first := waiting[0]
	for _, c := range waiting {
		if !c.queue[0].marked {
			c.tear()
			return
		}
		if c.queue[0].id < first.queue[0].id {
			first = c
		}
	}
	s := &first.queue[0]
	had := w.vendors[s.vendor]
	switch {
	case s.vendor == "" || s.vseq <= had.seq:
		first.report(FaultSwapped, segmentFile(s.at.segment), s.at.line, s.at.offset, int64(len(s.line))+1,
			"class %s, segment %d, line %d: event %d of vendor %q stands behind its event %d",
			s.class, s.at.segment, s.at.line, s.vseq, s.vendor, had.seq)
	case s.vseq > had.seq+1:
		first.report(FaultMissing, segmentFile(s.at.segment), s.at.line, s.at.offset, 0,
			"vendor %q: the events between %d and %d are missing (before class %s, segment %d, line %d)",
			s.vendor, had.seq, s.vseq, s.class, s.at.segment, s.at.line)
	default:
		first.report(FaultDamaged, segmentFile(s.at.segment), s.at.line, s.at.offset, int64(len(s.line))+1,
			"vendor %q: event %d is not the one that its event %d (class %s, segment %d, line %d) was written after",
			s.vendor, had.seq, s.vseq, s.class, s.at.segment, s.at.line)
	}
	w.take(first, s)
}
