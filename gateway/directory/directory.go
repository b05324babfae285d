// Package directory knows who may come, from where, until when and to what: vendors with their contracts, people and
// targets, as one directory.yaml says. Parse reads such a document strictly; Live holds the applied one and replaces it
// whole or not at all.
package directory

import (
	"slices"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// staffType is the vendor type of @staff; no vendor in a document can have it.
const staffType = "staff"

// Directory is one parsed document. It never changes after Parse; callers must not write to the slices, maps and
// pointers of what it returns.
type Directory struct {
	number  int
	zone    *time.Location
	people  map[string]Person
	vendors map[string]Vendor
	targets map[string]Target
	hosts   map[string]string   // host name of an HTTPS app → target
	same    map[string][]string // person → every id of the same human being, where there are several
}

// Number is the version this directory was applied as: 0 for one that was only parsed or the empty one, and for the
// result of Live.Plan the version it would become.
func (d *Directory) Number() int { return d.number }

// Person finds a person by id.
func (d *Directory) Person(id string) (Person, bool) {
	p, ok := d.people[id]
	return p, ok
}

// Vendor finds a vendor by id. The reserved "@staff" is always there, with type staff, though Vendors does not list it.
func (d *Directory) Vendor(id string) (Vendor, bool) {
	if id == policy.StaffVendor {
		return Vendor{ID: policy.StaffVendor, Type: staffType, Name: Name{EN: "Staff", JA: "社員"}}, true
	}
	v, ok := d.vendors[id]
	return v, ok
}

// Target finds a target by name.
func (d *Directory) Target(name string) (Target, bool) {
	t, ok := d.targets[name]
	return t, ok
}

// TargetByHost finds the HTTPS app that answers to a host name (lower case, without port).
func (d *Directory) TargetByHost(host string) (Target, bool) {
	return d.Target(d.hosts[host])
}

// People lists everybody, sorted by id.
func (d *Directory) People() []Person { return sorted(d.people) }

// Vendors lists the vendors, sorted by id.
func (d *Directory) Vendors() []Vendor { return sorted(d.vendors) }

// Targets lists the targets, sorted by name.
func (d *Directory) Targets() []Target { return sorted(d.targets) }

// Chain returns a vendor and its parents up to the head of the chain (V-6), or nil for an unknown vendor.
func (d *Directory) Chain(vendor string) []Vendor {
	var chain []Vendor
	for v, ok := d.Vendor(vendor); ok; v, ok = d.vendors[v.Parent] {
		chain = append(chain, v)
	}
	return chain
}

// Links is Chain as policy sees it: the vendor, then its parents; nil for an unknown vendor.
func (d *Directory) Links(vendor string) []policy.Vendor { return policyChain(d.Chain(vendor)) }

// Input fills what the directory knows of a decision: Person, Vendor, Parents and Target. It is false when the person or
// the target is unknown, or the target does not have that login. An SSH target wants one of its logins or admin logins;
// HTTPS and TCP targets and "@gateway" want "".
func (d *Directory) Input(person, target, login string) (policy.Input, bool) {
	p, ok := d.people[person]
	if !ok {
		return policy.Input{}, false
	}
	t, ok := d.policyTarget(target, login)
	if !ok {
		return policy.Input{}, false
	}
	links := d.Links(p.Vendor)
	if len(links) == 0 {
		return policy.Input{}, false
	}
	return policy.Input{
		Person:  policy.Person{ID: p.ID, Vendor: p.Vendor, Roles: p.Roles},
		Vendor:  links[0],
		Parents: links[1:],
		Target:  t,
	}, true
}

func (d *Directory) policyTarget(name, login string) (policy.Target, bool) {
	if name == policy.GatewayTarget {
		return policy.Target{Name: name, Kind: "gateway"}, login == ""
	}
	t, ok := d.targets[name]
	if !ok || !t.HasLogin(login) {
		return policy.Target{}, false
	}
	return policy.Target{Name: t.Name, Kind: t.Kind(), Login: login, Labels: t.Labels}, true
}

// policyChain turns a chain into policy vendors, each knowing the part of the chain from itself upwards.
func policyChain(chain []Vendor) []policy.Vendor {
	ids := make([]string, len(chain))
	for i, v := range chain {
		ids[i] = v.ID
	}
	links := make([]policy.Vendor, len(chain))
	for i, v := range chain {
		links[i] = v.policy(ids[i:])
	}
	return links
}

// sorted returns the values of m in the order of their keys.
func sorted[V any](m map[string]V) []V {
	values := make([]V, 0, len(m))
	for _, key := range sortedKeys(m) {
		values = append(values, m[key])
	}
	return values
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
