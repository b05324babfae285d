package access_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// naming is the shipped policy with an approvals.yaml that names these people for emergencies.
func naming(t *testing.T, number int, emergency string) *policy.Revision {
	t.Helper()
	return shippedBut(t, number, map[string]string{"approvals.yaml": "break_glass: " + emergency + "\n"})
}

// shippedBut is the shipped policy with some files replaced.
func shippedBut(t *testing.T, number int, files map[string]string) *policy.Revision {
	t.Helper()
	folder := fstest.MapFS{}
	entries, err := rego.FS.ReadDir(".")
	check(t, err)
	for _, e := range entries {
		data, err := rego.FS.ReadFile(e.Name())
		check(t, err)
		folder[e.Name()] = &fstest.MapFile{Data: data}
	}
	for name, text := range files {
		folder[name] = &fstest.MapFile{Data: []byte(text)}
	}
	rev, err := policy.Load(folder, number)
	check(t, err)
	return rev
}

// emergencyHouse is a house whose policy names ren, and whose store can be taken away.
type emergencyHouse struct {
	*house
	engine *policy.Engine
	store  *lostStore
}

// lostStore answers nothing but errors while it is down.
type lostStore struct {
	access.Store
	down chan struct{} // closed: up
}

var errStore = errors.New("database is locked")

func (s *lostStore) up() bool {
	select {
	case <-s.down:
		return true
	default:
		return false
	}
}

func (s *lostStore) PutSession(ctx context.Context, r access.SessionRecord) error {
	if !s.up() {
		return errStore
	}
	return s.Store.PutSession(ctx, r)
}

func (s *lostStore) PutEmergency(ctx context.Context, e access.Emergency) error {
	if !s.up() {
		return errStore
	}
	return s.Store.PutEmergency(ctx, e)
}

func (s *lostStore) Emergencies(ctx context.Context, limit int) ([]access.Emergency, error) {
	if !s.up() {
		return nil, errStore
	}
	return s.Store.Emergencies(ctx, limit)
}

func newEmergencyHouse(t *testing.T) *emergencyHouse {
	t.Helper()
	h := &emergencyHouse{}
	h.house = newHouse(t, func(cfg *access.Config) {
		cfg.Engine.Swap(naming(t, 2, `{people: [ren], minutes: 60, targets: [db1, open1, app]}`))
		h.engine = cfg.Engine
		h.store = &lostStore{Store: cfg.Store, down: make(chan struct{})}
		close(h.store.down)
		cfg.Store = h.store
	})
	return h
}

// lose takes the store away.
func (h *emergencyHouse) lose() { h.store.down = make(chan struct{}) }

// confirming is ren at the moment of declaring.
func (h *emergencyHouse) confirming(person, id string) identity.Principal {
	p := h.as(person)
	p.MFA = identity.MFA{Method: "webauthn", At: h.clock(), UV: true, Purpose: "break-glass:" + id}
	return p
}

func (h *emergencyHouse) declare(d access.Declaration) (access.Emergency, error) {
	if d.ID == "" {
		d.ID = access.NewEmergencyID()
	}
	if d.Reason == "" {
		d.Reason = "db1 is down"
	}
	return h.door.Declare(h.t.Context(), h.confirming("ren", d.ID), d)
}

// inside is ren as the certificate of an emergency proves them.
func (h *emergencyHouse) inside(e access.Emergency) identity.Principal {
	p := h.confirming("ren", e.ID)
	p.MFA.At, p.NotAfter = e.At, e.Until
	return p
}

func (h *emergencyHouse) enter(e access.Emergency, target, login string) (*access.Session, error) {
	protocol := "ssh"
	if login == "" {
		protocol = "https"
	}
	s, err := h.door.Open(h.t.Context(), access.Request{Principal: h.inside(e), Target: target, Login: login, Protocol: protocol})
	if err == nil {
		h.t.Cleanup(func() { s.End("test over") })
	}
	return s, err
}

func (h *emergencyHouse) mustEnter(e access.Emergency, target, login string) *access.Session {
	h.t.Helper()
	s, err := h.enter(e, target, login)
	check(h.t, err)
	return s
}

