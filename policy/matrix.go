package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// matrixFile is the name of the permission matrix in a policy folder.
const matrixFile = "matrix.yaml"

// VendorTypes lists the types of vendor in the matrix's order (M-1…M-5).
var VendorTypes = []string{"development", "maintenance", "operations", "consulting", "temporary"}

// staffType is the type of the reserved vendor @staff; it has no row in the matrix.
const staffType = "staff"

// cell is one field of the matrix. The zero value is ×.
type cell uint8

const (
	never cell = iota
	approval
	always
)

var cellNames = [...]string{"never", "approval", "always"}

func (c cell) String() string { return cellNames[c] }

// row holds a cell for each right that is mentioned; what is not mentioned is ×.
type row map[Right]cell

// matrix is matrix.yaml as read.
type matrix struct {
	rows        map[string]row         // by vendor type
	obligations map[string]Obligations // by vendor type, with what binds everybody already in
	overrides   []override
	bySelector  map[[2]string][]int // overrides by their vendor and target, "" when they name none
}

// override is an exception: where all its selectors match, its cells replace the row's. Empty selectors match everything.
type override struct {
	name                     string
	vendorType, vendor       string
	target                   string
	path                     *pathPattern
	cells                    row
	obligations              Obligations
	selectsPath, bindsAction bool
}

type matrixSpec struct {
	Matrix      map[string]rowSpec            `yaml:"matrix"`
	Obligations map[string]Located[boundSpec] `yaml:"obligations"`
	Overrides   []Located[overrideSpec]       `yaml:"overrides"`
}

type rowSpec struct {
	Read    Located[string] `yaml:"read"`
	Write   Located[string] `yaml:"write"`
	Execute Located[string] `yaml:"execute"`
	Delete  Located[string] `yaml:"delete"`
	Admin   Located[string] `yaml:"admin"`
}

type boundSpec struct {
	MFAMaxAge Located[string] `yaml:"mfa_max_age"`
	Download  Located[string] `yaml:"download"`
	Watermark bool            `yaml:"watermark"`
	Supervise bool            `yaml:"supervise"`
	MaxBytes  Located[int64]  `yaml:"max_bytes"`
}

type overrideSpec struct {
	Name        Located[string] `yaml:"name"`
	Type        Located[string] `yaml:"type"`
	Vendor      Located[string] `yaml:"vendor"`
	Target      Located[string] `yaml:"target"`
	Path        Located[string] `yaml:"path"`
	Cells       rowSpec         `yaml:"cells"`
	Obligations boundSpec       `yaml:"obligations"`
}

// parseMatrix reads matrix.yaml. All mistakes are reported at once, each with its place.
func parseMatrix(data []byte) (*matrix, error) {
	var spec matrixSpec
	if err := DecodeYAML(matrixFile, data, &spec); err != nil {
		return nil, err
	}
	m := &matrix{rows: map[string]row{}, obligations: map[string]Obligations{}, bySelector: map[[2]string][]int{}}
	errs := []error{m.readRows(spec.Matrix), m.readObligations(spec.Obligations)}
	for _, o := range spec.Overrides {
		read, err := newOverride(o)
		errs = append(errs, err)
		selector := [2]string{read.vendor, read.target}
		m.bySelector[selector] = append(m.bySelector[selector], len(m.overrides))
		m.overrides = append(m.overrides, read)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *matrix) readRows(specs map[string]rowSpec) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		r, err := newRow(specs[name])
		errs = append(errs, err)
		if !slices.Contains(VendorTypes, name) {
			errs = append(errs, specs[name].any().Errorf(matrixFile, "unknown vendor type %q: want one of %s",
				name, strings.Join(VendorTypes, ", ")))
		}
		m.rows[name] = r
	}
	for _, name := range VendorTypes {
		if _, ok := specs[name]; !ok {
			errs = append(errs, fmt.Errorf("%s:1:1: the matrix has no row for %s; add one", matrixFile, name))
		}
	}
	return errors.Join(errs...)
}

func (s rowSpec) byRight() map[Right]Located[string] {
	return map[Right]Located[string]{Read: s.Read, Write: s.Write, Execute: s.Execute, Delete: s.Delete, Admin: s.Admin}
}

