// Package access is the one door between contractors and targets. A proxy that has proved who is there asks Open for a
// Session; it gets one only after a decision, with a recording already open, and everything it does from then on (dial,
// show output, run a command) goes through that Session. The door classifies operations, asks policy, keeps leases and
// the live registry, and ends sessions whose right is gone.
package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/command"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// sweepEvery is how often live sessions are looked at; together with the work of one sweep it stays well under the
// second in which an access must end (promise 4).
const sweepEvery = 250 * time.Millisecond

// Config is what a Door is made of. Every field without "optional" is required.
type Config struct {
	Engine    *policy.Engine
	Directory *directory.Live
	Store     Store
	Audit     *audit.Log
	Recording recorder.Config // where and how sessions are recorded
	Zone      *time.Location  // the gateway's zone, given to policy as input.time.zone
	// Revoked tells whether a credential or person has been revoked: kind is x509, ssh-cert, ssh-key, person or vendor.
	Revoked func(kind, id string) bool
	// Dial reaches targets; optional, a net.Dialer with a timeout of 10 s when nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Now  func() time.Time // optional, time.Now when nil
	Log  *zap.Logger      // optional, silent when nil
	// Idle is how long a session of SSH or TCP may stand without input and output before it is ended; optional, never when 0.
	Idle time.Duration
	// MaxSessions bounds live sessions of the whole gateway; optional, 4096 when 0.
	MaxSessions int
	// MaxPerPerson bounds live sessions of one person; optional, 64 when 0.
	MaxPerPerson int
}

// Door decides, opens and ends sessions. It is safe for concurrent use.
type Door struct {
	cfg Config

	catalogue atomic.Pointer[revisionCatalogue] // the command catalogue of the engine's current revision
	changed   atomic.Bool                       // a policy, directory, lease or revocation change waits for the sweep
	changes   atomic.Uint64                     // how many there were, so that a decision knows whether it is still the latest word
	wake      chan struct{}                     // capacity 1; nudges the sweep

	emergencies *emergencies

	answering sync.Mutex // one approval answer at a time, so that the lease cache follows the store
	filing    sync.Mutex // one request filed at a time, so that a repeated command finds the one it filed before

	contexts contexts // of decisions on record

	due atomic.Int64 // when the waiting requests are to be looked at, Unix nanoseconds; 0: at once

	mu      sync.RWMutex // guards the fields below; never held while calling policy, store, recorder or audit
	live    map[string]*Session
	opening map[string]int // sessions being opened or live, per person
	leases  leaseIndex
	cutOffs map[string]CutOff
}

type revisionCatalogue struct {
	revision *policy.Revision
	commands *command.Catalogue
}