func refusedFor(t *testing.T, err error, reason string) {
	t.Helper()
	var refusal *access.Refusal
	if !errors.As(err, &refusal) || !slices.ContainsFunc(refusal.Reasons, func(r policy.Reason) bool { return r.ID == reason }) {
		t.Errorf("got %v, want a refusal for %s", err, reason)
	}
}

func (h *emergencyHouse) events(kind string) []recorder.Event {
	h.t.Helper()
	var list []recorder.Event
	for ev, err := range h.audit.Search(h.t.Context(), audit.Query{Kind: kind}) {
		check(h.t, err)
		list = append(list, ev)
	}
	return list
}

func TestAnEmergencyOpensTargetsWithEveryRight(t *testing.T) {
	h := newEmergencyHouse(t)
	_, err := h.door.Open(t.Context(), access.Request{Principal: h.as("ren"), Target: "db1", Login: "app", Protocol: "ssh"})
	refusedFor(t, err, "target_not_yours")

	e, err := h.declare(access.Declaration{})
	check(t, err)
	if got := e.Until.Sub(e.At); got != time.Hour {
		t.Errorf("it lasts %s", got)
	}
	for _, login := range []string{"app", "root", "postgres"} {
		s := h.mustEnter(e, "db1", login)
		for _, line := range []string{"cat /etc/shadow", "touch /srv/x", "./report", "rm -rf /srv/x", `eval "$X"`, "useradd x"} {
			if got := h.effect(s, exec(line)); got != policy.Allow {
				t.Errorf("%s as %s: %v", line, login, got)
			}
		}
		if got := h.effect(s, access.Operation{Kind: "ssh.shell"}); got != policy.Allow {
			t.Errorf("shell: %v", got)
		}
	}
	app := h.mustEnter(e, "app", "")
	if got := h.effect(app, access.Operation{Kind: "http.request", Method: "DELETE", Path: "/orders/1"}); got != policy.Allow {
		t.Errorf("DELETE: %v", got)
	}
	for _, ev := range append(h.events("session.open"), h.events("command.run")...) {
		if ev.Outcome == recorder.OK && ev.Detail["break_glass"] != e.ID {
			t.Errorf("%s does not name the emergency: %v", ev.Kind, ev.Detail)
		}
	}

	// Not where the policy does not list the target, as somebody with a strange name, or with another login of ren's.
	for target, login := range map[string]string{"other": "app", "nowhere": "app", "db1": "-oProxyCommand=x"} {
		_, err := h.enter(e, target, login)
		refusedFor(t, err, "target_not_yours")
	}
	_, err = h.door.Open(t.Context(), access.Request{Principal: h.as("ren"), Target: "db1", Login: "app", Protocol: "ssh"})
	refusedFor(t, err, "target_not_yours")
	stranger := h.confirming("nao", e.ID)
	_, err = h.door.Open(t.Context(), access.Request{Principal: stranger, Target: "db1", Login: "app", Protocol: "ssh"})
	refusedFor(t, err, "target_not_yours")
	h.engine.Swap(naming(t, 3, `{people: [ren, nao], minutes: 60, targets: [db1]}`))
	_, err = h.door.Open(t.Context(), access.Request{Principal: stranger, Target: "db1", Login: "app", Protocol: "ssh"})
	refusedFor(t, err, "target_not_yours") // named as well, but it is not nao's emergency
	contractor := h.as("hanako")
	contractor.MFA.Purpose = "break-glass:" + e.ID
	_, err = h.door.Open(t.Context(), access.Request{Principal: contractor, Target: "other", Login: "app", Protocol: "ssh"})
	refusedFor(t, err, "target_not_yours")
}

func TestADeclarationIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(h *emergencyHouse, p *identity.Principal, d *access.Declaration)
		reason string // of a refusal; "" for a declaration that is not acceptable
	}{
		{"by somebody whom the policy does not name", func(h *emergencyHouse, p *identity.Principal, d *access.Declaration) {
			*p = h.confirming("mika", d.ID)
		}, "not-named"},
		{"by a contractor whom the policy names", func(h *emergencyHouse, p *identity.Principal, d *access.Declaration) {
			h.engine.Swap(naming(h.t, 3, `{people: [ren, hanako], minutes: 60, targets: ["*"]}`))
			*p = h.confirming("hanako", d.ID)
		}, "not-named"},
		{"confirmed for another emergency", func(h *emergencyHouse, p *identity.Principal, d *access.Declaration) {
			p.MFA.Purpose = "break-glass:g-other"
		}, "not-confirmed"},
		{"confirmed for a login", func(h *emergencyHouse, p *identity.Principal, d *access.Declaration) {
			p.MFA.Purpose, d.ID = identity.PurposeLogin, ""
		}, "not-confirmed"},
		{"confirmed too long ago", func(h *emergencyHouse, p *identity.Principal, d *access.Declaration) {
			p.MFA.At = p.MFA.At.Add(-2*time.Minute - time.Second)
		}, "not-confirmed"},
		{"without user verification", func(h *emergencyHouse, p *identity.Principal, d *access.Declaration) { p.MFA.UV = false }, "not-confirmed"},
		{"by somebody revoked", func(h *emergencyHouse, p *identity.Principal, d *access.Declaration) {
			h.revoked = func(kind, id string) bool { return kind == "person" && id == "ren" }
		}, "revoked"},
		{"without a reason", func(_ *emergencyHouse, _ *identity.Principal, d *access.Declaration) { d.Reason = " \n" }, ""},
		{"with a reason without end", func(_ *emergencyHouse, _ *identity.Principal, d *access.Declaration) {
			d.Reason = strings.Repeat("x", 1001)
		}, ""},
		{"for more than an hour", func(_ *emergencyHouse, _ *identity.Principal, d *access.Declaration) { d.Minutes = 61 }, ""},
		{"for less than nothing", func(_ *emergencyHouse, _ *identity.Principal, d *access.Declaration) { d.Minutes = -1 }, ""},
		{"for a target that the policy does not list", func(_ *emergencyHouse, _ *identity.Principal, d *access.Declaration) { d.Targets = []string{"other"} }, ""},
		{"for a target that does not exist", func(_ *emergencyHouse, _ *identity.Principal, d *access.Declaration) { d.Targets = []string{"*"} }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newEmergencyHouse(t)
			d := access.Declaration{ID: access.NewEmergencyID(), Reason: "db1 is down"}
			p := h.confirming("ren", d.ID)
			tc.change(h, &p, &d)
			_, err := h.door.Declare(t.Context(), p, d)
			if tc.reason == "" && !errors.Is(err, access.ErrDeclaration) {
				t.Errorf("got %v", err)
			}
			if tc.reason != "" {
				refusedFor(t, err, tc.reason)
			}
			if on := h.events("break-glass.declared"); len(on) > 0 || len(h.door.OpenEmergencies()) > 0 {
				t.Errorf("on record %v, open %v", on, h.door.OpenEmergencies())
			}
			if tried := h.events("gateway.break-glass.declare"); tc.reason != "" && (len(tried) != 1 || tried[0].Outcome != recorder.Refused) {
				t.Errorf("the try is on record as %v", tried)
			}
		})
	}
	h := newEmergencyHouse(t)
	_, err := h.declare(access.Declaration{})
	check(t, err)
	if _, err = h.declare(access.Declaration{}); !errors.Is(err, access.ErrDeclaration) {
		t.Errorf("a second one: %v", err)
	}
}

func TestAnEmergencyEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		act  func(t *testing.T, h *emergencyHouse, e access.Emergency)
		why  string
	}{
		{"after its minutes", func(_ *testing.T, h *emergencyHouse, e access.Emergency) { h.at(e.Until) }, "time is over"},
		{"by whoever declared it", func(t *testing.T, h *emergencyHouse, e access.Emergency) {
			check(t, h.door.EndEmergency(t.Context(), h.as("ren"), e.ID, "db1 is up"))
		}, "db1 is up"},
		{"when the person is revoked", func(_ *testing.T, h *emergencyHouse, _ access.Emergency) {
			h.revoked = func(kind, id string) bool { return kind == "person" && id == "ren" }
			h.door.Recheck()
		}, "revoked"},
		{"when the client certificate is revoked", func(_ *testing.T, h *emergencyHouse, _ access.Emergency) {
			h.revoked = func(kind, id string) bool { return kind == "x509" && id == "serial-ren" }
			h.door.Recheck()
		}, "revoked"},
		{"when the policy names others", func(t *testing.T, h *emergencyHouse, _ access.Emergency) {
			h.engine.Swap(naming(t, 3, `{people: [mika], minutes: 60, targets: ["*"]}`))
		}, "names other people"},
		{"when the person leaves the staff", func(t *testing.T, h *emergencyHouse, _ access.Emergency) {
			left := strings.Replace(people, "  ren: {vendor: \"@staff\", roles: [admin, investigator]}\n", "  ren: {vendor: dev}\n", 1)
			_, _, err := h.directory.Apply(t.Context(), []byte(left), "mika", "left", h.directory.Current().Number())
			check(t, err)
		}, "names other people"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newEmergencyHouse(t)
			e, err := h.declare(access.Declaration{Minutes: 30})
			check(t, err)
			s := h.mustEnter(e, "db1", "root")
			conn, err := s.Dial(t.Context())
			check(t, err)
			began := time.Now()
			tc.act(t, h, e)
			ended := h.ended(s)
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %s", took)
			}
			if ended.Reason != "break-glass over" || !strings.Contains(ended.EN, "the emergency access is over") || !strings.Contains(ended.EN, tc.why) {
				t.Errorf("ended by %+v", ended)
			}
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("the way to the target is open")
			}
			_, err = h.enter(e, "db1", "root")
			var refusal *access.Refusal
			if !errors.As(err, &refusal) {
				t.Errorf("it opens again: %v", err)
			}
			if _, live := h.door.EmergencyPass(e.ID); live {
				t.Error("its certificate still logs in")
			}
			waitFor(t, func() bool { return len(h.events("break-glass.ended")) == 1 })
			if on := h.events("break-glass.ended")[0]; !strings.Contains(on.Detail["reason"].(string), tc.why) {
				t.Errorf("on record: %v", on.Detail)
			}
		})
	}
}

// waitFor waits for what the sweep does within a quarter of a second.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func TestAnHourIsTheEndWhateverIsWritten(t *testing.T) {
	h := newEmergencyHouse(t)
	e, err := h.declare(access.Declaration{})
	check(t, err)
	h.at(e.At.Add(time.Hour - time.Second))
	h.mustEnter(e, "db1", "root")
	h.at(e.At.Add(time.Hour))
	_, err = h.enter(e, "db1", "root")
	refusedFor(t, err, "target_not_yours")
}

func TestANarrowerPolicyNarrowsALiveEmergency(t *testing.T) {
	h := newEmergencyHouse(t)
	e, err := h.declare(access.Declaration{})
	check(t, err)
	db, open := h.mustEnter(e, "db1", "root"), h.mustEnter(e, "open1", "root")
	h.engine.Swap(naming(t, 3, `{people: [ren], minutes: 60, targets: [open1]}`))
	h.ended(db)
	if err := open.Context().Err(); err != nil {
		t.Errorf("the other one ended: %v", context.Cause(open.Context()))
	}
}

