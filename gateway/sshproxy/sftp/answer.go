package sftp

import (
	"errors"
	"fmt"
	"io"

	"github.com/sekisho/sekisho/recorder"
)

// FromTarget carries what the target sends until it has nothing more to say (nil) or cannot go on.
func (f *Filter) FromTarget(r io.Reader) error {
	defer close(f.gone)
	buf := make([]byte, maxPacket)
	if err := f.welcome(r, buf); err != nil {
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
		if err := f.hear(p); err != nil {
			return err
		}
	}
}

// welcome passes the target's greeting on with the extensions that go through.
func (f *Filter) welcome(r io.Reader, buf []byte) error {
	p, err := readFrame(r, buf)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	d := decoder{rest: p[5:]}
	if version := d.uint32(); p.kind() != typeVersion || version != 3 {
		return fmt.Errorf("%w: the target does not speak version 3", ErrMalformed)
	}
	greeting := encoder{out: []byte{0, 0, 0, 0, typeVersion, 0, 0, 0, 3}}
	for len(d.rest) > 0 {
		name, data := string(d.bytes(256)), d.bytes(1024)
		if extensions[name] {
			greeting.str(name).str(string(data))
		}
	}
	if d.rest == nil {
		return fmt.Errorf("%w: the target's greeting", ErrMalformed)
	}
	out := greeting.frame()
	if err := f.record('t', out); err != nil {
		return err
	}
	return f.toClient(out)
}

// hear takes one answer of the target.
func (f *Filter) hear(p frame) error {
	f.mu.Lock()
	asked := f.pending[p.id()]
	delete(f.pending, p.id())
	f.mu.Unlock()
	if asked == nil {
		return fmt.Errorf("%w: the target answers what was not asked", ErrMalformed)
	}
	if asked.answer != nil {
		if p.kind() == typeStatus && len(p) < 13 {
			return fmt.Errorf("%w: a status", ErrMalformed)
		}
		asked.answer <- append(frame(nil), p...) // the buffer is used again
		return nil
	}
	q := asked.request
	if !q.answeredBy(p) {
		return fmt.Errorf("%w: the target answers type %d with type %d", ErrMalformed, q.kind, p.kind())
	}
	p.setID(q.id)
	if p.kind() == typeData {
		return f.hearData(asked, p)
	}
	code := p.status()
	switch {
	case q.kind == typeOpen || q.kind == typeOpendir:
		if err := f.opened(asked, p); err != nil {
			return err
		}
	case q.kind == typeClose:
		asked.file.close(recorder.OK, "")
	case q.kind == typeRead:
		if s := &asked.file.read; code == statusEOF && q.offset == s.next {
			s.ended = true
		}
	case q.kind == typeWrite:
		if code != statusOK {
			asked.file.failed = true
			break
		}
		<-f.slots
		return f.toClient(p)
	case asked.grant != nil:
		f.done(asked, code)
	}
	if asked.grant != nil {
		f.settle()
	}
	return f.finish(p)
}

// settle counts an operation on a path as carried out.
func (f *Filter) settle() {
	f.mu.Lock()
	f.carried--
	quiet := f.carried == 0
	f.mu.Unlock()
	if quiet {
		select {
		case f.settled <- struct{}{}:
		default: // it is told already
		}
	}
}

// answeredBy says whether an answer is of a type that can answer the request.
func (q *request) answeredBy(p frame) bool {
	want := byte(typeStatus)
	switch q.kind {
	case typeOpen, typeOpendir:
		want = typeHandle
	case typeRead:
		want = typeData
	case typeReaddir, typeRealpath, typeReadlink:
		want = typeName
	case typeStat, typeLstat, typeFstat:
		want = typeAttrs
	case typeExtended:
		if q.name == extStatvfs || q.name == extFstatvfs || q.name == extLimits {
			want = typeExtendedReply
		}
	}
	return p.kind() == typeStatus && len(p) >= 13 || p.kind() == want && want != typeStatus
}

// status is the code of a STATUS packet, statusOK for every other.
func (f frame) status() uint32 {
	if f.kind() != typeStatus {
		return statusOK
	}
	d := decoder{rest: f.body()}
	return d.uint32()
}

// hearData passes on a piece of a file, on record before it is shown.
func (f *Filter) hearData(asked *pending, p frame) error {
	d := decoder{rest: p.body()}
	data := d.bytes(maxPacket)
	if d.rest == nil || len(d.rest) > 0 || uint64(len(data)) > uint64(asked.request.length) {
		return fmt.Errorf("%w: data that was not asked for", ErrMalformed)
	}
	if !f.carries(asked.file, len(data)) {
		return f.reply(asked.request, statusFailure, tooMuch)
	}
	if err := f.keep(asked.file, &asked.file.read, 't', asked.request.offset, data); err != nil {
		return err
	}
	<-f.slots
	return f.toClient(p)
}

// opened remembers a handle, or that there is none.
func (f *Filter) opened(asked *pending, p frame) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opening--
	if p.kind() == typeStatus {
		asked.grant.End(recorder.Failed, map[string]any{"status": p.status()})
		return nil
	}
	d := decoder{rest: p.body()}
	handle := d.handle()
	if d.rest == nil || len(d.rest) > 0 || f.files[handle] != nil {
		asked.grant.End(recorder.Failed, map[string]any{"reason": "the target gave no proper handle"})
		return fmt.Errorf("%w: a handle", ErrMalformed)
	}
	q := asked.request
	f.numbers++
	f.files[handle] = &file{number: f.numbers, path: asked.path, folder: q.kind == typeOpendir, created: asked.fresh,
		reading: q.flags&flagRead != 0, writing: q.flags&flagWrite != 0, grant: asked.grant}
	if asked.fresh && len(f.created) < maxCreated {
		f.created[asked.path] = true
	}
	return nil
}

// done puts a finished operation on record and follows the files that this client made to their new names.
func (f *Filter) done(asked *pending, code uint32) {
	detail, outcome := map[string]any{}, recorder.OK
	if code != statusOK {
		outcome, detail["status"] = recorder.Failed, code
	}
	if q := asked.request; code == statusOK {
		f.mu.Lock()
		switch {
		case q.renames():
			if f.created[asked.path] {
				f.created[asked.to] = true
			} else {
				delete(f.created, asked.to)
			}
			delete(f.created, asked.path)
		case q.kind == typeRemove:
			delete(f.created, asked.path)
		}
		f.mu.Unlock()
	}
	asked.grant.End(outcome, detail)
}
