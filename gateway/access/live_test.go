package access_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
)

// promised is the time within which a change reaches what is live (promise 4).
const promised = time.Second

// revision is the shipped policy with some texts replaced: old, new, old, new …
func revision(t testing.TB, number int, replace ...string) *policy.Revision {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, rego.FS); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "matrix.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("no %q in the matrix", replace[i])
		}
		text = []byte(strings.Replace(string(text), replace[i], replace[i+1], 1))
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	rev, err := policy.Load(os.DirFS(dir), number)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// withoutExecute takes execute from maintenance.
func withoutExecute(t testing.TB) *policy.Revision {
	return revision(t, 2, "maintenance: {read: always,   write: approval, execute: always, ", "maintenance: {read: always, write: approval, execute: never, ")
}

// passes lets the clock go on without telling the door, which has to see for itself.
func (h *house) passes(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = now
}

// apply puts another directory in force: old, new, old, new …
func (h *house) apply(replace ...string) {
	h.t.Helper()
	document := people
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(document, replace[i]) {
			h.t.Fatalf("no %q in the directory", replace[i])
		}
		document = strings.Replace(document, replace[i], replace[i+1], 1)
	}
	_, _, err := h.directory.Apply(h.t.Context(), []byte(document), "ren", "test", h.directory.Version().Number)
	check(h.t, err)
}

// leased opens a session in which a command runs that only a lease of ten minutes allows, from some time on.
func (h *house) leased(from time.Time) (*access.Session, access.Lease) {
	h.t.Helper()
	s := h.open("ken", "db1")
	op := exec("./long")
	_, err := s.Authorize(h.t.Context(), op)
	refusal, ok := errors.AsType[*access.Refusal](err)
	if !ok {
		h.t.Fatal(err)
	}
	request := refusal.Request
	if !from.IsZero() {
		check(h.t, h.door.Cancel(h.t.Context(), h.as("ken"), request))
		r, err := h.door.Ask(h.t.Context(), h.as("ken"), access.Ask{Target: "db1", Login: "app", Command: op.Command, Minutes: 10, From: from,
			Reason: "nightly", Ticket: "T-1"})
		check(h.t, err)
		request = r.ID
	}
	leases, err := h.door.Approve(h.t.Context(), h.as("mika"), request, access.Consent{Minutes: 10})
	check(h.t, err)
	if !from.IsZero() {
		if got := h.effect(s, op); got != policy.Approval {
			h.t.Fatalf("before the booking begins: %v", got)
		}
		h.passes(from)
	}
	_, err = s.Authorize(h.t.Context(), op)
	check(h.t, err)
	return s, leases[0]
}

