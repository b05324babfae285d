package policy

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

func TestIDsAreULIDsInOrderAndNeverTwice(t *testing.T) {
	g := newIDs()
	now := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	var all []string
	for i := range 20_000 {
		all = append(all, g.next(now.Add(time.Duration(i/5_000)*time.Millisecond)))
	}
	if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Error("out of order, or twice")
	}
	id, err := ulid.ParseStrict(strings.TrimPrefix(all[0], "d-"))
	if err != nil || !ulid.Time(id.Time()).Equal(now) {
		t.Errorf("%s: %v, %v", all[0], ulid.Time(id.Time()), err)
	}
}

func TestTwoNodesMakeDifferentIDsAtOneMoment(t *testing.T) {
	now := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	seen := map[string]bool{}
	var mu sync.Mutex
	var nodes sync.WaitGroup
	for range 8 {
		g := newIDs()
		for range 2 {
			nodes.Go(func() {
				for range 500 {
					id := g.next(now)
					mu.Lock()
					if seen[id] {
						t.Errorf("%s twice", id)
					}
					seen[id] = true
					mu.Unlock()
				}
			})
		}
	}
	nodes.Wait()
}

func TestIDsGoOnWhenTheRandomPartIsUsedUp(t *testing.T) {
	g := newIDs()
	now := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	g.next(now)
	copy(g.last[6:], bytes.Repeat([]byte{0xff}, 10))
	full := g.last
	if g.next(now); g.last == full || g.last.Time() != full.Time() {
		t.Errorf("%s after %s", g.last, full)
	}
}
