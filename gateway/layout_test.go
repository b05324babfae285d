package gateway_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sekisho/sekisho/"

// mayImport is the package map: which of our packages each one may import. A change that moves an arrow edits this table
// in the same commit and says why.
var mayImport = map[string][]string{
	"policy":            {},
	"policy/command":    {"policy"},
	"policy/rego":       {},
	"recorder":          {},
	"recorder/audit":    {"recorder"},
	"recorder/replay":   {"recorder", "recorder/audit"},
	"gateway/identity":  {},
	"gateway/directory": {"gateway/identity", "policy"},
	"gateway/access":    {"gateway/directory", "gateway/identity", "policy", "policy/command", "recorder", "recorder/audit"},
	"gateway/revision":  {"gateway/identity", "policy", "policy/command", "recorder"},
	"gateway/sshproxy": {"gateway/access", "gateway/identity", "gateway/sshproxy/scp", "gateway/sshproxy/sftp",
		"gateway/sshproxy/shell", "recorder"},
	"gateway/sshproxy/scp":   {"gateway/access", "recorder"},
	"gateway/sshproxy/sftp":  {"gateway/access", "recorder"},
	"gateway/sshproxy/shell": {},
	"gateway/webproxy":       {"gateway/access", "gateway/identity", "recorder"},
	"gateway/console":        {"gateway/access", "gateway/directory", "gateway/identity", "gateway/revision", "policy", "recorder", "recorder/audit", "recorder/replay"},
	"gateway/store":          {"gateway/access", "gateway/directory", "gateway/identity", "gateway/revision", "policy"},
	"gateway/demo":           {"gateway/console", "gateway/identity"},
	"gateway":                {"*"},
	"cmd/sekisho":            {"*"},
	"deploy":                 {},
}

func TestPackagesImportOnlyWhatTheMapAllows(t *testing.T) {
	for dir, imports := range goImports(t, "..", func(name string) bool { return !strings.HasSuffix(name, "_test.go") }) {
		allowed, known := mayImport[dir]
		if !known {
			t.Errorf("package %s is not in the map", dir)
			continue
		}
		for _, path := range imports {
			ours, found := strings.CutPrefix(path, module)
			if found && !slices.Contains(allowed, "*") && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which the map does not allow", dir, ours)
			}
			if strings.HasSuffix(path, "gateway/store") && dir != "gateway" {
				t.Errorf("%s imports the store; only the composition root may", dir)
			}
		}
	}
}

func TestOnlyTheDoorDialsTargets(t *testing.T) {
	for _, dir := range []string{"sshproxy", "webproxy"} {
		for _, file := range goFiles(t, dir) {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"net.Dial", "net.Dialer", "tls.Dial", "ssh.Dial", "http.DefaultTransport", "http.DefaultClient", "http.Get("} {
				if strings.Contains(string(source), word) {
					t.Errorf("%s says %s: a proxy reaches targets through access.Session.Dial alone", file, word)
				}
			}
		}
	}
}

func TestTheTopLevelIsFixed(t *testing.T) {
	allowed := []string{"cmd", "gateway", "policy", "recorder", "deploy", "testdata", "go.mod", "go.sum", "Makefile", "README.md",
		"CHANGELOG.md", "LICENSE", ".ci", ".gitignore", ".git", "bin", ".demo"}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s stands at the top level, which is fixed", e.Name())
		}
	}
}

// goImports maps each package folder below root to what its chosen files import.
func goImports(t *testing.T, root string, choose func(name string) bool) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, file := range goFiles(t, root) {
		if !choose(filepath.Base(file)) {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.ToSlash(dir)] = append(found[filepath.ToSlash(dir)], path)
		}
	}
	return found
}

func goFiles(t *testing.T, root string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
