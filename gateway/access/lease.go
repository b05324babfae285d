package access

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// leaseIndex is every lease that has not ended, by whom and what it is for, in the order in which they begin. It never
// changes.
type leaseIndex map[leaseKey][]policy.Lease

// leaseKey is a person of a vendor and a target with a login; both vendor and login are "" for leases of an older gateway.
type leaseKey struct{ person, vendor, target, login string }

func (l *Lease) key() leaseKey { return leaseKey{l.Person, l.Vendor, l.Target, l.Login} }

func newLeaseIndex(leases []Lease) leaseIndex {
	index := leaseIndex{}
	for _, l := range leases {
		index[l.key()] = append(index[l.key()], l.Lease)
	}
	for _, own := range index {
		slices.SortStableFunc(own, func(a, b policy.Lease) int { return a.From.Compare(b.From) })
	}
	return index
}

// of lists the leases for an input that have begun or begin within a minute, which is as long as any decision lasts.
func (x leaseIndex) of(in *policy.Input) []policy.Lease {
	key := leaseKey{in.Person.ID, in.Person.Vendor, in.Target.Name, in.Target.Login}
	now := x.begun(key, in.Time.Now)
	if older := x.begun(leaseKey{person: key.person, target: key.target}, in.Time.Now); len(older) > 0 {
		return slices.Concat(now, older)
	}
	return now
}

func (x leaseIndex) begun(key leaseKey, now time.Time) []policy.Lease {
	all := x[key]
	later := now.Add(time.Minute + 1)
	n, _ := slices.BinarySearchFunc(all, later, func(l policy.Lease, t time.Time) int { return l.From.Compare(t) })
	return all[:n:n]
}

// without is the index less one lease.
func (x leaseIndex) without(lost Lease) leaseIndex {
	less := maps.Clone(x)
	left := slices.DeleteFunc(slices.Clone(x[lost.key()]), func(l policy.Lease) bool { return l.ID == lost.ID })
	less[lost.key()] = left
	return less
}

// loadLeases refreshes the leases decisions see and has live sessions decided again.
func (d *Door) loadLeases(ctx context.Context) error {
	leases, err := d.cfg.Store.Leases(ctx, "", d.cfg.Now())
	if err != nil {
		return fmt.Errorf("loading leases: %w", err)
	}
	d.setLeases(newLeaseIndex(leases))
	return nil
}

func (d *Door) setLeases(index leaseIndex) {
	d.mu.Lock()
	d.leases = index
	d.mu.Unlock()
	d.Recheck()
}

// leasesFor makes the leases of an approved request: one for each scope, and for each occurrence of a booking that is not
// over.
func (d *Door) leasesFor(r ApprovalRequest, approvers []string, now time.Time) []Lease {
	var leases []Lease
	for _, s := range r.occurrences(d.cfg.Zone, now) {
		if !s.until.After(now) {
			continue
		}
		for _, scope := range r.Scopes {
			leases = append(leases, Lease{Request: r.ID, Vendor: r.Vendor, Login: r.Login, GrantedBy: approvers, GrantedAt: now,
				Lease: policy.Lease{ID: newID("l-"), Person: r.Person, Target: r.Target, Right: scope.Right,
					Pattern: scope.Pattern, From: s.from.UTC(), Until: s.until.UTC()}})
		}
	}
	return leases
}

// Leases lists everybody's leases that have not ended.
func (d *Door) Leases(ctx context.Context, by identity.Principal) ([]Lease, error) {
	if err := d.Act(ctx, by, "gateway.lease.list", ""); err != nil {
		return nil, err
	}
	return d.cfg.Store.Leases(ctx, "", d.cfg.Now())
}

// OwnLeases lists the leases of whoever asks.
func (d *Door) OwnLeases(ctx context.Context, by identity.Principal) ([]Lease, error) {
	if err := d.Act(ctx, by, "gateway.self.requests", ""); err != nil {
		return nil, err
	}
	return d.cfg.Store.Leases(ctx, by.Person, d.cfg.Now())
}

// RevokeLease ends a lease; what runs under it ends within a second.
func (d *Door) RevokeLease(ctx context.Context, by identity.Principal, id, reason string) error {
	reason = strings.TrimSpace(reason)
	if reason == "" {
		return invalid("reason: say why the lease ends")
	}
	if err := checkText("reason", reason, maxReason); err != nil {
		return err
	}
	if err := d.Act(ctx, by, "gateway.lease.revoke", clip(id, 64)); err != nil {
		return err
	}
	d.answering.Lock()
	defer d.answering.Unlock()
	now := d.cfg.Now().UTC()
	lost, err := d.cfg.Store.RevokeLease(ctx, id, Revocation{By: by.Person, At: now, Reason: reason})
	if err != nil {
		return fmt.Errorf("revoking lease %s, which may be over: %w", id, err)
	}
	d.mu.RLock()
	less := d.leases.without(lost)
	d.mu.RUnlock()
	d.setLeases(less)
	detail := map[string]any{"lease": id, "request": lost.Request, "for": lost.Person, "on": lost.Target,
		"scope": Scope{lost.Right, lost.Pattern}, "before": map[string]any{"until": lost.Until}, "after": map[string]any{"until": now},
		"reason": reason}
	return d.Event(ctx, by, recorder.ClassConfig, "gateway.lease.revoked", recorder.OK, detail)
}
