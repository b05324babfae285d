package recorder

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"filippo.io/age"
)

// CommitMode says what it means that Write has returned.
type CommitMode uint8

const (
	// Interval: the entry is accepted, and on disk and synced within 1 s.
	Interval CommitMode = iota
	// BeforeShow: the entry is on disk and synced.
	BeforeShow
)

const (
	queueLimit = 1 << 20                // accepted bytes that wait to be stored; beyond it Write waits
	flushDelay = 700 * time.Millisecond // from the first accepted entry to write and sync; leaves 300 ms for them
	restDelay  = 10 * time.Second       // a session without entries for this long closes its frame and signs
)

// Config says where recordings are kept and how they are sealed. All fields but Commit and Now are required.
type Config struct {
	Dir       string             // made when it is missing
	Recipient age.Recipient      // who can read: wraps each recording's key
	Signer    ed25519.PrivateKey // whom verifiers trust
	Commit    CommitMode
	Now       func() time.Time // wall clock of the signatures; default time.Now
}

// Writer records one session. Its methods may be called from several goroutines; entries are kept in the order in
// which Write accepted them.
type Writer struct {
	session string
	mode    CommitMode
	tape    *tape // owned by the running store loop, of which there is at most one
	failed  chan error
	timer   *time.Timer

	mu       sync.Mutex
	changed  sync.Cond // queue taken, entries synced, failure, end
	framer   framer
	queue    batch
	spare    []byte    // a small buffer for the next queue
	room     room      // of tape.file
	stored   int64     // tape.size after the last batch
	inFlight int64     // what the batch being stored takes in the file at worst
	waiting  int       // Writes that wait for the queue
	dirty    time.Time // when the oldest entry that is not synced was accepted; zero when there is none
	touched  time.Time // when the last batch was stored
	accepted uint64    // entries
	synced   uint64    // entries
	running  bool      // the store loop runs
	err      error     // the first failure: no more entries are accepted
	broken   bool      // the file itself failed: nothing more is stored
	refused  int64     // bytes that were not accepted because the disk is full
	closing  bool
	ended    bool // the store loop has done its last
	head     Head
	done     chan struct{} // closed when the file is
}

// Create starts a recording. When it fails nothing is left behind and no session may open.
func Create(c Config, h Header) (*Writer, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	if !validSession(h.Session) {
		return nil, fmt.Errorf("opening recording: %q is not a session id", h.Session)
	}
	if h.Started.IsZero() {
		h.Started = c.Now()
	}
	h.Started = h.Started.UTC()
	t, r, err := createFiles(c, h)
	if err != nil {
		return nil, fmt.Errorf("opening recording %s: %w", h.Session, err)
	}
	w := &Writer{session: h.Session, mode: c.Commit, tape: t, room: r, stored: t.size, touched: time.Now(),
		failed: make(chan error, 1), done: make(chan struct{})}
	w.changed.L = &w.mu
	w.timer = time.AfterFunc(time.Hour, w.tick)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.soil()
	return w, nil
}

func (c *Config) complete() error {
	switch {
	case c.Dir == "":
		return errors.New("opening recording: no folder is configured")
	case c.Recipient == nil:
		return errors.New("opening recording: no recipient is configured that could read it")
	case len(c.Signer) != ed25519.PrivateKeySize:
		return errors.New("opening recording: no signing key is configured")
	case c.Commit > BeforeShow:
		return errors.New("opening recording: unknown commit mode")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// createFiles makes key and recording, and takes both away again when one fails.
func createFiles(c Config, h Header) (*tape, room, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, room{}, err
	}
	key, wrapped, err := newKey(c.Recipient)
	if err != nil {
		return nil, room{}, err
	}
	path := Path(c.Dir, h.Session)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, room{}, err
	}
	r := room{file: file}
	t, err := startTape(file, c, h, key, wrapped, &r)
	if err != nil {
		file.Close()
		os.Remove(path)
		os.Remove(KeyPath(path))
		return nil, room{}, err
	}
	return t, r, nil
}

