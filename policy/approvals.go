package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// approvalsFile is the name of the table of approval routes in a policy folder. A folder without one has the shipped
// default and nobody who may break the glass.
const approvalsFile = "approvals.yaml"

// MaxLeaseMinutes is the longest lease that a route can allow: a day.
const MaxLeaseMinutes = 24 * 60

// Route says how a request has to be answered. Of several routes joined it is the strictest on each point.
type Route struct {
	Need       int           // how many different people have to approve
	MaxMinutes int           // the longest lease
	Deadline   time.Duration // a request that waits longer is over
	Exact      bool          // a lease covers the very resource only, no wide pattern
	Ticket     bool          // a ticket is required
	Names      []string      // the routes that count, for the record; "default" for the default
	Panels     []Panel       // whoever answers has to be in all of them
}

// Panel is the people who may answer as far as one route is concerned.
type Panel struct {
	Anybody       bool          // nobody is named: every approver
	Approvers     []string      // person ids
	EscalateAfter time.Duration // from then on EscalateTo may answer, too; 0 for never
	EscalateTo    []string
}

// Emergency says who may break the glass, for how long and for which targets.
type Emergency struct {
	People  []string // of @staff; none: nobody
	Minutes int
	Targets []string // "*" alone for all; none: none
}

// approvals is approvals.yaml as read.
type approvals struct {
	fallback  Route
	routes    []selectedRoute
	emergency Emergency
}

// selectedRoute is a route with what it is for; empty selectors match everything.
type selectedRoute struct {
	vendorType, vendor, target string
	rights                     []Right
	route                      Route
}

// RouteFor is the route of a request for these rights on a target by somebody of the first vendor, whose parents follow: for
// each vendor and right the first route that matches, all of them joined.
func (r *Revision) RouteFor(chain []Vendor, target string, rights ...Right) Route {
	var joined Route
	for i := range chain {
		for _, right := range rights {
			joined = joined.and(r.approvals.routeFor(&chain[i], target, right))
		}
	}
	if len(joined.Panels) == 0 {
		return r.approvals.fallback
	}
	return joined
}

// BreakGlass is who may declare an emergency.
func (r *Revision) BreakGlass() Emergency { return r.approvals.emergency }

func (a *approvals) routeFor(v *Vendor, target string, right Right) Route {
	for i := range a.routes {
		s := &a.routes[i]
		if matches(s.vendorType, v.Type) && matches(s.vendor, v.ID) && matches(s.target, target) &&
			(len(s.rights) == 0 || slices.Contains(s.rights, right)) {
			return s.route
		}
	}
	return a.fallback
}

// and is the strictest of two routes on each point. The zero Route is none.
func (r Route) and(other Route) Route {
	if len(r.Panels) == 0 {
		return other
	}
	if slices.Equal(r.Names, other.Names) || len(other.Names) == 1 && slices.Contains(r.Names, other.Names[0]) {
		return r
	}
	return Route{
		Need:       max(r.Need, other.Need),
		MaxMinutes: min(r.MaxMinutes, other.MaxMinutes),
		Deadline:   min(r.Deadline, other.Deadline),
		Exact:      r.Exact || other.Exact,
		Ticket:     r.Ticket || other.Ticket,
		Names:      slices.Concat(r.Names, other.Names),
		Panels:     slices.Concat(r.Panels, other.Panels),
	}
}

// Admits says whether the panel lets a person answer a request that has been waiting for that long.
func (p Panel) Admits(person string, waited time.Duration) bool {
	return p.Anybody || slices.Contains(p.Approvers, person) || p.Escalated(person, waited)
}

// Escalated says whether a person may answer because the request has been waiting for that long.
func (p Panel) Escalated(person string, waited time.Duration) bool {
	return p.EscalateAfter > 0 && waited >= p.EscalateAfter && slices.Contains(p.EscalateTo, person)
}

// Limits of approvals.yaml.
const (
	maxRoutes    = 500
	maxNeed      = 9
	minDeadline  = 5 * time.Minute
	maxDeadline  = 30 * 24 * time.Hour
	maxEmergency = 60 // minutes
)

type approvalsSpec struct {
	Default    Located[routeSpec]   `yaml:"default"`
	Routes     []Located[routeSpec] `yaml:"routes"`
	BreakGlass emergencySpec        `yaml:"break_glass"`
}

