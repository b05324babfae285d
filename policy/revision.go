package policy

import (
	"bytes"
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
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// commandsFile is the name of the command catalogue in a policy folder; policy/command reads it.
const commandsFile = "commands.yaml"

// maxFile bounds one file of a policy folder, in bytes.
const maxFile = 1 << 20

// Revision is one state of the policy folder, checked and compiled. It never changes.
type Revision struct {
	number    int
	hash      string
	commands  []byte
	files     map[string][]byte // what the revision was read from, by name
	matrix    *matrix
	windows   map[string]*window
	approvals *approvals
	compiler  *ast.Compiler       // of all rules
	guard     *program            // the guardrail alone
	kinds     map[string]*program // a vendor type or staff alone
}

// Load reads and compiles the folder at the root of fsys: matrix.yaml, windows.yaml, commands.yaml, *.rego and, if it
// is there, approvals.yaml. Number is what Number returns. Every mistake is reported as file:line:column.
func Load(fsys fs.FS, number int) (*Revision, error) {
	f, err := readFolder(fsys)
	if err != nil {
		return nil, err
	}
	r := &Revision{number: number, hash: f.hash(), commands: f.tables[commandsFile], files: f.all()}
	var errs [4]error
	var compiler *ast.Compiler
	r.matrix, errs[0] = parseMatrix(f.tables[matrixFile])
	r.windows, errs[1] = parseWindows(f.tables[windowsFile])
	compiler, errs[2] = compileRules(f.rules)
	r.approvals, errs[3] = parseApprovals(f.tables[approvalsFile])
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	r.compiler = compiler
	if err := r.prepare(compiler, f); err != nil {
		return nil, err
	}
	return r, nil
}

// Number is the revision's number as given to Load.
func (r *Revision) Number() int { return r.number }

// Hash identifies the folder's content: sha256:HEX over names and bytes of all its files.
func (r *Revision) Hash() string { return r.hash }

// Commands is commands.yaml, for policy/command.ParseCatalogue.
func (r *Revision) Commands() []byte { return bytes.Clone(r.commands) }

// Files is what the revision was read from: its tables, rules and tests at the root, read only.
func (r *Revision) Files() fs.FS { return files(r.files) }

// HasWindow says whether windows.yaml has a window of this name.
func (r *Revision) HasWindow(name string) bool { return r.windows[name] != nil }

// Window says whether a window is open at t and until when that stays so: when an open one closes, when a closed one opens.
// Neither is looked for beyond eight days. known is false for a name that windows.yaml does not have.
func (r *Revision) Window(name string, t time.Time) (open bool, until time.Time, known bool) {
	w := r.windows[name]
	if w == nil {
		return false, time.Time{}, false
	}
	open, until = w.state(t)
	return open, until, true
}

// compileRules parses and compiles *.rego and makes sure that everybody who may be asked can answer.
func compileRules(files map[string][]byte) (*ast.Compiler, error) {
	modules, err := parseModules(files)
	if err != nil {
		return nil, err
	}
	if err := checkSize(modules); err != nil {
		return nil, err
	}
	c, err := compile(modules)
	if err != nil {
		return nil, err
	}
	return c, checkPackages(c)
}

// prepare compiles the queries that decisions run.
func (r *Revision) prepare(c *ast.Compiler, f *folder) error {
	data, err := f.data()
	if err != nil {
		return err
	}
	tables, err := newTables(data)
	if err != nil {
		return err
	}
	if r.guard, err = newProgram(c, tables, guardrailPackage); err != nil {
		return err
	}
	r.kinds = map[string]*program{}
	for i, name := range append([]string{staffType}, VendorTypes...) {
		if r.kinds[name], err = newProgram(c, tables, name); err != nil {
			return err
		}
		r.kinds[name].number = byte(1 + i)
	}
	return nil
}

// folder is a policy folder as read.
type folder struct {
	tables map[string][]byte // the YAML files
	rules  map[string][]byte // *.rego without the tests
	tests  map[string][]byte // *_test.rego
}

// readFolder reads the files a policy is made of. A table it does not know and a subfolder are errors, because a rule that
// is silently left out may be one that refuses.
func readFolder(fsys fs.FS) (*folder, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the policy folder: %w", err)
	}
	f := &folder{tables: map[string][]byte{}, rules: map[string][]byte{}, tests: map[string][]byte{}}
	var errs []error
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			errs = append(errs, f.add(fsys, entry))
		}
	}
	for _, name := range []string{matrixFile, windowsFile, commandsFile} {
		if _, ok := f.tables[name]; !ok {
			errs = append(errs, fmt.Errorf("%s is missing from the policy folder", name))
		}
	}
	return f, errors.Join(errs...)
}

func (f *folder) add(fsys fs.FS, entry fs.DirEntry) error {
	name := entry.Name()
	if entry.IsDir() {
		return fmt.Errorf("%s: a policy folder has no subfolders; move its files up", name)
	}
	var into map[string][]byte
	switch ext := path.Ext(name); {
	case slices.Contains([]string{matrixFile, windowsFile, commandsFile, approvalsFile}, name):
		into = f.tables
	case ext == ".yaml" || ext == ".yml" || ext == ".json":
		return fmt.Errorf("%s: unknown table; a policy folder has %s, %s, %s and %s", name, matrixFile, windowsFile,
			commandsFile, approvalsFile)
	case strings.HasSuffix(name, "_test.rego"):
		into = f.tests
	case ext == ".rego":
		into = f.rules
	default:
		return nil // notes beside the policy
	}
	data, err := readFile(fsys, name)
	into[name] = data
	return err
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the policy folder: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return data, nil
}

// data is what Rego finds under `data` beside its own packages: matrix.yaml at the root as `opa test` would put it, the
// windows under `windows`.
func (f *folder) data() (map[string]any, error) {
	data, windows := map[string]any{}, map[string]any{}
	if err := DecodeYAML(matrixFile, f.tables[matrixFile], &data); err != nil {
		return nil, err
	}
	if err := DecodeYAML(windowsFile, f.tables[windowsFile], &windows); err != nil {
		return nil, err
	}
	delete(windows, calendarsKey)
	data["windows"] = windows
	return data, nil
}

// all is every file, by name.
func (f *folder) all() map[string][]byte {
	all := map[string][]byte{}
	for _, part := range []map[string][]byte{f.tables, f.rules, f.tests} {
		maps.Copy(all, part)
	}
	return all
}

func (f *folder) hash() string {
	all := f.all()
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(h, "%d:%s%d:", len(name), name, len(all[name]))
		h.Write(all[name])
	}
	return opaquePrefix + hex.EncodeToString(h.Sum(nil))
}
