package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// EmergencyStore keeps emergencies with their reviews, for lists; what counts is in the audit log. Every method is one
// transaction.
type EmergencyStore interface {
	// PutEmergency creates an emergency or brings it up to date, with its reviews; a review that is there stays as it is.
	PutEmergency(ctx context.Context, e Emergency) error
	Emergency(ctx context.Context, id string) (Emergency, error)
	// Emergencies lists newest first.
	Emergencies(ctx context.Context, limit int) ([]Emergency, error)
}

const (
	storeAgain      = 5 * time.Second    // between two tries to store
	storePatience   = 2 * time.Second    // for a store that does not answer, where somebody waits
	maxListed       = 1000               // emergencies in a list
	sessionsRebuilt = 7 * 24 * time.Hour // of emergencies so old at most, sessions are looked for after a restart
	emergencyDetail = "break_glass"      // names the emergency in the events of its sessions
	lostEmergency   = "lost: the gateway stopped without closing it"
)

// keepStoring stores what happens in emergencies until the function it returns is called, which waits for the end of it.
func (d *Door) keepStoring(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.storeEmergencies(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// storeEmergencies stores what happened, again and again until the store takes it, and ends with ctx.
func (d *Door) storeEmergencies(ctx context.Context) {
	tick := time.NewTicker(storeAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			// What the store does not take now is in the audit log and stored at the next start.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), storePatience)
			defer cancel()
			d.storePending(last)
			return
		case <-tick.C:
		case <-d.emergencies.wake:
		}
		if err := d.storePending(ctx); err != nil && ctx.Err() == nil {
			d.cfg.Log.Warn("the store does not take what happened in an emergency; it stands in the audit log and is stored later",
				zap.Error(err))
			select { // not at once again, whatever happens meanwhile
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}
}

func (d *Door) storePending(ctx context.Context) error {
	for _, r := range d.emergencies.pendingSessions() {
		if err := d.cfg.Store.PutSession(ctx, r); err != nil {
			return fmt.Errorf("session %s: %w", r.ID, err)
		}
		d.emergencies.listed(r)
	}
	for _, e := range d.emergencies.pending() {
		if err := d.cfg.Store.PutEmergency(ctx, e); err != nil {
			return fmt.Errorf("emergency %s: %w", e.ID, err)
		}
		d.emergencies.stored(e)
	}
	return nil
}

func (m *emergencies) pending() []Emergency {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Emergency
	for id := range m.unstored {
		list = append(list, m.known[id])
	}
	return list
}

func (m *emergencies) pendingSessions() []SessionRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []SessionRecord
	for _, r := range m.unlisted {
		list = append(list, r)
	}
	return list
}

// listed forgets a session's record unless it has changed since.
func (m *emergencies) listed(r SessionRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unlisted[r.ID] == r {
		delete(m.unlisted, r.ID)
	}
}

// stored takes note that the store has an emergency as e says. Memory lets go of what everybody is done with.
func (m *emergencies) stored(e Emergency) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.known[e.ID]
	if now.EndedAt != e.EndedAt || len(now.Sessions) != len(e.Sessions) || len(now.Reviews) != len(e.Reviews) {
		return
	}
	delete(m.unstored, e.ID)
	if e.State() == EmergencyReviewed {
		delete(m.known, e.ID)
	}
}

// findEmergency looks in memory and then in the store.
func (d *Door) findEmergency(ctx context.Context, id string) (Emergency, error) {
	if e, ok := d.emergencies.get(id); ok {
		return e, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	e, err := d.cfg.Store.Emergency(ctx, id)
	if err != nil {
		return Emergency{}, fmt.Errorf("emergency %s: %w", id, err)
	}
	return e, nil
}

// allEmergencies joins the store and memory, which knows better. Without the store it is what memory has.
func (d *Door) allEmergencies(ctx context.Context) ([]Emergency, error) {
	patient, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	list, err := d.cfg.Store.Emergencies(patient, maxListed)
	if err != nil {
		d.cfg.Log.Warn("listing emergencies from memory: the store fails", zap.Error(err))
	}
	for _, e := range d.emergencies.snapshot() {
		list = slices.DeleteFunc(list, func(old Emergency) bool { return old.ID == e.ID })
		list = append(list, e)
	}
	newestFirst(list)
	return list, ctx.Err()
}

func (m *emergencies) snapshot() []Emergency {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Emergency, 0, len(m.known))
	for _, e := range m.known {
		list = append(list, e)
	}
	return list
}

// rebuildEmergencies reads them from the audit log after a start: what lasts goes on, what is unreviewed stays visible, and
// the store gets what it missed.
func (d *Door) rebuildEmergencies(ctx context.Context) error {
	var events []recorder.Event
	for _, kind := range []string{kindDeclared, kindEnded, kindReviewed} {
		for ev, err := range d.cfg.Audit.Search(ctx, audit.Query{Class: recorder.ClassConfig, Kind: kind}) {
			if err != nil {
				return fmt.Errorf("reading emergencies from the audit log: %w", err)
			}
			events = append(events, ev)
		}
	}
	all := map[string]Emergency{}
	for _, ev := range events {
		if err := replay(all, ev); err != nil {
			return fmt.Errorf("event %s of the audit log: %w", ev.ID, err)
		}
	}
	for _, e := range all {
		slices.SortFunc(e.Reviews, func(a, b EmergencyReview) int { return a.At.Compare(b.At) })
		if d.cfg.Now().Sub(e.At) < sessionsRebuilt {
			if err := d.rebuildSessions(ctx, &e); err != nil {
				return err
			}
		}
		d.emergencies.add(e)
	}
	return nil
}

// replay applies one event. Events come kind by kind: the declarations first.
func replay(all map[string]Emergency, ev recorder.Event) error {
	var detail struct {
		Emergency json.RawMessage `json:"emergency"`
		Reason    string          `json:"reason"`
		EndedAt   time.Time       `json:"ended_at"`
		Sessions  []string        `json:"sessions"`
		Review    EmergencyReview `json:"review"`
	}
	if err := convert(ev.Detail, &detail); err != nil {
		return err
	}
	if ev.Kind == kindDeclared {
		var e Emergency
		if err := json.Unmarshal(detail.Emergency, &e); err != nil {
			return err
		}
		all[e.ID] = e
		return nil
	}
	var id string
	if err := json.Unmarshal(detail.Emergency, &id); err != nil {
		return err
	}
	e, ok := all[id]
	if !ok {
		return nil // declared before what is kept of the log
	}
	if ev.Kind == kindEnded {
		e.EndedAt, e.EndedBy, e.EndReason, e.Sessions = detail.EndedAt, ev.Person, detail.Reason, detail.Sessions
	} else {
		e.Reviews = append(e.Reviews, detail.Review)
	}
	all[id] = e
	return nil
}

// convert reads an event's detail into a struct.
func convert(detail map[string]any, into any) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// rebuildSessions finds the sessions of an emergency, and lists those that the store has never heard of.
func (d *Door) rebuildSessions(ctx context.Context, e *Emergency) error {
	ended := map[string]recorder.Event{}
	query := audit.Query{Class: recorder.ClassCommand, Person: e.Person, Text: e.ID, Since: e.At}
	for ev, err := range d.cfg.Audit.Search(ctx, query) { // newest first: ends before openings
		switch {
		case err != nil:
			return fmt.Errorf("reading the sessions of emergency %s: %w", e.ID, err)
		case ev.Kind == "session.end":
			ended[ev.Session] = ev
		case ev.Kind == "session.open" && ev.Outcome == recorder.OK:
			if !slices.Contains(e.Sessions, ev.Session) {
				e.Sessions = append(e.Sessions, ev.Session)
			}
			if err := d.relist(ctx, ev, ended[ev.Session]); err != nil {
				return err
			}
		}
	}
	return nil
}

// relist puts a session into the list that the store missed. One without an end was lost with the process.
func (d *Door) relist(ctx context.Context, open, end recorder.Event) error {
	have, err := d.cfg.Store.Session(ctx, open.Session)
	if err == nil && (end.ID == "" || !have.EndedAt.IsZero()) || err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	var opened struct {
		Protocol string `json:"protocol"`
	}
	var closed struct {
		Reason string `json:"reason"`
	}
	if err := errors.Join(convert(open.Detail, &opened), convert(end.Detail, &closed)); err != nil {
		return fmt.Errorf("event %s of the audit log: %w", open.ID, err)
	}
	rec := SessionRecord{ID: open.Session, Person: open.Person, Vendor: open.Vendor, Target: open.Target, Login: open.Login,
		Protocol: opened.Protocol, Enforced: open.Enforced, StartedAt: open.At, EndedAt: end.At, EndReason: closed.Reason,
		Recording: filepath.Base(recorder.Path(d.cfg.Recording.Dir, open.Session))}
	if open.Source != nil {
		rec.SourceIP = open.Source.IP.String()
	}
	if end.ID == "" {
		rec.EndedAt, rec.EndReason = d.cfg.Now().UTC(), lostEmergency
		lost := recorder.Event{Class: recorder.ClassCommand, Kind: "session.end", Outcome: recorder.Lost, Person: rec.Person,
			Vendor: rec.Vendor, Session: rec.ID, Target: rec.Target, Login: rec.Login,
			Detail: map[string]any{"reason": rec.EndReason}}
		if _, err := d.cfg.Audit.Append(ctx, lost); err != nil {
			return fmt.Errorf("recording the loss of session %s: %w", rec.ID, err)
		}
	}
	return d.cfg.Store.PutSession(ctx, rec)
}