func startTape(file *os.File, c Config, h Header, key, wrapped []byte, r *room) (*tape, error) {
	keyPath := KeyPath(file.Name())
	if err := r.ensure(worstEntry(maxHeader)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(keyPath, wrapped, 0o600); err != nil {
		return nil, err
	}
	aead, commitment := derive(key, h.Session)
	p := preamble{session: h.Session, signer: c.Signer.Public().(ed25519.PublicKey), commitment: commitment}
	t, err := newTape(file, p, aead, c, h)
	if err != nil {
		return nil, err
	}
	t.wrote = []string{keyPath, filepath.Dir(keyPath)}
	return t, nil
}

// Write accepts e: with Interval it is in bounded memory, has its place on the disk reserved and is synced within 1 s;
// with BeforeShow it is synced already. It waits while the queue is full, so that the target is read no faster than can
// be recorded. After an error nothing may be shown: no later entry is accepted either. An Offset less than the last
// entry's is raised to it.
func (w *Writer) Write(e Entry) error {
	if len(e.Data) > MaxData {
		return fmt.Errorf("recording %s: %w", w.session, ErrTooLarge)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	size := len(e.Data) + maxEntryHeader
	for len(w.queue.buf) > 0 && len(w.queue.buf)+size > queueLimit && w.open() == nil {
		w.waiting++
		w.start()
		w.changed.Wait()
		w.waiting--
	}
	if err := w.open(); err != nil {
		w.refused += int64(len(e.Data))
		return err
	}
	if err := w.room.ensure(w.stored + w.inFlight + w.queue.worstSize() + worstEntry(size)); err != nil {
		w.refused += int64(len(e.Data))
		w.fail(err)
		return w.err
	}
	w.accept(e)
	if w.mode == Interval {
		return nil
	}
	return w.await(w.accepted)
}

// Err delivers the first failure at once, so that a session without output ends too. It is closed without one when the
// recording is closed whole.
func (w *Writer) Err() <-chan error { return w.failed }

// Head is the last signed head: after Close the final one, which the audit log keeps.
func (w *Writer) Head() Head {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head
}

// Close stores what was accepted, then the end entry with reason and the final head, and closes the file. An error means
// that the recording on disk is not whole; a full disk alone is none, since room for the end is kept. Closing again
// returns the same.
func (w *Writer) Close(reason string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closing {
		w.closing = true
		w.writeEnd(reason)
		w.changed.Broadcast()
		w.start()
	}
	for !w.ended {
		w.changed.Wait()
	}
	<-w.done
	if w.broken {
		return w.err
	}
	return nil
}

// open is nil while entries are accepted.
func (w *Writer) open() error {
	switch {
	case w.err != nil:
		return w.err
	case w.closing:
		return fmt.Errorf("recording %s: %w", w.session, ErrClosed)
	}
	return nil
}

func (w *Writer) accept(e Entry) {
	w.queue.buf = w.growQueue(len(e.Data) + maxEntryHeader)
	w.framer.add(&w.queue, e)
	w.accepted++
	w.soil()
	if len(w.queue.buf) >= frameSize || w.mode == BeforeShow {
		w.start()
	}
}

// soil notes that something is not synced yet.
func (w *Writer) soil() {
	if !w.dirty.IsZero() {
		return
	}
	w.dirty = time.Now()
	if !w.running {
		w.timer.Reset(flushDelay)
	}
}

func (w *Writer) growQueue(n int) []byte {
	b := w.queue.buf
	if b == nil {
		b, w.spare = w.spare, nil
	}
	if need := len(b) + n; need > cap(b) && need > smallBuffer && need <= queueLimit {
		return append(*buffers.Get().(*[]byte), b...)
	}
	return b
}

// await waits until the first n entries are synced.
func (w *Writer) await(n uint64) error {
	for w.synced < n && !w.broken {
		w.changed.Wait()
	}
	if w.synced >= n {
		return nil
	}
	return w.err
}

// writeEnd accepts the last entries of the recording; closingRoom is kept for them.
func (w *Writer) writeEnd(reason string) {
	if w.broken {
		return
	}
	at := max(w.framer.last, w.tape.elapsed())
	if w.refused > 0 {
		w.accept(noteEntry(KindGap, at, GapNote{Reason: "disk full", Bytes: w.refused}))
	}
	w.accept(noteEntry(KindEnd, at, EndNote{Reason: reason[:min(len(reason), 1024)]}))
}

func noteEntry(kind Kind, at time.Duration, note any) Entry {
	data, err := json.Marshal(note)
	if err != nil {
		panic(err) // strings and numbers
	}
	return Entry{Offset: at, Kind: kind, Data: data}
}

// fail keeps the first failure and tells whoever listens.
func (w *Writer) fail(err error) {
	if w.err != nil {
		return
	}
	w.err = fmt.Errorf("recording %s: %w", w.session, err)
	w.failed <- w.err
	close(w.failed)
	w.changed.Broadcast()
}
