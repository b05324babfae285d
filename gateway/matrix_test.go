package gateway_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/demo"
)

func TestMain(m *testing.M) {
	demo.ShellMain()
	os.Exit(m.Run())
}

// The rights, in the matrix's order, and the vendor types with their row of requirements M: ○ always, △ approval, × never.
var (
	rights = []string{"read", "write", "execute", "delete", "admin"}
	rows   = []struct{ kind, table, cells string }{
		{"development", "M-1", "○○△××"},
		{"maintenance", "M-2", "○△○××"},
		{"operations", "M-3", "○×○××"},
		{"consulting", "M-4", "○××××"},
		{"temporary", "M-5", "△×△××"},
	}
)

// variants are targets on which an exception of matrix.yaml changes cells for everybody; admin stays × on all of them.
var variants = []struct{ target, exception, cells string }{
	{"loose", "{read: always, write: always, execute: always, delete: always, admin: always}", "○○○○×"},
	{"asked", "{read: approval, write: approval, execute: approval, delete: approval, admin: approval}", "△△△△×"},
	{"tight", "{read: never, write: never, execute: never, delete: never}", "×××××"},
	{"erase", "{delete: always}", "···○×"}, // · as in the row
}

// TestEveryCellOfTheMatrixThroughTheDoor works as each type of vendor, over ssh and HTTPS, with and without exceptions, and
// as a sub-contractor of each type below each type (M-1…M-5, V-6).
func TestEveryCellOfTheMatrixThroughTheDoor(t *testing.T) {
	d := newDoorway(t)
	for _, row := range rows {
		t.Run(row.table, func(t *testing.T) {
			t.Parallel()
			for _, protocol := range []string{"ssh", "https"} {
				grid := d.tries(t, row.kind, protocol, "plain", row.cells, row.table)
				t.Logf("%-5s %s %-11s        %s", protocol, row.table, row.kind, grid)
				for _, v := range variants {
					grid := d.tries(t, row.kind, protocol, v.target, changed(row.cells, v.cells), "M-")
					t.Logf("%-5s %s %-11s %-6s %s", protocol, row.table, row.kind, v.target, grid)
				}
				for _, parent := range rows {
					tables := leastTables(row.table, row.cells, parent.table, parent.cells)
					grid := d.tries(t, row.kind+"-below-"+parent.kind, protocol, "plain", least(row.cells, parent.cells), tables...)
					t.Logf("%-5s %s below %s          %s", protocol, row.table, parent.table, grid)
				}
			}
			d.hangUp(t, row.kind)
		})
	}
}

// changed is a row on which an exception counts; · is a cell it says nothing about.
func changed(row, exception string) string {
	cells := []rune(exception)
	for i, own := range []rune(row) {
		if cells[i] == '·' {
			cells[i] = own
		}
	}
	return string(cells)
}

// least is the smaller of each two cells.
func least(a, b string) string {
	const order = "×△○"
	cells := []rune(a)
	for i, other := range []rune(b) {
		if strings.IndexRune(order, other) < strings.IndexRune(order, cells[i]) {
			cells[i] = other
		}
	}
	return string(cells)
}

// leastTables names for each right the row that holds the least: the one whose id a refusal has to name.
func leastTables(table, cells, otherTable, other string) []string {
	tables := make([]string, len(rights))
	for i, cell := range []rune(least(cells, other)) {
		if tables[i] = table; []rune(cells)[i] != cell {
			tables[i] = otherTable
		}
	}
	return tables
}

// tries does one thing for each right on a target and checks that it runs, waits for an approval or is refused as wanted.
// tables is the id that a refusal names: one for all rights, or one each. It returns what happened as a row of the grid.
func (d *doorway) tries(t *testing.T, person, protocol, target, want string, tables ...string) string {
	t.Helper()
	var grid strings.Builder
	for i, cell := range []rune(want) {
		table := tables[min(i, len(tables)-1)]
		act := d.act(t, person, protocol, target, rights[i])
		got := d.try(t, act, table)
		fmt.Fprintf(&grid, "%s %c  ", rights[i], got)
		if got != cell {
			t.Errorf("%s of %s on %s over %s: %c, want %c", rights[i], person, target, protocol, got, cell)
		}
	}
	return grid.String()
}