type routeSpec struct {
	Name          Located[string]   `yaml:"name"`
	Type          Located[string]   `yaml:"type"`
	Vendor        Located[string]   `yaml:"vendor"`
	Target        Located[string]   `yaml:"target"`
	Rights        []Located[string] `yaml:"rights"`
	Approvers     []Located[string] `yaml:"approvers"`
	Need          Located[string]   `yaml:"need"`
	MaxMinutes    Located[string]   `yaml:"max_minutes"`
	Deadline      Located[string]   `yaml:"deadline"`
	EscalateAfter Located[string]   `yaml:"escalate_after"`
	EscalateTo    []Located[string] `yaml:"escalate_to"`
	Patterns      Located[string]   `yaml:"patterns"`
	Ticket        Located[string]   `yaml:"ticket"`
}

type emergencySpec struct {
	People  []Located[string] `yaml:"people"`
	Minutes Located[string]   `yaml:"minutes"`
	Targets []Located[string] `yaml:"targets"`
}

// shippedRoute is the default of a folder that has none.
var shippedRoute = Route{Need: 1, MaxMinutes: 480, Deadline: 24 * time.Hour, Names: []string{"default"},
	Panels: []Panel{{Anybody: true}}}

// parseApprovals reads approvals.yaml; nil is a folder without one. All mistakes are reported at once, each with its place.
func parseApprovals(data []byte) (*approvals, error) {
	a := &approvals{fallback: shippedRoute, emergency: Emergency{Minutes: maxEmergency}}
	if data == nil {
		return a, nil
	}
	var spec approvalsSpec
	if err := DecodeYAML(approvalsFile, data, &spec); err != nil {
		return nil, err
	}
	var f findings
	if spec.Default.Set() {
		a.fallback = f.fallback(spec.Default)
	}
	if len(spec.Routes) > maxRoutes {
		f.fail(spec.Routes[maxRoutes].at(), "more than %d routes", maxRoutes)
	}
	names := map[string]bool{"default": true}
	for _, r := range spec.Routes {
		a.routes = append(a.routes, f.selected(r, a.fallback, names))
	}
	a.emergency = f.emergency(spec.BreakGlass)
	if err := errors.Join(f.errs...); err != nil {
		return nil, err
	}
	return a, nil
}

// findings collects what is wrong with approvals.yaml.
type findings struct{ errs []error }

// place is a Located without its value.
type place = Located[struct{}]

func (l Located[T]) at() place { return place{Line: l.Line, Column: l.Column} }

func (f *findings) fail(at place, format string, args ...any) {
	f.errs = append(f.errs, at.Errorf(approvalsFile, "%s", fmt.Sprintf(format, args...)))
}

// fallback reads the default: a route without name and selectors.
func (f *findings) fallback(spec Located[routeSpec]) Route {
	s := spec.Value
	if s.Name.Set() || s.Type.Set() || s.Vendor.Set() || s.Target.Set() || len(s.Rights) > 0 {
		f.fail(spec.at(), "the default is for everything: move name, type, vendor, target and rights into a route")
	}
	s.Name.Value = "default"
	return f.route(Located[routeSpec]{Value: s, Line: spec.Line, Column: spec.Column}, shippedRoute)
}

func (f *findings) selected(spec Located[routeSpec], base Route, names map[string]bool) selectedRoute {
	s := spec.Value
	switch name := s.Name.Value; {
	case !overrideName.MatchString(name):
		f.fail(spec.at(), "route name %q: give lower-case letters, digits and hyphens", name)
	case names[name]:
		f.fail(s.Name.at(), "the name %q is taken", name)
	default:
		names[name] = true
	}
	if s.Type.Set() && !slices.Contains(VendorTypes, s.Type.Value) {
		f.fail(s.Type.at(), "unknown vendor type %q: want one of %s", s.Type.Value, strings.Join(VendorTypes, ", "))
	}
	out := selectedRoute{vendorType: s.Type.Value, vendor: f.id(s.Vendor, "vendor"), target: f.id(s.Target, "target"),
		route: f.route(spec, base)}
	for _, right := range s.Rights {
		if !slices.Contains(Rights, Right(right.Value)) || right.Value == string(Admin) {
			f.fail(right.at(), "unknown right %q: want read, write, execute or delete (admin is never approved)", right.Value)
		}
		out.rights = append(out.rights, Right(right.Value))
	}
	return out
}

// id reads the name of a vendor or target; whether there is one only the directory knows.
func (f *findings) id(given Located[string], what string) string {
	if given.Set() && !overrideName.MatchString(given.Value) {
		f.fail(given.at(), "%q is not the id of a %s: want lower-case letters, digits and hyphens", given.Value, what)
	}
	return given.Value
}

