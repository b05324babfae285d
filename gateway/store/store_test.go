package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/policy"
)

func open(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestSQLiteKeepsWhatTheStoresPromise(t *testing.T) {
	conform(t, func(t *testing.T) state { return open(t, filepath.Join(t.TempDir(), "state.db")) })
}

func TestReopeningKeepsEverything(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "state.db")
	db := open(t, path)
	e, r := enrolment("e1", "hanako"), request("r-1")
	ok(t, db.Identity().PutEnrolment(ctx, e))
	ok(t, db.Access().PutRequest(ctx, r))
	ok(t, db.Directory().SaveDirectory(ctx, version(1, "vendors: {}")))
	ok(t, db.Access().PutCutOff(ctx, access.CutOff{Vendor: "acme", At: noon}))
	ok(t, db.Identity().Revoke(ctx, identity.Revocation{Kind: "x509", ID: "1", At: noon}))
	ok(t, db.Close())
	db = open(t, path)
	gotE, err := db.Identity().Enrolment(ctx, "hanako")
	ok(t, err)
	want(t, gotE, e)
	gotR, err := db.Access().Request(ctx, "r-1")
	ok(t, err)
	want(t, gotR, r)
	gotV, err := db.Directory().LatestDirectory(ctx)
	ok(t, err)
	want(t, gotV, version(1, "vendors: {}"))
	cuts, err := db.Access().CutOffs(ctx)
	ok(t, err)
	want(t, len(cuts), 1)
	revoked, err := db.Identity().Revocations(ctx)
	ok(t, err)
	want(t, len(revoked), 1)
}

func TestWhatIsWrittenIsThereWithoutAClose(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	db := open(t, filepath.Join(dir, "state.db"))
	ok(t, db.Identity().PutEnrolment(ctx, enrolment("e1", "hanako")))
	// What kill -9 leaves: the files as they are on disk now.
	for _, name := range []string{"state.db", "state.db-wal"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		ok(t, err)
		ok(t, os.WriteFile(filepath.Join(dir, "copy-"+name), text, 0o600))
	}
	ok(t, os.Rename(filepath.Join(dir, "copy-state.db-wal"), filepath.Join(dir, "copy.db-wal")))
	ok(t, os.Rename(filepath.Join(dir, "copy-state.db"), filepath.Join(dir, "copy.db")))
	_, err := open(t, filepath.Join(dir, "copy.db")).Identity().Enrolment(ctx, "hanako")
	ok(t, err)
}

func TestOnlyItsOwnerCanReadTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path)
	ok(t, db.Identity().PutEnrolment(context.Background(), enrolment("e1", "hanako")))
	wantPrivate(t, path)
	ok(t, db.Close())
	ok(t, os.Chmod(path, 0o664))
	open(t, path)
	wantPrivate(t, path)
}

func wantPrivate(t *testing.T, path string) {
	t.Helper()
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		ok(t, err)
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o, want 600", name, mode)
		}
	}
}

func TestAFolderMayHaveAnyName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "委託先 #1?mode=ro&x=%20;")
	ok(t, os.Mkdir(dir, 0o700))
	open(t, filepath.Join(dir, "state.db"))
	entries, err := os.ReadDir(dir)
	ok(t, err)
	if len(entries) == 0 || entries[0].Name() != "state.db" {
		t.Errorf("files = %v", entries)
	}
}

// filled makes a closed database of some pages.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path)
	for i := range 20 {
		ok(t, db.Identity().PutEnrolment(context.Background(), enrolment(fmt.Sprint("e", i), "hanako")))
	}
	ok(t, db.Close())
	return path
}

