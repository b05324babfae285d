package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// folderVariable names the environment variable from which the test binaries take the policy folder.
const folderVariable = "SEKISHO_MUTANT"

// embedding stands in for policy/rego's own file in the test binaries: they read a folder instead of the embedded one, so
// that they are compiled once.
const embedding = `package rego

import (
	"io/fs"
	"os"
)

type folder struct{ fs.FS }

func (f folder) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(f.FS, name) }
func (f folder) ReadFile(name string) ([]byte, error) { return fs.ReadFile(f.FS, name) }

var FS = folder{os.DirFS(os.Getenv("` + folderVariable + `"))}
`

// slow are tests that take long and look at the engine, the checker or the simulation rather than at the shipped rules.
const slow = `Remembered|^TestCheck|Explanation|Simulation|History|Peers|Diff|^Fuzz|Mistakes|WhichFields|WordsOfFacts|AgreesWithTheClock|TheHashChanges|Explained|AnAnswerHolds|TwoLargeFiles`

// shipped are tests that look at the shipped tables themselves and so notice most of what rego's own tests cannot.
const shipped = `Shipped|CellByCell|OfficeHours`

// deadline is how long the tests may take on one mutant; one that makes them hang is noticed.
const deadline = 2 * time.Minute

// suite is a compiled test binary.
type suite struct {
	binary, dir string
	args        []string
}

// bench runs the test suites against mutants of a folder.
type bench struct {
	dir    string
	files  map[string][]byte
	suites []suite // the fastest first
}

func newBench(ctx context.Context, folder string) (*bench, error) {
	b := &bench{files: map[string][]byte{}}
	var err error
	if b.dir, err = os.MkdirTemp("", "sekisho-mutate-"); err != nil {
		return nil, err
	}
	if err := errors.Join(b.read(folder), b.compile(ctx)); err != nil {
		b.close()
		return nil, err
	}
	if noticed, err := b.try(ctx, mutant{}); err != nil || noticed != "" {
		b.close()
		return nil, errors.Join(err, fmt.Errorf("the tests fail on the folder as it is: %s", noticed))
	}
	return b, nil
}

func (b *bench) close() { os.RemoveAll(b.dir) }

func (b *bench) read(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".go" || e.IsDir() {
			continue
		}
		if b.files[e.Name()], err = os.ReadFile(filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// compile builds the tests of policy and policy/rego once, with the folder read at run time.
func (b *bench) compile(ctx context.Context) error {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	stand, overlay := filepath.Join(b.dir, "rego.go"), filepath.Join(b.dir, "overlay.json")
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "policy/rego/rego.go"): stand}})
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(stand, []byte(embedding), 0o600), os.WriteFile(overlay, replaced, 0o600)); err != nil {
		return err
	}
	for _, pkg := range []string{"policy/rego", "policy"} {
		s := suite{binary: filepath.Join(b.dir, filepath.Base(pkg)+".test"), dir: filepath.Join(here, pkg),
			args: []string{"-test.failfast", "-test.skip=" + slow}}
		if pkg == "policy" {
			b.suites = append(b.suites, suite{s.binary, s.dir, []string{"-test.failfast", "-test.run=" + shipped}})
		}
		build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", s.binary, "./"+pkg)
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("compiling the tests of %s: %w\n%s", pkg, err, out)
		}
		b.suites = append(b.suites, s)
	}
	return nil
}

// try writes the changed folder and names the test that notices, "" when none does.
func (b *bench) try(ctx context.Context, m mutant) (noticed string, err error) {
	dir, err := os.MkdirTemp(b.dir, "folder-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for name, text := range b.files {
		if name == m.file {
			text = m.text
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	for _, s := range b.suites {
		if noticed, err = s.run(ctx, dir); noticed != "" || err != nil {
			return noticed, err
		}
	}
	return "", nil
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

func (s suite) run(ctx context.Context, folder string) (noticed string, err error) {
	limited, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	cmd := exec.CommandContext(limited, s.binary, s.args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), folderVariable+"="+folder, "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	switch exit := (*exec.ExitError)(nil); {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case limited.Err() != nil:
		return "the tests hang", nil
	case err == nil:
		return "", nil
	case !errors.As(err, &exit):
		return "", err
	}
	if found := failedTest.FindAllSubmatch(out, -1); found != nil {
		return string(found[len(found)-1][1]), nil
	}
	return string(bytes.TrimSpace(out[:min(len(out), 200)])), nil
}
