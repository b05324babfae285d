// Package revision keeps the policy's revisions and the one in force. Each is numbered, signed into a chain and stored with
// its files; a change is planned against the revision in force, loaded and tested whole, put on record and only then
// in force: at once, at a time, or when a second person has confirmed it. Every revision can be shown and rolled back to.
package revision

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/command"
	"github.com/sekisho/sekisho/recorder"
)

// Errors that callers branch on. The wrapping error's text says what to do.
var (
	// ErrConflict: another revision came into force, or was made, since the one a change is based on.
	ErrConflict = errors.New("the policy was changed by somebody else in the meantime: look at the diff again and repeat")
	// ErrNotFound: there is no revision of this number.
	ErrNotFound = errors.New("not found")
	// ErrState: the act does not fit the revision's status.
	ErrState = errors.New("not possible in this state of the revision")
	// ErrOwn: the second person has to be another one.
	ErrOwn = errors.New("somebody other than its author has to do this")
	// ErrNotOwn: only its author may do this.
	ErrNotOwn = errors.New("only its author can do this")
	// ErrUnchanged: the files are those in force already.
	ErrUnchanged = errors.New("nothing would change: these files are in force already")
	// ErrRequest: something that every change needs is missing, or is not acceptable.
	ErrRequest = errors.New("not acceptable")
	// ErrLockedOut: nobody could put the next revision in force.
	ErrLockedOut = errors.New("nobody could change the policy any more")
	// ErrTampered: what is stored is not what was signed.
	ErrTampered = errors.New("it was changed outside the gateway; restore state.db from a backup")
)

// folderOwner stands for whoever owns the gateway's folder, in what is on record.
const folderOwner = "@folder"

// gatewayItself stands for the gateway where it acts on its own.
const gatewayItself = "@gateway"

// Config is what a Live is made of. Every field without "optional" is required.
type Config struct {
	Store  Store
	Signer ed25519.PrivateKey // the evidence key
	// Append puts an event on record (audit.Log.Append); it returns when the event is on disk.
	Append func(ctx context.Context, e recorder.Event) (recorder.Event, error)
	// LastApplied finds the newest event of kind policy.applied and outcome ok; ok is false when there is none.
	LastApplied func(ctx context.Context) (e recorder.Event, ok bool, err error)
	// Folder is the admins' working copy. It becomes revision 1 when nothing is stored yet, and is brought up to a new
	// revision in force when it was the same as the one before.
	Folder Folder
	// Directory tells what the directory knows; it is asked whenever a candidate is. Optional, nothing is known when nil.
	Directory func() Directory
	// SecondPerson has every change wait for somebody other than its author.
	SecondPerson bool
	Now          func() time.Time // optional, time.Now when nil
	Log          *zap.Logger      // optional, silent when nil
}

// Directory is what a candidate is checked against beyond its own files.
type Directory struct {
	// Staff are Inputs of the company's own people as they would act on the gateway, without their operation; Admins are
	// those with the role admin.
	Staff, Admins []policy.Input
	// Same tells whether two people of the directory are one person under two ids. Optional.
	Same func(a, b string) bool
	// Vendors, Targets and Windows are the names that the policy may speak of; see policy.CheckOptions.
	Vendors, Targets, Windows, Roles []string
}

// Live holds the revisions and the engine that decides under the one in force. It is safe for concurrent use.
type Live struct {
	cfg    Config
	engine *policy.Engine
	book   atomic.Pointer[book]

	examining chan struct{} // bounds how many candidates are compiled at once

	changing sync.Mutex // one change at a time; held while storing, never by readers

	// Of the goroutine that runs Serve.
	ready *prepared // the next scheduled revision, compiled ahead
	retry time.Time // no scheduled revision is tried again before
}

// New loads and checks what is stored and puts the revision in force under an engine; with nothing stored yet, that is the
// working copy as revision 1.
func New(ctx context.Context, cfg Config) (*Live, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	l := &Live{cfg: cfg, engine: policy.NewEngine(nil, cfg.Now), examining: make(chan struct{}, 2)}
	l.book.Store(&book{key: cfg.Signer.Public().(ed25519.PublicKey)})
	if err := l.refresh(ctx); err != nil {
		return nil, err
	}
	if err := l.reconcile(ctx); err != nil {
		return nil, err
	}
	if l.book.Load().inForce == 0 {
		return l, l.first(ctx)
	}
	if err := l.adopt(ctx); err != nil {
		return nil, err
	}
	l.recoverFolder(ctx)
	return l, nil
}

// first puts the working copy in force as revision 1.
func (l *Live) first(ctx context.Context) error {
	files, err := Read(os.DirFS(l.cfg.Folder.Dir))
	if err != nil {
		return fmt.Errorf("%s: %w", l.cfg.Folder.Dir, err)
	}
	rev, err := Load(files.FS(), 1)
	if err != nil {
		return fmt.Errorf("policy in %s: %w", l.cfg.Folder.Dir, err)
	}
	d := l.draft()
	m := made{Hash: rev.Hash(), Reason: "the folder's policy at the first start", Source: "folder", Files: files.infos()}
	if err := d.add(step{Number: 1, Kind: stepMade, By: folderOwner, Made: &m}); err != nil {
		return err
	}
	_, err = l.activate(ctx, identity.Principal{}, d, activation{number: 1, files: files, rev: rev})
	return err
}

