package directory

import (
	"net/mail"

	"github.com/sekisho/sekisho/policy"
)

// Roles that a person of @staff may hold.
const (
	RoleAdmin        = "admin"
	RoleApprover     = "approver"
	RoleInvestigator = "investigator"
	RoleAuditor      = "auditor"
)

// Person is a contractor or a member of @staff.
type Person struct {
	ID     string
	Vendor string // "@staff" for the company's own people
	Name   Name
	Email  string   // "" when not given
	Roles  []string // staff only
}

// Staff reports whether the person belongs to @staff.
func (p Person) Staff() bool { return p.Vendor == policy.StaffVendor }

func (d *decoder) person(id string, v value, dir *Directory) Person {
	p := Person{ID: id}
	d.fields(v, "a person", fields{
		"vendor": func(v value) { p.Vendor = d.employer(v, dir) },
		"name":   func(v value) { p.Name = d.name(v) },
		"email":  func(v value) { p.Email = d.email(v) },
		"roles":  func(v value) { p.Roles = d.roles(v, &p) },
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
		role := d.choice(v, RoleAdmin, RoleApprover, RoleInvestigator, RoleAuditor)
		return role, role != ""
	})
}
