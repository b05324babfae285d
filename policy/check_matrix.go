package policy

import (
	"slices"
	"strings"
	"time"
)

// tables looks at what matrix.yaml and windows.yaml say beside the rules.
func (c *checker) tables(f *folder, rev *Revision) error {
	s, err := readPlaces(f.all())
	if err != nil {
		return err
	}
	c.adminCells(s)
	names := map[string]bool{}
	for i := range rev.matrix.overrides {
		c.override(s, rev.matrix.overrides, i, names)
	}
	c.windows(s, rev)
	return c.routes(f.tables[approvalsFile], rev)
}

// adminCells warns about cells that promise what no contractor ever gets.
func (c *checker) adminCells(s *places) {
	warn := func(given Located[string]) {
		if given.Set() && given.Value != never.String() {
			c.warn(placeIn(matrixFile, given), ruleNever, "contractors never get admin, whatever is written here: write never")
		}
	}
	for _, name := range VendorTypes {
		warn(s.matrix.Matrix[name].Admin)
	}
	for i := range s.matrix.Overrides {
		warn(s.matrix.Overrides[i].Value.Cells.Admin)
	}
}

// maxShadowed bounds how many overrides are held against each other.
const maxShadowed = 4096

// override looks at the i-th override; names are those of the earlier ones.
func (c *checker) override(s *places, all []override, i int, names map[string]bool) {
	o, spec := &all[i], s.matrix.Overrides[i]
	c.known(matrixFile, spec.Value.Vendor, c.opts.Vendors, "vendor", "override "+o.name)
	c.known(matrixFile, spec.Value.Target, c.opts.Targets, "target", "override "+o.name)
	if names[o.name] {
		c.warn(placeIn(matrixFile, spec.Value.Name), ruleShadowed, "another override is called %s, too; reasons could not tell them apart",
			o.name)
	}
	names[o.name] = true
	if o.path != nil && o.obligations != (Obligations{}) {
		c.fail(placeIn(matrixFile, spec), ruleNever,
			"override %s: obligations of an override for a path never bind; leave the path out or drop them", o.name)
	}
	if len(all) > maxShadowed {
		return
	}
	if by := shadow(s, all, i); by != "" {
		c.warn(placeIn(matrixFile, spec), ruleShadowed, "override %s never counts: %s behind it replaces all its cells", o.name, by)
	}
}

// known warns about a vendor or target that the directory does not have.
func (c *checker) known(file string, given Located[string], names []string, what, where string) {
	if names == nil || !given.Set() || slices.Contains(names, given.Value) || strings.HasPrefix(given.Value, "@") {
		return
	}
	c.warn(placeIn(file, given), ruleUnknown, "%s never matches: the directory has no %s named %q", where, what, given.Value)
}

// routes looks at who answers requests: the first route that matches counts.
func (c *checker) routes(table []byte, rev *Revision) error {
	var spec approvalsSpec
	if len(table) == 0 {
		return nil
	}
	if err := DecodeYAML(approvalsFile, table, &spec); err != nil {
		return err
	}
	for i, route := range spec.Routes {
		where := "route " + route.Value.Name.Value
		c.known(approvalsFile, route.Value.Vendor, c.opts.Vendors, "vendor", where)
		c.known(approvalsFile, route.Value.Target, c.opts.Targets, "target", where)
		for j := range rev.approvals.routes[:i] {
			if rev.approvals.routes[j].covers(&rev.approvals.routes[i]) {
				c.warn(placeIn(approvalsFile, route), ruleShadowed, "%s never counts: %s before it matches all that it does", where,
					spec.Routes[j].Value.Name.Value)
				break
			}
		}
	}
	return nil
}

// covers says whether a route matches every request that another one does.
func (s *selectedRoute) covers(other *selectedRoute) bool {
	rights := len(s.rights) == 0 || len(other.rights) > 0 && !slices.ContainsFunc(other.rights, func(right Right) bool {
		return !slices.Contains(s.rights, right)
	})
	return rights && matches(s.vendorType, other.vendorType) && matches(s.vendor, other.vendor) && matches(s.target, other.target)
}

// shadow names the later overrides that replace every cell of the i-th wherever it matches, "" when it counts somewhere.
func shadow(s *places, all []override, i int) string {
	o := &all[i]
	if len(o.cells) == 0 || o.obligations != (Obligations{}) {
		return ""
	}
	var by []string
	for right := range o.cells {
		later := replacedBy(s, all, i, right)
		if later < 0 {
			return ""
		}
		if name := all[later].name; !slices.Contains(by, name) {
			by = append(by, name)
		}
	}
	slices.Sort(by)
	return strings.Join(by, " and ")
}

// replacedBy is the first later override that sets the cell wherever the i-th does, -1 when none does. An override that
// loosens does not apply where the path cannot be told, so only a tightening or a pathless one replaces a tightening one.
func replacedBy(s *places, all []override, i int, right Right) int {
	for j := i + 1; j < len(all); j++ {
		cell, sets := all[j].cells[right]
		if !sets || !all[j].covers(&all[i]) {
			continue
		}
		if s.path(j) == "" || cell <= all[i].cells[right] && coversPath(s.path(j), s.path(i)) {
			return j
		}
	}
	return -1
}

// coversPath says whether one pattern surely matches every path that another one does.
func coversPath(pattern, other string) bool {
	if pattern == other {
		return true
	}
	folder, all := strings.CutSuffix(pattern, "/**")
	return all && other != "" && !strings.Contains(folder, "*") && (other == folder || strings.HasPrefix(other, folder+"/"))
}

// covers says whether an override selects everybody that another one does.
func (o *override) covers(other *override) bool {
	return matches(o.vendorType, other.vendorType) && matches(o.vendor, other.vendor) && matches(o.target, other.target)
}

// windows warns about windows that nobody can use.
func (c *checker) windows(s *places, rev *Revision) {
	for name, at := range s.windows {
		w := rev.windows[name]
		if c.opts.Windows != nil && !slices.Contains(c.opts.Windows, name) && !s.mentions(name) {
			c.warn(placeIn(windowsFile, at), ruleWindow, "no vendor has the window %s, and no rule asks for it", name)
		}
		if !c.opts.Now.IsZero() && w != nil && !opensAgain(w, c.opts.Now) {
			c.warn(placeIn(windowsFile, at), ruleWindow, "the window %s does not open within the next two years", name)
		}
	}
}

func opensAgain(w *window, now time.Time) bool {
	for t := now; t.Before(now.AddDate(2, 0, 0)); {
		open, until := w.state(t)
		if open || until.Before(t.Add(windowHorizon)) {
			return true
		}
		t = until
	}
	return false
}