// New checks the configuration, loads leases and cut-offs and closes the books on sessions a crash left open.
func New(cfg Config) (*Door, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	d := &Door{
		cfg:     cfg,
		wake:    make(chan struct{}, 1),
		live:    make(map[string]*Session),
		opening: make(map[string]int),
		cutOffs: make(map[string]CutOff),

		emergencies: newEmergencies(),
	}
	if _, err := d.currentCatalogue(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := d.loadLeases(ctx); err != nil {
		return nil, err
	}
	cuts, err := cfg.Store.CutOffs(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading cut-offs: %w", err)
	}
	for _, c := range cuts {
		d.cutOffs[c.Vendor] = c
	}
	if err := d.rebuildEmergencies(ctx); err != nil {
		return nil, err
	}
	if err := d.closeLost(ctx); err != nil {
		return nil, err
	}
	cfg.Engine.OnChange(d.Recheck)
	cfg.Directory.OnChange(d.Recheck)
	return d, nil
}

func (c *Config) complete() error {
	switch {
	case c.Engine == nil:
		return errors.New("access: no policy engine")
	case c.Directory == nil:
		return errors.New("access: no directory")
	case c.Store == nil:
		return errors.New("access: no store")
	case c.Audit == nil:
		return errors.New("access: no audit log")
	case c.Recording.Dir == "":
		return errors.New("access: no place for recordings")
	case c.Zone == nil:
		return errors.New("access: no time zone")
	case c.Revoked == nil:
		return errors.New("access: no revocation check")
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.MaxSessions == 0 {
		c.MaxSessions = 4096
	}
	if c.MaxPerPerson == 0 {
		c.MaxPerPerson = 64
	}
	return nil
}

// Serve looks after live sessions until ctx ends, then ends them all.
func (d *Door) Serve(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	defer d.keepStoring(ctx)()
	defer d.keepAttending(ctx)()
	for {
		select {
		case <-ctx.Done():
			d.shutDown()
			return nil
		case <-tick.C:
		case <-d.wake:
		}
		d.sweep(ctx)
	}
}

// Recheck has every live session decided again at once, because something that decisions depend on has changed.
func (d *Door) Recheck() {
	d.changes.Add(1)
	d.nudge()
}

// recheckSince does it for what began to count only now and was decided when there had been that many changes: the sweep of
// a later change may have missed it.
func (d *Door) recheckSince(changes uint64) {
	if d.changes.Load() != changes {
		d.nudge()
	}
}

func (d *Door) nudge() {
	d.changed.Store(true)
	d.nudgeOnly()
}

// nudgeOnly has the sweep look at once, though nothing changed that decisions depend on.
func (d *Door) nudgeOnly() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// sweep ends what lost its right: at once after a change, else when a session's answer has run out. Sessions are
// decided on their own, so that one slow decision does not hold up the end of another.
func (d *Door) sweep(ctx context.Context) {
	changed := d.changed.Swap(false)
	now := d.cfg.Now()
	d.endOverdue(ctx)
	for _, s := range d.snapshot() {
		if changed || !now.Before(s.decidedUntil()) {
			s.recheck(ctx)
		}
		s.keepRunning(now)
		s.recheckWatchers(ctx, changed, now)
		s.keepTime(ctx, now)
	}
}

func (d *Door) snapshot() []*Session {
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := make([]*Session, 0, len(d.live))
	for _, s := range d.live {
		all = append(all, s)
	}
	return all
}

func (d *Door) shutDown() {
	for _, s := range d.snapshot() {
		s.kill(&Ended{Reason: "gateway stopped", EN: "the gateway is shutting down", JA: "ゲートウェイを停止します"})
	}
	for _, s := range d.snapshot() {
		s.finish("gateway stopped")
	}
}

// closeLost marks sessions that were live when an earlier process died.
func (d *Door) closeLost(ctx context.Context) error {
	left, err := d.cfg.Store.Sessions(ctx, SessionQuery{Live: true})
	if err != nil {
		return fmt.Errorf("looking for sessions left open: %w", err)
	}
	for _, rec := range left {
		rec.EndedAt, rec.EndReason = d.cfg.Now().UTC(), "lost: the gateway stopped without closing it"
		ev := recorder.Event{Class: recorder.ClassCommand, Kind: "session.end", Outcome: recorder.Lost,
			Person: rec.Person, Vendor: rec.Vendor, Session: rec.ID, Target: rec.Target, Login: rec.Login,
			Detail: map[string]any{"reason": rec.EndReason}}
		if _, err := d.cfg.Audit.Append(ctx, ev); err != nil {
			return fmt.Errorf("recording the loss of session %s: %w", rec.ID, err)
		}
		if err := d.cfg.Store.PutSession(ctx, rec); err != nil {
			return fmt.Errorf("closing lost session %s: %w", rec.ID, err)
		}
	}
	return nil
}

// currentCatalogue returns the command catalogue that belongs to the engine's revision, parsing it once per revision.
func (d *Door) currentCatalogue() (*command.Catalogue, error) {
	rev := d.cfg.Engine.Revision()
	if have := d.catalogue.Load(); have != nil && have.revision == rev {
		return have.commands, nil
	}
	cat, err := command.ParseCatalogue("commands.yaml", rev.Commands())
	if err != nil {
		return nil, fmt.Errorf("command catalogue of policy revision %d: %w", rev.Number(), err)
	}
	d.catalogue.Store(&revisionCatalogue{revision: rev, commands: cat})
	return cat, nil
}

func newID(prefix string) string { return prefix + ulid.Make().String() }
