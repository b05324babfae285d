package access_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// monday is inside the shipped office-hours (Asia/Tokyo, 09:00–18:00).
var monday = time.Date(2026, 11, 30, 10, 0, 0, 0, tokyo)

var tokyo = time.FixedZone("JST", 9*60*60)

const people = `
vendors:
  dev: {type: development, contract: {from: 2026-01-01, until: 2026-12-31}, networks: [192.0.2.0/24], windows: [office-hours], targets: [db1]}
  maint: {type: maintenance, contract: {from: 2026-01-01, until: 2026-12-31}, networks: [192.0.2.0/24], windows: [office-hours], targets: [db1, open1, app], approvers: [mika]}
  ops: {type: operations, contract: {from: 2026-01-01, until: 2026-12-31}, networks: [192.0.2.0/24], windows: [always], targets: [db1, app]}
  consult: {type: consulting, contract: {from: 2026-01-01, until: 2026-12-31}, networks: [192.0.2.0/24], windows: [office-hours], targets: [db1]}
  temp: {type: temporary, contract: {from: 2026-01-01, until: 2026-12-31}, networks: [192.0.2.0/24], windows: [office-hours], targets: [db1]}
  sub: {parent: maint, type: development, contract: {from: 2026-01-01, until: 2026-12-31}, networks: [192.0.2.0/24], windows: [office-hours], targets: [db1]}
people:
  ken: {vendor: dev}
  hanako: {vendor: maint}
  taro: {vendor: maint}
  yui: {vendor: ops}
  sora: {vendor: consult}
  riku: {vendor: temp}
  tsubasa: {vendor: sub}
  mika: {vendor: "@staff", roles: [approver]}
  nao: {vendor: "@staff", roles: [approver]}
  ren: {vendor: "@staff", roles: [admin, investigator]}
targets:
  db1: {ssh: {address: "10.0.0.5:22", host_key: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}, logins: [app]}
  open1: {ssh: {address: "10.0.0.6:22", host_key: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}, logins: [app], opaque: execute}
  other: {ssh: {address: "10.0.0.7:22", host_key: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}, logins: [app]}
  app: {https: {upstream: "http://10.0.0.8:8080", host: app.apps.example.com}, rules: [{match: "POST /search", right: read}]}
`

// house is a door with everything real around it but the clock and the network.
type house struct {
	t         *testing.T
	door      *access.Door
	directory *directory.Live
	audit     *audit.Log
	dir       string
	revoked   func(kind, id string) bool

	mu    sync.Mutex // guards now and dials
	now   time.Time
	dials []string
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// at moves the clock; the door's sweep sees it within its interval.
func (h *house) at(now time.Time) {
	h.mu.Lock()
	h.now = now
	h.mu.Unlock()
	h.door.Recheck()
}

func newHouse(t *testing.T, change ...func(*access.Config)) *house {
	t.Helper()
	h := &house{t: t, now: monday, dir: t.TempDir(), revoked: func(string, string) bool { return false }}
	ctx := t.Context()
	rev, err := policy.Load(rego.FS, 1)
	check(t, err)
	db, err := store.Open(ctx, filepath.Join(h.dir, "state.db"))
	check(t, err)
	h.directory, err = directory.NewLive(ctx, db.Directory(), directory.Options{Zone: tokyo, HasWindow: rev.HasWindow, Now: h.clock})
	check(t, err)
	_, _, err = h.directory.Apply(ctx, []byte(people), "ren", "test", 0)
	check(t, err)
	_, signer, err := ed25519.GenerateKey(nil)
	check(t, err)
	h.audit, err = audit.Open(audit.Config{Dir: filepath.Join(h.dir, "audit"), Signer: signer, Now: h.clock})
	check(t, err)
	key, err := age.GenerateX25519Identity()
	check(t, err)
	cfg := access.Config{
		Engine: policy.NewEngine(rev, h.clock), Directory: h.directory, Store: db.Access(), Audit: h.audit, Zone: tokyo,
		Recording: recorder.Config{Dir: filepath.Join(h.dir, "recordings"), Recipient: key.Recipient(), Signer: signer, Now: h.clock},
		Revoked:   func(kind, id string) bool { return h.revoked(kind, id) }, Now: h.clock, Dial: h.dial,
	}
	for _, f := range change {
		f(&cfg)
	}
	h.door, err = access.New(cfg)
	check(t, err)
	serving, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.door.Serve(serving) }()
	t.Cleanup(func() {
		stop()
		check(t, <-done)
		check(t, h.audit.Close())
		check(t, db.Close())
	})
	return h
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dial notes the address and gives one end of a pipe; the other end echoes.
func (h *house) dial(_ context.Context, _, address string) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dials = append(h.dials, address)
	here, there := net.Pipe()
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := there.Read(buf)
			if err != nil {
				return
			}
			there.Write(buf[:n])
		}
	}()
	return here, nil
}

