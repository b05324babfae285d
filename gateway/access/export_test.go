package access

import (
	"context"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// Occurrences are the times of a booking: from and until of each.
func Occurrences(r ApprovalRequest, zone *time.Location) [][2]time.Time {
	var all [][2]time.Time
	for _, o := range r.occurrences(zone, time.Time{}) {
		all = append(all, [2]time.Time{o.from, o.until})
	}
	return all
}

// LeasesFor finds the leases that a decision gets.
func LeasesFor(leases []Lease) func(*policy.Input) []policy.Lease {
	index := newLeaseIndex(leases)
	return func(in *policy.Input) []policy.Lease {
		return pertinent(index.of(in), in)
	}
}

// Sweep looks at the live sessions now.
func (d *Door) Sweep(ctx context.Context) { d.sweep(ctx) }
