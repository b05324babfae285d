package policy

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
)

// The severities of a Finding.
const (
	SeverityError   = "error"   // the folder cannot be put in force
	SeverityWarning = "warning" // it can, but does not do what it seems to do, or does it slowly
)

// What Check looks for.
const (
	ruleCompile     = "compile"     // error: the folder does not load
	ruleCommand     = "command"     // error: the command catalogue does not load
	ruleTest        = "test"        // error: one of the folder's own tests fails or cannot run
	ruleFault       = "fault"       // error: the rules fail at a plain question
	ruleShape       = "shape"       // error: a rule answers with something else than the gateway reads
	ruleWord        = "word"        // error: a rule compares an input with a word that it never has
	ruleNever       = "never"       // a rule, cell or obligation that never counts
	ruleUnreachable = "unreachable" // warning: nobody asks this rule
	ruleOpen        = "open"        // warning: an allow without a condition
	ruleUnknown     = "unknown"     // warning: a vendor, target or window that does not exist
	ruleShadowed    = "shadowed"    // warning: later overrides replace this one wholly
	ruleWindow      = "window"      // warning: nobody can use this window
	ruleIndex       = "index"       // warning: a rule is evaluated for every decision
	ruleFormat      = "format"      // warning: the file is not formatted
)

// Finding is one thing that Check has to say about a policy folder. File, Line and Column (both from 1) are where to look.
type Finding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	Rule     string `json:"rule"` // what was looked for, one word: see the rules below
	Message  string `json:"message"`
}

// String is file:line:column: severity: message (rule).
func (f Finding) String() string {
	return f.File + ":" + strconv.Itoa(f.Line) + ":" + strconv.Itoa(f.Column) + ": " + f.Severity + ": " + f.Message +
		" (" + f.Rule + ")"
}

// Report is what Check found, by file and line.
type Report struct {
	Findings []Finding `json:"findings"`
	Tests    int       `json:"tests"` // how many of the folder's own tests ran
}

// Errors counts the findings that keep the folder from being put in force.
func (r Report) Errors() int { return r.count(SeverityError) }

// Warnings counts the others.
func (r Report) Warnings() int { return r.count(SeverityWarning) }

func (r Report) count(severity string) (n int) {
	for _, f := range r.Findings {
		if f.Severity == severity {
			n++
		}
	}
	return n
}

// CheckOptions are what Check knows beyond the folder. The zero value knows nothing more.
type CheckOptions struct {
	// Commands parses commands.yaml; policy/command does, which this package cannot import. Its errors begin with
	// file:line:column. Nil leaves the catalogue unread.
	Commands func([]byte) error
	// Vendors and Targets are the names in the directory, so that an override for one that does not exist is found. Nil
	// asks nothing.
	Vendors, Targets []string
	// Windows are the names of the windows that some vendor has. Nil asks nothing.
	Windows []string
	// Roles are the names of the staff roles. Nil asks nothing.
	Roles []string
	// Now is when Check runs, to find windows that never open again. Zero asks nothing.
	Now time.Time
}

// Check reads a policy folder as Load does, runs its tests and looks for what compiles and still does not do what it seems to
// do. It always answers: a folder that cannot be read is a finding, too.
func Check(ctx context.Context, fsys fs.FS, opts CheckOptions) Report {
	c := &checker{opts: opts}
	c.check(ctx, fsys)
	return c.report()
}

// checker collects findings.
type checker struct {
	opts     CheckOptions
	findings []Finding
	tests    int
}

func (c *checker) check(ctx context.Context, fsys fs.FS) {
	f, err := readFolder(fsys)
	if err != nil {
		c.failures(ruleCompile, err)
		return
	}
	rev, err := Load(files(f.all()), 0)
	c.failures(ruleCompile, err)
	if c.opts.Commands != nil {
		c.failures(ruleCommand, c.opts.Commands(f.tables[commandsFile]))
	}
	c.format(f)
	if rev == nil {
		return // what follows asks a folder that loads
	}
	c.failures(ruleCompile, c.rules(f))
	c.failures(ruleCompile, c.tables(f, rev))
	c.trial(ctx, rev)
	c.test(ctx, f)
}