// as is a person who proved themselves just now.
func (h *house) as(person string) identity.Principal {
	who, ok := h.directory.Current().Person(person)
	if !ok {
		h.t.Fatalf("no person %s", person)
	}
	return identity.Principal{Person: person, Vendor: who.Vendor, Serial: "serial-" + person, NotAfter: monday.AddDate(0, 0, 30),
		MFA: identity.MFA{Method: "webauthn", At: monday.Add(-time.Minute), UV: true}, Source: netip.MustParseAddrPort("192.0.2.7:40000")}
}

func (h *house) open(person, target string) *access.Session {
	h.t.Helper()
	s, err := h.door.Open(h.t.Context(), access.Request{Principal: h.as(person), Target: target, Login: "app", Protocol: "ssh"})
	check(h.t, err)
	h.t.Cleanup(func() { s.End("test over") })
	return s
}

func exec(line string) access.Operation {
	return access.Operation{Kind: "ssh.exec", Command: line, Channel: 1}
}

// effect is what the door says to an operation.
func (h *house) effect(s *access.Session, op access.Operation) policy.Effect {
	h.t.Helper()
	g, err := s.Authorize(h.t.Context(), op)
	var refusal *access.Refusal
	switch {
	case err == nil:
		g.End(recorder.OK, nil)
		return policy.Allow
	case errors.As(err, &refusal):
		return refusal.Effect
	}
	h.t.Fatal(err)
	return policy.Deny
}

// ended waits for a session's end and returns why.
func (h *house) ended(s *access.Session) *access.Ended {
	h.t.Helper()
	select {
	case <-s.Context().Done():
	case <-time.After(5 * time.Second):
		h.t.Fatal("the session did not end")
	}
	var ended *access.Ended
	if !errors.As(context.Cause(s.Context()), &ended) {
		h.t.Fatalf("ended by %v", context.Cause(s.Context()))
	}
	return ended
}

func TestTheMatrixHoldsCellByCellThroughTheDoor(t *testing.T) {
	h := newHouse(t)
	lines := map[policy.Right]string{policy.Read: "cat /etc/motd", policy.Write: "touch /srv/x", policy.Execute: "./report", policy.Delete: "rm /srv/x"}
	const always, approval, never = policy.Allow, policy.Approval, policy.Deny
	for _, row := range []struct {
		id, person                   string
		read, write, execute, delete policy.Effect
	}{
		{"M-1", "ken", always, always, approval, never},
		{"M-2", "hanako", always, approval, always, never},
		{"M-3", "yui", always, never, always, never},
		{"M-4", "sora", always, never, never, never},
		{"M-5", "riku", approval, never, approval, never},
	} {
		t.Run(row.id, func(t *testing.T) {
			s := h.open(row.person, "db1")
			for right, want := range map[policy.Right]policy.Effect{policy.Read: row.read, policy.Write: row.write, policy.Execute: row.execute, policy.Delete: row.delete} {
				if got := h.effect(s, exec(lines[right])); got != want {
					t.Errorf("%s %s: %v, want %v", row.id, right, got, want)
				}
			}
			if got := h.effect(s, access.Operation{Kind: "ssh.shell"}); got != row.execute {
				t.Errorf("%s shell: %v, want that of execute, %v", row.id, got, row.execute)
			}
			if got := h.effect(s, access.Operation{Kind: "ssh.teleport"}); got != never {
				t.Errorf("%s unknown operation: %v", row.id, got)
			}
		})
	}
}

func TestARefusalNamesRightTableAndDecision(t *testing.T) {
	h := newHouse(t)
	_, err := h.open("sora", "db1").Authorize(t.Context(), exec("rm x"))
	var refusal *access.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"M-4", "delete", refusal.Decision} {
		if !strings.Contains(refusal.Message("en"), want) {
			t.Errorf("no %q in %q", want, refusal.Message("en"))
		}
	}
	if !strings.Contains(refusal.Message("ja"), "拒否") || !strings.HasPrefix(refusal.Decision, "d-") {
		t.Errorf("in Japanese: %q", refusal.Message("ja"))
	}
}