// any is some cell of the row that was given, to point at.
func (s rowSpec) any() Located[string] {
	for _, right := range Rights {
		if c := s.byRight()[right]; c.Set() {
			return c
		}
	}
	return Located[string]{Line: 1, Column: 1}
}

func newRow(spec rowSpec) (row, error) {
	r := row{}
	var errs []error
	for _, right := range Rights {
		given := spec.byRight()[right]
		if !given.Set() {
			continue
		}
		i := slices.Index(cellNames[:], given.Value)
		if i < 0 {
			errs = append(errs, given.Errorf(matrixFile, "%s is %q: want always, approval or never", right, given.Value))
			continue
		}
		r[right] = cell(i)
	}
	return r, errors.Join(errs...)
}

func (m *matrix) readObligations(specs map[string]Located[boundSpec]) error {
	var errs []error
	read := map[string]Obligations{}
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		if name != "every" && name != staffType && !slices.Contains(VendorTypes, name) {
			errs = append(errs, specs[name].Errorf(matrixFile, "unknown vendor type %q: want every, %s or staff",
				name, strings.Join(VendorTypes, ", ")))
		}
		o, err := newObligations(specs[name].Value)
		errs = append(errs, err)
		read[name] = o
	}
	if read["every"].MFAMaxAge <= 0 {
		errs = append(errs, fmt.Errorf("%s:1:1: obligations.every.mfa_max_age is missing; write for example 12h", matrixFile))
	}
	for _, name := range append([]string{staffType}, VendorTypes...) {
		m.obligations[name] = read["every"].and(read[name])
	}
	return errors.Join(errs...)
}

func newObligations(spec boundSpec) (Obligations, error) {
	o := Obligations{Watermark: spec.Watermark, Supervise: spec.Supervise, MaxBytes: spec.MaxBytes.Value}
	var errs []error
	if age := spec.MFAMaxAge; age.Set() {
		d, err := time.ParseDuration(age.Value)
		if err != nil || d < time.Minute || d > 7*24*time.Hour {
			errs = append(errs, age.Errorf(matrixFile, "mfa_max_age is %q: want a duration from 1m to 168h", age.Value))
		}
		o.MFAMaxAge = d
	}
	switch spec.Download.Value {
	case "off":
		o.Download = "off"
	case "", "on":
	default:
		errs = append(errs, spec.Download.Errorf(matrixFile, "download is %q: want on or off", spec.Download.Value))
	}
	if spec.MaxBytes.Set() && o.MaxBytes <= 0 {
		errs = append(errs, spec.MaxBytes.Errorf(matrixFile, "max_bytes is %d: want a size above 0", o.MaxBytes))
	}
	return o, errors.Join(errs...)
}

var overrideName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func newOverride(spec Located[overrideSpec]) (override, error) {
	s := spec.Value
	var errs []error
	if !overrideName.MatchString(s.Name.Value) {
		errs = append(errs, spec.Errorf(matrixFile, "override name %q: give lower-case letters, digits and hyphens", s.Name.Value))
	}
	if s.Type.Set() && !slices.Contains(VendorTypes, s.Type.Value) {
		errs = append(errs, s.Type.Errorf(matrixFile, "unknown vendor type %q", s.Type.Value))
	}
	cells, err := newRow(s.Cells)
	errs = append(errs, err)
	bound, err := newObligations(s.Obligations)
	errs = append(errs, err)
	if len(cells) == 0 && bound == (Obligations{}) {
		errs = append(errs, spec.Errorf(matrixFile, "override %s changes nothing: give cells or obligations", s.Name.Value))
	}
	o := override{name: s.Name.Value, vendorType: s.Type.Value, vendor: s.Vendor.Value, target: s.Target.Value,
		cells: cells, obligations: bound}
	if s.Path.Set() {
		if o.path, err = newPathPattern(s.Path.Value); err != nil {
			errs = append(errs, s.Path.Errorf(matrixFile, "%v", err))
		}
	}
	return o, errors.Join(errs...)
}

