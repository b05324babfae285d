package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/tester"
)

// TestResult is how one test of a policy folder went.
type TestResult struct {
	Name     string        `json:"name"` // sekisho.consulting_test.test_delete_is_refused
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Column   int           `json:"column"`
	Passed   bool          `json:"passed"`
	Skipped  bool          `json:"skipped,omitempty"` // named todo_test_…
	Message  string        `json:"message,omitempty"` // why it failed
	Duration time.Duration `json:"duration"`
}

// Test loads the folder as Load does and runs its *_test.rego the way `opa test` would, sorted by file and line. A test that
// fails is a result; an error means that they could not be run.
func Test(ctx context.Context, fsys fs.FS) ([]TestResult, error) {
	if _, err := Load(fsys, 0); err != nil {
		return nil, err
	}
	f, err := readFolder(fsys)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(f.rules)
	maps.Copy(all, f.tests)
	modules, err := parseModules(all)
	if err != nil {
		return nil, err
	}
	data, err := f.data()
	if err != nil {
		return nil, err
	}
	tables, err := newTables(data)
	if err != nil {
		return nil, err
	}
	runner := tester.NewRunner().
		SetCompiler(newCompiler()).
		SetModules(modules).
		SetStore(tables.store).
		RaiseBuiltinErrors(true).
		CapturePrintOutput(false).
		SetTimeout(5 * time.Second)
	results, err := runner.RunTests(withTestBudgets(ctx), tables.txn)
	if err != nil {
		return nil, joinSorted(regoErrors(err))
	}
	return collect(ctx, results)
}

func collect(ctx context.Context, results chan *tester.Result) ([]TestResult, error) {
	var list []TestResult
	for r := range results {
		if r == nil {
			continue
		}
		t := TestResult{
			Name:    strings.TrimPrefix(r.Package, "data.") + "." + r.Name,
			Passed:  r.Pass(),
			Skipped: r.Skip, Duration: r.Duration, Message: message(r),
		}
		if r.Location != nil {
			t.File, t.Line, t.Column = r.Location.File, r.Location.Row, r.Location.Col
		}
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b TestResult) int {
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return a.Line - b.Line
	})
	return list, ctx.Err()
}

func message(r *tester.Result) string {
	switch {
	case r.Error != nil:
		return errors.Join(regoErrors(r.Error)...).Error()
	case r.Pass() || r.Skip:
		return ""
	}
	if r.FailedAt != nil && r.FailedAt.Location != nil {
		return fmt.Sprintf("line %d is not true: %s", r.FailedAt.Location.Row, r.FailedAt.Location.Text)
	}
	return "the test is not true"
}