func TestASubContractorNeverHoldsMoreThanItsParent(t *testing.T) {
	// V-6: sub develops (write ○), its parent maintains (write △): the least of the two. Execute: △ and ○.
	s := newHouseSession(t, "tsubasa")
	if got := s.h.effect(s.Session, exec("touch /srv/x")); got != policy.Approval {
		t.Errorf("write: %v", got)
	}
	if got := s.h.effect(s.Session, exec("./report")); got != policy.Approval {
		t.Errorf("execute: %v", got)
	}
}

type housed struct {
	*access.Session
	h *house
}

func newHouseSession(t *testing.T, person string) housed {
	h := newHouse(t)
	return housed{h.open(person, "db1"), h}
}

func TestATargetThatIsNotYoursLooksLikeOneThatDoesNotExist(t *testing.T) {
	h := newHouse(t)
	refuse := func(target, login, protocol string) *access.Refusal {
		_, err := h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: target, Login: login, Protocol: protocol})
		var refusal *access.Refusal
		if !errors.As(err, &refusal) {
			t.Fatalf("%s: %v", target, err)
		}
		return refusal
	}
	unknown := refuse("nowhere", "app", "ssh")
	for name, r := range map[string]*access.Refusal{
		"another vendor's target":  refuse("other", "app", "ssh"),
		"a login it does not have": refuse("db1", "postgres", "ssh"),
		"another protocol":         refuse("db1", "", "https"),
		"the gateway itself":       refuse(policy.GatewayTarget, "", "ssh"),
	} {
		got := strings.ReplaceAll(r.Message("en"), r.Decision, "D")
		if want := strings.ReplaceAll(unknown.Message("en"), unknown.Decision, "D"); got != want {
			t.Errorf("%s: %q, but an unknown one: %q", name, got, want)
		}
	}
	if len(h.dials) != 0 {
		t.Errorf("dialled %v", h.dials)
	}
}

func TestContractorsAreNeverRoot(t *testing.T) {
	h := newHouse(t)
	_, err := h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: "db1", Login: "root", Protocol: "ssh"})
	var refusal *access.Refusal
	if !errors.As(err, &refusal) || !slices.ContainsFunc(refusal.Reasons, func(r policy.Reason) bool { return r.ID == "admin-never" }) {
		t.Fatalf("got %v", err)
	}
}

