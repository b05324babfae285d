package access_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// warned hears a session's warnings.
func warned(s *access.Session) <-chan access.Warning {
	heard := make(chan access.Warning, 16)
	s.OnWarning(func(w access.Warning) { heard <- w })
	return heard
}

func next(t *testing.T, heard <-chan access.Warning) access.Warning {
	t.Helper()
	select {
	case w := <-heard:
		return w
	case <-time.After(5 * time.Second):
		t.Fatal("no warning")
		return access.Warning{}
	}
}

// settle lets the door look at its sessions; a warning that was due has been given then.
func (h *house) settle(s *access.Session) {
	h.t.Helper()
	for range 3 {
		h.door.Sweep(h.t.Context())
	}
}

func none(t *testing.T, heard <-chan access.Warning) {
	t.Helper()
	select {
	case w := <-heard:
		t.Fatalf("warned: %+v", w)
	case <-time.After(50 * time.Millisecond):
	}
}

// C-2: office-hours are over at 18:00.
func TestAPersonIsWarnedTenMinutesAndOneMinuteBeforeTheWindowCloses(t *testing.T) {
	h := newHouse(t)
	s := h.open("hanako", "db1")
	heard := warned(s)
	closing := monday.Add(8 * time.Hour)

	h.at(closing.Add(-10*time.Minute - time.Nanosecond))
	h.settle(s)
	none(t, heard)

	h.at(closing.Add(-10 * time.Minute))
	w := next(t, heard)
	for _, want := range []string{"10 minutes", "18:00 JST", "C-2"} {
		if !strings.Contains(w.EN, want) {
			t.Errorf("no %q in %q", want, w.EN)
		}
	}
	if w.Left != 10*time.Minute || !strings.Contains(w.JA, "10 分後（18:00 JST）") {
		t.Errorf("%+v", w)
	}
	h.at(closing.Add(-time.Minute - time.Nanosecond))
	h.settle(s)
	none(t, heard) // once

	h.at(closing.Add(-time.Minute))
	if w := next(t, heard); w.Left != time.Minute || !strings.Contains(w.EN, "1 minute,") {
		t.Errorf("%+v", w)
	}
	h.at(closing.Add(-time.Nanosecond))
	h.settle(s)
	none(t, heard)
	if err := s.Context().Err(); err != nil {
		t.Fatalf("ended before its time: %v", err)
	}
	h.at(closing)
	if ended := h.ended(s); ended.Reason != "outside-hours" {
		t.Errorf("ended by %+v", ended)
	}
}

func TestAWindowThatChangesIsReckonedAnew(t *testing.T) {
	h := newHouse(t)
	s := h.open("hanako", "db1")
	heard := warned(s)
	h.at(monday.Add(8*time.Hour - 9*time.Minute))
	if w := next(t, heard); w.Left != 9*time.Minute || !strings.Contains(w.EN, "9 minutes") {
		t.Errorf("%+v", w)
	}
	h.apply("maint: {type: maintenance, contract: {from: 2026-01-01, until: 2026-12-31}, networks: [192.0.2.0/24], windows: [office-hours]",
		"maint: {type: maintenance, contract: {from: 2026-01-01, until: 2026-12-31}, networks: [192.0.2.0/24], windows: [always]")
	h.at(monday.Add(8*time.Hour + time.Minute))
	h.settle(s)
	none(t, heard)
	if s.Context().Err() != nil {
		t.Fatal("ended, though its window is another")
	}
}

func TestALeaseThatEndsIsWarnedOfWhileSomethingRunsUnderIt(t *testing.T) {
	h := newHouse(t)
	s, lease := h.leased(time.Time{}) // ten minutes
	heard := warned(s)
	h.at(monday)
	if w := next(t, heard); w.Left != 10*time.Minute || !strings.Contains(w.EN, "its approval ends") || !strings.Contains(w.JA, "承認") {
		t.Errorf("%+v", w)
	}
	h.at(lease.Until.Add(-time.Minute))
	if w := next(t, heard); w.Left != time.Minute {
		t.Errorf("%+v", w)
	}
	h.at(lease.Until)
	h.ended(s)
}

