// Package sftp stands between an SFTP client and the SFTP server of a target. It reads every packet of version 3, asks the
// door about each operation on the path as the target itself resolves it, answers refusals, and puts what passes on record:
// operations and their answers as packets, the contents of files as pieces. Reading and writing open files is pipelined as
// if nothing stood between.
//
// What the label `wire` leaves open is a race: between the moment a target says what a path is and the moment it carries the
// operation out on that path, about one round trip, somebody else on the target (another session, a program there) may put a
// link in the place of a folder. One connection cannot do it to itself, because its operations on paths take turns. Closing
// the rest takes the guard on the target. A file system that takes two spellings for one name (upper and lower case, Unicode
// forms) has paths that no rule for one spelling covers; write such rules for the folder above.
package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// Limits of what one client can have going on.
const (
	maxOutstanding = 1024  // requests without an answer
	maxFiles       = 1024  // open handles
	maxCreated     = 10000 // files made by this client, remembered for renaming them
)

// Bodies says how many bytes of each file's contents a recording keeps.
type Bodies int64

// The usual choices.
const (
	Hash   Bodies = 0        // nothing but sizes and hashes
	Capped Bodies = 16 << 20 // 16 MiB: the default
	Full   Bodies = 1<<63 - 1
)

// ParseBodies reads the configuration's word: capped (also ""), full or hash.
func ParseBodies(word string) (Bodies, error) {
	switch word {
	case "", "capped":
		return Capped, nil
	case "full":
		return Full, nil
	case "hash":
		return Hash, nil
	}
	return 0, fmt.Errorf("%q, want capped, full or hash", word)
}

// Config is what a Filter is made of. Every field without "optional" is required.
type Config struct {
	// Authorize asks the door. An *access.Refusal is answered to the client; any other error ends the transfer.
	Authorize func(ctx context.Context, op access.Operation) (*access.Grant, error)
	// Record puts an entry of this channel on record; nothing is passed on that it does not take.
	Record func(kind recorder.Kind, data []byte) error
	// Explain tells the person why something was refused: most clients show no more than "Permission denied".
	Explain func(refusal *access.Refusal)
	Channel uint32    // in the recording
	Client  io.Writer // toward the client
	Target  io.Writer // toward the target
	Bodies  Bodies
	// OpenSSH says that the target's server is OpenSSH's, whose SYMLINK has its names the other way round than the draft's.
	// Links are made on no other, because which name they get would be a guess.
	OpenSSH bool
}

// granted is an operation that was allowed; it ends once.
type granted interface {
	MaxBytes() int64 // how many one transfer may carry, 0 for any number
	End(outcome recorder.Outcome, detail map[string]any)
}

// Filter is one SFTP connection. FromClient and FromTarget run at the same time, Close after both.
type Filter struct {
	cfg       Config
	ctx       context.Context
	authorize func(ctx context.Context, op access.Operation) (granted, error)

	sending [2]sync.Mutex // toward client and target: packets do not mix
	steps   chan *request // path operations in the order they came
	walk    walk          // of the goroutine that decides them
	slots   chan struct{} // one for each request of the client without an answer
	gone    chan struct{} // closed when the target has nothing more to say
	settled chan struct{} // tells that carried became 0

	mu      sync.Mutex // guards the fields below
	ids     uint32     // of requests toward the target: all are the gateway's own, so that a client cannot confuse them
	pending map[uint32]*pending
	opening int
	carried int // path operations that the target was asked to carry out and has not answered
	files   map[string]*file
	numbers uint32
	created map[string]bool
	moved   int64 // bytes of contents, both ways
}

// New makes a filter whose decisions end with ctx.
func New(ctx context.Context, cfg Config) *Filter {
	f := &Filter{
		cfg: cfg, ctx: ctx,
		authorize: func(ctx context.Context, op access.Operation) (granted, error) {
			grant, err := cfg.Authorize(ctx, op)
			if err != nil {
				return nil, err
			}
			return grant, nil
		},
		steps: make(chan *request, maxOutstanding), slots: make(chan struct{}, maxOutstanding), gone: make(chan struct{}),
		settled: make(chan struct{}, 1),
		pending: make(map[uint32]*pending), files: make(map[string]*file), created: make(map[string]bool),
	}
	f.walk.ask = f.question
	return f
}

// pending is a request that the target has not answered yet.
type pending struct {
	request *request   // of the client, with its own id; nil when the gateway asks
	answer  chan frame // where the gateway waits
	file    *file      // of an operation on a handle
	path    string     // resolved
	to      string     // resolved
	grant   granted    // nil for operations on a handle
	fresh   bool       // open: the file was not there before
}

const (
	towardClient = iota
	towardTarget
)

func (f *Filter) toClient(p frame) error { return f.send(towardClient, f.cfg.Client, p) }

func (f *Filter) toTarget(p frame) error { return f.send(towardTarget, f.cfg.Target, p) }

func (f *Filter) send(way int, w io.Writer, p frame) error {
	f.sending[way].Lock()
	defer f.sending[way].Unlock()
	_, err := w.Write(p)
	return err
}

// ask registers p, gives packet its id and sends it to the target.
func (f *Filter) ask(p *pending, packet frame) error {
	f.mu.Lock()
	f.ids++
	id := f.ids
	f.pending[id] = p
	f.mu.Unlock()
	packet.setID(id)
	return f.toTarget(packet)
}

// reply answers the client in the target's stead.
func (f *Filter) reply(q *request, code uint32, words string) error {
	return f.finish(status(q.id, code, words))
}