func TestTheControlsShutTheDoor(t *testing.T) {
	for name, c := range map[string]struct {
		table string
		spoil func(h *house, p *identity.Principal)
	}{
		"C-1 no certificate":      {"C-1", func(_ *house, p *identity.Principal) { p.Serial = "" }},
		"C-1 expired certificate": {"C-1", func(_ *house, p *identity.Principal) { p.NotAfter = monday.Add(-time.Second) }},
		"C-1 revoked certificate": {"C-1", func(h *house, p *identity.Principal) {
			h.revoked = func(kind, id string) bool { return kind == "x509" && id == p.Serial }
		}},
		"C-2 Sunday":               {"C-2", func(h *house, _ *identity.Principal) { h.now = monday.AddDate(0, 0, -1) }},
		"C-2 a second before nine": {"C-2", func(h *house, _ *identity.Principal) { h.now = monday.Add(-time.Hour - time.Second) }},
		"C-3 another network":      {"C-3", func(_ *house, p *identity.Principal) { p.Source = netip.MustParseAddrPort("198.51.100.1:5") }},
		"C-4 no second factor":     {"C-4", func(_ *house, p *identity.Principal) { p.MFA = identity.MFA{} }},
		"C-4 without verification": {"C-4", func(_ *house, p *identity.Principal) { p.MFA.UV = false }},
		"V-7 after the contract": {"V-7", func(h *house, p *identity.Principal) {
			h.now = time.Date(2027, 1, 4, 10, 0, 0, 0, tokyo)
			p.MFA.At = h.now
			p.NotAfter = h.now.Add(time.Hour)
		}},
		"C-4 a factor of yesterday": {"C-4", func(_ *house, p *identity.Principal) { p.MFA.At = monday.Add(-13 * time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			p := h.as("hanako")
			c.spoil(h, &p)
			_, err := h.door.Open(t.Context(), access.Request{Principal: p, Target: "db1", Login: "app", Protocol: "ssh"})
			var refusal *access.Refusal
			if !errors.As(err, &refusal) || !slices.ContainsFunc(refusal.Reasons, func(r policy.Reason) bool { return r.Table == c.table }) {
				t.Fatalf("want a refusal by %s, got %v", c.table, err)
			}
		})
	}
}

func TestASessionEndsWhenItsWindowCloses(t *testing.T) {
	s := newHouseSession(t, "hanako")
	g, err := s.Authorize(t.Context(), exec("sleep 60"))
	check(t, err)
	conn, err := s.Dial(t.Context())
	check(t, err)
	s.h.at(monday.Add(8 * time.Hour)) // 18:00
	if ended := s.h.ended(s.Session); !strings.Contains(ended.EN, "C-2") {
		t.Errorf("ended because %q", ended.EN)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("the way to the target is still open")
	}
	if _, err := s.Dial(t.Context()); err == nil {
		t.Error("a session that is over dials")
	}
	g.End(recorder.OK, nil)
}

func TestARevokedPersonIsOutAtOnce(t *testing.T) {
	s := newHouseSession(t, "hanako")
	s.h.revoked = func(kind, id string) bool { return kind == "person" && id == "hanako" }
	s.h.door.Recheck()
	if ended := s.h.ended(s.Session); ended.Reason != "revoked" {
		t.Errorf("ended because %q: %s", ended.Reason, ended.EN)
	}
}

func TestADirectoryChangeReachesLiveSessions(t *testing.T) {
	s := newHouseSession(t, "hanako")
	changed := strings.Replace(people, "targets: [db1, open1, app]", "targets: [open1, app]", 1)
	changed = strings.Replace(changed, "  sub: {parent: maint, type: development, contract: {from: 2026-01-01, until: 2026-12-31}, networks: [192.0.2.0/24], windows: [office-hours], targets: [db1]}\n", "", 1)
	changed = strings.Replace(changed, "  tsubasa: {vendor: sub}\n", "", 1)
	_, _, err := s.h.directory.Apply(t.Context(), []byte(changed), "ren", "db1 is no longer theirs", 1)
	check(t, err)
	if ended := s.h.ended(s.Session); ended.Reason != "target_not_yours" {
		t.Errorf("ended because %q", ended.Reason)
	}
}

func TestCuttingAVendorOffEndsItsAndItsSubContractorsSessions(t *testing.T) {
	h := newHouse(t)
	hanako, tsubasa, ken := h.open("hanako", "db1"), h.open("tsubasa", "db1"), h.open("ken", "db1")
	ids, err := h.door.CutOff(t.Context(), h.as("ren"), "maint", "laptop stolen")
	check(t, err)
	if len(ids) != 2 {
		t.Errorf("ended %v", ids)
	}
	for _, s := range []*access.Session{hanako, tsubasa} {
		if ended := h.ended(s); !strings.Contains(ended.EN, "laptop stolen") {
			t.Errorf("ended because %q", ended.EN)
		}
	}
	if ken.Context().Err() != nil {
		t.Error("another vendor's session ended, too")
	}
	for _, person := range []string{"hanako", "tsubasa"} {
		if _, err := h.door.Open(t.Context(), access.Request{Principal: h.as(person), Target: "db1", Login: "app", Protocol: "ssh"}); err == nil {
			t.Errorf("%s opened a session while cut off", person)
		}
	}
	check(t, h.door.Restore(t.Context(), h.as("ren"), "maint", "found"))
	h.open("hanako", "db1")
}

func TestOnlyAnAdminCutsOff(t *testing.T) {
	h := newHouse(t)
	var refusal *access.Refusal
	for _, person := range []string{"mika", "hanako"} {
		if _, err := h.door.CutOff(t.Context(), h.as(person), "dev", "because"); !errors.As(err, &refusal) {
			t.Errorf("%s: %v", person, err)
		}
	}
	if _, err := h.door.CutOff(t.Context(), h.as("ren"), policy.StaffVendor, "because"); err == nil {
		t.Error("the company cut itself off")
	}
	if _, err := h.door.CutOff(t.Context(), h.as("ren"), "nobody", "because"); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("an unknown vendor: %v", err)
	}
}

