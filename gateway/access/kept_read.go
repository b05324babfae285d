package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// contextAge is how long before an event the context it names may stand: a day, and time to spare around midnight.
const contextAge = 26 * time.Hour

// Progress tells how much of the log a reading has behind it, in bytes. It may be called while the reading goes on.
type Progress func() (done, total int64)

// History yields in batches what was decided from since on and before until, each class in the order in which it went on
// record. A zero until is now. Who asks must be allowed gateway.policy.simulate.
func (d *Door) History(ctx context.Context, by identity.Principal, since, until time.Time) (iter.Seq2[[]policy.Kept, error], Progress, error) {
	if err := d.Act(ctx, by, "gateway.policy.simulate", ""); err != nil {
		return nil, nil, err
	}
	if until.IsZero() {
		until = d.cfg.Now()
	}
	h, err := d.history(since, until)
	if err != nil {
		return nil, nil, err
	}
	return h.all(ctx), func() (int64, int64) { return h.done.Load(), h.total }, nil
}

func (d *Door) history(since, until time.Time) (*history, error) {
	h := &history{since: since, until: until}
	for _, class := range recorder.Classes {
		r, err := d.cfg.Audit.Read(class, since.Add(-contextAge))
		if err != nil {
			h.close()
			return nil, err
		}
		h.total += r.Size()
		h.readings = append(h.readings, r)
	}
	return h, nil
}

// history reads what stands in the log of every class.
type history struct {
	since, until time.Time
	readings     []*audit.Reading
	done         atomic.Int64
	total        int64
}

func (h *history) close() {
	for _, r := range h.readings {
		r.Close()
	}
}

func (h *history) all(ctx context.Context) iter.Seq2[[]policy.Kept, error] {
	return func(yield func([]policy.Kept, error) bool) {
		defer h.close()
		for _, r := range h.readings {
			if !h.class(ctx, r, yield) {
				return
			}
		}
	}
}

// page is a block of the log on its way through a worker.
type page struct {
	block []byte
	out   chan decoded // holds one
}

// decoded is what a block holds.
type decoded struct {
	page    page
	entries []entry
	err     error
}

// entry is a decision whose context has still to be found, or a context.
type entry struct {
	kept    policy.Kept
	input   policy.Input // without what the context holds
	ref     string
	context *keptContext
	at      time.Time // of a context
}

// class reads one class: workers take its blocks apart, and what they find is put together in the order of the log, in which
// a context comes before what names it. It reports whether more is wanted.
func (h *history) class(ctx context.Context, r *audit.Reading, yield func([]policy.Kept, error) bool) bool {
	ctx, cancel := context.WithCancel(ctx)
	workers := max(2, runtime.GOMAXPROCS(0))
	blocks, order, free := make(chan page), make(chan page, 2*workers), make(chan []byte, 4*workers)
	failed := make(chan error, 1)
	go func() {
		defer close(order)
		defer close(blocks)
		failed <- deal(ctx, r, blocks, order, free)
	}()
	defer func() { // the reading is let go of only when nobody reads
		cancel()
		for range order {
		}
	}()
	for range workers {
		go func() {
			var dec decoder
			for p := range blocks {
				p.out <- dec.decode(p)
			}
		}()
	}
	known := newKnown()
	for p := range order {
		found := <-p.out
		batch, err := h.assemble(found, known)
		h.done.Add(int64(len(p.block)))
		select {
		case free <- p.block:
		default:
		}
		if err != nil {
			yield(nil, err)
			return false
		}
		if len(batch) > 0 && !yield(batch, nil) {
			return false
		}
	}
	if err := <-failed; err != nil {
		yield(nil, err)
		return false
	}
	return true
}

