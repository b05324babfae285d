package policy

import (
	"cmp"
	"encoding/binary"
	"path"
	"slices"
	"strings"
	"time"
)

// Group is a number of changed decisions that are alike. Of a field that would say many things it says none.
type Group struct {
	From   Effect `json:"from"` // under the base
	To     Effect `json:"to"`   // under the candidate
	Count  int64  `json:"count"`
	Vendor string `json:"vendor,omitempty"` // "" when of several vendors of one type
	Type   string `json:"type,omitempty"`   // of the vendor
	// People are some of the persons, PeopleN says how many there are (counted up to 65,536).
	People  []string `json:"people"`
	PeopleN int64    `json:"people_count"`
	Target  string   `json:"target,omitempty"`
	// Operation, Right and What are what was to be done: a program (pg_dump), a folder (/srv/app), a method and its first
	// folder (GET /orders).
	Operation string   `json:"operation"`
	Right     Right    `json:"right,omitempty"`
	What      string   `json:"what,omitempty"`
	Reasons   []Reason `json:"reasons,omitempty"` // why it is refused or asked now, or was until now
	// Sessions are the first ones, SessionsN says how many there are (counted up to 65,536).
	Sessions  []string  `json:"sessions"`
	SessionsN int64     `json:"session_count"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Example   string    `json:"example"`           // the first decision's id
	Command   string    `json:"command,omitempty"` // and what was typed there, masked
}

// Limits of what a simulation remembers and reports.
const (
	defaultGroups  = 40
	maxGroups      = 20_000  // before they are made readable; further ones are put together
	maxCounted     = 1 << 16 // people and sessions of a group
	namedSessions  = 10
	namedPeople    = 5
	manyAlike      = 8 // groups that differ in one thing only, above which they become one even where there are few
	maxGroupText   = 64
	maxCommandText = 200
)

// groupKey is what the decisions of a group have in common.
type groupKey struct {
	from, to               Effect
	vendor, kind, target   string
	operation, right, what string
	reasons                string
}

// group is a Group while it grows.
type group struct {
	key      groupKey
	count    int64
	reasons  []Reason
	people   map[string]bool
	sessions sessionSet
	named    []seen // the first sessions
	first    seen   // the first decision
	last     time.Time
	command  string
}

// seen is something with the moment it was first there.
type seen struct {
	id string
	at time.Time
}

func (s seen) compare(other seen) int {
	return cmp.Or(s.at.Compare(other.at), strings.Compare(s.id, other.id))
}

// sessionSet is the ids of some sessions.
type sessionSet map[string]bool

func (s sessionSet) add(id string) {
	if id != "" && len(s) < maxCounted {
		s[id] = true
	}
}

func (s sessionSet) merge(other sessionSet) {
	for id := range other {
		s.add(id)
	}
}

type groups map[groupKey]*group

// add takes a changed decision in; need is the one that decides, below 0 when none does.
func (gs groups) add(k *Kept, in *Input, need int, from, to Effect, reasons []Reason) {
	key := groupKey{from: from, to: to, vendor: in.Vendor.ID, kind: in.Vendor.Type, target: in.Target.Name,
		operation: in.Action.Operation, reasons: reasonKey(reasons)}
	if need >= 0 && need < len(in.Action.Needs) {
		n := in.Action.Needs[need]
		key.right, key.what = string(n.Right), what(in.Action.Protocol, n)
	}
	g := gs.of(key, reasons)
	g.count++
	if len(g.people) < maxCounted {
		g.people[in.Person.ID] = true
	}
	at := seen{k.ID, k.At}
	if g.count == 1 || at.compare(g.first) < 0 {
		g.first, g.command = at, clip(in.Action.Command, maxCommandText)
	}
	if k.At.After(g.last) {
		g.last = k.At
	}
	g.session(seen{k.Session, k.At})
}

// of finds a group or begins it; when there are too many, it is a wider one.
func (gs groups) of(key groupKey, reasons []Reason) *group {
	if g := gs[key]; g != nil {
		return g
	}
	if len(gs) >= maxGroups {
		key = groupKey{from: key.from, to: key.to, kind: key.kind}
		reasons = nil
		if g := gs[key]; g != nil {
			return g
		}
	}
	g := &group{key: key, reasons: reasons, people: map[string]bool{}, sessions: sessionSet{}}
	gs[key] = g
	return g
}

// session notes a session; the first ones are kept by name.
func (g *group) session(s seen) {
	if s.id == "" {
		return
	}
	g.sessions.add(s.id)
	i := slices.IndexFunc(g.named, func(n seen) bool { return n.id == s.id })
	switch {
	case i >= 0 && s.at.Before(g.named[i].at):
		g.named[i].at = s.at
	case i >= 0 || len(g.named) == namedSessions && s.compare(g.named[namedSessions-1]) > 0:
		return
	default:
		g.named = append(g.named, s)
	}
	slices.SortFunc(g.named, seen.compare)
	g.named = g.named[:min(len(g.named), namedSessions)]
}

// merge puts a group with another one, under the given key.
func (gs groups) merge(key groupKey, other *group) {
	g := gs.of(key, other.reasons)
	if g.count == 0 || other.first.compare(g.first) < 0 {
		g.first, g.command = other.first, other.command
	}
	g.count += other.count
	for id := range other.people {
		if len(g.people) < maxCounted {
			g.people[id] = true
		}
	}
	if other.last.After(g.last) {
		g.last = other.last
	}
	g.sessions.merge(other.sessions)
	for _, s := range other.named {
		g.session(s)
	}
}

// readable puts groups that differ in one thing only together where there are many, the more eagerly the further they are above
// the limit, and sorts them.
func (gs groups) readable(limit int) []Group {
	for alike := manyAlike; ; alike = max(alike/2, 1) {
		before := len(gs)
		for _, leave := range []func(key *groupKey){
			func(key *groupKey) { key.what = "" },
			func(key *groupKey) { key.vendor = "" },
			func(key *groupKey) { key.target = "" },
		} {
			gs = gs.fold(leave, alike)
		}
		if len(gs) <= limit || alike == 1 && len(gs) == before {
			break
		}
	}
	list := make([]Group, 0, len(gs))
	for _, g := range gs {
		list = append(list, g.report())
	}
	slices.SortFunc(list, compareGroups)
	return list
}

// fold leaves one thing out of the keys of those groups of which more than so many have all else in common.
func (gs groups) fold(leave func(key *groupKey), many int) groups {
	alike := map[groupKey]int{}
	for key := range gs {
		leave(&key)
		alike[key]++
	}
	folded := groups{}
	for key, g := range gs {
		wide := key
		leave(&wide)
		if alike[wide] > many {
			key = wide
		}
		folded.merge(key, g)
	}
	return folded
}

// shortlist takes so many groups that each kind of change is among them, and reports how many decisions it leaves out.
func shortlist(list []Group, limit int) (short []Group, left int64) {
	type kind struct{ from, to Effect }
	kinds := map[kind]int{}
	for i := range list {
		kinds[kind{list[i].From, list[i].To}] = 0
	}
	share := limit / max(len(kinds), 1)
	short = []Group{}
	spare := max(len(list)-limit, 0) // how many may still be left out
	for i := range list {
		k := kind{list[i].From, list[i].To}
		if kinds[k]++; kinds[k] > share && spare > 0 {
			spare, left = spare-1, left+list[i].Count
			continue
		}
		short = append(short, list[i])
	}
	return short, left
}

// compareGroups puts what is newly refused before what is newly asked for and newly allowed, and many before few.
func compareGroups(a, b Group) int {
	return cmp.Or(cmp.Compare(a.To, b.To), cmp.Compare(b.From, a.From), cmp.Compare(b.Count, a.Count),
		strings.Compare(a.Vendor, b.Vendor), strings.Compare(a.Target, b.Target), strings.Compare(a.Example, b.Example))
}

func (g *group) report() Group {
	out := Group{From: g.key.from, To: g.key.to, Count: g.count, Vendor: g.key.vendor, Type: g.key.kind, Target: g.key.target,
		Operation: g.key.operation, Right: Right(g.key.right), What: g.key.what, Reasons: g.reasons, PeopleN: int64(len(g.people)),
		People: []string{}, Sessions: []string{}, SessionsN: int64(len(g.sessions)), First: g.first.at, Last: g.last,
		Example: g.first.id, Command: g.command}
	for id := range g.people {
		out.People = append(out.People, id)
	}
	slices.Sort(out.People)
	out.People = out.People[:min(len(out.People), namedPeople)]
	for _, s := range g.named {
		out.Sessions = append(out.Sessions, s.id)
	}
	return out
}

// reasonKey tells lists of reasons apart.
func reasonKey(reasons []Reason) string {
	var key []byte
	for _, r := range reasons {
		key = binary.AppendUvarint(key, uint64(len(r.ID)))
		key = append(key, r.ID...)
		key = append(key, r.EN...)
		key = append(key, 0)
	}
	return string(key)
}

// what is a need in a word or two: the program without its folder, the first folders of a path.
func what(protocol string, n Need) string {
	switch {
	case strings.HasPrefix(n.Resource, opaquePrefix):
		return "an opaque line"
	case protocol == "https":
		method, p, _ := strings.Cut(n.Resource, " ")
		return clip(method+" "+folderOf(cleanURLPath(p), 1), maxGroupText)
	case n.Right == Execute || n.Right == Admin:
		program, _, _ := strings.Cut(n.Resource, " ")
		return clip(path.Base(program), maxGroupText)
	}
	p := pathOf(protocol, n)
	if p.unknown {
		return "?"
	}
	return clip(folderOf(p.clean, 2), maxGroupText)
}

// folderOf is the first parts of a path, as /srv/app of /srv/app/etc/file.
func folderOf(p string, depth int) string {
	rooted := strings.HasPrefix(p, "/")
	parts := strings.Split(strings.TrimPrefix(p, "/"), "/")
	p = strings.Join(parts[:min(len(parts), depth)], "/")
	if rooted {
		p = "/" + p
	}
	return p
}

// clip shortens a text to n bytes at a rune's border.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
