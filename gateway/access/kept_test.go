package access_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// archive is a house whose past is looked at.
type archive struct {
	*house
	engine *policy.Engine
	gone   *atomic.Bool // the person's credential is revoked
}

func newArchive(t *testing.T, change ...func(*access.Config)) archive {
	t.Helper()
	var a archive
	a.house = newHouse(t, append(change, func(c *access.Config) { a.engine = c.Engine })...)
	return a
}

// events are those of one kind, newest first.
func (h archive) events(kind string) []recorder.Event {
	h.t.Helper()
	var all []recorder.Event
	for e, err := range h.audit.Search(h.t.Context(), audit.Query{Kind: kind}) {
		check(h.t, err)
		all = append(all, e)
	}
	return all
}

// kept reads a decision back and checks that what was read would be decided in the same way again.
func (h archive) kept(id string) (policy.Kept, []string) {
	h.t.Helper()
	k, caps, err := h.door.KeptDecision(h.t.Context(), h.as("ren"), id)
	check(h.t, err)
	if k.ID != id || k.Input == nil || !k.At.Equal(k.Input.Time.Now) {
		h.t.Fatalf("asked for %s, got %+v", id, k)
	}
	if again := h.engine.Decide(h.t.Context(), *k.Input); !k.Capped && again.Effect != k.Effect {
		h.t.Errorf("%s was %v, decided again %v", id, k.Effect, again.Effect)
	}
	return k, caps
}

func TestEveryDecisionOfASessionIsKept(t *testing.T) {
	h := newArchive(t)
	s := h.open("hanako", "db1")
	g, err := s.Authorize(t.Context(), exec("cat /etc/motd"))
	check(t, err)
	g.End(recorder.OK, nil)
	h.effect(s, exec("rm x"))
	h.effect(s, exec("touch x"))
	h.effect(s, access.Operation{Kind: "ssh.shell"})
	h.effect(s, exec(`eval "$X"`))
	web, err := h.door.Open(t.Context(), access.Request{Principal: h.as("yui"), Target: "app", Protocol: "https"})
	check(t, err)
	h.effect(web, access.Operation{Kind: "http.request", Method: "GET", Path: "/orders"})
	h.effect(web, access.Operation{Kind: "http.request", Method: "DELETE", Path: "/orders/1"})
	web.End("test over")
	late := h.as("hanako")
	late.MFA.At = monday.Add(-13 * time.Hour)
	_, err = h.door.Open(t.Context(), access.Request{Principal: late, Target: "db1", Login: "app", Protocol: "ssh"})
	if err == nil {
		t.Fatal("a session opened without a fresh factor")
	}

	var got []string
	for _, kind := range []string{"session.open", "command.run", "command.refused"} {
		for _, e := range slices.Backward(h.events(kind)) {
			k, caps := h.kept(e.Decision)
			if k.Session != e.Session || k.Revision != e.Revision || k.Input.Person.ID != e.Person {
				t.Errorf("%s %s: kept %+v", kind, e.Decision, k)
			}
			got = append(got, fmt.Sprint(kind, " ", k.Input.Action.Operation, " ", k.Input.Action.Command, " ", k.Effect, " ", caps))
		}
	}
	want := []string{
		"session.open ssh.connect  allow []",
		"session.open http.connect  allow []",
		"session.open ssh.connect  deny []",
		"command.run ssh.exec cat /etc/motd allow []",
		"command.run ssh.shell  allow []",
		"command.run http.request GET /orders allow []",
		"command.refused ssh.exec rm x deny []",
		"command.refused ssh.exec touch x approval []",
		`command.refused ssh.exec eval "$X" deny [opaque_line]`,
		"command.refused http.request DELETE /orders/1 deny []",
	}
	if !slices.Equal(got, want) {
		t.Errorf("kept\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestActsOnTheGatewayAreKeptAndLooksAreNot(t *testing.T) {
	h := newArchive(t)
	if _, err := h.door.CutOff(t.Context(), h.as("mika"), "dev", "because"); err == nil {
		t.Fatal("an approver cut a vendor off")
	}
	_, err := h.door.CutOff(t.Context(), h.as("ren"), "dev", "because")
	check(t, err)
	check(t, h.door.Act(t.Context(), h.as("hanako"), "gateway.self.add-key", ""))
	var effects []policy.Effect
	for _, e := range h.events("gateway.vendor.cut-off") {
		k, _ := h.kept(e.Decision)
		effects = append(effects, k.Effect)
	}
	if !slices.Equal(effects, []policy.Effect{policy.Allow, policy.Deny}) {
		t.Errorf("effects %v", effects)
	}
	own := h.events("gateway.self.add-key")
	if len(own) != 1 {
		t.Fatalf("%d events", len(own))
	}
	if k, _ := h.kept(own[0].Decision); k.Input.Person.ID != "hanako" || k.Session != "" {
		t.Errorf("kept %+v", k)
	}
	before := h.count()
	_, err = h.door.Sessions(t.Context(), h.as("ren"), access.SessionQuery{})
	check(t, err)
	_, err = h.door.OwnRequests(t.Context(), h.as("hanako"), 10)
	check(t, err)
	if after := h.count(); after != before {
		t.Errorf("looking left %d events", after-before)
	}
}

func (h archive) count() int {
	n := 0
	for _, err := range h.audit.Search(h.t.Context(), audit.Query{}) {
		check(h.t, err)
		n++
	}
	return n
}

func TestTheDecisionThatEndedASessionIsKept(t *testing.T) {
	h := newArchive(t)
	s := h.open("hanako", "db1")
	h.at(monday.Add(8 * time.Hour)) // 18:00
	h.ended(s)
	s.End("disconnected")
	ends := h.events("session.end")
	if len(ends) != 1 {
		t.Fatalf("%d ends", len(ends))
	}
	k, caps := h.kept(ends[0].Decision)
	if k.Effect != policy.Deny || len(caps) > 0 || k.Session != s.ID() || !k.At.Equal(monday.Add(8*time.Hour)) {
		t.Errorf("kept %+v, capped %v", k, caps)
	}
}

func TestARevokedCredentialCapsWhateverPolicySays(t *testing.T) {
	h := newArchive(t)
	h.revoked = func(kind, id string) bool { return kind == "person" && id == "hanako" }
	_, err := h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: "db1", Login: "app", Protocol: "ssh"})
	refusal, ok := errors.AsType[*access.Refusal](err)
	if !ok {
		t.Fatal(err)
	}
	k, caps := h.kept(refusal.Decision)
	if !k.Capped || k.Effect != policy.Deny || !slices.Equal(caps, []string{"revoked"}) {
		t.Errorf("kept %+v, capped by %v", k, caps)
	}
}