func TestADatabaseThatCannotBeTrustedIsNotOpened(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"text instead of a database": {func(t *testing.T, path string) {
			ok(t, os.WriteFile(path, []byte(strings.Repeat("this is not a database\n", 100)), 0o600))
		}, "is damaged: keep a copy of it and of"},
		"pages overwritten": {func(t *testing.T, path string) {
			overwrite(t, path, 4096, strings.Repeat("garbage!", 2048))
		}, "is damaged: keep a copy of it and of"},
		"the header overwritten": {func(t *testing.T, path string) { overwrite(t, path, 0, "SQLITE format 4") },
			"is damaged: keep a copy of it and of"},
		"the tail cut off": {func(t *testing.T, path string) { ok(t, os.Truncate(path, 8192)) },
			"is damaged: keep a copy of it and of"},
		"everything cut off": {func(t *testing.T, path string) { ok(t, os.Truncate(path, 0)) },
			"is empty: restore it from a backup"},
		"gone, with changes left behind": {func(t *testing.T, path string) {
			ok(t, os.Rename(path, path+"-wal"))
		}, "is gone but its last changes"},
		"a folder": {func(t *testing.T, path string) {
			ok(t, os.Remove(path))
			ok(t, os.Mkdir(path, 0o700))
		}, "is not a file"},
		"of another program": {func(t *testing.T, path string) { run(t, path, "PRAGMA application_id = 1") },
			"is a database of another program"},
		"of a newer version": {func(t *testing.T, path string) {
			run(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
		}, "was written by a newer sekisho"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			c.spoil(t, path)
			before, _ := os.ReadFile(path)
			db, err := store.Open(context.Background(), path)
			if err == nil {
				db.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error = %v\nwant one that names %s and says %q", err, path, c.want)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

func overwrite(t *testing.T, path string, offset int64, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	ok(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte(text), offset)
	ok(t, err)
}

func run(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	ok(t, err)
	defer db.Close()
	_, err = db.Exec(statement)
	ok(t, err)
}

func TestAMissingFolderIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nowhere", "state.db")
	if _, err := store.Open(context.Background(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error = %v", err)
	}
}

func TestAnOpenThatFailsLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := store.Open(ctx, filepath.Join(dir, "state.db")); err == nil {
		t.Fatal("opened although cancelled")
	}
	entries, err := os.ReadDir(dir)
	ok(t, err)
	if len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestTwoGatewaysOnOneFileDoNotBothWin(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "state.db")
	dbs := []*store.DB{open(t, path), open(t, path)}
	ok(t, dbs[0].Identity().PutEnrolment(ctx, enrolment("e1", "hanako")))
	won, lost := race(16, func(i int) error {
		_, err := dbs[i%2].Identity().TakeInvite(ctx, "hash-e1", noon)
		return err
	})
	want(t, won, 1)
	for _, err := range lost {
		wantErr(t, err, identity.ErrNotFound)
	}
}

// TestWhatWasFiledBeforeRequestsHadScopesIsStillThere: a database of the first tables, with a request that waits, one that was
// answered and a lease, is brought up to date.
func TestWhatWasFiledBeforeRequestsHadScopesIsStillThere(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "state.db")
	first(t, path)
	run(t, path, `INSERT INTO requests (id, status, person, vendor, target, login, session, operation, command, needs, reason, decision,
		created_at, expires, answer_status, answer_by, answer_at, answer_minutes, answer_reason) VALUES
		('r-1', 'pending', 'ken', 'dev', 'db1', 'app', 's-1', 'ssh.exec', 'make', '[{"right":"execute","resource":"make"}]', '', 'd-1',
			1000, 2000, '', '', 0, 0, ''),
		('r-2', 'approved', 'ken', 'dev', 'db1', 'app', 's-1', 'ssh.exec', 'make', '[{"right":"execute","resource":"make"}]', '', 'd-1',
			1000, 2000, 'approved', 'mika', 1500, 30, 'go')`)
	run(t, path, `INSERT INTO leases (id, request, person, target, "right", pattern, until) VALUES
		('l-1', 'r-2', 'ken', 'db1', 'execute', 'make', 9000)`)
	s := open(t, path).Access()
	at := func(n int64) time.Time { return time.Unix(0, n).UTC() }
	r := access.ApprovalRequest{ID: "r-1", Status: access.RequestPending, Person: "ken", Vendor: "dev", Target: "db1", Login: "app",
		Session: "s-1", Operation: "ssh.exec", Command: "make", Needs: []policy.Need{{Right: policy.Execute, Resource: "make"}},
		Decision: "d-1", CreatedAt: at(1000), Expires: at(2000)}
	got, err := s.Request(ctx, "r-1")
	ok(t, err)
	want(t, got, r)
	r.ID, r.Status = "r-2", access.RequestApproved
	r.Answer = access.Answer{Status: access.RequestApproved, By: "mika", At: at(1500), Minutes: 30, Reason: "go"}
	got, err = s.Request(ctx, "r-2")
	ok(t, err)
	want(t, got, r)
	leases, err := s.Leases(ctx, "", at(0))
	ok(t, err)
	want(t, leases, []access.Lease{{Request: "r-2", Lease: policy.Lease{ID: "l-1", Person: "ken", Target: "db1", Right: policy.Execute,
		Pattern: "make", Until: at(9000)}}})
}

// first makes a database of the first migration.
func first(t *testing.T, path string) {
	t.Helper()
	steps := t.TempDir()
	text, err := os.ReadFile("migrations/sqlite/00001_state.sql")
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(steps, "00001_state.sql"), text, 0o600))
	db, err := sql.Open("sqlite", path)
	ok(t, err)
	defer db.Close()
	_, err = db.Exec("PRAGMA application_id = 0x736b736f")
	ok(t, err)
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS(steps))
	ok(t, err)
	_, err = provider.Up(context.Background())
	ok(t, err)
}
