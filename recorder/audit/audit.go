// Package audit keeps the events of the monitoring table (R-1…R-5): one hash-chained, signed, append-only file per class,
// so that nobody can change, drop or reorder an event unseen (FORMAT.md). An event that Append has returned is on disk.
package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sekisho/sekisho/recorder"
)

// Errors that callers branch on.
var (
	ErrClosed = errors.New("the audit log is closed")
	// ErrCorrupted: what stands in the log is not what was written. It is not written to any more.
	ErrCorrupted = errors.New("the audit log does not verify")
)

// Config says where the log is kept and who signs it. Dir and Signer are required.
type Config struct {
	Dir    string             // made when it is missing
	Signer ed25519.PrivateKey // whom verifiers trust
	Now    func() time.Time   // time of events and signatures; default time.Now
}

// Log is an audit log that this process writes. Its methods may be called from several goroutines.
type Log struct {
	dir      string
	signer   ed25519.PrivateKey
	now      func() time.Time
	owner    *os.File // holds the lock
	commits  *os.File // locked during a commit
	requests chan *request
	quit     chan struct{} // closed by Close
	done     chan struct{} // closed when the last head is signed
	closing  sync.Once
	closeErr error // set before done is closed

	mu    sync.Mutex
	ready map[recorder.Class]place // up to where events may be read

	// Owned by the commit loop.
	segments map[recorder.Class]*segment
	vendors  map[string]vendorState
	entropy  *ulid.MonotonicEntropy
	broken   error // nothing can be written any more
	timer    *time.Timer
	signing  bool // the timer runs: heads wait for their signature

	segmentSize int64 // a segment that has this many bytes is full
}

// request is an event on its way into the log.
type request struct {
	event  recorder.Event
	detail json.RawMessage
	reply  chan result // holds one
}

// size is about how many bytes its line will have.
func (r *request) size() int { return len(r.detail) + len(r.event.Input) }

type result struct {
	event recorder.Event
	err   error
}

// Open opens the log, or begins one. After a crash it goes on behind the last whole event; half a commit is moved aside and
// an event says so. A log that was changed is refused (ErrCorrupted), one that another process writes to as well (ErrLocked).
func Open(c Config) (*Log, error) {
	if c.Dir == "" || len(c.Signer) != ed25519.PrivateKeySize {
		return nil, errors.New("opening the audit log: a folder and a signing key are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	l := &Log{dir: c.Dir, signer: c.Signer, now: c.Now, requests: make(chan *request, maxCommit),
		quit: make(chan struct{}), done: make(chan struct{}), ready: map[recorder.Class]place{},
		segments: map[recorder.Class]*segment{}, entropy: ulid.Monotonic(rand.Reader, 0), timer: time.NewTimer(time.Hour),
		segmentSize: segmentSize}
	if err := l.open(); err != nil {
		l.release()
		return nil, fmt.Errorf("opening the audit log %s: %w", c.Dir, err)
	}
	return l, nil
}

func (l *Log) open() error {
	for _, class := range recorder.Classes {
		if err := os.MkdirAll(filepath.Join(l.dir, string(class)), 0o700); err != nil {
			return err
		}
	}
	err := syncDir(l.dir)
	if err != nil {
		return err
	}
	if l.owner, err = lockOwner(filepath.Join(l.dir, ownerLock)); err != nil {
		return err
	}
	if l.commits, err = os.OpenFile(filepath.Join(l.dir, commitLock), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	lost, err := l.recover()
	if err != nil {
		return err
	}
	if err := l.signAll(false); err != nil {
		return err
	}
	for class, s := range l.segments {
		l.ready[class] = place{segment: s.number, offset: s.bytes}
	}
	l.timer.Stop()
	go l.run()
	for _, e := range lost {
		if _, err := l.Append(context.Background(), e); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	return nil
}

// Append puts e into its class's log and returns it as stored: with V, ID, At, Table, VSeq and VPrev. It returns when the
// event is on disk. When ctx ends first, the event may have been stored or not. An error means that the event is not on
// record, so what it stands for must not happen.
func (l *Log) Append(ctx context.Context, e recorder.Event) (recorder.Event, error) {
	r, err := newRequest(e)
	if err != nil {
		return e, fmt.Errorf("recording event %s: %w", e.Kind, err)
	}
	select {
	case l.requests <- r:
	case <-ctx.Done():
		return e, ctx.Err()
	case <-l.quit:
		return e, ErrClosed
	}
	select {
	case res := <-r.reply:
		return res.event, res.err
	case <-ctx.Done():
		return e, ctx.Err()
	case <-l.done: // the loop may have answered just before
	}
	select {
	case res := <-r.reply:
		return res.event, res.err
	default:
		return e, ErrClosed
	}
}

func newRequest(e recorder.Event) (*request, error) {
	switch {
	case e.Class.Table() == "":
		return nil, fmt.Errorf("class %q does not exist", e.Class)
	case e.Kind == "":
		return nil, errors.New("it has no kind")
	}
	switch e.Outcome {
	case recorder.OK, recorder.Refused, recorder.Pending, recorder.Failed, recorder.Lost:
	default:
		return nil, fmt.Errorf("outcome %q does not exist", e.Outcome)
	}
	detail, err := encodeDetail(e.Detail)
	if err != nil {
		return nil, err
	}
	return &request{event: e, detail: detail, reply: make(chan result, 1)}, nil
}

// Close stores what was appended before it, signs every class's closing head and lets go of the log.
func (l *Log) Close() error {
	l.closing.Do(func() { close(l.quit) })
	<-l.done
	return l.closeErr
}

// release closes every file.
func (l *Log) release() error {
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.close())
	}
	for _, f := range []*os.File{l.commits, l.owner} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