func TestAnApprovalBecomesALeaseForThatOperationOnly(t *testing.T) {
	h := newHouse(t)
	s := h.open("hanako", "db1")
	ask := func(line string) *access.Refusal {
		_, err := s.Authorize(t.Context(), exec(line))
		var refusal *access.Refusal
		if !errors.As(err, &refusal) {
			t.Fatalf("%s: %v", line, err)
		}
		return refusal
	}
	first := ask("touch /srv/x")
	if first.Request == "" || ask("touch /srv/x").Request != first.Request {
		t.Fatal("the same operation filed two requests, or none")
	}
	var refusal *access.Refusal
	for who, want := range map[string]string{"hanako": "herself", "taro": "her colleague", "ren": "no approver", "nao": "not an approver of this vendor"} {
		if _, err := h.door.Approve(t.Context(), h.as(who), first.Request, access.Consent{Minutes: 10}); !errors.As(err, &refusal) {
			t.Errorf("%s (%s) approved: %v", who, want, err)
		}
	}
	leases, err := h.door.Approve(t.Context(), h.as("mika"), first.Request, access.Consent{Minutes: 10, Reason: "change 42"})
	check(t, err)
	if len(leases) != 1 || leases[0].Right != policy.Write {
		t.Fatalf("leases %+v", leases)
	}
	if _, err := h.door.Approve(t.Context(), h.as("mika"), first.Request, access.Consent{Minutes: 10}); !errors.Is(err, access.ErrAnswered) {
		t.Errorf("answered twice: %v", err)
	}
	if got := h.effect(s, exec("touch /srv/x")); got != policy.Allow {
		t.Errorf("the approved command: %v", got)
	}
	for _, other := range []string{"touch /srv/y", "touch /srv/x /srv/y"} {
		if got := h.effect(s, exec(other)); got != policy.Approval {
			t.Errorf("%s rode on the lease: %v", other, got)
		}
	}
	if got := h.effect(h.open("taro", "db1"), exec("touch /srv/x")); got != policy.Approval {
		t.Errorf("somebody else rode on the lease: %v", got)
	}
	h.at(monday.Add(11 * time.Minute))
	if got := h.effect(s, exec("touch /srv/x")); got != policy.Approval {
		t.Errorf("the lease outlived its minutes: %v", got)
	}
}

func TestAStarInAnApprovedCommandIsNoWildcard(t *testing.T) {
	h := newHouse(t)
	s := h.open("riku", "db1")
	_, err := s.Authorize(t.Context(), exec("cat logs/*"))
	var refusal *access.Refusal
	if !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	_, err = h.door.Approve(t.Context(), h.as("mika"), refusal.Request, access.Consent{Minutes: 10, Reason: "this month's logs"})
	check(t, err)
	if got := h.effect(s, exec("cat logs/*")); got != policy.Allow {
		t.Errorf("the approved command: %v", got)
	}
	if got := h.effect(s, exec("cat logs/../secret")); got != policy.Approval {
		t.Errorf("another file rode on the star: %v", got)
	}
}

func TestALeaseCoversNoOtherFolderInputOrSecret(t *testing.T) {
	for _, tc := range []struct{ person, approved, other string }{
		{"hanako", "tee notes", "cd /etc && tee notes"},
		{"hanako", "tee 'token=a'", "tee 'token=/../../etc/b'"},
		{"ken", "psql app < fix.sql", "psql app < evil.sql"},
		{"ken", "psql app", "PGHOST=evil psql app"},
		{"ken", "make", "cd /tmp && make"},
		{"ken", "./deploy --token=a", "./deploy --token=b"},
		{"ken", "./deploy --token=a", "./deploy --token=MASKED"},
		{"ken", "echo root:a | sudo -S ./setpw", "echo root:b | sudo -S ./setpw"},
		{"ken", "curl -d 'token=a' http://x/", "curl -d 'token=b' http://x/"},
	} {
		t.Run(tc.other, func(t *testing.T) {
			h := newHouse(t)
			s := h.open(tc.person, "db1")
			_, err := s.Authorize(t.Context(), exec(tc.approved))
			var refusal *access.Refusal
			if !errors.As(err, &refusal) {
				t.Fatal(err)
			}
			_, err = h.door.Approve(t.Context(), h.as("mika"), refusal.Request, access.Consent{Minutes: 10, Reason: "change 42"})
			check(t, err)
			if got := h.effect(s, exec(tc.approved)); got != policy.Allow {
				t.Errorf("the approved command: %v", got)
			}
			if got := h.effect(s, exec(tc.other)); got != policy.Approval {
				t.Errorf("another one rode on the lease: %v", got)
			}
		})
	}
}

