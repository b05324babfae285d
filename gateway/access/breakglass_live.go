package access

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
)

// emergencies are the live and the unreviewed ones, and what the store does not have yet.
type emergencies struct {
	declaring sync.Mutex // one declaration at a time; taken before mu
	reviewing sync.Mutex // one review at a time; taken before mu

	mu       sync.Mutex // taken after no other lock
	known    map[string]Emergency
	unstored map[string]bool          // ids of emergencies
	unlisted map[string]SessionRecord // their sessions
	wake     chan struct{}            // capacity 1: something is to be stored
}

func newEmergencies() *emergencies {
	return &emergencies{known: map[string]Emergency{}, unstored: map[string]bool{}, unlisted: map[string]SessionRecord{},
		wake: make(chan struct{}, 1)}
}

// add takes an emergency in, or its new state, and has it stored when the store can.
func (m *emergencies) add(e Emergency) {
	m.mu.Lock()
	m.known[e.ID] = e
	m.unstored[e.ID] = true
	m.mu.Unlock()
	m.nudge()
}

func (m *emergencies) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *emergencies) get(id string) (Emergency, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.known[id]
	return e, ok
}

// live finds an emergency that lasts now. Its hour counts from its declaration, whatever it says about its end.
func (m *emergencies) live(id string, now time.Time) (Emergency, bool) {
	e, ok := m.get(id)
	return e, ok && e.lasts(now)
}

func (e Emergency) lasts(now time.Time) bool {
	return e.EndedAt.IsZero() && now.Before(e.Until) && now.Before(e.At.Add(policy.MaxBreakGlass))
}

// of finds the live emergency of a human being, given all their ids.
func (m *emergencies) of(ids []string, now time.Time) (Emergency, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.known {
		if slices.Contains(ids, e.Person) && e.lasts(now) {
			return e, true
		}
	}
	return Emergency{}, false
}

func (m *emergencies) open() []Emergency {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := []Emergency{}
	for _, e := range m.known {
		if e.State() != EmergencyReviewed {
			list = append(list, e)
		}
	}
	newestFirst(list)
	return list
}

func newestFirst(list []Emergency) {
	slices.SortFunc(list, func(a, b Emergency) int { return strings.Compare(b.ID, a.ID) })
}

// end closes an emergency once; ErrAnswered when it was over before.
func (m *emergencies) end(id, by, reason string, now time.Time) (Emergency, error) {
	m.mu.Lock()
	e, ok := m.known[id]
	if !ok || !e.EndedAt.IsZero() {
		m.mu.Unlock()
		return e, fmt.Errorf("emergency %s is over: %w", id, ErrAnswered)
	}
	e.EndedAt, e.EndedBy, e.EndReason = now, by, reason
	m.known[id], m.unstored[id] = e, true
	m.mu.Unlock()
	m.nudge()
	return e, nil
}

// opened notes a session of an emergency.
func (m *emergencies) opened(id, session string) {
	m.mu.Lock()
	e, ok := m.known[id]
	if ok && !slices.Contains(e.Sessions, session) {
		e.Sessions = append(slices.Clone(e.Sessions), session)
		m.known[id], m.unstored[id] = e, true
	}
	m.mu.Unlock()
	m.nudge()
}

// list has a session's record stored when the store can, the newest state of it.
func (m *emergencies) list(r SessionRecord) {
	m.mu.Lock()
	m.unlisted[r.ID] = r
	m.mu.Unlock()
	m.nudge()
}

// breakGlass is the emergency that counts for a decision: on a target the one that this very login or session proved, on the
// gateway itself whichever of the person's lasts. Nobody but staff has any.
func (d *Door) breakGlass(p identity.Principal, target string, now time.Time) *policy.BreakGlass {
	if p.Vendor != policy.StaffVendor {
		return nil
	}
	e, ok := d.emergencies.of(d.cfg.Directory.Current().Same(p.Person), now)
	if target != policy.GatewayTarget {
		e, ok = d.emergencies.live(p.MFA.Emergency(), now)
		ok = ok && e.Person == p.Person && d.named(p.Person, p.Vendor) && d.covered(e, target)
	}
	if !ok {
		return nil
	}
	until := e.Until
	if last := e.At.Add(policy.MaxBreakGlass); last.Before(until) {
		until = last
	}
	return &policy.BreakGlass{ID: e.ID, Until: until}
}

// covered tells whether an emergency was declared for a target and the policy still lists it.
func (d *Door) covered(e Emergency, target string) bool {
	return lists(e.Targets, target) && lists(d.cfg.Engine.Revision().BreakGlass().Targets, target)
}