// TestWhatRunsForLongIsOnRecordBeforeItEnds: a gateway that dies must not take the decision along.
func TestWhatRunsForLongIsOnRecordBeforeItEnds(t *testing.T) {
	h := newArchive(t)
	s := h.open("hanako", "db1")
	g, err := s.Authorize(t.Context(), exec("./nightly"))
	check(t, err)
	id := g.Decision().ID
	if _, _, err := h.door.KeptDecision(t.Context(), h.as("ren"), id); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("at once: %v", err)
	}
	h.at(monday.Add(1100 * time.Millisecond))
	within(t, time.Second, func() bool {
		_, _, err := h.door.KeptDecision(t.Context(), h.as("ren"), id)
		return err == nil
	})
	if k, _ := h.kept(id); k.Effect != policy.Allow || k.Input.Action.Command != "./nightly" || !k.At.Equal(monday) {
		t.Errorf("kept %+v", k)
	}
	g.End(recorder.OK, map[string]any{"exit": 0})
	run := h.events("command.run")
	if len(run) != 1 || run[0].Decision != id || run[0].Input != nil || run[0].Revision != 1 {
		t.Errorf("at its end: %+v", run)
	}
	n := 0
	history, progress, err := h.door.History(t.Context(), h.as("ren"), monday.Add(-time.Hour), monday.Add(time.Hour))
	check(t, err)
	for batch, err := range history {
		check(t, err)
		for _, k := range batch {
			if k.ID == id {
				n++
			}
		}
	}
	if n != 1 {
		t.Errorf("the decision is kept %d times", n)
	}
	if done, total := progress(); done != total || total == 0 {
		t.Errorf("progress ended at %d of %d", done, total)
	}
}

// within asks again and again until it is so.
func within(t *testing.T, d time.Duration, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s", d)
		}
	}
}

func TestWhoMayNotAskGetsNoDecisions(t *testing.T) {
	h := newArchive(t)
	s := h.open("hanako", "db1")
	var refusal *access.Refusal
	for _, person := range []string{"hanako", "mika"} {
		if _, _, err := h.door.History(t.Context(), h.as(person), monday, monday); !errors.As(err, &refusal) {
			t.Errorf("%s reads history: %v", person, err)
		}
		if _, _, err := h.door.KeptDecision(t.Context(), h.as(person), s.ID()); !errors.As(err, &refusal) {
			t.Errorf("%s reads a decision: %v", person, err)
		}
	}
	for _, id := range []string{"", "d-", "x", s.ID(), "d-01ARZ3NDEKTSV4RRFFQ69G5FAV", "d-01ARZ3NDEKTSV4RRFFQ69G5FA\xff", strings.Repeat("d-", 1<<20)} {
		_, _, err := h.door.KeptDecision(t.Context(), h.as("ren"), id)
		if !errors.Is(err, access.ErrNotFound) || len(err.Error()) > 400 {
			t.Errorf("%.40q: %v", id, err)
		}
	}
}

