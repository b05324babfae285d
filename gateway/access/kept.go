package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// Every decision is kept with what it was made of, in the event of its operation, so that it can be explained and made
// again under another policy. What many decisions share (who, on what, proved how) is a context: an event of its own, once
// a day and class, which the others name by its hash. recorder/audit/FORMAT.md gives the fields.

// ruling is a decision with what it was made of.
type ruling struct {
	policy.Decision
	input  *policy.Input // nil where there was nothing to decide on: no such person or target
	capped bool          // refused by the door, whatever policy says

	context json.RawMessage // the input's, once contextJSON was called
}

// refuse makes the ruling the door's own no.
func (r *ruling) refuse(reason policy.Reason) {
	r.Effect, r.Reasons, r.capped = policy.Deny, []policy.Reason{reason}, true
}

// unfounded is a refusal of what there is nothing to decide on.
func (d *Door) unfounded(reason policy.Reason) ruling {
	return ruling{Decision: policy.Decision{ID: newID("d-"), Reasons: []policy.Reason{reason},
		Revision: d.cfg.Engine.Revision().Number()}, capped: true}
}

// keptContext is the part of an input that repeats.
type keptContext struct {
	Person     policy.Person      `json:"person"`
	Vendor     policy.Vendor      `json:"vendor"`
	Parents    []policy.Vendor    `json:"parents,omitempty"`
	Auth       policy.Auth        `json:"auth"`
	Source     policy.Source      `json:"source"`
	Target     policy.Target      `json:"target"`
	Zone       string             `json:"zone,omitempty"`
	BreakGlass *policy.BreakGlass `json:"break_glass,omitempty"`
}

// keptInput is an event's input: the rest, and what was decided.
type keptInput struct {
	Context string         `json:"context"` // sha256:HEX of the context's JSON
	Action  policy.Action  `json:"action"`
	Now     time.Time      `json:"now"`
	Leases  []policy.Lease `json:"leases,omitempty"`
	Effect  policy.Effect  `json:"effect"`
	Capped  []string       `json:"capped,omitempty"` // the door's own reasons, ids
}

// keptWhole is a decision as a recording holds it (KindDecided): nothing in it refers to anything else.
type keptWhole struct {
	Action   policy.Action   `json:"action"`
	Decision policy.Decision `json:"decision"`
	Context  json.RawMessage `json:"context,omitempty"`
	Now      time.Time       `json:"now,omitzero"`
	Leases   []policy.Lease  `json:"leases,omitempty"`
	Capped   []string        `json:"capped,omitempty"`
}

func (r *ruling) contextJSON() (json.RawMessage, error) {
	if r.context != nil {
		return r.context, nil
	}
	in := r.input
	object, err := compactJSON(keptContext{Person: in.Person, Vendor: in.Vendor, Parents: in.Parents, Auth: in.Auth, Source: in.Source,
		Target: in.Target, Zone: in.Time.Zone, BreakGlass: in.BreakGlass})
	if err != nil {
		return nil, fmt.Errorf("keeping the context of decision %s: %w", r.ID, err)
	}
	r.context = object
	return object, nil
}

func (r *ruling) keptInput(ref string) (json.RawMessage, error) {
	return compactJSON(keptInput{Context: ref, Action: r.input.Action, Now: r.input.Time.Now.UTC(), Leases: r.input.Leases,
		Effect: r.Effect, Capped: r.caps()})
}

// whole is what a recording holds of the ruling.
func (r *ruling) whole(action policy.Action) ([]byte, error) {
	k := keptWhole{Action: action, Decision: r.Decision, Capped: r.caps()}
	if r.input != nil {
		var err error
		if k.Context, err = r.contextJSON(); err != nil {
			return nil, err
		}
		k.Now, k.Leases = r.input.Time.Now.UTC(), r.input.Leases
	}
	return compactJSON(k)
}

func (r *ruling) caps() []string {
	if !r.capped {
		return nil
	}
	return reasonIDs(r.Reasons)
}

// compactJSON is v's JSON with no character escaped that need not be.
func compactJSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// maxContexts bounds how many contexts are remembered as written; beyond it they are written again.
const maxContexts = 8192

// contexts remembers which contexts stand in the log of today.
type contexts struct {
	mu      sync.Mutex
	day     string // UTC
	written map[contextKey]*writing
}

type contextKey struct {
	class recorder.Class
	sum   [sha256.Size]byte
}

// writing is a context on its way into the log; err counts once done is closed.
type writing struct {
	done chan struct{}
	err  error
}

// once has write called unless it was on that day, and returns when somebody's write has succeeded.
func (c *contexts) once(ctx context.Context, day string, key contextKey, write func() error) error {
	for {
		w, mine := c.claim(day, key)
		if mine {
			w.err = write()
			if w.err != nil {
				c.forget(key, w)
			}
			close(w.done)
			return w.err
		}
		select {
		case <-w.done:
			if w.err == nil {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// claim finds who writes a context; the caller does if nobody else has begun to.
func (c *contexts) claim(day string, key contextKey) (w *writing, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.day != day || len(c.written) >= maxContexts {
		c.day, c.written = day, map[contextKey]*writing{}
	}
	if w, ok := c.written[key]; ok {
		return w, false
	}
	w = &writing{done: make(chan struct{})}
	c.written[key] = w
	return w, true
}

func (c *contexts) forget(key contextKey, w *writing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written[key] == w {
		delete(c.written, key)
	}
}

// append puts an event on record with the ruling it stands for: its id, its revision and, when there is one, its input.
func (d *Door) append(ctx context.Context, ev recorder.Event, r *ruling) error {
	ev.Decision, ev.Revision = r.ID, r.Revision
	if r.input != nil {
		ref, err := d.contextFor(ctx, &ev, r)
		if err != nil {
			return err
		}
		if ev.Input, err = r.keptInput(ref); err != nil {
			return fmt.Errorf("keeping decision %s: %w", r.ID, err)
		}
	}
	_, err := d.cfg.Audit.Append(ctx, ev)
	return err
}

// contextFor names the ruling's context, which stands in the log of the event's class and day before the event does.
func (d *Door) contextFor(ctx context.Context, ev *recorder.Event, r *ruling) (string, error) {
	object, err := r.contextJSON()
	if err != nil {
		return "", err
	}
	key := contextKey{ev.Class, sha256.Sum256(object)}
	ref := "sha256:" + hex.EncodeToString(key.sum[:])
	day := d.cfg.Now().UTC().Format(time.DateOnly)
	described := recorder.Event{Class: ev.Class, Kind: audit.KindContext, Outcome: recorder.OK, Person: ev.Person, Vendor: ev.Vendor,
		Chain: ev.Chain, Target: ev.Target, Login: ev.Login, Source: ev.Source,
		Detail: map[string]any{"context": object, "sha256": ref}}
	err = d.contexts.once(ctx, day, key, func() error {
		_, err := d.cfg.Audit.Append(ctx, described)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("recording the context of a decision: %w", err)
	}
	return ref, nil
}