// try does something and tells which cell that shows. What needs an approval is approved by somebody else, done, and
// refused again once the lease is revoked.
func (d *doorway) try(t *testing.T, a act, table string) rune {
	t.Helper()
	a.prepare()
	got := a.do()
	ran := a.happened()
	switch {
	case got.allowed && ran:
		return '○'
	case got.allowed || ran || got.decision == "":
		t.Errorf("%s: half allowed: %+v, happened: %v", a.name, got, ran)
		return '?'
	case !strings.Contains(got.text, table):
		t.Errorf("%s: the refusal does not name %s: %s", a.name, table, got.text)
	}
	if got.request == "" {
		return '×'
	}
	leases := d.approve(t, a.person, got.request)
	a.prepare()
	if again := a.do(); !again.allowed || !a.happened() {
		t.Errorf("%s: approved, and yet: %+v", a.name, again)
	}
	for _, lease := range leases {
		must(t, d.mika.RevokeLease(t.Context(), lease, "done"))
	}
	a.prepare()
	if late := a.do(); late.allowed || a.happened() || late.request == "" {
		t.Errorf("%s: the lease was revoked, and yet: %+v", a.name, late)
	}
	return '△'
}

// approve has staff answer a request, after its own person tried to.
func (d *doorway) approve(t *testing.T, person, id string) (leases []string) {
	t.Helper()
	own := d.people[person].console
	shown, err := d.mika.Request(t.Context(), id)
	must(t, err)
	answer := console.RequestAnswer{Digest: shown.Digest, Minutes: 5, Reason: "the matrix"}
	if _, err := own.ApproveRequest(t.Context(), id, answer); err == nil {
		t.Errorf("%s answered a request of their own", person)
	}
	_, err = d.mika.ApproveRequest(t.Context(), id, answer)
	must(t, err)
	for lease, err := range d.mika.Leases(t.Context()) {
		must(t, err)
		if lease.Person == person {
			leases = append(leases, lease.ID)
		}
	}
	return leases
}

// act is one thing somebody does for one right.
type act struct {
	name, person string
	prepare      func()
	do           func() outcome
	happened     func() bool // whether the target or app saw it
}

// outcome is what the person was told.
type outcome struct {
	allowed           bool
	text              string
	decision, request string
}

var (
	decisionID = regexp.MustCompile(`d-[0-9A-Z]{26}`)
	requestID  = regexp.MustCompile(`r-[0-9A-Z]{26}`)
)

func (d *doorway) act(t *testing.T, person, protocol, target, right string) act {
	name := fmt.Sprintf("%s-%d", right, d.count.Add(1))
	a := act{name: fmt.Sprintf("%s of %s on %s over %s", right, person, target, protocol), person: person}
	if protocol == "https" {
		a.prepare = func() { d.app.forget(target, name) }
		a.do = func() outcome { return d.people[person].web(t, target, right, name) }
		a.happened = func() bool { return d.app.saw(target, name) }
		return a
	}
	file := filepath.Join(d.home, name)
	var last outcome
	a.prepare = func() {
		must(t, os.RemoveAll(file))
		if right == "read" || right == "delete" {
			must(t, os.WriteFile(file, []byte("content of "+name), 0o600))
		}
	}
	a.do = func() outcome {
		last = d.people[person].ssh(t, d, target, map[string]string{"read": "cat " + name, "write": "touch " + name,
			"execute": "bin/mark " + name, "delete": "rm " + name, "admin": "visudo -V " + name}[right])
		return last
	}
	a.happened = func() bool {
		_, err := os.Stat(file)
		switch right {
		case "read":
			return last.text == "content of "+name
		case "delete":
			return errors.Is(err, os.ErrNotExist)
		case "admin":
			return last.allowed
		}
		return err == nil
	}
	return a
}