// test runs the folder's own tests.
func (c *checker) test(ctx context.Context, f *folder) {
	results, err := Test(ctx, files(f.all()))
	c.failures(ruleTest, err)
	c.tests = len(results)
	for _, r := range results {
		if !r.Passed && !r.Skipped {
			c.fail(Place{r.File, r.Line, max(r.Column, 1)}, ruleTest, "%s: %s", r.Name, r.Message)
		}
	}
}

// format warns about a Rego file that OPA's own formatter would write differently, at the first line that differs.
func (c *checker) format(f *folder) {
	for _, rego := range []map[string][]byte{f.rules, f.tests} {
		for name, source := range rego {
			formatted, err := format.SourceWithOpts(name, source, format.Opts{RegoVersion: ast.RegoV1,
				ParserOptions: &ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: capabilities()}})
			if err != nil || bytes.Equal(formatted, source) {
				continue // what does not parse is reported as that
			}
			line, column, want := firstDifference(source, formatted)
			c.warn(Place{name, line, column}, ruleFormat, "the file is not formatted; this line should read %.120q", want)
		}
	}
}

// firstDifference finds where two texts part, counted from 1, and the line of the second one there.
func firstDifference(a, b []byte) (line, column int, want string) {
	from, to := lines(string(a)), lines(string(b))
	for line < len(from) && line < len(to) && from[line] == to[line] {
		line++
	}
	var have string
	if line < len(from) {
		have = from[line]
	}
	if line < len(to) {
		want = to[line]
	}
	for column < len(have) && column < len(want) && have[column] == want[column] {
		column++
	}
	return line + 1, column + 1, strings.TrimSuffix(want, "\n")
}

// trial puts the plainest questions to the rules: somebody of each vendor type who meets every control asks for each right.
// Rules that fail here (two that disagree, an answer of another shape than rules promise) would refuse everybody.
func (c *checker) trial(ctx context.Context, rev *Revision) {
	for _, vendorType := range VendorTypes {
		for _, right := range Rights[:len(Rights)-1] {
			if _, err := rev.ideal(ctx, Vendor{ID: "vendor", Type: vendorType}, Target{Name: "target"}, right); err != nil {
				c.fail(Place{vendorType + ".rego", 1, 1}, ruleFault, "asked for %s, the rules fail, which refuses everybody: %v", right, err)
				break
			}
		}
	}
}

func (c *checker) fail(at Place, rule, message string, args ...any) {
	c.add(at, SeverityError, rule, message, args...)
}

func (c *checker) warn(at Place, rule, message string, args ...any) {
	c.add(at, SeverityWarning, rule, message, args...)
}

func (c *checker) add(at Place, severity, rule, message string, args ...any) {
	c.findings = append(c.findings, Finding{File: at.File, Line: at.Line, Column: at.Column, Severity: severity, Rule: rule,
		Message: fmt.Sprintf(message, args...)})
}

// report sorts what was found by place.
func (c *checker) report() Report {
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column, strings.Compare(a.Rule, b.Rule),
			strings.Compare(a.Message, b.Message))
	})
	return Report{Findings: slices.Compact(c.findings), Tests: c.tests}
}

// failures takes in an error of Load or of a table's parser: one or several lines of file:line:column: message.
func (c *checker) failures(rule string, err error) {
	if err == nil {
		return
	}
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range list.Unwrap() {
			c.failures(rule, one)
		}
		return
	}
	f := Finding{File: ".", Line: 1, Column: 1, Severity: SeverityError, Rule: rule, Message: err.Error()}
	if at := placed.FindStringSubmatch(f.Message); at != nil {
		f.File, f.Message = at[1], at[4]
		f.Line, _ = strconv.Atoi(at[2])
		f.Column, _ = strconv.Atoi(at[3])
	} else if name, message, ok := strings.Cut(f.Message, ": "); ok && fs.ValidPath(name) && !strings.Contains(name, " ") {
		f.File, f.Message = name, message
	}
	c.findings = append(c.findings, f)
}

// placed is file:line:column: message, the message of any number of lines.
var placed = regexp.MustCompile(`(?s)^([^\s:]+):(\d{1,9}):(\d{1,9}): (.*)$`)