// loginForm is what an account's name may look like where the target does not list it.
var loginForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// directoryInput is what the directory knows of a decision. In an emergency one logs in as whomever is needed: an account
// that the target does not list counts as one of its administrators'.
func (d *Door) directoryInput(p identity.Principal, name, login string, emergency bool) (policy.Input, bool) {
	dir := d.cfg.Directory.Current()
	in, ok := dir.Input(p.Person, name, login)
	if ok || !emergency || !loginForm.MatchString(login) {
		return in, ok
	}
	target, known := dir.Target(name)
	if !known || target.SSH == nil {
		return in, false
	}
	in, ok = dir.Input(p.Person, name, target.AdminLogins[0])
	in.Target.Login = login
	return in, ok
}

// administers tells whether logging in as login needs the admin right: one of the target's administrators, or an account
// that only an emergency reaches.
func administers(target directory.Target, login string) bool {
	return target.AdminLogin(login) || target.SSH != nil && !target.HasLogin(login)
}

// emergencyOver says why a session whose emergency has ended must end, nil for every other.
func (d *Door) emergencyOver(p identity.Principal) *Ended {
	id := p.MFA.Emergency()
	if id == "" {
		return nil
	}
	e, _ := d.emergencies.get(id)
	if e.lasts(d.cfg.Now()) {
		return nil
	}
	reason := e.EndReason
	if reason == "" {
		reason = overInTime
	}
	return &Ended{Reason: "break-glass over", EN: because("the emergency access is over", reason),
		JA: because("緊急アクセスは終了しました", reason)}
}

// named puts the emergency of a session into the detail of its events.
func (s *Session) named(detail map[string]any) map[string]any {
	id := s.principal.MFA.Emergency()
	if id == "" {
		return detail
	}
	named := map[string]any{emergencyDetail: id}
	maps.Copy(named, detail)
	return named
}

// list puts a session into the list. One of an emergency does not wait for the store.
func (s *Session) list(ctx context.Context, r SessionRecord) error {
	id := s.principal.MFA.Emergency()
	if id == "" {
		return s.door.cfg.Store.PutSession(ctx, r)
	}
	s.door.emergencies.opened(id, s.id)
	s.door.emergencies.list(r)
	return nil
}

// overInTime is why an emergency ends that nobody ended.
const overInTime = "its time is over"

// endOverdue ends what has run out, lost its certificate or person, or is of somebody whom the policy names no more.
func (d *Door) endOverdue(ctx context.Context) {
	for _, e := range d.emergencies.open() {
		why := d.overdue(e)
		if why == "" {
			continue
		}
		if err := d.endEmergency(ctx, identity.Principal{}, e.ID, why); err != nil {
			d.cfg.Log.Error("recording the end of an emergency failed", zap.String("id", e.ID), zap.Error(err))
		}
	}
}

func (d *Door) overdue(e Emergency) string {
	switch {
	case e.State() != EmergencyLive:
		return ""
	case !e.lasts(d.cfg.Now()):
		return overInTime
	case d.cfg.Revoked("person", e.Person) || d.cfg.Revoked("x509", e.Proof.Certificate) ||
		e.Proof.SSHSerial != "" && d.cfg.Revoked("ssh-cert", e.Proof.SSHSerial):
		return "the certificate or the person was revoked"
	case !d.named(e.Person, policy.StaffVendor):
		return "the policy names other people"
	}
	return ""
}

// harmless are the operations on the gateway that somebody may still do while their emergency lasts, as far as policy lets
// them: look, end and shut out. Everything else is for others, so that an emergency never enlarges itself.
var harmless = []string{
	"gateway.audit.search", "gateway.break-glass.end", "gateway.break-glass.list", "gateway.break-glass.show",
	"gateway.directory.get", "gateway.recording.read", "gateway.session.end", "gateway.session.list", "gateway.session.show",
	"gateway.session.watch", "gateway.vendor.cut-off", "gateway.vendor.list", "gateway.vendor.show",
}

// enlarges tells whether an operation is one that an emergency shuts.
func enlarges(in *policy.Input) bool {
	return in.BreakGlass != nil && !strings.HasPrefix(in.Action.Operation, "gateway.self.") &&
		!slices.Contains(harmless, in.Action.Operation)
}

// samePerson tells whether two ids are one person's, as far as the directory knows: same_as, or one address.
func (d *Door) samePerson(a, b string) bool {
	dir := d.cfg.Directory.Current()
	one, known := dir.Person(a)
	other, too := dir.Person(b)
	return a == b || slices.Contains(dir.Same(a), b) || known && too && one.Email != "" && strings.EqualFold(one.Email, other.Email)
}