// and is both: the stricter of each obligation.
func (o Obligations) and(other Obligations) Obligations {
	o.MFAMaxAge = strictest(o.MFAMaxAge, other.MFAMaxAge)
	o.MaxBytes = strictest(o.MaxBytes, other.MaxBytes)
	if other.Download != "" {
		o.Download = other.Download
	}
	o.Watermark = o.Watermark || other.Watermark
	o.Supervise = o.Supervise || other.Supervise
	return o
}

// strictest is the smaller limit, where 0 is none.
func strictest[T ~int64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// subject says whose cell of the matrix is looked up.
type subject struct{ vendorType, vendor, target string }

func (o *override) selects(s subject) bool {
	return matches(o.vendorType, s.vendorType) && matches(o.vendor, s.vendor) && matches(o.target, s.target)
}

func matches(selector, value string) bool { return selector == "" || selector == value }

// stance is what the matrix says about one subject: worked out once, because overrides may be many.
type stance struct {
	subject     subject
	serial      uint64   // of no other stance under this revision; 0 when it is not kept
	keeper      *stances // who keeps it; nil when nobody does
	kind        *program // the rules of the subject's type
	row         row
	overrides   []*override // that select the subject and set cells, in order
	obligations Obligations // what binds the subject whatever it does
	byPath      bool        // some override holds for some paths only
}

func (m *matrix) stanceOf(s subject) *stance {
	st := &stance{subject: s, row: m.rows[s.vendorType], obligations: m.obligations[s.vendorType]}
	for _, i := range m.selecting(s) {
		o := &m.overrides[i]
		if len(o.cells) > 0 {
			st.overrides = append(st.overrides, o)
			st.byPath = st.byPath || o.path != nil
		}
		if o.path == nil {
			st.obligations = st.obligations.and(o.obligations)
		}
	}
	return st
}

// selecting lists the overrides that select a subject, in order. They are found by vendor and target: with one override for
// each of many vendors, few are looked at.
func (m *matrix) selecting(s subject) []int {
	var found []int
	for _, key := range [][2]string{{"", ""}, {s.vendor, ""}, {"", s.target}, {s.vendor, s.target}} {
		for _, i := range m.bySelector[key] {
			if m.overrides[i].selects(s) {
				found = append(found, i)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found) // a subject without a vendor or target finds some of them twice
}

// cellFor looks a right up: the row's cell, then the overrides in order. It names the override that counted, "" for the
// row. An override for a path counts where the path is known to match, and, if it tightens, where it may match.
func (st *stance) cellFor(right Right, p resourcePath) (cell, string) {
	c, by := st.row[right], ""
	for _, o := range st.overrides {
		changed, ok := o.cells[right]
		if !ok {
			continue
		}
		if o.path == nil || o.path.match(p) || changed < c && o.path.mayMatch(p) {
			c, by = changed, o.name
		}
	}
	return c, by
}

func (m *matrix) cellFor(s subject, right Right, p resourcePath) (cell, string) {
	return m.stanceOf(s).cellFor(right, p)
}

// obligationsFor is what binds a subject whatever it does.
func (m *matrix) obligationsFor(s subject) Obligations { return m.stanceOf(s).obligations }

// maxStances bounds how many stances are kept.
const maxStances = 16384

// stances keeps the stance of every subject that was asked about.
type stances struct {
	mu     sync.RWMutex
	known  map[subject]*stance
	serial uint64
}

// again is the stance of a subject, which may be the one that was asked for last.
func (k *stances) again(last *stance, r *Revision, s subject) *stance {
	if last != nil && last.keeper == k && last.subject == s {
		return last
	}
	return k.of(r, s)
}

func (k *stances) of(r *Revision, s subject) *stance {
	k.mu.RLock()
	st := k.known[s]
	k.mu.RUnlock()
	if st != nil {
		return st
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if st = k.known[s]; st != nil {
		return st
	}
	if k.known == nil || len(k.known) >= maxStances {
		k.known = map[subject]*stance{}
	}
	k.serial++
	st = r.matrix.stanceOf(s)
	st.serial, st.keeper, st.kind = k.serial, k, r.kinds[s.vendorType]
	k.known[s] = st
	return st
}
