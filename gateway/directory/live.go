package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Live is the directory in force. Readers always see one whole version; a change replaces it after it is stored.
type Live struct {
	store Store
	opts  Options

	applying sync.Mutex // one Apply at a time; held while storing, never by readers
	state    atomic.Pointer[state]

	mu       sync.Mutex // guards onChange; never held while calling them
	onChange []func()
}

// state is a version together with what it says.
type state struct {
	dir     *Directory
	version Version
}

// NewLive loads the version applied last, or starts with an empty directory. A stored version may name windows that the
// policy has lost since: policy denies through them, so they do not stop the gateway from starting.
func NewLive(ctx context.Context, store Store, opts Options) (*Live, error) {
	if opts.Zone == nil {
		return nil, errors.New("the directory wants the gateway's time zone")
	}
	l := &Live{store: store, opts: opts}
	if err := l.load(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Live) load(ctx context.Context) error {
	v, err := l.store.LatestDirectory(ctx)
	if err != nil {
		return fmt.Errorf("loading the directory: %w", err)
	}
	if v.Number == 0 {
		l.state.Store(&state{dir: empty(l.opts.Zone)})
		return nil
	}
	anyWindow := Options{Zone: l.opts.Zone, HasWindow: func(string) bool { return true }}
	dir, err := Parse(fmt.Sprintf("stored directory version %d", v.Number), v.YAML, anyWindow)
	if err != nil {
		return fmt.Errorf("loading the directory: %w", err)
	}
	dir.number = v.Number
	l.state.Store(&state{dir: dir, version: v})
	return nil
}

// Current returns the directory in force.
func (l *Live) Current() *Directory { return l.state.Load().dir }

// Version returns the document in force as it was applied, or Number 0 when none was.
func (l *Live) Version() Version { return l.state.Load().version }

// Plan reads a document and says what applying it would change. Nothing is changed; the number of the returned directory
// less one is the base to give to Apply.
func (l *Live) Plan(yaml []byte) (*Directory, []Change, error) {
	return l.plan(yaml, l.Current())
}

func (l *Live) plan(yaml []byte, base *Directory) (*Directory, []Change, error) {
	dir, err := Parse("directory.yaml", yaml, l.opts)
	if err != nil {
		return nil, nil, err
	}
	dir.number = base.number + 1
	return dir, Diff(base, dir), nil
}

// Apply stores a document as the version after baseNumber and puts it in force, all or nothing: by whom and why are
// required. ErrConflict when the version in force is not baseNumber (any more). A document that is byte for byte the
// one in force makes no new version.
func (l *Live) Apply(ctx context.Context, yaml []byte, by, reason string, baseNumber int) (Version, []Change, error) {
	if by == "" || strings.TrimSpace(reason) == "" {
		return Version{}, nil, errors.New("applying the directory: who does it and a reason are required")
	}
	before := l.state.Load()
	v, changes, err := l.apply(ctx, yaml, by, reason, baseNumber)
	if l.state.Load() != before {
		l.changed()
	}
	return v, changes, err
}

func (l *Live) apply(ctx context.Context, yaml []byte, by, reason string, baseNumber int) (Version, []Change, error) {
	l.applying.Lock()
	defer l.applying.Unlock()
	now := l.state.Load()
	if now.dir.number != baseNumber {
		return Version{}, nil, ErrConflict
	}
	dir, changes, err := l.plan(yaml, now.dir)
	if err != nil {
		return Version{}, nil, err
	}
	if now.version.Number > 0 && bytes.Equal(now.version.YAML, yaml) {
		return now.version, nil, nil
	}
	v := Version{Number: dir.number, YAML: bytes.Clone(yaml), By: by, Reason: reason, At: l.now()}
	if err := l.store.SaveDirectory(ctx, v); err != nil {
		return Version{}, nil, l.notSaved(ctx, err)
	}
	l.state.Store(&state{dir: dir, version: v})
	return v, changes, nil
}

// notSaved catches up when another gateway on the same store was faster.
func (l *Live) notSaved(ctx context.Context, err error) error {
	if errors.Is(err, ErrConflict) {
		return errors.Join(err, l.load(ctx))
	}
	return fmt.Errorf("storing the directory: %w", err)
}

func (l *Live) now() time.Time {
	if l.opts.Now == nil {
		return time.Now().UTC()
	}
	return l.opts.Now().UTC()
}

// OnChange has f called after each new version is in force.
func (l *Live) OnChange(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onChange = append(l.onChange, f)
}

func (l *Live) changed() {
	l.mu.Lock()
	calls := l.onChange
	l.mu.Unlock()
	for _, f := range calls {
		f()
	}
}
