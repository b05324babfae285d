package revision

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sekisho/sekisho/policy"
)

// Limits on a policy folder; the shipped one has 20 files and 50 KiB.
const (
	MaxFiles = 256
	MaxFile  = 1 << 20 // bytes of one file
	MaxBytes = 4 << 20 // bytes of all files together
	maxName  = 100
)

// Files are a policy folder's files by name: rules, tests and tables.
type Files map[string][]byte

// FileInfo is a file as a revision's signature covers it.
type FileInfo struct {
	Name   string `json:"name"`
	Size   int    `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Read reads a policy folder as far as it is policy: *.rego and tables, not the notes beside them nor what begins with a
// dot. A folder beyond the limits is an error, and so is one with subfolders.
func Read(fsys fs.FS) (Files, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the policy folder: %w", err)
	}
	files, total := Files{}, 0
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		if e.IsDir() {
			return nil, fmt.Errorf("%s: a policy folder has no subfolders; move its files up", name)
		}
		if !PartOfPolicy(name) {
			continue
		}
		if files[name], err = readFile(fsys, name); err != nil {
			return nil, err
		}
		total += len(files[name])
		if total > MaxBytes || len(files) > MaxFiles {
			return nil, ErrTooLarge
		}
	}
	return files, files.Check()
}

// ErrTooLarge: a policy folder beyond the limits.
var ErrTooLarge = fmt.Errorf("the policy folder is too large: at most %d files and %d MiB together are taken", MaxFiles, MaxBytes>>20)

func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the policy folder: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the policy folder: %w", err)
	}
	return data, nil
}

// PartOfPolicy tells by its name whether a file is policy, and not a note beside it.
func PartOfPolicy(name string) bool {
	return slices.Contains([]string{".rego", ".yaml", ".yml", ".json"}, path.Ext(name))
}

// Check refuses names that are no plain file's of a policy folder, and sizes beyond the limits.
func (f Files) Check() error {
	total := 0
	for _, name := range f.names() {
		switch {
		case !plainName(name) || !PartOfPolicy(name):
			return fmt.Errorf("%q: a policy folder has plain names that end in .rego or .yaml", name)
		case len(f[name]) > MaxFile:
			return fmt.Errorf("%s is larger than %d bytes", name, MaxFile)
		case !utf8.Valid(f[name]):
			return fmt.Errorf("%s is not text in UTF-8", name)
		}
		total += len(f[name])
	}
	if total > MaxBytes || len(f) > MaxFiles {
		return ErrTooLarge
	}
	if len(f) == 0 {
		return errors.New("there is no policy in this folder")
	}
	return nil
}

// plainName takes what any file system does: ASCII letters, digits, dot, dash and underscore, and no dot first.
func plainName(name string) bool {
	if name == "" || len(name) > maxName || name[0] == '.' || name[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

// FS serves the files.
func (f Files) FS() fs.FS { return policy.InMemory(f) }

// Equal tells whether both are the same, byte for byte.
func (f Files) Equal(other Files) bool {
	return maps.EqualFunc(f, other, func(a, b []byte) bool { return string(a) == string(b) })
}

func (f Files) names() []string { return slices.Sorted(maps.Keys(f)) }

func (f Files) infos() []FileInfo {
	list := make([]FileInfo, 0, len(f))
	for _, name := range f.names() {
		list = append(list, FileInfo{Name: name, Size: len(f[name]), SHA256: digest(f[name])})
	}
	return list
}

// byDigest is the content as the store keeps it.
func (f Files) byDigest() map[string][]byte {
	content := make(map[string][]byte, len(f))
	for _, data := range f {
		content[digest(data)] = data
	}
	return content
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