// route reads how requests are answered; what is not given is as in base, but for its people.
func (f *findings) route(spec Located[routeSpec], base Route) Route {
	s := spec.Value
	r := base
	r.Names = []string{s.Name.Value}
	f.number(s.Need, &r.Need, "need", maxNeed)
	f.number(s.MaxMinutes, &r.MaxMinutes, "max_minutes", MaxLeaseMinutes)
	f.duration(s.Deadline, &r.Deadline, "deadline", minDeadline, maxDeadline)
	f.choice(s.Patterns, &r.Exact, "patterns", "exact", "any")
	f.choice(s.Ticket, &r.Ticket, "ticket", "required", "optional")
	g := base.Panels[0]
	if s.Approvers != nil {
		g.Approvers = f.people(s.Approvers, "approvers")
		g.Anybody = false
	}
	if s.EscalateAfter.Set() || s.EscalateTo != nil {
		g.EscalateTo = f.people(s.EscalateTo, "escalate_to")
		g.EscalateAfter = 0
		f.duration(s.EscalateAfter, &g.EscalateAfter, "escalate_after", time.Minute, maxDeadline)
		f.escalation(spec, r, g)
	}
	if n := len(union(g.Approvers, g.EscalateTo)); !g.Anybody && n < r.Need {
		f.fail(spec.at(), "route %s needs %d people and names %d who may answer", s.Name.Value, r.Need, n)
	}
	r.Panels = []Panel{g}
	return r
}

func (f *findings) escalation(spec Located[routeSpec], r Route, g Panel) {
	name := spec.Value.Name.Value
	switch {
	case len(g.EscalateTo) == 0:
		f.fail(spec.at(), "route %s escalates to nobody: give escalate_to", name)
	case g.EscalateAfter == 0:
		f.fail(spec.at(), "route %s never escalates: give escalate_after", name)
	case g.EscalateAfter >= r.Deadline:
		f.fail(spec.at(), "route %s escalates after %s, when its deadline of %s has passed", name, g.EscalateAfter, r.Deadline)
	}
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func (f *findings) number(given Located[string], into *int, what string, most int) {
	if !given.Set() {
		return
	}
	n, err := strconv.Atoi(given.Value) // as text: the decoder would take 1.5 for 1
	if err != nil || n < 1 || n > most {
		f.fail(given.at(), "%s is %q: want 1 to %d", what, given.Value, most)
	}
	*into = n
}

func (f *findings) duration(given Located[string], into *time.Duration, what string, least, most time.Duration) {
	if !given.Set() {
		return
	}
	d, err := time.ParseDuration(given.Value)
	if err != nil || d < least || d > most {
		f.fail(given.at(), "%s is %q: want a duration from %s to %s", what, given.Value, least, most)
	}
	*into = d
}

// choice reads one of two words, the strict one first.
func (f *findings) choice(given Located[string], strict *bool, what, yes, no string) {
	if !given.Set() {
		return
	}
	if given.Value != yes && given.Value != no {
		f.fail(given.at(), "%s is %q: want %s or %s", what, given.Value, yes, no)
	}
	*strict = given.Value == yes
}

func (f *findings) people(given []Located[string], what string) []string {
	people := make([]string, 0, len(given))
	for _, p := range given {
		switch {
		case !overrideName.MatchString(p.Value):
			f.fail(p.at(), "%q is not the id of a person: want lower-case letters, digits and hyphens", p.Value)
		case slices.Contains(people, p.Value):
			f.fail(p.at(), "%q stands twice in %s", p.Value, what)
		}
		people = append(people, p.Value)
	}
	return people
}

func (f *findings) emergency(spec emergencySpec) Emergency {
	e := Emergency{Minutes: maxEmergency, People: f.people(spec.People, "people")}
	f.number(spec.Minutes, &e.Minutes, "minutes", maxEmergency)
	for _, t := range spec.Targets {
		switch {
		case t.Value == "*" && len(spec.Targets) > 1:
			f.fail(t.at(), "* is every target: leave it alone in the list")
		case t.Value != "*" && !overrideName.MatchString(t.Value):
			f.fail(t.at(), "%q is not the name of a target: want lower-case letters, digits and hyphens, or * for all", t.Value)
		case slices.Contains(e.Targets, t.Value):
			f.fail(t.at(), "%q stands twice in targets", t.Value)
		}
		e.Targets = append(e.Targets, t.Value)
	}
	return e
}