// deal hands blocks to the workers and notes their order.
func deal(ctx context.Context, r *audit.Reading, blocks, order chan<- page, free <-chan []byte) error {
	for {
		var buf []byte
		select {
		case buf = <-free:
		default:
		}
		block, err := r.Next(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p := page{block: block, out: make(chan decoded, 1)}
		for _, to := range []chan<- page{blocks, order} {
			select {
			case to <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// assemble gives the decisions of a block their contexts.
func (h *history) assemble(found decoded, known *known) ([]policy.Kept, error) {
	if found.err != nil {
		return nil, found.err
	}
	batch := make([]policy.Kept, 0, len(found.entries))
	for i := range found.entries {
		e := &found.entries[i]
		if e.context != nil {
			known.add(e.ref, e.context, e.at)
			continue
		}
		if e.kept.At.Before(h.since) || !e.kept.At.Before(h.until) {
			continue
		}
		c := known.get(e.ref)
		if c == nil {
			return nil, fmt.Errorf("decision %s: its context %s is not in the audit log", e.kept.ID, e.ref)
		}
		c.fill(&e.input)
		e.kept.Input = &e.input
		batch = append(batch, e.kept)
	}
	return batch, nil
}

// fill puts the context into an input.
func (c *keptContext) fill(in *policy.Input) {
	in.Person, in.Vendor, in.Parents, in.Auth, in.Source = c.Person, c.Vendor, c.Parents, c.Auth, c.Source
	in.Target, in.Time.Zone, in.BreakGlass = c.Target, c.Zone, c.BreakGlass
}

// known are the contexts of the day that is read and of the one before.
type known struct {
	day            time.Time
	today, earlier map[string]*keptContext
}

func newKnown() *known { return &known{today: map[string]*keptContext{}} }

func (k *known) add(ref string, c *keptContext, at time.Time) {
	if day := at.UTC().Truncate(24 * time.Hour); day.After(k.day) {
		k.day, k.earlier, k.today = day, k.today, map[string]*keptContext{}
	}
	k.today[ref] = c
}

func (k *known) get(ref string) *keptContext {
	if c := k.today[ref]; c != nil {
		return c
	}
	return k.earlier[ref]
}

// decoder takes blocks apart. It remembers actions, because people do the same things again and again.
type decoder struct {
	actions map[string]policy.Action
	size    int // bytes of the actions' JSON
}

// maxRemembered bounds the actions a decoder remembers, in bytes of their JSON.
const maxRemembered = 8 << 20

func (dec *decoder) decode(p page) decoded {
	found := decoded{page: p, entries: make([]entry, 0, bytes.Count(p.block, []byte("\n")))}
	for line, err := range audit.DecidedIn(p.block) {
		if err == nil {
			found.entries = append(found.entries, entry{})
			err = dec.entry(line, &found.entries[len(found.entries)-1])
		}
		if err != nil {
			found.err = err
			return found
		}
	}
	return found
}

// entry reads one line into e.
func (dec *decoder) entry(line audit.Decided, e *entry) error {
	if line.Context != nil {
		e.ref, e.at, e.context = line.Ref, line.At, &keptContext{}
		if err := json.Unmarshal(line.Context, e.context); err != nil {
			return fmt.Errorf("context %s: %w", line.Ref, err)
		}
		return nil
	}
	e.kept = policy.Kept{ID: string(line.ID), Session: string(line.Session), Revision: line.Revision}
	k, err := dec.input(line.Input)
	if err != nil {
		return fmt.Errorf("the input of decision %s: %w", line.ID, err)
	}
	e.ref = k.Context
	e.kept.At, e.kept.Effect, e.kept.Capped = k.Now, k.Effect, len(k.Capped) > 0
	e.input.Action, e.input.Time.Now, e.input.Leases = k.Action, k.Now, k.Leases
	return nil
}

// input reads a keptInput. What is written as the door writes it is cut into its members at their names, which stand nowhere
// else unescaped; anything else is parsed in full.
func (dec *decoder) input(object []byte) (keptInput, error) {
	if k, ok := dec.cut(object); ok {
		return k, nil
	}
	var k keptInput
	err := json.Unmarshal(object, &k)
	return k, err
}

func (dec *decoder) cut(object []byte) (k keptInput, ok bool) {
	context, rest, ok1 := between(object, `{"context":"`, `","action":`)
	action, rest, ok2 := between(rest, "", `,"now":"`)
	now, rest, ok3 := between(rest, "", `"`)
	leases, rest, ok4 := between(rest, "", `,"effect":"`)
	effect, rest, ok5 := between(rest, "", `"`)
	if !(ok1 && ok2 && ok3 && ok4 && ok5) || string(rest) != "}" {
		return k, false
	}
	var err error
	if list, ok := bytes.CutPrefix(leases, []byte(`,"leases":`)); ok && json.Unmarshal(list, &k.Leases) != nil || !ok && len(leases) > 0 {
		return k, false
	}
	if k.Now, err = time.Parse(time.RFC3339Nano, string(now)); err != nil || k.Effect.UnmarshalText(effect) != nil {
		return k, false
	}
	k.Context = string(context)
	k.Action, ok = dec.action(action)
	return k, ok
}

// between cuts b after a beginning that it must have and before the next end.
func between(b []byte, begin, end string) (part, rest []byte, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte(begin))
	if !ok {
		return nil, nil, false
	}
	return bytes.Cut(b, []byte(end))
}

func (dec *decoder) action(object []byte) (policy.Action, bool) {
	if a, ok := dec.actions[string(object)]; ok {
		return a, true
	}
	a, ok := cutAction(object)
	if !ok && json.Unmarshal(object, &a) != nil {
		return a, false
	}
	if dec.actions == nil || dec.size > maxRemembered {
		dec.actions, dec.size = map[string]policy.Action{}, 0
	}
	dec.actions[string(object)] = a
	dec.size += len(object)
	return a, true
}

// cutAction reads an action written as the door writes it, in which nothing had to be escaped.
func cutAction(object []byte) (a policy.Action, ok bool) {
	if bytes.IndexByte(object, '\\') >= 0 {
		return a, false
	}
	text := string(object) // which the action's strings share
	next := func(begin, end string) (part string) {
		rest, found := strings.CutPrefix(text, begin)
		if !found {
			return ""
		}
		part, text, _ = strings.Cut(rest, end)
		return part
	}
	a.Protocol = next(`{"protocol":"`, `"`)
	a.Operation = next(`,"operation":"`, `"`)
	a.Command = next(`,"command":"`, `"`)
	a.Opaque = next(`,"opaque":`, `e`) == "tru"
	if rest, found := strings.CutPrefix(text, `,"needs":[`); found {
		text = "," + rest
		for strings.HasPrefix(text, `,{"right":"`) {
			n := policy.Need{Right: policy.Right(next(`,{"right":"`, `"`))}
			n.Resource = next(`,"resource":"`, `"}`)
			a.Needs = append(a.Needs, n)
		}
		next(`]`, ``)
	}
	return a, text == "}"
}

// KeptDecision returns one decision of the past and, where something other than policy refused it (Capped), the ids of the
// reasons. ErrNotFound when it is not on record. Who asks must be allowed gateway.policy.explain.
func (d *Door) KeptDecision(ctx context.Context, by identity.Principal, id string) (policy.Kept, []string, error) {
	if err := d.Act(ctx, by, "gateway.policy.explain", legible(id, 64)); err != nil {
		return policy.Kept{}, nil, err
	}
	at, err := decidedAt(id)
	if err != nil {
		return policy.Kept{}, nil, fmt.Errorf("%q is no decision id, d- and 26 characters: %w", legible(id, 64), ErrNotFound)
	}
	// An event follows its decision within seconds, so a look around that time finds it; the clock may have been set, though.
	for _, within := range []stretch{{at.Add(-lookBefore), at.Add(lookAfter)}, {}} {
		for _, class := range recorder.Classes {
			kept, caps, err := d.keptIn(ctx, class, within, id)
			if err != nil || kept.ID != "" {
				return kept, caps, err
			}
		}
	}
	return policy.Kept{}, nil, fmt.Errorf("decision %s is not on record with what it was made of: %w; only what opened, was refused, "+
		"ran or ended a session is, not a look that was allowed", id, ErrNotFound)
}

// Where the event of a decision is looked for first, around the decision's time.
const (
	lookBefore = time.Minute
	lookAfter  = 10 * time.Minute
)

// stretch is a stretch of time; zero times do not limit it.
type stretch struct{ since, until time.Time }

// decidedAt is the time in a decision's id.
func decidedAt(id string) (time.Time, error) {
	if len(id) < 2 || id[:2] != "d-" {
		return time.Time{}, errors.New("it does not begin with d-")
	}
	u, err := ulid.ParseStrict(id[2:])
	return u.Timestamp(), err
}

// keptIn looks for a decision in one class; the zero Kept when it is not there.
func (d *Door) keptIn(ctx context.Context, class recorder.Class, within stretch, id string) (policy.Kept, []string, error) {
	var dec decoder
	var e entry
	var caps []string
	mark := []byte(`"` + id + `"`)
	err := d.scan(ctx, class, within, mark, func(line audit.Decided) (bool, error) {
		if string(line.ID) != id || line.Input == nil {
			return false, nil
		}
		k, err := dec.input(line.Input)
		if err != nil {
			return false, fmt.Errorf("the input of decision %s: %w", id, err)
		}
		caps = k.Capped
		return true, dec.entry(line, &e)
	})
	if err != nil || e.kept.ID == "" {
		return policy.Kept{}, nil, err
	}
	// The context stands before the event, but on the decision's day only if the operation was short.
	c, err := d.context(ctx, class, e.kept.At, e.ref)
	if err != nil {
		return policy.Kept{}, nil, fmt.Errorf("decision %s: %w", id, err)
	}
	c.fill(&e.input)
	e.kept.Input = &e.input
	return e.kept, caps, nil
}

// context looks for a context that something on record at that time names.
func (d *Door) context(ctx context.Context, class recorder.Class, at time.Time, ref string) (*keptContext, error) {
	var dec decoder
	var e entry
	for _, within := range []stretch{{since: at.Add(-contextAge)}, {}} {
		err := d.scan(ctx, class, within, []byte(`"sha256":"`+ref+`"`), func(line audit.Decided) (bool, error) {
			if line.Ref != ref {
				return false, nil
			}
			return true, dec.entry(line, &e)
		})
		if err != nil || e.context != nil {
			return e.context, err
		}
	}
	return nil, fmt.Errorf("its context %s is not in the audit log", ref)
}

// scan hands the decisions and contexts in whose lines mark stands to take until that has what it wants.
func (d *Door) scan(ctx context.Context, class recorder.Class, within stretch, mark []byte, take func(audit.Decided) (bool, error)) error {
	r, err := d.cfg.Audit.Read(class, within.since)
	if err != nil {
		return err
	}
	defer r.Close()
	var block []byte
	for ctx.Err() == nil {
		block, err = r.Next(block)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !within.until.IsZero() && audit.FirstTime(block).After(within.until) {
			return nil
		}
		for _, line := range linesWith(block, mark) {
			for found, err := range audit.DecidedIn(line) {
				if err != nil {
					return err
				}
				if done, err := take(found); done || err != nil {
					return err
				}
			}
		}
	}
	return ctx.Err()
}

// linesWith are the lines of a block in which mark stands.
func linesWith(block, mark []byte) [][]byte {
	var lines [][]byte
	for at := bytes.Index(block, mark); at >= 0; at = bytes.Index(block, mark) {
		start := bytes.LastIndexByte(block[:at], '\n') + 1
		end := at + bytes.IndexByte(block[at:], '\n') + 1
		lines = append(lines, block[start:end])
		block = block[end:]
	}
	return lines
}
