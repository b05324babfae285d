package revision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"
)

// Folder is the admins' working copy of the policy, in files on the gateway.
type Folder struct {
	Dir     string // its policy files stand at its root; whatever else stands there is left alone
	Journal string // a file beside it that says which change of it is under way
}

// spare is where a file is written before it takes another's place.
const spare = ".sekisho-new"

// forward is the working copy being brought from one revision to the next. The zero value leaves it alone.
type forward struct {
	folder   Folder
	old, new Files
}

// journal is what Journal holds.
type journal struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// prepare announces that the working copy is to follow, if it is the same as what is in force so far.
func (f Folder) prepare(from, to int, old, new Files) (forward, error) {
	have, err := Read(os.DirFS(f.Dir))
	if err != nil || !have.Equal(old) || have.Equal(new) {
		return forward{}, nil // somebody is working there
	}
	text, err := json.Marshal(journal{from, to})
	if err != nil {
		return forward{}, err
	}
	if err := replace(f.Journal, f.Journal+".new", text, 0o600); err != nil {
		return forward{}, fmt.Errorf("preparing the policy folder: %w", err)
	}
	return forward{folder: f, old: old, new: new}, nil
}

// cancel leaves the working copy as it was.
func (w forward) cancel() error {
	if w.folder.Dir == "" {
		return nil
	}
	return w.folder.forget()
}

// finish writes the files, unless somebody has begun to work on them, and ends the announcement.
func (w forward) finish() error {
	if w.folder.Dir == "" {
		return nil
	}
	have, err := Read(os.DirFS(w.folder.Dir))
	if err != nil {
		return err
	}
	if have.between(w.old, w.new) {
		if err := w.folder.write(have, w.new); err != nil {
			return err
		}
	}
	return w.folder.forget()
}

// between tells whether every file is as it is in one of the two.
func (f Files) between(old, new Files) bool {
	as := func(name string, in Files) bool {
		have, here := f[name]
		want, there := in[name]
		return here == there && string(have) == string(want)
	}
	for _, all := range []Files{f, old, new} {
		for name := range all {
			if !as(name, old) && !as(name, new) {
				return false
			}
		}
	}
	return true
}

func (f Folder) write(have, want Files) error {
	for _, name := range want.names() {
		if data, ok := have[name]; ok && string(data) == string(want[name]) {
			continue
		}
		path := filepath.Join(f.Dir, name)
		mode := fs.FileMode(0o600)
		if info, err := os.Stat(path); err == nil {
			mode = info.Mode().Perm()
		}
		if err := replace(path, filepath.Join(f.Dir, spare), want[name], mode); err != nil {
			return err
		}
	}
	for _, name := range have.names() {
		if _, ok := want[name]; ok {
			continue
		}
		if err := os.Remove(filepath.Join(f.Dir, name)); err != nil {
			return err
		}
	}
	return syncDir(f.Dir)
}

func (f Folder) forget() error {
	if err := os.Remove(f.Journal); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// recoverFolder ends a change of the working copy that a crash has cut short: it is as it was, or wholly the revision in
// force. That it cannot be is no reason not to start.
func (l *Live) recoverFolder(ctx context.Context) {
	if err := l.resume(ctx); err != nil {
		l.cfg.Log.Error("the policy folder was not brought up to the revision in force", zap.Error(err))
	}
}

func (l *Live) resume(ctx context.Context) error {
	folder := l.cfg.Folder
	text, err := os.ReadFile(folder.Journal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var j journal
	if json.Unmarshal(text, &j) != nil || j.To != l.Current().Number {
		return folder.forget() // nothing was written yet
	}
	_, old, err := l.Get(ctx, j.From)
	if err != nil {
		return err
	}
	_, new, err := l.Get(ctx, j.To)
	if err != nil {
		return err
	}
	os.Remove(filepath.Join(folder.Dir, spare))
	return forward{folder: folder, old: old, new: new}.finish()
}

// replace puts a file in another's place, whole and on disk.
func replace(path, temporary string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