func TestAnEmergencyNeverEnlargesItself(t *testing.T) {
	h := newEmergencyHouse(t)
	// Rules that would let ren do anything.
	open := "package sekisho.staff\n\nallow := true\n"
	h.engine.Swap(shippedBut(t, 3, map[string]string{
		"approvals.yaml": "break_glass: {people: [ren], minutes: 60, targets: [\"*\"]}\n", "staff.rego": open}))
	shut := []string{"gateway.policy.apply", "gateway.policy.confirm", "gateway.request.approve", "gateway.request.deny", "gateway.lease.revoke",
		"gateway.booking.approve", "gateway.hold.remove", "gateway.retention.apply", "gateway.directory.apply", "gateway.invite.create",
		"gateway.enrolment.release", "gateway.vendor.restore", "gateway.break-glass.review", "gateway.something.new"}
	for _, operation := range shut {
		check(t, h.door.Act(t.Context(), h.as("ren"), operation, ""))
	}
	e, err := h.declare(access.Declaration{})
	check(t, err)
	for _, operation := range shut {
		refusedFor(t, h.door.Act(t.Context(), h.as("ren"), operation, ""), "emergency-changes-nothing")
		refusedFor(t, h.door.Act(t.Context(), h.inside(e), operation, ""), "emergency-changes-nothing")
	}
	check(t, h.door.Act(t.Context(), h.inside(e), "gateway.session.end", ""))
	check(t, h.door.EndEmergency(t.Context(), h.as("ren"), e.ID, "done"))
	check(t, h.door.Act(t.Context(), h.as("ren"), "gateway.policy.apply", ""))
}

func TestAnEmergencyNeedsNoStoreButARecord(t *testing.T) {
	h := newEmergencyHouse(t)
	h.lose()
	if _, err := h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: "db1", Login: "app", Protocol: "ssh"}); !errors.Is(err, errStore) {
		t.Errorf("an ordinary session: %v", err)
	}
	e, err := h.declare(access.Declaration{})
	check(t, err)
	s := h.mustEnter(e, "db1", "root")
	if got := h.effect(s, exec("rm -rf /srv/x")); got != policy.Allow {
		t.Errorf("rm: %v", got)
	}
	s.End("closed")
	check(t, h.door.EndEmergency(t.Context(), h.as("ren"), e.ID, "done"))
	_, err = h.door.ReviewEmergency(t.Context(), h.as("mika"), e.ID, access.VerdictJustified, "db1 was down")
	check(t, err)
	if list, err := h.door.Emergencies(t.Context(), h.as("mika"), false); err != nil || len(list) != 1 || len(list[0].Reviews) != 1 {
		t.Errorf("list %v %v", list, err)
	}

	close(h.store.down) // the store is back: what happened is put there
	waitForLong(t, func() bool {
		stored, err := h.store.Emergency(t.Context(), e.ID)
		record, err2 := h.store.Session(t.Context(), s.ID())
		return err == nil && err2 == nil && len(stored.Reviews) == 1 && !stored.EndedAt.IsZero() && record.EndReason == "closed"
	})

	// What cannot be recorded does not open, emergency or not.
	check(t, h.audit.Close())
	if _, err := h.declare(access.Declaration{}); err == nil {
		t.Error("declared without a record")
	}
}

