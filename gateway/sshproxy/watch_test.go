package sshproxy_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

const everybodyWatched = "  - {name: watched, vendor: acme-maintenance, obligations: {supervise: true}}"

var sessionID = regexp.MustCompile(`s-[0-9A-Z]{26}`)

// staff is a member of the company who proved themselves just now.
func (g *gateway) staff(person string) identity.Principal {
	now := g.clock.Now()
	return identity.Principal{Person: person, Vendor: "@staff", Serial: "staff-" + person, NotAfter: now.AddDate(0, 0, 30),
		MFA: identity.MFA{Method: "webauthn", At: now, UV: true}, Source: netip.MustParseAddrPort("127.0.0.1:40000")}
}

func (g *gateway) watch(id string) *access.Watching {
	g.t.Helper()
	w, err := g.door.Watch(g.t.Context(), g.staff("ren"), id)
	must(g.t, err)
	return w
}

// TestATerminalWaitsForItsWatcher: nothing runs before somebody watches, and it ends 30 s after nobody does.
func TestATerminalWaitsForItsWatcher(t *testing.T) {
	needTerminals(t)
	g := newGateway(t, setup{overrides: everybodyWatched})
	c := g.client(hanako)
	s := c.screen(40, 120, "-t", plus(theLogin(), "db1"), "echo run''ning; cat")
	id := sessionID.FindString(s.shows(`sekisho session watch s-[0-9A-Z]{26}`))
	s.shows(`Ctrl-C cancels`)
	s.shows(`担当者の監視を待っています`)
	list, err := g.door.Sessions(t.Context(), g.staff("ren"), access.SessionQuery{Live: true})
	must(t, err)
	if len(list) != 1 || list[0].ID != id || list[0].Waits != access.WaitsForWatcher {
		t.Fatalf("the list shows %+v", list)
	}
	w := g.watch(id)
	s.shows(`running`)
	must(t, w.Close(t.Context()))
	s.shows(`nobody watches this session any more: it ends in 30 seconds`)
	g.clock.advance(30 * time.Second)
	s.shows(`session ended: it has to be watched`)
	s.ends()
	for _, e := range g.events(recorder.ClassCommand, "session.end") {
		if e.Detail["reason"] != "not watched" {
			t.Errorf("ended because of %v", e.Detail["reason"])
		}
	}
}

func TestWaitingForAWatcherIsCancelledByControlC(t *testing.T) {
	needTerminals(t)
	g := newGateway(t, setup{overrides: everybodyWatched})
	s := g.client(hanako).screen(40, 120, "-t", plus(theLogin(), "db1"))
	s.shows(`Ctrl-C cancels`)
	s.types("\x03")
	s.shows(`cancelled; nothing was started`)
	if code := s.ends(); code != 126 {
		t.Errorf("exit %d", code)
	}
}

func TestScriptsDoNotWaitForAWatcher(t *testing.T) {
	g := newGateway(t, setup{overrides: everybodyWatched})
	c := g.client(hanako)
	for name, args := range map[string][]string{"a command": {plus(theLogin(), "db1"), "echo hello"}, "sftp": {"-s", plus(theLogin(), "db1"), "sftp"},
		"scp": {plus(theLogin(), "db1"), "scp -f /etc/hostname"}} {
		got := c.ssh(args...)
		if got.code != 126 || got.stdout != "" || !strings.Contains(got.stderr, "has to be watched") || !strings.Contains(got.stderr, "監視が必要です") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestALineWaitsForAWatcherToo, when the one who watched has gone.
func TestALineWaitsForAWatcherToo(t *testing.T) {
	g := newGateway(t, setup{overrides: everybodyWatched})
	s := g.client(hanako).screen(40, 120, "-t", plus(ops(t), "strict"))
	id := sessionID.FindString(s.shows(`sekisho session watch s-[0-9A-Z]{26}`))
	w := g.watch(id)
	s.shows(`\$ $`)
	must(t, w.Close(t.Context()))
	s.shows(`it ends in 30 seconds`)
	s.types("echo on''ce\r")
	s.shows(`Waiting for somebody of the company`)
	again := g.watch(id)
	s.shows(`once`)
	must(t, again.Close(t.Context()))
	s.types("exit\r")
}