// finish sends the client the answer to one of its requests, on record before it is shown.
func (f *Filter) finish(p frame) error {
	if err := f.record('t', p); err != nil {
		return err
	}
	<-f.slots
	return f.toClient(p)
}

// record puts a packet on record: one byte for who sent it (c client, t target or the gateway for it), then the packet
// without its length.
func (f *Filter) record(who byte, p frame) error {
	return f.cfg.Record(recorder.KindPacket, append([]byte{who}, p[4:]...))
}

// FromClient carries what the client sends until it has nothing more to say (nil) or cannot go on.
func (f *Filter) FromClient(r io.Reader) error {
	deciding := make(chan error, 1)
	go func() { deciding <- f.decideAll() }()
	err := f.readRequests(r)
	close(f.steps)
	return errors.Join(err, <-deciding)
}

func (f *Filter) readRequests(r io.Reader) error {
	buf := make([]byte, maxPacket)
	if err := f.begin(r, buf); err != nil {
		return err
	}
	for {
		p, err := readFrame(r, buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		q, err := parseRequest(p)
		if err != nil {
			return err
		}
		select {
		case f.slots <- struct{}{}:
		case <-f.gone:
			return nil
		}
		if err := f.take(&q, p); err != nil {
			return err
		}
	}
}

// begin passes the client's greeting on: version 3 and no extensions, whatever it offers.
func (f *Filter) begin(r io.Reader, buf []byte) error {
	p, err := readFrame(r, buf)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	d := decoder{rest: p[5:]}
	if version := d.uint32(); p.kind() != typeInit || d.rest == nil || version < 3 {
		return fmt.Errorf("%w: it does not begin with version 3", ErrMalformed)
	}
	if err := f.record('c', p); err != nil {
		return err
	}
	return f.toTarget(frame{0, 0, 0, 5, typeInit, 0, 0, 0, 3})
}

// take does what one request needs.
func (f *Filter) take(q *request, p frame) error {
	if q.kind != typeRead && q.kind != typeWrite {
		if err := f.record('c', p); err != nil {
			return err
		}
	}
	switch {
	case q.problem != "":
		return f.reply(q, statusFailure, q.problem)
	case q.kind == typeExtended && !extensions[q.name]:
		return f.reply(q, statusUnsupported, "this extension is not available")
	case q.kind == typeSymlink && !f.cfg.OpenSSH:
		return f.reply(q, statusUnsupported, "links cannot be made on this target")
	case q.name == extLimits, q.kind == typeRealpath && (q.path == "." || q.path == ""):
		// What the server can take, and where it begins, are no secret.
		return f.ask(&pending{request: q}, p)
	case q.what() != "":
		f.queue(q)
		return nil
	}
	return f.useHandle(q, p)
}

// useHandle passes on an operation on a handle, which was decided when the handle was opened.
func (f *Filter) useHandle(q *request, p frame) error {
	f.mu.Lock()
	open := f.files[q.handle]
	if open != nil && q.kind == typeClose {
		delete(f.files, q.handle)
	}
	f.mu.Unlock()
	switch {
	case open == nil:
		return f.reply(q, statusFailure, "no such handle")
	case q.kind == typeRead && !open.reading, q.kind == typeWrite && !open.writing, q.kind == typeReaddir && !open.folder,
		q.name == extFsync && !open.writing:
		return f.reply(q, statusPermissionDenied, "it was not opened for that")
	case q.kind == typeFsetstat && !open.writing:
		return f.reply(q, statusPermissionDenied, "it was not opened for writing")
	case q.kind == typeWrite && !f.carries(open, len(q.data)):
		return f.reply(q, statusFailure, tooMuch)
	case q.kind == typeWrite:
		if err := f.keep(open, &open.written, 'c', q.offset, q.data); err != nil {
			return err
		}
		q.data = nil // the packet's memory is used again
	}
	return f.ask(&pending{request: q, file: open}, p)
}

const tooMuch = "no more may be transferred: the policy's max_bytes"

// carries says whether policy lets so many more bytes through, and counts them.
func (f *Filter) carries(open *file, n int) bool {
	limit := open.grant.MaxBytes()
	f.mu.Lock()
	defer f.mu.Unlock()
	if limit > 0 && f.moved+int64(n) > limit {
		return false
	}
	f.moved += int64(n)
	return true
}

// keep counts a piece of a file's contents and puts it on record as far as bodies are kept: one byte for who sent it, the
// file's number in this channel (4 bytes), the offset (8 bytes), the bytes.
func (f *Filter) keep(open *file, s *stream, who byte, offset uint64, data []byte) error {
	s.take(offset, data)
	room := max(0, int64(f.cfg.Bodies)-s.kept)
	piece := data[:min(int64(len(data)), room)]
	if len(piece) < len(data) {
		s.cut = true
	}
	if len(piece) == 0 {
		return nil
	}
	s.kept += int64(len(piece))
	entry := encoder{out: append(make([]byte, 0, 13+len(piece)), who)}
	entry.uint32(open.number).uint32(uint32(offset >> 32)).uint32(uint32(offset)).raw(piece)
	return f.cfg.Record(recorder.KindFile, entry.out)
}

// Close puts what is still open on record; reason says why it was not closed.
func (f *Filter) Close(outcome recorder.Outcome, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, open := range f.files {
		open.close(outcome, reason)
	}
	for _, p := range f.pending {
		switch {
		case p.grant != nil:
			p.grant.End(outcome, map[string]any{"reason": reason})
		case p.request != nil && p.request.kind == typeClose:
			p.file.close(outcome, reason)
		}
	}
	clear(f.files)
	clear(f.pending)
}
