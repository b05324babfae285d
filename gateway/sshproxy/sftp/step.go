package sftp

import (
	"errors"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// step is an operation on a path that waits for the target to say what the path is, and then for the door.
type step struct {
	request  *request
	from, to lookup     // to is not asked about when the request has one name
	path     chan frame // REALPATH of from
	other    chan frame // REALPATH of to
	there    chan frame // LSTAT of the name that would be made, to tell whether it is new
}

// queue has the target resolve the request's paths and lines the step up. The questions are all sent at once; the door
// hears about the steps in the order in which the client sent them.
func (f *Filter) queue(q *request) error {
	s := &step{request: q}
	var ok bool
	switch {
	case q.kind == typeSymlink:
		// OpenSSH: what the link says, then its name. What it says is followed only by who opens it, which is decided then.
		s.from, ok = lookupOf(q.to, false)
	case q.renames() || q.name == extHardlink:
		s.from, ok = lookupOf(q.path, false)
		if ok {
			s.to, ok = lookupOf(q.to, false)
		}
	default:
		s.from, ok = lookupOf(q.path, q.follows())
	}
	if !ok {
		return f.reply(q, statusNoSuchFile, "no such file")
	}
	if err := f.lookUp(s); err != nil {
		return err
	}
	select {
	case f.steps <- s:
	case <-f.gone:
	}
	return nil
}

func (f *Filter) lookUp(s *step) error {
	s.path = make(chan frame, 1)
	if err := f.ask(&pending{answer: s.path}, packet(typeRealpath, 0).str(s.from.ask).frame()); err != nil {
		return err
	}
	made := ""
	switch q := s.request; {
	case q.renames() || q.name == extHardlink:
		s.other = make(chan frame, 1)
		if err := f.ask(&pending{answer: s.other}, packet(typeRealpath, 0).str(s.to.ask).frame()); err != nil {
			return err
		}
		made = q.to
	case q.creates():
		made = q.path
	}
	if made == "" {
		return nil
	}
	s.there = make(chan frame, 1)
	return f.ask(&pending{answer: s.there}, packet(typeLstat, 0).str(made).frame())
}

// decideAll carries out the steps in order.
func (f *Filter) decideAll() error {
	var failed error
	for s := range f.steps {
		if failed != nil {
			continue
		}
		failed = f.decide(s)
	}
	return failed
}

// errGone says that the target will not answer any more.
var errGone = errors.New("the target has closed the transfer")

// decide resolves one step, asks the door and passes the request on, or answers it.
func (f *Filter) decide(s *step) error {
	q := s.request
	path, refused, err := f.resolve(s.from, s.path)
	if err != nil || refused != nil {
		return f.unresolved(q, refused, err)
	}
	var to string
	if s.other != nil {
		if to, refused, err = f.resolve(s.to, s.other); err != nil || refused != nil {
			return f.unresolved(q, refused, err)
		}
	}
	fresh, err := f.isNew(s.there)
	if err != nil {
		return err
	}
	f.mu.Lock()
	own := q.renames() && fresh && f.created[path]
	full := len(f.files)+f.opening >= maxFiles
	f.mu.Unlock()
	if full && (q.kind == typeOpen || q.kind == typeOpendir) {
		return f.reply(q, statusFailure, "too many open files; close some")
	}
	op := q.operation(path, to, own)
	op.Channel = f.cfg.Channel
	if q.kind == typeSymlink {
		op.To = q.path
	}
	grant, err := f.authorize(f.ctx, op)
	if refusal, ok := errors.AsType[*access.Refusal](err); ok {
		f.cfg.Explain(refusal)
		return f.reply(q, statusPermissionDenied, refusal.Error())
	}
	if err != nil {
		return err
	}
	return f.pass(q, &pending{request: q, path: path, to: to, grant: grant, fresh: fresh})
}

// pass sends the target what was granted, on the resolved paths.
func (f *Filter) pass(q *request, p *pending) error {
	if q.kind == typeOpen || q.kind == typeOpendir {
		f.mu.Lock()
		f.opening++
		f.mu.Unlock()
	}
	first, second := p.path, p.to
	if q.kind == typeSymlink {
		first, second = q.path, p.path
	}
	err := f.ask(p, q.encode(0, first, second))
	if err != nil {
		p.grant.End(recorder.Lost, map[string]any{"reason": "the target has gone"})
	}
	return err
}

// unresolved answers a request whose path the target cannot resolve with the target's own status.
func (f *Filter) unresolved(q *request, refused frame, err error) error {
	if err != nil {
		return err
	}
	refused.setID(q.id)
	return f.finish(refused)
}

// resolve waits for the target to say what a path is; refused is its status when it cannot.
func (f *Filter) resolve(l lookup, answer <-chan frame) (path string, refused frame, err error) {
	reply, err := f.await(answer)
	if err != nil {
		return "", nil, err
	}
	if reply.kind() == typeStatus {
		return "", reply, nil
	}
	real, ok := onlyName(reply)
	if ok {
		path, ok = l.resolve(real)
	}
	if !ok {
		return "", status(0, statusFailure, "the target does not say what this path is"), nil
	}
	return path, nil, nil
}

// isNew waits for the target to say whether a name is free; nil is a name that does not matter.
func (f *Filter) isNew(answer <-chan frame) (bool, error) {
	if answer == nil {
		return false, nil
	}
	reply, err := f.await(answer)
	if err != nil || reply.kind() != typeStatus {
		return false, err
	}
	d := decoder{rest: reply.body()}
	return d.uint32() == statusNoSuchFile, nil
}

func (f *Filter) await(answer <-chan frame) (frame, error) {
	select {
	case reply := <-answer:
		return reply, nil
	case <-f.gone:
	case <-f.ctx.Done():
	}
	select {
	case reply := <-answer:
		return reply, nil
	default:
		return nil, errGone
	}
}

// onlyName is the one name of a NAME packet that answers REALPATH.
func onlyName(reply frame) (string, bool) {
	if reply.kind() != typeName {
		return "", false
	}
	d := decoder{rest: reply.body()}
	if d.uint32() != 1 {
		return "", false
	}
	name := d.path()
	return name, d.rest != nil && d.problem == "" && name != ""
}
