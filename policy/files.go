package policy

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// files is a flat file system in memory: the files of one policy folder, by name. Nothing changes it.
type files map[string][]byte

// InMemory serves the files of a policy folder, by name. Nobody may change them afterwards.
func InMemory(content map[string][]byte) fs.FS { return files(content) }

// Open opens the root or one of its files.
func (f files) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return &openFolder{entries: f.entries()}, nil
	}
	data, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &openFile{info: fileInfo{name: name, size: int64(len(data))}, Reader: bytes.NewReader(data)}, nil
}

func (f files) entries() []fs.DirEntry {
	var list []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(f)) {
		list = append(list, fs.FileInfoToDirEntry(fileInfo{name: name, size: int64(len(f[name]))}))
	}
	return list
}

// fileInfo describes a file or, with the name ".", the folder.
type fileInfo struct {
	name string
	size int64
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.name == "." }
func (i fileInfo) Sys() any           { return nil }

func (i fileInfo) Mode() fs.FileMode {
	if i.IsDir() {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

type openFile struct {
	*bytes.Reader
	info fileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

// openFolder is the root while its entries are read.
type openFolder struct{ entries []fs.DirEntry }

func (f *openFolder) Stat() (fs.FileInfo, error) { return fileInfo{name: "."}, nil }
func (f *openFolder) Close() error               { return nil }

func (f *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: fs.ErrInvalid}
}

// ReadDir lists the next n entries, or all that are left when n is not above 0.
func (f *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		list := f.entries
		f.entries = nil
		return list, nil
	}
	if len(f.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.entries))
	list := f.entries[:n]
	f.entries = f.entries[n:]
	return list, nil
}
