package demo

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

//go:embed all:home
var homeSeed embed.FS

// seedHome makes a target's folder with a few files to look at. A folder that exists is left as its users made it.
func seedHome(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return os.MkdirAll(filepath.Join(dir, "tmp"), 0o700)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	seed, err := fs.Sub(homeSeed, "home")
	if err != nil {
		return err
	}
	// Filled beside its place and then renamed: a stop half way leaves no half a home behind.
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("making the demo target's folder: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*")
	if err != nil {
		return fmt.Errorf("making the demo target's folder: %w", err)
	}
	defer os.RemoveAll(fresh)
	if err := copyTree(fresh, seed); err != nil {
		return fmt.Errorf("filling the demo target's folder: %w", err)
	}
	if err := os.Mkdir(filepath.Join(fresh, "tmp"), 0o700); err != nil {
		return fmt.Errorf("filling the demo target's folder: %w", err)
	}
	return os.Rename(fresh, dir)
}

func copyTree(dir string, tree fs.FS) error {
	return fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if d.IsDir() {
			return os.Mkdir(to, 0o755)
		}
		text, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(path, "bin/") {
			mode = 0o755
		}
		return os.WriteFile(to, text, mode)
	})
}
