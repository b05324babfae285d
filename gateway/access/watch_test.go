package access_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// supervised is a house whose policy has everybody of the maintenance vendor watched.
func supervised(t *testing.T) *house {
	rev := revision(t, 2, "\noverrides: []", "\noverrides:\n  - {name: watched, vendor: maint, obligations: {supervise: true}}")
	return newHouse(t, func(c *access.Config) { c.Engine = policy.NewEngine(rev, c.Now); c.Idle = 15 * time.Minute })
}

func (h *house) watch(person string, s *access.Session) *access.Watching {
	h.t.Helper()
	w, err := h.door.Watch(h.t.Context(), h.as(person), s.ID())
	check(h.t, err)
	h.t.Cleanup(func() { w.Close(h.t.Context()) })
	return w
}

func (h *house) kinds(query audit.Query) (kinds []string) {
	h.t.Helper()
	for e, err := range h.audit.Search(h.t.Context(), query) {
		check(h.t, err)
		kinds = append(kinds, e.Kind+" "+string(e.Outcome)+" "+e.Person)
	}
	return kinds
}

func refusal(t *testing.T, err error) *access.Refusal {
	t.Helper()
	r, ok := errors.AsType[*access.Refusal](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	return r
}

func TestAdminsAndInvestigatorsWatchAndItIsOnRecord(t *testing.T) {
	h := newHouse(t)
	s := h.open("hanako", "db1")
	for _, person := range []string{"hanako", "taro", "mika"} { // contractors, an approver
		_, err := h.door.Watch(t.Context(), h.as(person), s.ID())
		refusal(t, err)
	}
	w := h.watch("ren", s)
	if got := w.Session(); got.ID != s.ID() || got.Watchers != "ren" {
		t.Errorf("%+v", got)
	}
	list, err := h.door.Sessions(t.Context(), h.as("ren"), access.SessionQuery{Live: true})
	check(t, err)
	if len(list) != 1 || list[0].Watchers != "ren" || list[0].Waits != "" {
		t.Errorf("%+v", list)
	}
	h.passes(monday.Add(time.Minute))
	check(t, w.Close(t.Context()))
	check(t, w.Close(t.Context()))
	got := h.kinds(audit.Query{Class: recorder.ClassConfig, Text: s.ID() + ": hanako of maint as app on db1"})
	want := []string{"gateway.session.watched ok ren", "gateway.session.watch ok ren", "gateway.session.watch refused mika",
		"gateway.session.watch refused taro", "gateway.session.watch refused hanako"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("on record: %q", got)
	}
	if _, err := h.door.Watch(t.Context(), h.as("ren"), "s-none"); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("a session that is not there: %v", err)
	}
	s.End("closed")
	if _, err := h.door.Watch(t.Context(), h.as("ren"), s.ID()); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("a session that is over: %v", err)
	}
}

func TestAWatcherWhoLosesTheirRightSeesNoMore(t *testing.T) {
	h := newHouse(t)
	w := h.watch("ren", h.open("hanako", "db1"))
	h.at(monday.Add(2 * time.Minute))
	h.door.Sweep(t.Context())
	if w.Context().Err() != nil {
		t.Fatal("the watcher was stopped for nothing")
	}
	h.apply("ren: {vendor: \"@staff\", roles: [admin, investigator]}", "ren: {vendor: \"@staff\", roles: [approver]}")
	select {
	case <-w.Context().Done():
	case <-time.After(promised):
		t.Fatal("still watching")
	}
}

func TestWhatHasToBeWatchedStartsWhenSomebodyDoes(t *testing.T) {
	h := supervised(t)
	s := h.open("hanako", "db1")
	_, err := s.Authorize(t.Context(), exec("ls"))
	r := refusal(t, err)
	if r.Watch != s.ID() || r.Effect != policy.Deny || !strings.Contains(r.Message("en"), "sekisho session watch "+s.ID()) ||
		!strings.Contains(r.Message("ja"), "監視") {
		t.Fatalf("%+v: %s", r, r.Message("ja"))
	}
	waiting := make(chan error, 1)
	go func() { waiting <- s.AwaitWatcher(t.Context()) }()
	for shown := ""; shown != access.WaitsForWatcher; {
		rec, err := h.door.Session(t.Context(), h.as("ren"), s.ID())
		check(t, err)
		shown = rec.Waits
	}
	h.at(monday.Add(5 * time.Minute)) // nobody counts the seconds before it starts
	h.door.Sweep(t.Context())
	h.watch("ren", s)
	check(t, <-waiting)
	if got := h.effect(s, exec("ls")); got != policy.Allow {
		t.Errorf("watched: %v", got)
	}
	if got := h.effect(s, exec("rm x")); got != policy.Deny {
		t.Errorf("watching opened what policy shuts: %v", got)
	}
}

func TestASessionEndsWhenNobodyWatchesItAnyMore(t *testing.T) {
	h := supervised(t)
	s := h.open("hanako", "db1")
	heard := warned(s)
	w := h.watch("ren", s)
	_, err := s.Authorize(t.Context(), exec("./long"))
	check(t, err)
	check(t, w.Close(t.Context()))
	if said := next(t, heard); said.Left != 30*time.Second || !strings.Contains(said.EN, "30 seconds") {
		t.Errorf("%+v", said)
	}
	_, err = s.Authorize(t.Context(), exec("ls"))
	if refusal(t, err).Watch == "" {
		t.Error("something started unwatched")
	}
	h.at(monday.Add(29 * time.Second))
	h.door.Sweep(t.Context())
	back := h.watch("ren", s)
	h.at(monday.Add(10 * time.Minute))
	h.door.Sweep(t.Context())
	if s.Context().Err() != nil {
		t.Fatal("ended while it was watched again")
	}
	check(t, back.Close(t.Context()))
	next(t, heard)
	h.at(monday.Add(10*time.Minute + 30*time.Second))
	if ended := h.ended(s); ended.Reason != "not watched" {
		t.Errorf("%+v", ended)
	}
}

func TestAPolicyThatWantsARunningSessionWatchedEndsItOtherwise(t *testing.T) {
	var engine *policy.Engine
	h := newHouse(t, func(c *access.Config) { engine = c.Engine })
	s := h.open("hanako", "db1")
	heard := warned(s)
	_, err := s.Authorize(t.Context(), exec("./long"))
	check(t, err)
	engine.Swap(revision(t, 2, "\noverrides: []", "\noverrides:\n  - {name: watched, vendor: maint, obligations: {supervise: true}}"))
	next(t, heard)
	h.at(monday.Add(30 * time.Second))
	h.ended(s)
}

func TestNobodyWatchesThemselves(t *testing.T) {
	h := newHouse(t)
	s := h.open("hanako", "db1")
	// The same human being, by another id of the company's.
	h.apply("  ren: {vendor: \"@staff\", roles: [admin, investigator]}", "  ren: {vendor: \"@staff\", roles: [admin, investigator], same_as: hanako}")
	_, err := h.door.Watch(t.Context(), h.as("ren"), s.ID())
	if r := refusal(t, err); r.Reasons[0].ID != "own_session" {
		t.Errorf("%+v", r.Reasons)
	}
}

func TestWatchingIsNoWayAroundOnHTTPS(t *testing.T) {
	h := supervised(t)
	_, err := h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: "app", Protocol: "https"})
	if r := refusal(t, err); r.Reasons[0].ID != "obligation-unknown" {
		t.Errorf("%+v", r.Reasons)
	}
}
