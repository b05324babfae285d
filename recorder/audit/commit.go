package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sekisho/sekisho/recorder"
)

const (
	maxCommit   = 1024 // events
	maxBytes    = 4 << 20
	signEvery   = 10 * time.Second
	segmentSize = 64 << 20
)

// run is the commit loop: everything that came while one commit was synced goes into the next.
func (l *Log) run() {
	defer close(l.done)
	for {
		select {
		case r := <-l.requests:
			l.commit(l.gather(r))
		case <-l.timer.C:
			l.signing = false
			_ = l.locked(func() error { return l.signAll(false) }) // what fails is tried again
			l.schedule()
		case <-l.quit:
			l.finish()
			return
		}
	}
}

// gather takes what waits, up to the size of a commit.
func (l *Log) gather(r *request) []*request {
	batch := []*request{r}
	for size := r.size(); len(batch) < maxCommit && size < maxBytes; {
		select {
		case r := <-l.requests:
			batch = append(batch, r)
			size += r.size()
		default:
			return batch
		}
	}
	return batch
}

// finish commits what is left and closes the log.
func (l *Log) finish() {
	for {
		select {
		case r := <-l.requests:
			l.commit(l.gather(r))
			continue
		default:
		}
		break
	}
	l.timer.Stop()
	err := l.broken
	if err == nil {
		err = l.locked(func() error { return l.signAll(true) })
	}
	if err = errors.Join(err, l.release()); err != nil {
		l.closeErr = fmt.Errorf("closing the audit log: %w", err)
	}
}

// locked runs f while no verifier takes the sizes of the files.
func (l *Log) locked(f func() error) error {
	if err := flock(l.commits, syscall.LOCK_EX); err != nil {
		return err
	}
	return errors.Join(f(), flock(l.commits, syscall.LOCK_UN))
}

// commit stores a batch and answers each request. A batch is stored whole or not at all.
func (l *Log) commit(batch []*request) {
	if l.broken != nil {
		answer(batch, l.broken)
		return
	}
	d := l.draft()
	batch = slices.DeleteFunc(batch, func(r *request) bool {
		err := d.place(r)
		if err != nil {
			answer([]*request{r}, err)
		}
		return err != nil
	})
	err := l.locked(func() error {
		if err := l.catchUp(); err != nil {
			return err
		}
		if err := l.store(d); err != nil {
			return err
		}
		l.apply(d)
		answer(batch, nil)
		_ = l.catchUp() // if it fails, nothing more is stored until it has been done
		return nil
	})
	if err != nil {
		answer(batch, err)
	}
	l.schedule()
}

// answer replies to every request of batch.
func answer(batch []*request, err error) {
	for _, r := range batch {
		res := result{event: r.event}
		if err != nil {
			res.err = fmt.Errorf("recording event %s: %w", r.event.Kind, err)
		}
		select {
		case r.reply <- res:
		default: // replied to already: stored, and only the unlocking failed
		}
	}
}

// draft is a commit that is not stored yet.
type draft struct {
	log     *Log
	vendors map[string]vendorState // those that changed
	parts   map[recorder.Class]*part
}

// part is what a commit adds to one class.
type part struct {
	lines  []byte
	events uint64
	sum    chainSum
}

func (l *Log) draft() *draft {
	return &draft{log: l, vendors: map[string]vendorState{}, parts: map[recorder.Class]*part{}}
}

// place gives the event its id, its time and its place in both chains.
func (d *draft) place(r *request) error {
	e := r.event
	e.V, e.At, e.Table = eventVersion, d.log.now().UTC(), e.Class.Table()
	id, err := d.log.newID(e.At)
	if err != nil {
		return err
	}
	e.ID, e.VSeq, e.VPrev = id, 0, ""
	if e.Vendor != "" {
		before, ok := d.vendors[e.Vendor]
		if !ok {
			before = d.log.vendors[e.Vendor]
		}
		e.VSeq, e.VPrev = before.seq+1, before.prev()
	}
	line, err := encode(e, r.detail)
	if err != nil {
		return err
	}
	if e.Vendor != "" {
		d.vendors[e.Vendor] = link{vseq: e.VSeq}.next(line)
	}
	d.part(e.Class).add(line)
	r.event = e
	return nil
}