func waitForLong(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func TestASessionOfAnEmergencyNeedsItsRecording(t *testing.T) {
	h := newEmergencyHouse(t)
	e, err := h.declare(access.Declaration{})
	check(t, err)
	recordings := filepath.Join(h.dir, "recordings")
	check(t, os.RemoveAll(recordings))
	check(t, os.WriteFile(recordings, nil, 0o600)) // no folder to record in
	if _, err := h.enter(e, "db1", "root"); err == nil {
		t.Error("a session opened without a recording")
	}
}

func TestTwoOthersReviewAnEmergency(t *testing.T) {
	h := newEmergencyHouse(t)
	twins := strings.Replace(people, "  nao: {vendor: \"@staff\", roles: [approver]}\n",
		"  nao: {vendor: \"@staff\", roles: [approver]}\n  aoi: {vendor: \"@staff\", roles: [auditor]}\n"+
			"  ren2: {vendor: \"@staff\", roles: [approver], same_as: ren}\n  mika2: {vendor: \"@staff\", roles: [auditor], same_as: mika}\n"+
			"  sato: {vendor: \"@staff\"}\n", 1)
	_, _, err := h.directory.Apply(t.Context(), []byte(twins), "mika", "more people", h.directory.Current().Number())
	check(t, err)
	e, err := h.declare(access.Declaration{})
	check(t, err)
	review := func(by string) error {
		_, err := h.door.ReviewEmergency(t.Context(), h.as(by), e.ID, access.VerdictJustified, "db1 was down")
		return err
	}
	if err := review("mika"); !errors.Is(err, access.ErrDeclaration) {
		t.Errorf("while it is live: %v", err)
	}
	check(t, h.door.EndEmergency(t.Context(), h.as("ren"), e.ID, "done"))
	refusedFor(t, review("ren"), "own-emergency")
	refusedFor(t, review("ren2"), "own-emergency")
	if err := review("sato"); err == nil { // no role
		t.Error("somebody without a role reviewed it")
	}
	if _, err := h.door.ReviewEmergency(t.Context(), h.as("mika"), e.ID, "fine", "x"); !errors.Is(err, access.ErrDeclaration) {
		t.Errorf("another verdict: %v", err)
	}
	if _, err := h.door.ReviewEmergency(t.Context(), h.as("mika"), e.ID, access.VerdictJustified, " "); !errors.Is(err, access.ErrDeclaration) {
		t.Errorf("without a reason: %v", err)
	}
	check(t, review("mika"))
	refusedFor(t, review("mika"), "reviewed-before")
	refusedFor(t, review("mika2"), "reviewed-before")
	if open := h.door.OpenEmergencies(); len(open) != 1 || open[0].State() != access.EmergencyUnreviewed {
		t.Errorf("open: %v", open)
	}
	check(t, review("aoi"))
	if open := h.door.OpenEmergencies(); len(open) != 0 {
		t.Errorf("open: %v", open)
	}
	if err := review("nao"); !errors.Is(err, access.ErrAnswered) {
		t.Errorf("a third: %v", err)
	}
	if on := h.events("break-glass.reviewed"); len(on) != 2 {
		t.Errorf("on record: %v", on)
	}
}

func TestEmergenciesAreRebuiltFromTheAuditLog(t *testing.T) {
	h := newEmergencyHouse(t)
	h.lose()
	over, err := h.declare(access.Declaration{Reason: "first"})
	check(t, err)
	s := h.mustEnter(over, "db1", "root")
	s.End("closed")
	check(t, h.door.EndEmergency(t.Context(), h.as("ren"), over.ID, "done"))
	_, err = h.door.ReviewEmergency(t.Context(), h.as("mika"), over.ID, access.VerdictUnjustified, "no need")
	check(t, err)
	live, err := h.declare(access.Declaration{Reason: "second", Minutes: 30, SSHSerial: "42", Fingerprint: "SHA256:x"})
	check(t, err)
	lost := h.mustEnter(live, "db1", "root")

	// A process that begins where this one was killed.
	next, err := access.New(access.Config{Engine: h.engine, Directory: h.directory, Store: h.store.Store, Audit: h.audit, Zone: tokyo,
		Recording: recorder.Config{Dir: filepath.Join(h.dir, "recordings")}, Revoked: func(string, string) bool { return false }, Now: h.clock})
	check(t, err)
	open := next.OpenEmergencies()
	if len(open) != 2 || open[0].ID != live.ID || open[1].ID != over.ID || open[1].Reviews[0].By != "mika" ||
		open[1].EndReason != "ended by ren: done" || !slices.Equal(open[1].Sessions, []string{s.ID()}) {
		t.Fatalf("open: %+v", open)
	}
	pass, ok := next.EmergencyPass(live.ID)
	if !ok || pass.Serial != "42" || pass.Fingerprint != "SHA256:x" || pass.Certificate != "serial-ren" || !pass.Until.Equal(live.Until) ||
		!pass.ConfirmedAt.Equal(live.Proof.WebAuthnAt) {
		t.Errorf("pass %+v %t", pass, ok)
	}
	if _, ok := next.EmergencyPass(over.ID); ok {
		t.Error("an ended one is live again")
	}
	for id, why := range map[string]string{s.ID(): "closed", lost.ID(): "lost: the gateway stopped without closing it"} {
		record, err := h.store.Store.Session(t.Context(), id)
		check(t, err)
		if record.EndReason != why || record.Person != "ren" || record.Target != "db1" || record.Login != "root" || record.Protocol != "ssh" {
			t.Errorf("session %+v, want its end: %s", record, why)
		}
	}
}
