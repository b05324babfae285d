package policy

import (
	"cmp"
	"context"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The severities of a Finding.
const (
	SeverityError   = "error"   // the folder cannot be put in force
	SeverityWarning = "warning" // it can, but does not do what it seems to do, or does it slowly
)

// Finding is one thing that Check has to say about a policy folder. File, Line and Column (both from 1) are where to look.
type Finding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	Rule     string `json:"rule"` // compile, command, test, format, unreachable, never, shadowed, unknown, window or index
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
	_, err := Load(fsys, 0)
	c.failures("compile", err)
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
