package directory

import (
	"net/mail"
	"slices"

	"github.com/sekisho/sekisho/policy"
)

// Roles that a person of @staff may hold.
const (
	RoleAdmin        = "admin"
	RoleApprover     = "approver"
	RoleInvestigator = "investigator"
	RoleAuditor      = "auditor"
)

// Roles are all of them.
var Roles = []string{RoleAdmin, RoleApprover, RoleInvestigator, RoleAuditor}

// Person is a contractor or a member of @staff.
type Person struct {
	ID     string
	Vendor string // "@staff" for the company's own people
	Name   Name
	Email  string   // "" when not given
	Roles  []string // staff only
	SameAs string   // another id of the same human being; "" for none
}

// Staff reports whether the person belongs to @staff.
func (p Person) Staff() bool { return p.Vendor == policy.StaffVendor }

func (d *decoder) person(id string, v value, dir *Directory) Person {
	p := Person{ID: id}
	d.fields(v, "a person", fields{
		"vendor":  func(v value) { p.Vendor = d.employer(v, dir) },
		"name":    func(v value) { p.Name = d.name(v) },
		"email":   func(v value) { p.Email = d.email(v) },
		"roles":   func(v value) { p.Roles = d.roles(v, &p) },
		"same_as": func(v value) { p.SameAs = d.sameAs(v, id, dir) },
	}, "vendor")
	return p
}

// employer reads the vendor of a person: the reserved @staff or one of the document.
func (d *decoder) employer(v value, dir *Directory) string {
	if s, ok := v.text(); ok && s == policy.StaffVendor {
		return s
	}
	id, ok := d.id(v)
	if ok {
		d.later = append(d.later, func() {
			if _, ok := dir.vendors[id]; !ok {
				d.errorf(v, "there is no vendor %q in this document", id)
			}
		})
	}
	return id
}

// sameAs reads the other id of a person.
func (d *decoder) sameAs(v value, id string, dir *Directory) string {
	other, ok := d.id(v)
	switch {
	case !ok:
		return ""
	case other == id:
		d.errorf(v, "%q is the same as itself anyway: want another id of this person", id)
		return ""
	}
	d.later = append(d.later, func() {
		if _, ok := dir.people[other]; !ok {
			d.errorf(v, "there is no person %q in this document", other)
		}
	})
	return other
}

// maxIDs bounds how many ids one human being has.
const maxIDs = 16

// samePeople finds the ids of each human being who has several: same_as holds in both directions and onwards.
func (d *decoder) samePeople(dir *Directory) {
	for _, id := range sortedKeys(dir.people) {
		other := dir.people[id].SameAs
		if other == "" || slices.Contains(dir.Same(id), other) {
			continue
		}
		all := slices.Concat(dir.Same(id), dir.Same(other))
		if len(all) > maxIDs {
			d.errorAt(1, 1, "%q is one person with more than %d ids: same_as joins too many", id, maxIDs)
			return
		}
		slices.Sort(all)
		for _, one := range all {
			dir.same[one] = all
		}
	}
}

// Same lists every id of the human being who has this one, sorted; it is among them.
func (d *Directory) Same(id string) []string {
	if all, ok := d.same[id]; ok {
		return all
	}
	return []string{id}
}

func (d *decoder) email(v value) string {
	s := d.text(v, 254)
	if s == "" {
		return ""
	}
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
		d.errorf(v, "%q is not an e-mail address: want one such as hanako@acme.example", s)
		return ""
	}
	return s
}

// roles reads staff roles. Whose they are is known only when the whole person is read.
func (d *decoder) roles(v value, p *Person) []string {
	d.later = append(d.later, func() {
		if !p.Staff() {
			d.errorf(v, "%q cannot have roles: they are for people of %s", p.ID, policy.StaffVendor)
		}
	})
	return d.strings(v, "roles", func(v value) (string, bool) {
		role := d.choice(v, Roles...)
		return role, role != ""
	})
}