func TestSecretsAreKeptNeitherInTheLogNorInAHashThatTellsThem(t *testing.T) {
	h := newArchive(t)
	s := h.open("hanako", "open1")
	for _, line := range []string{"mysql --password=hunter2 db", `eval "tool password=hunter2 $X"`, "tee token=hunter2"} {
		h.effect(s, exec(line))
		plain := sha256.Sum256([]byte(line))
		for _, secret := range []string{"hunter2", hex.EncodeToString(plain[:])} {
			if h.logged(secret) {
				t.Errorf("%s: %q is on record", line, secret)
			}
		}
		if id := h.newest().Decision; id != "" {
			h.kept(id)
		}
	}
	if !h.logged("MASKED") {
		t.Error("nothing was masked")
	}
	plain := sha256.Sum256([]byte(`eval "$X"`))
	if h.effect(s, exec(`eval "$X"`)); !h.logged(hex.EncodeToString(plain[:])) {
		t.Error("a line without secrets is not named by its hash")
	}
}

func (h archive) newest() recorder.Event {
	h.t.Helper()
	for e, err := range h.audit.Search(h.t.Context(), audit.Query{Limit: 1}) {
		check(h.t, err)
		return e
	}
	return recorder.Event{}
}

// logged tells whether a text stands in the audit log.
func (h archive) logged(text string) bool {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "audit", "*", "*.jsonl"))
	check(h.t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		check(h.t, err)
		if strings.Contains(string(data), text) {
			return true
		}
	}
	return false
}

// TestALineHoweverLongLeavesAnEventOfBoundedSize: what is decided is what is kept.
func TestALineHoweverLongLeavesAnEventOfBoundedSize(t *testing.T) {
	h := newArchive(t)
	s := h.open("hanako", "open1")
	for name, line := range map[string]string{
		"many needs":          "cat" + strings.Repeat(" "+strings.Repeat("f", 60), 255),
		"long":                "echo " + strings.Repeat("a", 60<<10),
		"longer":              "echo " + strings.Repeat("a", 120<<10),
		"escaped":             "echo '" + strings.Repeat("\x01", 15<<10) + "'",
		"long and escaped":    "echo '" + strings.Repeat("\x01", 60<<10) + "'",
		"wrapped many times":  strings.Repeat("nice ", 60) + "./run " + strings.Repeat("a", 15<<10),
		"many long redirects": "cat" + strings.Repeat(" < "+strings.Repeat("g", 80), 180),
	} {
		t.Run(name, func(t *testing.T) {
			var id string
			switch g, err := s.Authorize(t.Context(), exec(line)); e := err.(type) {
			case nil:
				id = g.Decision().ID
				if g.Line() != line {
					t.Error("the line that is shown is not the whole line")
				}
				g.End(recorder.OK, nil)
			case *access.Refusal:
				id = e.Decision
			default:
				t.Fatal(err)
			}
			k, _ := h.kept(id)
			if object, err := json.Marshal(k.Input.Action); err != nil || len(object) > 100<<10 {
				t.Errorf("an action of %d bytes is kept (%v)", len(object), err)
			}
		})
	}
	h.longestLine(600 << 10)
}

// longestLine checks the size of every line on record.
func (h archive) longestLine(limit int) {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "audit", "*", "*.jsonl"))
	check(h.t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		check(h.t, err)
		for _, line := range strings.Split(string(data), "\n") {
			if len(line) > limit {
				h.t.Errorf("an event of %d bytes: %.200s", len(line), line)
			}
		}
	}
}

func TestNobodyIsAskedToApproveALineTheyAreNotShown(t *testing.T) {
	h := newArchive(t)
	h.apply("targets: [db1]}\n  maint", "targets: [db1, open1]}\n  maint")
	s := h.open("ken", "open1") // development: execute △
	for line, want := range map[string]string{
		"./run " + strings.Repeat("a", 17<<10): "line_not_shown",
		"./run " + strings.Repeat("a", 70<<10): "line_too_long",
		"./run " + strings.Repeat("a", 15<<10): "",
	} {
		_, err := s.Authorize(t.Context(), exec(line))
		refusal, ok := errors.AsType[*access.Refusal](err)
		if !ok {
			t.Fatal(err)
		}
		if want == "" && refusal.Request == "" || want != "" && (refusal.Request != "" || refusal.Reasons[0].ID != want) {
			t.Errorf("%d bytes: request %q, reasons %v", len(line), refusal.Request, refusal.Reasons)
		}
	}
}