func TestWhatNobodyHearsYetIsToldLater(t *testing.T) {
	h := newHouse(t)
	s := h.open("hanako", "db1")
	h.at(monday.Add(8*time.Hour - 10*time.Minute))
	h.settle(s)
	heard := warned(s)
	h.at(monday.Add(8*time.Hour - 30*time.Second))
	if w := next(t, heard); w.Left != 30*time.Second {
		t.Errorf("%+v", w)
	}
	h.settle(s)
	none(t, heard) // the first one comes too late
}

func idleHouse(t *testing.T) *house {
	return newHouse(t, func(c *access.Config) { c.Idle = 15 * time.Minute })
}

func TestASessionThatNobodyUsesIsWarnedAndThenEnded(t *testing.T) {
	h := idleHouse(t)
	s := h.open("hanako", "db1")
	heard := warned(s)
	check(t, s.Record(1, recorder.KindOutput, []byte("$ ")))
	h.at(monday.Add(14*time.Minute - time.Nanosecond))
	h.settle(s)
	none(t, heard)
	h.at(monday.Add(14 * time.Minute))
	if w := next(t, heard); w.Left != time.Minute || !strings.Contains(w.EN, "idle") {
		t.Errorf("%+v", w)
	}
	h.at(monday.Add(15*time.Minute - time.Nanosecond))
	h.settle(s)
	none(t, heard)
	if s.Context().Err() != nil {
		t.Fatal("ended before its time")
	}
	h.at(monday.Add(15 * time.Minute))
	if ended := h.ended(s); ended.Reason != "idle" || !strings.Contains(ended.EN, "15 minutes") || !strings.Contains(ended.JA, "15 分間") {
		t.Errorf("%+v", ended)
	}
}

func TestUseKeepsASession(t *testing.T) {
	for name, kind := range map[string]recorder.Kind{"a key": recorder.KindInput, "output": recorder.KindOutput,
		"error output": recorder.KindStderr, "a packet of SFTP": recorder.KindPacket, "a piece of a file": recorder.KindFile} {
		t.Run(name, func(t *testing.T) {
			h := idleHouse(t)
			s := h.open("hanako", "db1")
			heard := warned(s)
			h.at(monday.Add(14 * time.Minute))
			next(t, heard)
			check(t, s.Record(1, kind, []byte("x")))
			h.at(monday.Add(15 * time.Minute))
			h.settle(s)
			if s.Context().Err() != nil {
				t.Fatal("ended, though it was used")
			}
			h.at(monday.Add(28 * time.Minute))
			next(t, heard) // the next time it stands idle
			h.at(monday.Add(29 * time.Minute))
			h.ended(s)
		})
	}
}

func TestTheGatewaysOwnWordsAndResizesAreNoUse(t *testing.T) {
	h := idleHouse(t)
	s := h.open("hanako", "db1")
	h.passes(monday.Add(14 * time.Minute))
	check(t, s.Record(1, recorder.KindNotice, []byte("a warning")))
	check(t, s.Record(1, recorder.KindResize, []byte("80x24")))
	h.at(monday.Add(15 * time.Minute))
	h.ended(s)
}

func TestACommandWithoutATerminalMayBeSilent(t *testing.T) {
	h := idleHouse(t)
	s, shell := h.open("hanako", "db1"), h.open("hanako", "db1")
	script, err := s.Authorize(t.Context(), exec("./backup"))
	check(t, err)
	vim := exec("./report")
	vim.Terminal = true
	_, err = shell.Authorize(t.Context(), vim)
	check(t, err)
	h.at(monday.Add(time.Hour))
	h.ended(shell)
	if s.Context().Err() != nil {
		t.Fatal("a command that a script waits for was ended")
	}
	script.End(recorder.OK, nil)
	h.at(monday.Add(time.Hour + 15*time.Minute))
	h.ended(s)
}

func TestIdleSessionsStayWhereThatIsOff(t *testing.T) {
	h := newHouse(t)
	s := h.open("yui", "db1") // always in her window
	h.at(monday.Add(5 * time.Hour))
	h.settle(s)
	if got := h.effect(s, exec("ls")); got != policy.Allow {
		t.Errorf("ls: %v", got)
	}
}
