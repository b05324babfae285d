package policy_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/policy"
)

func show(t testing.TB, rev *policy.Revision, v policy.Vendor, parents ...policy.Vendor) policy.Shown {
	t.Helper()
	s, err := rev.Show(context.Background(), v, parents, policy.Target{Name: "db1", Kind: "ssh"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
	return s
}

var cellOf = map[policy.Effect]string{always: "always", approval: "approval", never: "never"}

func TestShowReadsTheMatrixCellByCell(t *testing.T) {
	rev := load(t, nil)
	for i, row := range rows {
		s := show(t, rev, vendor("acme", row.vendorType))
		for j, c := range s.Cells {
			want := row.cells[c.Right]
			if c.Right != policy.Rights[j] || c.Cell != cellOf[want] || c.Effect != want || c.Table != row.table {
				t.Errorf("%s %s: %+v, want %s", row.table, c.Right, c, cellOf[want])
			}
			if at := c.Links[0].Place; at.File != "matrix.yaml" || at.Line != 8+i {
				t.Errorf("%s %s comes from %s", row.table, c.Right, at)
			}
		}
		if len(s.Rules) > 0 || len(s.Paths) > 0 || len(s.Notices) > 0 {
			t.Errorf("%s: rules %v, paths %v, notices %v", row.table, s.Rules, s.Paths, s.Notices)
		}
	}
}

func TestShowNamesTheCellsPlace(t *testing.T) {
	write := show(t, load(t, nil), vendor("acme", "maintenance")).Cells[1]
	// maintenance: {read: always,   write: approval, …
	if at := write.Links[0].Place; at.String() != "matrix.yaml:9:40" {
		t.Errorf("write of M-2 is at %s", at)
	}
}

// overrides is the shipped matrix with these exceptions from line 33 on.
func overrides(t testing.TB, list string) map[string]string {
	return map[string]string{"matrix.yaml": strings.Replace(more(t, "matrix.yaml", ""), "\noverrides: []\n", "\noverrides:\n"+list, 1)}
}

func TestShowNamesTheOverrideThatSetsACell(t *testing.T) {
	rev := load(t, overrides(t, `  - {name: first, vendor: acme, cells: {write: always}}
  - {name: second, target: db1, cells: {write: never}, obligations: {mfa_max_age: 2h}}
  - {name: folder, vendor: acme, path: /srv/app/**, cells: {read: approval}}
  - {name: elsewhere, target: db2, cells: {read: never}}
`))
	s := show(t, rev, vendor("acme", "maintenance"))
	write := s.Cells[1]
	if write.Cell != "never" || write.Effect != never || write.Links[0].Override != "second" || write.Links[0].Place.Line != 34 {
		t.Errorf("%+v", write)
	}
	if read := s.Cells[0]; read.Cell != "always" || read.Links[0].Override != "" {
		t.Errorf("%+v", read)
	}
	if len(s.Paths) != 1 || s.Paths[0].Name != "folder" || s.Paths[0].Path != "/srv/app/**" || s.Paths[0].Place.Line != 35 ||
		s.Paths[0].Cells[policy.Read] != "approval" {
		t.Errorf("%+v", s.Paths)
	}
	if hours := s.Obligations.MFAMaxAge.Hours(); hours != 2 {
		t.Errorf("a second factor lasts %v h", hours)
	}
	from := []string{}
	for _, b := range s.Bounds {
		from = append(from, b.From)
	}
	if !slices.Equal(from, []string{"every", "override second"}) {
		t.Errorf("obligations from %v", from)
	}
}

func TestShowNamesTheParentThatLimits(t *testing.T) {
	s := show(t, load(t, nil), vendor("sub", "development"), vendor("middle", "maintenance"), vendor("head", "operations"))
	for _, want := range []struct {
		right    policy.Right
		cell, by string
		table    string
		effect   policy.Effect
	}{
		{policy.Read, "always", "sub", "M-1", always},
		{policy.Write, "never", "head", "M-3", never}, // ○ △ ×
		{policy.Execute, "approval", "sub", "M-1", approval},
		{policy.Delete, "never", "sub", "M-1", never},
		{policy.Admin, "never", "", "M-1", never},
	} {
		c := s.Cells[slices.Index(policy.Rights, want.right)]
		if c.Cell != want.cell || c.By != want.by || c.Table != want.table || c.Effect != want.effect || len(c.Links) != 3 {
			t.Errorf("%s: %+v, want %+v", want.right, c, want)
		}
	}
	if reasons := s.Cells[1].Reasons; len(reasons) == 0 || !strings.Contains(reasons[len(reasons)-1].EN, "parent vendor head (V-6)") {
		t.Errorf("write is refused because of %v", reasons)
	}
	if !slices.Equal(s.Chain, []string{"sub", "middle", "head"}) {
		t.Errorf("chain %v", s.Chain)
	}
}

func TestShowTellsWhenARuleNarrowsACell(t *testing.T) {
	rev := load(t, maintenance(t, "approval contains \"Ask first.\" if {\n\tinput.right == \"execute\"\n\tinput.target.name == \"db1\"\n}\n"))
	s := show(t, rev, vendor("acme", "maintenance"))
	if c := s.Cells[2]; c.Cell != "always" || c.Effect != approval || c.Reasons[0].EN != "Ask first." {
		t.Errorf("%+v", c)
	}
	if len(s.Rules) != 1 || s.Rules[0].Place.String() != "maintenance.rego:24:1" || s.Rules[0].Rule != "approval" ||
		!strings.HasPrefix(s.Rules[0].Text, `approval contains "Ask first." if {`) {
		t.Errorf("%+v", s.Rules)
	}
}

func TestShowTellsWhatKeepsAVendorOut(t *testing.T) {
	v := vendor("acme", "maintenance")
	v.CutOff, v.Windows, v.Networks, v.Targets, v.Contract = true, nil, nil, []string{"orders"}, policy.Contract{}
	s := show(t, load(t, nil), v)
	var tables []string
	for _, n := range s.Notices {
		tables = append(tables, n.Table)
	}
	if !slices.Equal(tables, []string{"I-1", "C-5", "C-2", "C-3", "V-7"}) {
		t.Errorf("%+v", s.Notices)
	}
}

func TestShowReadsWindows(t *testing.T) {
	v := vendor("acme", "maintenance")
	v.Windows = []string{"office-hours", "full-moon"}
	s := show(t, load(t, nil), v)
	if len(s.Windows) != 2 || !s.Windows[0].Known || s.Windows[1].Known ||
		s.Windows[0].Text != "mon tue wed thu fri 09:00–18:00 Asia/Tokyo except jp-holidays" || s.Windows[0].Place.Line != 20 {
		t.Errorf("%+v", s.Windows)
	}
}