func TestAnObligationThatNobodyCarriesOutRefuses(t *testing.T) {
	dir := t.TempDir()
	check(t, os.CopyFS(dir, rego.FS))
	file := filepath.Join(dir, "matrix.yaml")
	text, err := os.ReadFile(file)
	check(t, err)
	watched := strings.Replace(string(text), "every: {mfa_max_age: 12h}", "every: {mfa_max_age: 12h, watermark: true}", 1)
	check(t, os.WriteFile(file, []byte(watched), 0o600))
	rev, err := policy.Load(os.DirFS(dir), 2)
	check(t, err)
	h := newHouse(t, func(c *access.Config) { c.Engine.Swap(rev) })
	_, err = h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: "db1", Login: "app", Protocol: "ssh"})
	var refusal *access.Refusal
	if !errors.As(err, &refusal) || refusal.Reasons[0].ID != "obligation-unknown" {
		t.Errorf("got %v", err)
	}
}

func TestRevokingALeaseEndsWhatRunsUnderIt(t *testing.T) {
	h := newHouse(t)
	s := h.open("ken", "db1")
	_, err := s.Authorize(t.Context(), exec("./long"))
	var refusal *access.Refusal
	if !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	leases, err := h.door.Approve(t.Context(), h.as("mika"), refusal.Request, access.Consent{Minutes: 30})
	check(t, err)
	_, err = s.Authorize(t.Context(), exec("./long"))
	check(t, err)
	check(t, h.door.RevokeLease(t.Context(), h.as("mika"), leases[0].ID, "done"))
	h.ended(s)
}

// TestALeaseRevokedWhileItsCommandIsDecidedEndsIt: the sweep that the revocation wakes finds nothing running yet.
func TestALeaseRevokedWhileItsCommandIsDecidedEndsIt(t *testing.T) {
	var sweeps atomic.Int64
	var between atomic.Pointer[func()] // after the decision, before the command counts as running
	h := newHouse(t, func(cfg *access.Config) {
		now := cfg.Now
		cfg.Now = func() time.Time {
			switch caller() {
			case "(*Door).sweep":
				sweeps.Add(1)
			case "(*Session).Authorize":
				if f := between.Swap(nil); f != nil {
					(*f)()
				}
			}
			return now()
		}
	})
	s := h.open("ken", "db1")
	op := exec("./long")
	_, err := s.Authorize(t.Context(), op)
	refusal, _ := errors.AsType[*access.Refusal](err)
	leases, err := h.door.Approve(t.Context(), h.as("mika"), refusal.Request, access.Consent{Reason: "ok"})
	check(t, err)
	revoke := func() {
		check(t, h.door.RevokeLease(t.Context(), h.as("mika"), leases[0].ID, "done"))
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for from := sweeps.Load(); sweeps.Load() < from+2; {
			<-tick.C
		}
	}
	between.Store(&revoke)
	if _, err := s.Authorize(t.Context(), op); err != nil {
		return // refused after all: as good
	}
	h.ended(s)
}

// caller is the function of the package under test that called the caller's caller: "(*Door).sweep".
func caller() string {
	pcs := make([]uintptr, 1)
	runtime.Callers(3, pcs)
	frame, _ := runtime.CallersFrames(pcs).Next()
	return frame.Function[strings.LastIndexByte(frame.Function, '/')+len("/access."):]
}

func TestADeniedRequestOpensNothing(t *testing.T) {
	h := newHouse(t)
	s := h.open("ken", "db1")
	_, err := s.Authorize(t.Context(), exec("./run"))
	var refusal *access.Refusal
	if !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	check(t, h.door.Deny(t.Context(), h.as("mika"), refusal.Request, "not today"))
	if got := h.effect(s, exec("./run")); got != policy.Approval {
		t.Errorf("after a no: %v", got)
	}
}

func TestOpaqueLinesFollowTheTarget(t *testing.T) {
	h := newHouse(t)
	strict, lax := h.open("hanako", "db1"), h.open("hanako", "open1")
	if got := h.effect(strict, exec(`eval "$X"`)); got != policy.Deny {
		t.Errorf("opaque: deny: %v", got)
	}
	if got := h.effect(lax, exec(`eval "$X"`)); got != policy.Allow {
		t.Errorf("opaque: execute, who may execute: %v", got)
	}
	if strict.Label() != access.LabelParsed || lax.Label() != access.LabelRecorded {
		t.Errorf("labels %s and %s", strict.Label(), lax.Label())
	}
}

