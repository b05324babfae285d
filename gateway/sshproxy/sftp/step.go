package sftp

import (
	"errors"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// queue lines an operation on a path up for the one goroutine that decides. A path is looked at when its turn has come, not
// before: an operation ahead of it, or one on another connection, may make another file of it.
func (f *Filter) queue(q *request) {
	select {
	case f.steps <- q:
	case <-f.gone:
	}
}

// decideAll carries out the steps in order.
func (f *Filter) decideAll() error {
	var failed error
	for q := range f.steps {
		if failed == nil {
			failed = f.decide(q)
		}
	}
	return failed
}

// errGone says that the target will not answer any more.
var errGone = errors.New("the target has closed the transfer")

// decide resolves what one request is about, asks the door and passes the request on, or answers it. What gives names to
// files waits for every operation before it and is waited for, because servers may carry out several at once.
func (f *Filter) decide(q *request) error {
	if q.moves() {
		if err := f.quiet(); err != nil {
			return err
		}
	}
	from, to, refused, err := f.resolve(q)
	if err != nil {
		return err
	}
	if refused != nil {
		refused.setID(q.id)
		return f.finish(refused)
	}
	f.mu.Lock()
	own := q.renames() && to.missing && f.created[from.path]
	full := len(f.files)+f.opening >= maxFiles
	f.mu.Unlock()
	if full && (q.kind == typeOpen || q.kind == typeOpendir) {
		return f.reply(q, statusFailure, "too many open files; close some")
	}
	op := q.operation(from, to, own)
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
	fresh := q.creates() && from.missing
	err = f.pass(q, &pending{request: q, path: from.path, to: to.path, grant: grant, fresh: fresh})
	if err == nil && q.moves() {
		return f.quiet()
	}
	return err
}

// resolve has the target say what the names of a request are.
func (f *Filter) resolve(q *request) (from, to place, refused frame, err error) {
	name := q.path
	if q.kind == typeSymlink { // OpenSSH: what the link says, then its name
		name = q.to
	}
	from, refused, err = f.walk.to(name, q.follows())
	if refused == nil && err == nil && (q.renames() || q.name == extHardlink) {
		to, refused, err = f.walk.to(q.to, false)
	}
	return from, to, refused, err
}

// quiet waits until the target has answered every operation on a path.
func (f *Filter) quiet() error {
	for {
		f.mu.Lock()
		idle := f.carried == 0
		f.mu.Unlock()
		if idle {
			return nil
		}
		select {
		case <-f.settled:
		case <-f.gone:
			return errGone
		case <-f.ctx.Done():
			return errGone
		}
	}
}

// pass sends the target what was granted, on the resolved paths.
func (f *Filter) pass(q *request, p *pending) error {
	f.mu.Lock()
	f.carried++
	if q.kind == typeOpen || q.kind == typeOpendir {
		f.opening++
	}
	f.mu.Unlock()
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

// question has the target answer what the gateway wants to know, all at once.
func (f *Filter) question(questions []frame) ([]frame, error) {
	waiting := make([]chan frame, len(questions))
	for i, q := range questions {
		waiting[i] = make(chan frame, 1)
		if err := f.ask(&pending{answer: waiting[i]}, q); err != nil {
			return nil, err
		}
	}
	answers := make([]frame, len(questions))
	for i := range waiting {
		answer, err := f.await(waiting[i])
		if err != nil {
			return nil, err
		}
		answers[i] = answer
	}
	return answers, nil
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
