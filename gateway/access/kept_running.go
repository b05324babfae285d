package access

import (
	"context"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// runningAfter is how long an operation may run before its decision goes on record on its own. What ends sooner brings its
// decision along in command.run, so that the many short ones cost one event; what a crash takes within this time stands in
// the recording alone.
const runningAfter = time.Second

// keepRunning puts the decisions of what has been running for a while on record: what runs for hours can be explained
// meanwhile, and a gateway that dies leaves no decision behind that only a recording knows. It does not wait for the log,
// because the sweep that calls it has sessions to end.
func (s *Session) keepRunning(now time.Time) {
	for _, g := range s.openGrants() {
		if now.Sub(g.started) >= runningAfter && g.lasting.CompareAndSwap(false, true) {
			go g.keepOrEnd()
		}
	}
}

func (g *Grant) keepOrEnd() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.keep(ctx); err != nil {
		g.session.unrecorded(err)
	}
}

// keep puts the decision on record, unless it is there already, as command.started.
func (g *Grant) keep(ctx context.Context) error {
	g.keeping.Lock()
	defer g.keeping.Unlock()
	if g.kept {
		return nil
	}
	detail := describeOperation(g.op, g.action, g.line)
	detail["started"] = g.started.UTC()
	if err := g.append(ctx, g.session.event(recorder.ClassCommand, "command.started", recorder.OK, detail)); err != nil {
		return err
	}
	g.kept = true
	return nil
}

// finish puts the operation on record as over, with its decision's input if that is not on record yet.
func (g *Grant) finish(ctx context.Context, ev recorder.Event) error {
	g.keeping.Lock()
	defer g.keeping.Unlock()
	if err := g.append(ctx, ev); err != nil {
		return err
	}
	g.kept = true
	return nil
}

// append puts an event about the operation on record; g.keeping is held.
func (g *Grant) append(ctx context.Context, ev recorder.Event) error {
	r := g.ruled()
	if g.kept {
		r.input = nil
	}
	ev.Enforced, ev.Lease = g.label, g.lease()
	return g.session.door.append(ctx, ev, &r)
}

// ruled is the decision as it stood when it was made.
func (g *Grant) ruled() ruling {
	g.session.mu.Lock()
	defer g.session.mu.Unlock()
	return g.ruling
}

// recordEnd puts the session's end on record, with the decision that ended it if one did.
func (s *Session) recordEnd(ctx context.Context, ev recorder.Event) error {
	var r ruling
	if ended, ok := context.Cause(s.ctx).(*Ended); ok && ended.ruling != nil {
		r = *ended.ruling
	}
	return s.door.append(ctx, ev, &r)
}
