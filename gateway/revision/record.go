package revision

import (
	"context"
	"fmt"
	"strings"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// maxDiff bounds the diff that an event carries, in bytes; the files themselves stay in the store.
const maxDiff = 64 << 10

// AppliedKind is the kind of the event that a revision comes into force.
const AppliedKind = "policy.applied"

// detail is what an event about a revision says.
type detail map[string]any

// described is v as an event tells it, with what was in force before it.
func described(v, before Version) detail {
	d := detail{"what": "policy", "number": v.Number, "signature": v.Signature, "author": v.Author, "reason": v.Reason,
		"after": state(v)}
	if before.Number > 0 && before.Number != v.Number {
		d["before"] = state(before)
	}
	for key, text := range map[string]string{"ticket": v.Ticket, "source": v.Source, "confirmed_by": v.ConfirmedBy,
		"ended_by": v.EndedBy, "why": v.Why} {
		if text != "" {
			d[key] = text
		}
	}
	if v.RollbackOf > 0 {
		d["rollback_of"] = v.RollbackOf
	}
	if !v.ActivateAt.IsZero() {
		d["activate_at"] = v.ActivateAt
	}
	return d
}

func state(v Version) map[string]any { return map[string]any{"number": v.Number, "hash": v.Hash} }

// changing adds the diff, cut where it is too long; the first revision has nothing to differ from.
func (d detail) changing(before, after Files) detail {
	if len(before) == 0 {
		return d
	}
	files, err := policy.DiffFiles(before.FS(), after.FS())
	if err != nil {
		d["diff_missing"] = err.Error()
		return d
	}
	var text strings.Builder
	for _, f := range files {
		text.WriteString(f.Text)
	}
	whole := text.String()
	d["diff"] = whole
	if len(whole) > maxDiff {
		cut := strings.LastIndexByte(whole[:maxDiff], '\n') + 1
		d["diff"], d["diff_cut_bytes"] = whole[:cut], len(whole)-cut
	}
	return d
}

// note puts an act on record before it has any effect.
func (l *Live) note(ctx context.Context, by identity.Principal, kind string, d detail) error {
	return l.append(ctx, by, kind, recorder.OK, d)
}

// fail takes a noted act back.
func (l *Live) fail(ctx context.Context, by identity.Principal, kind string, v Version, cause error) error {
	return l.append(ctx, by, kind, recorder.Failed, detail{"what": "policy", "number": v.Number, "why": cause.Error()})
}

func (l *Live) append(ctx context.Context, by identity.Principal, kind string, outcome recorder.Outcome, d detail) error {
	e := recorder.Event{Class: recorder.ClassConfig, Kind: kind, Outcome: outcome, Person: by.Person, Vendor: by.Vendor,
		Target: policy.GatewayTarget, Revision: d["number"].(int), Detail: d}
	if by.Vendor != "" {
		e.Chain = []string{by.Vendor}
	}
	if by.Source.IsValid() {
		e.Source = &recorder.Source{IP: by.Source.Addr().Unmap(), Port: by.Source.Port()}
	}
	if _, err := l.cfg.Append(ctx, e); err != nil {
		return fmt.Errorf("recording %s: %w", kind, err)
	}
	return nil
}

// reconcile puts on record that a revision did not come into force although the record says so: the gateway stopped before
// it was stored, or the database is an older one.
func (l *Live) reconcile(ctx context.Context) error {
	e, ok, err := l.cfg.LastApplied(ctx)
	if err != nil {
		return fmt.Errorf("looking for the policy change on record last: %w", err)
	}
	if !ok || e.Outcome != recorder.OK {
		return nil
	}
	b := l.book.Load()
	v, err := b.version(e.Revision)
	if err == nil && v.Signature == e.Detail["signature"] && !v.ActivatedAt.IsZero() {
		return nil
	}
	return l.append(ctx, identity.Principal{}, AppliedKind, recorder.Lost, detail{"what": "policy", "number": e.Revision,
		"event": e.ID, "in_force": b.inForce, "why": "it was not stored before the gateway stopped"})
}