// TestAChangeEndsWhatLostItsRight: everything a decision depends on, changed while a session is live.
func TestAChangeEndsWhatLostItsRight(t *testing.T) {
	const maint = "maint: {type: maintenance, contract: {from: 2026-01-01, until: 2026-12-31}"
	running := func(h archive) *access.Session {
		s := h.open("hanako", "db1")
		_, err := s.Authorize(h.t.Context(), exec("./long"))
		check(h.t, err)
		return s
	}
	for name, c := range map[string]struct {
		open   func(h archive) *access.Session
		change func(h archive)
		reason string
	}{
		"a new revision": {running, func(h archive) { h.engine.Swap(withoutExecute(t)) }, "never"},
		"a lease that is revoked": {func(h archive) *access.Session { s, _ := h.leased(time.Time{}); return s }, func(h archive) {
			leases, err := h.door.Leases(h.t.Context(), h.as("mika"))
			check(h.t, err)
			check(h.t, h.door.RevokeLease(h.t.Context(), h.as("mika"), leases[0].ID, "done"))
		}, "approval"},
		"a lease that runs out": {func(h archive) *access.Session { s, _ := h.leased(time.Time{}); return s },
			func(h archive) { h.passes(monday.Add(10 * time.Minute)) }, "approval"},
		"a booking that is over": {func(h archive) *access.Session { s, _ := h.leased(monday.Add(time.Hour)); return s },
			func(h archive) { h.passes(monday.Add(70 * time.Minute)) }, "approval"},
		"a window that closes":     {running, func(h archive) { h.passes(monday.Add(8 * time.Hour)) }, "outside-hours"},
		"a contract that runs out": {running, func(h archive) { h.apply(maint, strings.Replace(maint, "2026-12-31", "2026-11-22", 1)) }, "contract"},
		"a target that is taken away": {running, func(h archive) {
			h.apply("targets: [db1, open1, app], approvers", "targets: [open1, app], approvers",
				"windows: [office-hours], targets: [db1]}\npeople", "windows: [office-hours], targets: [open1]}\npeople")
		}, "target_not_yours"},
		"a target that is gone": {running, func(h archive) {
			h.apply("targets: [db1, open1, app]", "targets: [open1, app]",
				"targets: [db1]}\n  maint", "targets: [open1]}\n  maint", "targets: [db1, app]", "targets: [app]", "targets: [db1]", "targets: [open1]",
				"targets: [db1]", "targets: [open1]", "targets: [db1]", "targets: [open1]",
				`  db1: {ssh: {address: "10.0.0.5:22", host_key: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}, logins: [app]}`+"\n", "")
		},
			"target_not_yours"},
		"a target that moved":        {running, func(h archive) { h.apply("10.0.0.5:22", "10.0.0.9:22") }, "target_moved"},
		"a login that is taken away": {running, func(h archive) { h.apply("3hSuFU\"}, logins: [app]}", "3hSuFU\"}, logins: [web]}") }, "target_not_yours"},
		"a login that becomes an administrator's": {running, func(h archive) {
			h.apply("3hSuFU\"}, logins: [app]}", "3hSuFU\"}, logins: [web], admin_logins: [app]}")
		}, "admin"},
		"a person who is gone":          {running, func(h archive) { h.apply("  hanako: {vendor: maint}\n", "") }, "target_not_yours"},
		"a person who changes the firm": {running, func(h archive) { h.apply("hanako: {vendor: maint}", "hanako: {vendor: dev}") }, "target_not_yours"},
		"a network that is closed": {running, func(h archive) {
			h.apply(maint+", networks: [192.0.2.0/24]", maint+", networks: [198.51.100.0/24]")
		}, "network"},
		"an opaque line that a target no longer takes": {func(h archive) *access.Session {
			s := h.open("hanako", "open1")
			_, err := s.Authorize(t.Context(), exec(`eval "$X"`))
			check(t, err)
			return s
		}, func(h archive) { h.apply("opaque: execute", "opaque: deny") }, "opaque_line"},
		"a rule of an app that tightens": {func(h archive) *access.Session {
			s, err := h.door.Open(t.Context(), access.Request{Principal: h.as("yui"), Target: "app", Protocol: "https"})
			check(t, err)
			t.Cleanup(func() { s.End("test over") })
			_, err = s.Authorize(t.Context(), access.Operation{Kind: "http.request", Method: "POST", Path: "/search"})
			check(t, err)
			return s
		}, func(h archive) {
			h.apply(`{match: "POST /search", right: read}`, `{match: "POST /search", right: write}`)
		}, "never"},
		"a credential that is revoked": {running, func(h archive) {
			h.gone.Store(true)
			h.door.Recheck()
		}, "revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var gone atomic.Bool
			h := newArchive(t, func(cfg *access.Config) { cfg.Revoked = func(string, string) bool { return gone.Load() } })
			h.gone = &gone
			s := c.open(h)
			start := time.Now()
			c.change(h)
			within(t, promised, func() bool { return s.Context().Err() != nil })
			t.Logf("after %s", time.Since(start).Round(time.Millisecond))
			if ended := h.ended(s); !strings.Contains(ended.Reason, c.reason) || ended.EN == "" || ended.JA == "" {
				t.Errorf("ended because %q: %s / %s", ended.Reason, ended.EN, ended.JA)
			}
			if _, err := s.Dial(t.Context()); err == nil {
				t.Error("the way to the target is still open")
			}
		})
	}
}

