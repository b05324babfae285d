package demo

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestHiddenFoldersAreCutOutOfTheReadableTrees(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "usr/lib", "usr/local/src/gateway/keys", "usr/local/bin", "usr/home/me"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(root, "usr/home"), filepath.Join(root, "usr/local/link")); err != nil {
		t.Fatal(err)
	}
	in := func(names ...string) []string {
		var paths []string
		for _, name := range names {
			paths = append(paths, filepath.Join(root, name))
		}
		return paths
	}
	for _, c := range []struct {
		name         string
		hidden, want []string
	}{
		{"nothing hidden below: the whole tree", in("var"), in("usr")},
		{"a folder deep inside", in("usr/local/src/gateway"), in("usr/bin", "usr/home", "usr/lib", "usr/local/bin")},
		{"two folders", in("usr/home/me", "usr/local"), in("usr/bin", "usr/lib")},
		{"the tree itself", in("usr"), nil},
		{"a folder around the tree", []string{root}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := without(filepath.Join(root, "usr"), c.hidden); !reflect.DeepEqual(got, c.want) {
				t.Errorf("readable: %q, want %q", got, c.want)
			}
		})
	}
}

func TestATargetNeedsShellMain(t *testing.T) {
	shellReady.Store(false)
	defer shellReady.Store(true)
	if _, err := NewTarget(TargetConfig{}); err == nil {
		t.Error("a target was made by a program that would start itself again as a shell")
	}
}

func FuzzPtyRequest(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05xterm\x00\x00\x00\x50\x00\x00\x00\x18\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x06\x03\x00\x00\x00\x7f\x00"))
	f.Add([]byte("\x00\x00\x00\x01$\x00\x00\x00\x50\x00\x00\x00\x18\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := parsePtyRequest(payload)
		if err != nil {
			return
		}
		if !termName(m.name) || len(m.modes) > len(payload)/5 {
			t.Errorf("accepted %+v", m)
		}
		m.size.winsize()
	})
}
