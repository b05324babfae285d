// Package store keeps what the gateway must not forget: people's enrolments and credentials, the applied directories,
// the policy's revisions, requests, leases and the list of sessions. It is one SQLite file behind the small Store interfaces
// that identity, directory, revision and access declare. A method that returned without error has its change on disk.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
)

//go:embed migrations
var migrations embed.FS

// applicationID stands in the header of our files ("skso"), so that another program's database is not taken for one.
const applicationID = 0x736b736f

// readers is how many connections read beside the one that writes.
const readers = 4

// DB is an open database. It is safe for concurrent use.
type DB struct {
	path  string
	write *sql.DB // one connection; its transactions take the write lock at once
	read  *sql.DB // cannot write

	changes prepared // of write
	queries prepared // of read
}

// Open opens the database at path and brings its tables up to date; a missing file is created with mode 0600, looser modes
// are tightened. A damaged file, one of another program or one of a newer sekisho is an error that says what to do, and
// is left as it is.
func Open(ctx context.Context, path string) (*DB, error) {
	fresh, err := prepareFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	db := &DB{path: path}
	if err := db.open(ctx, fresh); err != nil {
		err = errors.Join(fmt.Errorf("opening the database: %w", db.explain(err)), db.Close())
		if fresh {
			removeFiles(path)
		}
		return nil, err
	}
	return db, nil
}

// OpenForReading opens an existing database beside whoever writes to it, and changes nothing. Tables of another version are
// not looked at.
func OpenForReading(ctx context.Context, path string) (*DB, error) {
	db := &DB{path: path}
	var err error
	if db.read, err = connect(path, 1, "mode=ro&_pragma=query_only(1)"); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, fresh bool) error {
	var err error
	if db.write, err = connect(db.path, 1, "_txlock=immediate"); err != nil {
		return err
	}
	if fresh {
		if _, err := db.write.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{db.checkOwner, db.checkPages, db.migrate} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	db.read, err = connect(db.path, readers, "_pragma=query_only(1)")
	return err
}

func connect(path string, limit int, option string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file := url.URL{Scheme: "file", Path: abs}
	db, err := sql.Open("sqlite", file.String()+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"+
		"&_pragma=synchronous(FULL)&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)&"+option)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(limit)
	db.SetMaxIdleConns(limit)
	return db, nil
}

// prepareFile makes sure that there is a file only we can read. fresh is true when it was created.
func prepareFile(path string) (fresh bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, createFile(path)
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%s is not a file", path)
	case info.Size() == 0:
		return false, fmt.Errorf("%s is empty: restore it from a backup, or remove it to start with nobody enrolled", path)
	}
	for _, name := range files(path) {
		if err := os.Chmod(name, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

func createFile(path string) error {
	if _, err := os.Stat(path + "-wal"); err == nil {
		return fmt.Errorf("%s is gone but its last changes in %[1]s-wal are not: restore both from a backup, or remove that file "+
			"to start with nobody enrolled", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func files(path string) []string { return []string{path, path + "-wal", path + "-shm"} }

func removeFiles(path string) {
	for _, name := range files(path) {
		os.Remove(name)
	}
}

func (db *DB) checkOwner(ctx context.Context) error {
	var id int
	if err := db.write.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if id != applicationID {
		return fmt.Errorf("%s is a database of another program: point sekisho at its own folder", db.path)
	}
	return nil
}

// errDamaged is what explain makes of every sign of damage.
var errDamaged = errors.New("the file is damaged")

// checkPages reads the whole file once; it is small.
func (db *DB) checkPages(ctx context.Context) error {
	var verdict string
	if err := db.write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, strings.Join(strings.Fields(verdict), " "))
	}
	return nil
}

func (db *DB) migrate(ctx context.Context) error {
	steps, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db.write, steps)
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	have, want, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return fmt.Errorf("%s was written by a newer sekisho (tables of version %d, this one knows %d): use that one",
			db.path, have, want)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bringing the tables of %s up to date: %w", db.path, err)
	}
	return nil
}

// explain names the file and what to do when err is a sign of damage.
func (db *DB) explain(err error) error {
	var bad *sqlite.Error
	damaged := errors.Is(err, errDamaged)
	if errors.As(err, &bad) {
		code := bad.Code() & 0xff
		damaged = code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
	}
	if !damaged {
		return err
	}
	return fmt.Errorf("%s is damaged: keep a copy of it and of %[1]s-wal, then restore both from a backup (%w)", db.path, err)
}

// Close waits for what is under way and closes the file.
func (db *DB) Close() error {
	var errs []error
	for _, pool := range []*sql.DB{db.read, db.write} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	return errors.Join(errs...)
}

// Identity is the part that identity uses.
func (db *DB) Identity() identity.Store { return identityStore{db} }

// Directory is the part that directory uses.
func (db *DB) Directory() directory.Store { return directoryStore{db} }

// Revision is the part that revision uses.
func (db *DB) Revision() revision.Store { return revisionStore{db} }

// Access is the part that access uses.
func (db *DB) Access() access.Store { return accessStore{db} }