func (d *draft) part(class recorder.Class) *part {
	p, ok := d.parts[class]
	if !ok {
		p = &part{sum: d.log.segments[class].sum}
		d.parts[class] = p
	}
	return p
}

func (p *part) add(line []byte) {
	start := len(p.lines)
	p.lines = append(append(p.lines, line...), '\n')
	p.sum.add(p.lines[start:])
	p.events++
}

// newID is a ULID that is greater than those before it, as long as the clock does not go back.
func (l *Log) newID(at time.Time) (string, error) {
	id, err := ulid.New(ulid.Timestamp(at), l.entropy)
	if errors.Is(err, ulid.ErrMonotonicOverflow) { // 2^79 ids in a millisecond, or a very unlucky start
		l.entropy = ulid.Monotonic(rand.Reader, 0)
		id, err = ulid.New(ulid.Timestamp(at), l.entropy)
	}
	return id.String(), err
}

// store writes and syncs a draft; when that fails, what was written is taken back.
func (l *Log) store(d *draft) error {
	for class := range d.parts {
		if err := l.roll(class); err != nil {
			return err
		}
	}
	for class, p := range d.parts {
		if _, err := l.segments[class].lines.Write(p.lines); err != nil {
			return errors.Join(err, l.takeBack(d))
		}
	}
	for class := range d.parts {
		if err := l.segments[class].lines.Sync(); err != nil {
			// What a failed sync leaves on the disk nobody knows: only reading it again, at the next start, tells.
			l.broken = err
			return err
		}
	}
	return nil
}

// takeBack cuts off what store has written.
func (l *Log) takeBack(d *draft) error {
	var errs []error
	for class := range d.parts {
		s := l.segments[class]
		errs = append(errs, s.lines.Truncate(s.bytes))
	}
	if err := errors.Join(errs...); err != nil {
		l.broken = err
		return err
	}
	return nil
}

// apply makes a stored draft the state of the log.
func (l *Log) apply(d *draft) {
	for vendor, state := range d.vendors {
		l.vendors[vendor] = state
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for class, p := range d.parts {
		s := l.segments[class]
		s.seq, s.sum = s.seq+p.events, p.sum
		s.bytes += int64(len(p.lines))
		s.unmarked, s.unsigned = true, true
		l.ready[class] = place{segment: s.number, offset: s.bytes}
	}
}

// catchUp writes the marks that are due.
func (l *Log) catchUp() error {
	for _, s := range l.segments {
		if !s.unmarked {
			continue
		}
		if err := s.writeHeads(appendHeadLine(nil, s.head(), nil)); err != nil {
			return fmt.Errorf("writing a mark: %w", err)
		}
		s.unmarked = false
	}
	return nil
}

// signAll signs a head in every class that has events which none covers; with closed in every class.
func (l *Log) signAll(closed bool) error {
	var errs []error
	for _, s := range l.segments {
		if s.unsigned || closed {
			errs = append(errs, l.sign(s, closed))
		}
	}
	return errors.Join(errs...)
}

// sign writes a signed head and makes it durable with all the marks before it.
func (l *Log) sign(s *segment, closed bool) error {
	h := s.head()
	h.V, h.Class, h.Segment, h.Closed = headVersion, s.class, s.number, closed
	h.At, h.Signer = l.now().UTC(), hex.EncodeToString(l.signer.Public().(ed25519.PublicKey))
	if err := s.writeHeads(appendHeadLine(nil, h, l.signer)); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	s.unmarked, s.unsigned = false, false
	return s.heads.Sync()
}

// roll begins another segment of a class whose segment is full.
func (l *Log) roll(class recorder.Class) error {
	s := l.segments[class]
	if s.bytes < l.segmentSize {
		return nil
	}
	if err := l.sign(s, true); err != nil {
		return err
	}
	next, err := createSegment(l.dir, segment{class: class, number: s.number + 1, seq: s.seq, sum: s.sum})
	if err != nil {
		return err
	}
	if err := l.sign(&next, false); err != nil {
		return errors.Join(err, next.close())
	}
	l.segments[class] = &next
	return s.close()
}

// schedule sets the timer for the next signed heads.
func (l *Log) schedule() {
	if l.signing {
		return
	}
	for _, s := range l.segments {
		if s.unsigned {
			l.signing = true
			l.timer.Reset(signEvery)
			return
		}
	}
}
