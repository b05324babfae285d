package directory

import (
	"errors"
	"regexp"
	"strings"
	"time"
)

// Options is what a document is read against.
type Options struct {
	// Zone is where contract days begin and end. Required.
	Zone *time.Location
	// HasWindow reports whether the policy folder's windows.yaml has a window of that name. Nil: it has none.
	HasWindow func(name string) bool
	// Now is the clock of Live. Optional: time.Now.
	Now func() time.Time
}

// Parse reads a directory.yaml strictly. The error joins everything that is wrong with it, each as
// "name:line:column: what was expected".
func Parse(name string, yaml []byte, opts Options) (*Directory, error) {
	if opts.Zone == nil {
		return nil, errors.New("reading " + name + ": the gateway's time zone is not set")
	}
	d := &decoder{file: name, opts: opts}
	dir := empty(opts.Zone)
	if root, ok := d.document(yaml); ok {
		d.directory(root, dir)
		for _, check := range d.later {
			check()
		}
		d.samePeople(dir)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return dir, nil
}

// empty is the directory before anything is applied: nobody may do anything.
func empty(zone *time.Location) *Directory {
	return &Directory{
		zone:    zone,
		people:  map[string]Person{},
		vendors: map[string]Vendor{},
		targets: map[string]Target{},
		hosts:   map[string]string{},
		same:    map[string][]string{},
	}
}

func (d *decoder) directory(root value, dir *Directory) {
	d.fields(root, "the document", fields{
		"vendors": func(v value) {
			d.entries(v, "vendors", "vendor", func(id string, v value) { dir.vendors[id] = d.vendor(id, v, dir) })
		},
		"people": func(v value) {
			d.entries(v, "people", "person", func(id string, v value) { dir.people[id] = d.person(id, v, dir) })
		},
		"targets": func(v value) {
			d.entries(v, "targets", "target", func(id string, v value) { dir.targets[id] = d.target(id, v, dir) })
		},
	})
}

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

const idShape = "want a lower-case letter or digit, then up to 62 lower-case letters, digits and hyphens"

// entries reads a mapping from ids to things.
func (d *decoder) entries(v value, what, thing string, read func(id string, v value)) {
	d.mapping(v, what, func(id string, k, v value) {
		switch {
		case strings.HasPrefix(id, "@"):
			d.errorf(k, "the name %q is reserved: names that begin with @ belong to the gateway itself", id)
		case !idPattern.MatchString(id):
			d.errorf(k, "%q is not the id of a %s: %s", id, thing, idShape)
		default:
			read(id, v)
		}
	})
}

// id reads a reference; whether the thing exists is checked later by the caller.
func (d *decoder) id(v value) (string, bool) {
	s, ok := d.scalar(v)
	if ok && !idPattern.MatchString(s) {
		d.errorf(v, "%q is not an id: %s", s, idShape)
		return "", false
	}
	return s, ok
}

// references reads a list of ids and has each checked once the whole document is known.
func (d *decoder) references(v value, what string, check func(v value, id string)) []string {
	return d.strings(v, what, func(v value) (string, bool) {
		id, ok := d.id(v)
		if ok {
			d.later = append(d.later, func() { check(v, id) })
		}
		return id, ok
	})
}

// date reads a day and returns its first instant in the gateway's zone.
func (d *decoder) date(v value) (time.Time, bool) {
	s, ok := d.scalar(v)
	if !ok {
		return time.Time{}, false
	}
	day, err := time.Parse(time.DateOnly, s)
	if err != nil {
		d.errorf(v, "%q is not a day of the calendar: want YYYY-MM-DD", s)
		return time.Time{}, false
	}
	return startOfDay(day.Year(), day.Month(), day.Day(), d.opts.Zone), true
}

// startOfDay is the first instant of a day, which is not midnight where a clock change skips that.
func startOfDay(year int, month time.Month, day int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, zone)
	if t.Day() == time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Day() {
		return t
	}
	_, change := t.ZoneBounds()
	return change
}