func TestASessionThatLostOneRightIsRefusedThatOneOnly(t *testing.T) {
	h := newArchive(t)
	s := h.open("hanako", "db1")
	if got := h.effect(s, exec("./report")); got != policy.Allow {
		t.Fatalf("before: %v", got)
	}
	h.engine.Swap(withoutExecute(t))
	_, err := s.Authorize(t.Context(), exec("./report"))
	refusal, ok := errors.AsType[*access.Refusal](err)
	if !ok || len(refusal.Reasons) == 0 || refusal.Reasons[0].EN == "" {
		t.Fatalf("after: %v", err)
	}
	if got := h.effect(s, exec("cat /etc/motd")); got != policy.Allow || s.Context().Err() != nil {
		t.Errorf("reading: %v, and the session is over: %v", got, context.Cause(s.Context()))
	}
	h.engine.Swap(revision(t, 3))
	if got := h.effect(s, exec("./report")); got != policy.Allow {
		t.Errorf("after the rollback: %v", got)
	}
}

// TestNoDecisionUnderWayOutlivesTheSwapThatForbidsIt runs commands from many goroutines while the policy changes back and
// forth. Whatever was let through under the old one is over within the promised time, and nothing is let through afterwards.
// Every second command is held up after its decision until a sweep has gone by, which is when it is missed.
func TestNoDecisionUnderWayOutlivesTheSwapThatForbidsIt(t *testing.T) {
	var sweeps, commands atomic.Int64
	h := newArchive(t, func(cfg *access.Config) {
		cfg.MaxPerPerson = 1000
		now := cfg.Now
		cfg.Now = func() time.Time {
			switch caller() {
			case "(*Door).sweep":
				sweeps.Add(1)
			case "(*Session).Authorize":
				if commands.Add(1)%2 == 0 {
					tick := time.NewTicker(time.Millisecond)
					defer tick.Stop()
					for from := sweeps.Load(); sweeps.Load() < from+2; {
						<-tick.C
					}
				}
			}
			return now()
		}
	})
	open, shut := revision(t, 1), withoutExecute(t)
	for round := range 6 {
		h.engine.Swap(open)
		var swapped atomic.Bool
		var mu sync.Mutex
		var held []*access.Session
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 16 {
			s := h.open("hanako", "db1") // one for each, so that no other command's end covers for it
			all.Go(func() {
				<-start
				late := swapped.Load()
				if _, err := s.Authorize(t.Context(), exec("./long")); err != nil {
					return
				}
				if late {
					t.Errorf("round %d: a command began after the swap", round)
				}
				mu.Lock()
				defer mu.Unlock()
				held = append(held, s)
			})
		}
		all.Go(func() {
			<-start
			for range round {
				h.engine.Swap(open) // a change at any moment
			}
			h.engine.Swap(shut)
			swapped.Store(true)
		})
		close(start)
		all.Wait()
		within(t, promised, func() bool { return over(held) })
	}
}

// over tells whether all sessions have ended.
func over(sessions []*access.Session) bool {
	return !slices.ContainsFunc(sessions, func(s *access.Session) bool { return s.Context().Err() == nil })
}

// TestNoSessionOpensPastAChange is the same for opening: what the change shuts out is out, whenever it was decided.
func TestNoSessionOpensPastAChange(t *testing.T) {
	h := newArchive(t, func(cfg *access.Config) { cfg.MaxPerPerson = 1000 })
	for range 4 {
		var opened []*access.Session
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				s, err := h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: "db1", Login: "app", Protocol: "ssh"})
				if err == nil {
					mu.Lock()
					opened = append(opened, s)
					mu.Unlock()
				}
			})
		}
		all.Go(func() {
			_, err := h.door.CutOff(t.Context(), h.as("ren"), "maint", "now")
			check(t, err)
		})
		all.Wait()
		within(t, promised, func() bool { return over(opened) })
		check(t, h.door.Restore(t.Context(), h.as("ren"), "maint", "again"))
	}
}
