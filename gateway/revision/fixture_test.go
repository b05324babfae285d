package revision_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// The people of these tests.
var (
	aya = identity.Principal{Person: "aya", Vendor: policy.StaffVendor}
	ken = identity.Principal{Person: "ken", Vendor: policy.StaffVendor}
)

// now is when these tests begin.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// gateway is a folder with a policy, a database and a record.
type gateway struct {
	*revision.Live
	t      *testing.T
	dir    string
	signer ed25519.PrivateKey
	db     *store.DB
	store  revision.Store // what the Live is given; the database's unless a test puts something between
	audit  *audit.Log
	second bool
	admins []string
	same   func(a, b string) bool
	clock  clock
}

// clock is a time that a test sets.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	looks int
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	return c.now
}

// seen waits until the clock has been looked at several times more.
func (c *clock) seen() {
	look := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.looks
	}
	for from := look(); look() < from+3; {
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// prepare makes the folder; start opens it.
func prepare(t *testing.T) *gateway {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	ok(t, err)
	g := &gateway{t: t, dir: t.TempDir(), signer: key, admins: []string{"aya", "ken"},
		clock: clock{now: now}}
	ok(t, os.CopyFS(g.path("policy"), rego.FS))
	g.open()
	return g
}

func start(t *testing.T) *gateway {
	t.Helper()
	g := prepare(t)
	ok(t, g.start())
	return g
}

func (g *gateway) path(names ...string) string {
	return filepath.Join(append([]string{g.dir}, names...)...)
}

func (g *gateway) open() {
	g.t.Helper()
	db, err := store.Open(g.t.Context(), g.path("state.db"))
	ok(g.t, err)
	g.t.Cleanup(func() { db.Close() })
	log, err := audit.Open(audit.Config{Dir: g.path("audit"), Signer: g.signer, Now: g.clock.Now})
	ok(g.t, err)
	g.t.Cleanup(func() { log.Close() })
	g.db, g.audit, g.store = db, log, db.Revision()
}

func (g *gateway) start() error {
	var err error
	g.Live, err = revision.New(g.t.Context(), revision.Config{Store: g.store, Signer: g.signer, Append: g.audit.Append,
		LastApplied:  g.lastApplied,
		Folder:       revision.Folder{Dir: g.path("policy"), Journal: g.path("policy.forward")},
		Directory:    g.directory,
		SecondPerson: g.second, Now: g.clock.Now})
	return err
}

// restart ends the process, as far as it can be seen from outside, and starts it again.
func (g *gateway) restart() error {
	g.t.Helper()
	ok(g.t, errors.Join(g.audit.Close(), g.db.Close()))
	g.open()
	return g.start()
}

func (g *gateway) lastApplied(ctx context.Context) (recorder.Event, bool, error) {
	for e, err := range g.audit.Search(ctx, audit.Query{Kind: revision.AppliedKind, Limit: 1}) {
		return e, err == nil, err
	}
	return recorder.Event{}, false, nil
}

func (g *gateway) directory() revision.Directory {
	d := revision.Directory{Same: g.same}
	now := g.clock.Now()
	for _, id := range g.admins {
		d.Admins = append(d.Admins, policy.Input{Person: policy.Person{ID: id, Vendor: policy.StaffVendor, Roles: []string{"admin"}},
			Vendor: policy.Vendor{ID: policy.StaffVendor, Type: "staff", Chain: []string{policy.StaffVendor}},
			Auth: policy.Auth{Kind: "human", Cert: policy.Cert{Serial: "1", NotAfter: now.AddDate(1, 0, 0)},
				MFA: policy.MFA{Method: "webauthn", At: now, UV: true}},
			Target: policy.Target{Name: policy.GatewayTarget, Kind: "gateway"}, Time: policy.Clock{Now: now, Zone: "Asia/Tokyo"}})
	}
	d.Staff = d.Admins
	return d
}

// edited is what is in force with a text at the end of some files.
func (g *gateway) edited(edits map[string]string) revision.Files {
	g.t.Helper()
	_, files, err := g.Get(g.t.Context(), 0)
	ok(g.t, err)
	for name, text := range edits {
		files[name] = append(files[name], text...)
	}
	return files
}

// noDumps is an edit that maintenance vendors notice.
var noDumps = map[string]string{"maintenance.rego": "\ndeny contains \"No dumps.\" if lib.runs(\"pg_dump\")\n"}

// remark is an edit that changes nothing but the text.
func remark(text string) map[string]string {
	return map[string]string{"operations.rego": "\n# " + text + "\n"}
}

func (g *gateway) change(edits map[string]string) revision.Change {
	g.t.Helper()
	return revision.Change{Files: g.edited(edits), Base: g.Current().Number, Reason: "because", Ticket: "CHG-1", Source: "test"}
}

func (g *gateway) apply(edits map[string]string) revision.Version {
	g.t.Helper()
	v, err := g.Apply(g.t.Context(), aya, g.change(edits))
	ok(g.t, err)
	return v
}

// folder is what stands in the working copy.
func (g *gateway) folder() revision.Files {
	g.t.Helper()
	files, err := revision.Read(os.DirFS(g.path("policy")))
	ok(g.t, err)
	return files
}

// inForce checks which revision decides, by the engine and by the book.
func (g *gateway) inForce(number int) {
	g.t.Helper()
	if got := g.Engine().Revision().Number(); got != number || g.Current().Number != number {
		g.t.Fatalf("revision %d decides and %d is in force, want %d", got, g.Current().Number, number)
	}
}

// events lists those of a kind, newest first.
func (g *gateway) events(kind string) []recorder.Event {
	g.t.Helper()
	var list []recorder.Event
	for e, err := range g.audit.Search(g.t.Context(), audit.Query{Kind: kind}) {
		ok(g.t, err)
		list = append(list, e)
	}
	return list
}

// dump asks the engine whether a maintenance contractor may run pg_dump.
func (g *gateway) dump() policy.Effect {
	now := g.clock.Now()
	d := g.Engine().Decide(g.t.Context(), policy.Input{
		Person: policy.Person{ID: "hanako", Vendor: "acme"},
		Vendor: policy.Vendor{ID: "acme", Type: "maintenance", Chain: []string{"acme"}, Windows: []string{"always"}, Targets: []string{"db1"},
			Contract: policy.Contract{From: now.AddDate(-1, 0, 0), Until: now.AddDate(1, 0, 0)}, Networks: anywhere},
		Auth: policy.Auth{Kind: "human", Cert: policy.Cert{Serial: "1", NotAfter: now.AddDate(1, 0, 0)},
			MFA: policy.MFA{Method: "webauthn", At: now, UV: true}},
		Source: policy.Source{IP: here}, Target: policy.Target{Name: "db1", Kind: "ssh", Login: "app"},
		Action: policy.Action{Protocol: "ssh", Operation: "ssh.exec", Command: "pg_dump shop",
			Needs: []policy.Need{{Right: policy.Execute, Resource: "pg_dump shop"}}},
		Time: policy.Clock{Now: now, Zone: "Asia/Tokyo"}})
	return d.Effect
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