func TestHTTPOperationsNeedTheRightOfTheirMethodOrRule(t *testing.T) {
	h := newHouse(t)
	s, err := h.door.Open(t.Context(), access.Request{Principal: h.as("yui"), Target: "app", Protocol: "https"})
	check(t, err)
	defer s.End("test over")
	for op, want := range map[string]policy.Effect{"GET /orders": policy.Allow, "PUT /orders/1": policy.Deny, "DELETE /orders/1": policy.Deny,
		"POST /run": policy.Allow, "POST /search": policy.Allow, "BREW /pot": policy.Deny} {
		method, path, _ := strings.Cut(op, " ")
		if got := h.effect(s, access.Operation{Kind: "http.request", Method: method, Path: path}); got != want {
			t.Errorf("%s: %v, want %v", op, got, want)
		}
	}
	if s.Label() != access.LabelWire {
		t.Errorf("label %s", s.Label())
	}
	if up := s.Target().Upstream; up == nil || up.Port() != "" {
		t.Errorf("the proxy sees the app's address: %v", up)
	}
}

func TestNothingOpensWithoutARecording(t *testing.T) {
	h := newHouse(t, func(c *access.Config) {
		blocked := filepath.Join(c.Recording.Dir + "-is-a-file")
		if err := os.WriteFile(blocked, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c.Recording.Dir = filepath.Join(blocked, "below")
	})
	if _, err := h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: "db1", Login: "app", Protocol: "ssh"}); err == nil {
		t.Fatal("a session opened that cannot be recorded")
	}
	live, err := h.door.Sessions(t.Context(), h.as("ren"), access.SessionQuery{Live: true})
	check(t, err)
	if len(live) != 0 {
		t.Errorf("listed as live: %v", live)
	}
}

func TestOnePersonCannotHoldEverySession(t *testing.T) {
	h := newHouse(t, func(c *access.Config) { c.MaxPerPerson = 2 })
	h.open("hanako", "db1")
	second := h.open("hanako", "db1")
	if _, err := h.door.Open(t.Context(), access.Request{Principal: h.as("hanako"), Target: "db1", Login: "app", Protocol: "ssh"}); err == nil {
		t.Fatal("a third session opened")
	}
	second.End("closed")
	h.open("hanako", "db1")
}

func TestWhatHappenedIsOnRecord(t *testing.T) {
	h := newHouse(t)
	s := h.open("hanako", "db1")
	g, err := s.Authorize(t.Context(), exec("echo hello; mysql -psecret -e 'select 1'"))
	check(t, err)
	g.End(recorder.OK, map[string]any{"exit": 3})
	h.effect(s, exec("rm x"))
	s.End("closed")
	seen := map[string]recorder.Event{}
	for e, err := range h.audit.Search(t.Context(), audit.Query{Session: s.ID()}) {
		check(t, err)
		seen[e.Kind] = e
	}
	for _, kind := range []string{"session.open", "command.run", "command.refused", "session.end"} {
		e, ok := seen[kind]
		if !ok {
			t.Errorf("no %s event", kind)
			continue
		}
		if e.Table != "R-2" || e.Person != "hanako" || e.Vendor != "maint" || e.Target != "db1" || e.Source == nil {
			t.Errorf("%s: %+v", kind, e)
		}
	}
	if line := fmt.Sprint(seen["command.run"].Detail["line"]); strings.Contains(line, "secret") || !strings.Contains(line, "echo hello") {
		t.Errorf("line on record: %q", line)
	}
}

func TestARestartClosesTheBooksOnLostSessions(t *testing.T) {
	h := newHouse(t)
	s := h.open("hanako", "db1")
	// A second door on the same store stands for the process after a crash.
	again := newHouse(t, func(c *access.Config) {
		db, err := store.Open(t.Context(), filepath.Join(h.dir, "state.db"))
		check(t, err)
		t.Cleanup(func() { db.Close() })
		c.Store = db.Access()
	})
	rec, err := again.door.Session(t.Context(), again.as("ren"), s.ID())
	check(t, err)
	if rec.EndedAt.IsZero() || !strings.Contains(rec.EndReason, "lost") {
		t.Errorf("after the restart: %+v", rec)
	}
}