// adopt has the engine decide under the revision in force.
func (l *Live) adopt(ctx context.Context) error {
	if rev := l.engine.Revision(); rev != nil && rev.Number() == l.Current().Number {
		return nil
	}
	rev, err := l.load(ctx, l.Current())
	if err != nil {
		return err
	}
	l.engine.Swap(rev)
	return nil
}

// Verify checks every entry of a store's book, and every file it speaks of, against the key, and lists the revisions from
// the first on.
func Verify(ctx context.Context, store Store, key ed25519.PublicKey) ([]Version, error) {
	entries, err := store.Entries(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("reading the policy's revisions: %w", err)
	}
	b, err := (&book{key: key}).with(entries)
	if err != nil {
		return nil, err
	}
	for _, v := range b.versions {
		if _, err := readFiles(ctx, store, v); err != nil {
			return nil, err
		}
	}
	return b.versions, nil
}

// InForce reads the revision in force with its files from a store, checked against the key, without a Live. Number 0 when
// there is none yet.
func InForce(ctx context.Context, store Store, key ed25519.PublicKey) (Version, Files, error) {
	entries, err := store.Entries(ctx, 0)
	if err != nil {
		return Version{}, nil, fmt.Errorf("reading the policy's revisions: %w", err)
	}
	b, err := (&book{key: key}).with(entries)
	if err != nil {
		return Version{}, nil, err
	}
	files, err := readFiles(ctx, store, b.current())
	return b.current(), files, err
}

func (c *Config) complete() error {
	switch {
	case c.Store == nil, c.Append == nil, c.LastApplied == nil:
		return errors.New("revision: store, record and its last word are all required")
	case len(c.Signer) != ed25519.PrivateKeySize:
		return errors.New("revision: no key to sign with")
	case c.Folder.Dir == "" || c.Folder.Journal == "":
		return errors.New("revision: no working copy")
	}
	if c.Directory == nil {
		c.Directory = func() Directory { return Directory{} }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return nil
}

// Engine decides under the revision in force.
func (l *Live) Engine() *policy.Engine { return l.engine }

// Current is the revision in force.
func (l *Live) Current() Version { return l.book.Load().current() }

// History lists every revision, newest first.
func (l *Live) History() []Version { return l.book.Load().history() }

// Open lists the revisions that may still come into force, oldest first.
func (l *Live) Open() []Version { return l.book.Load().open() }

// Get returns a revision with its files, checked against its signature. Number 0 is the one in force.
func (l *Live) Get(ctx context.Context, number int) (Version, Files, error) {
	b := l.book.Load()
	if number == 0 {
		number = b.inForce
	}
	v, err := b.version(number)
	if err != nil {
		return Version{}, nil, err
	}
	files, err := l.files(ctx, v)
	return v, files, err
}

// Revision compiles a revision of the past, for instance to explain what it decided.
func (l *Live) Revision(ctx context.Context, number int) (*policy.Revision, error) {
	if rev := l.engine.Revision(); rev != nil && rev.Number() == number {
		return rev, nil
	}
	v, err := l.book.Load().version(number)
	if err != nil {
		return nil, err
	}
	return l.load(ctx, v)
}

// load reads a stored revision and compiles it.
func (l *Live) load(ctx context.Context, v Version) (*policy.Revision, error) {
	files, err := l.files(ctx, v)
	if err != nil {
		return nil, err
	}
	rev, err := Load(files.FS(), v.Number)
	if err != nil {
		return nil, fmt.Errorf("policy revision %d: %w", v.Number, err)
	}
	return rev, nil
}

// Load loads a policy folder whole: its rules, tables and command catalogue. Every mistake is reported as
// file:line:column.
func Load(fsys fs.FS, number int) (*policy.Revision, error) {
	rev, err := policy.Load(fsys, number)
	if err != nil {
		return nil, err
	}
	if err := ParseCommands(rev.Commands()); err != nil {
		return nil, err
	}
	return rev, nil
}

// ParseCommands reads commands.yaml as the door does, for policy.CheckOptions.
func ParseCommands(text []byte) error {
	_, err := command.ParseCatalogue("commands.yaml", text)
	return err
}

// refresh takes in what was stored since.
func (l *Live) refresh(ctx context.Context) error {
	b := l.book.Load()
	entries, err := l.cfg.Store.Entries(ctx, b.seq)
	if err != nil {
		return fmt.Errorf("reading the policy's revisions: %w", err)
	}
	next, err := b.with(entries)
	if err != nil {
		return err
	}
	l.book.Store(next)
	return nil
}

func (l *Live) files(ctx context.Context, v Version) (Files, error) {
	return readFiles(ctx, l.cfg.Store, v)
}

// readFiles reads a revision's files and checks them against what was signed.
func readFiles(ctx context.Context, store Store, v Version) (Files, error) {
	files := Files{}
	for _, f := range v.Files {
		data, err := store.File(ctx, f.SHA256)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("reading %s of policy revision %d: %w", f.Name, v.Number, err)
		}
		if err != nil || digest(data) != f.SHA256 {
			return nil, fmt.Errorf("policy revision %d: %s is not the file that was signed: %w", v.Number, f.Name, ErrTampered)
		}
		files[f.Name] = data
	}
	return files, nil
}
