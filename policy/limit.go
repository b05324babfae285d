package policy

import (
	"slices"
	"strings"
)

// Limits on what one Input may hold. A gateway's own requests stay far below.
const (
	maxNeeds   = 512
	maxParents = 8
	maxLeases  = 4096
	maxEntries = 256       // roles, labels, windows, networks and targets, each
	maxText    = 64 << 10  // bytes of one command or resource
	maxTotal   = 512 << 10 // bytes of all text together
	maxName    = 4096      // bytes of any other text
)

// staff says whether the person belongs to the company itself.
func (in *Input) staff() bool { return in.Vendor.ID == StaffVendor }

// refusal says why an Input is not even put to the rules, or nil.
func (in *Input) refusal() *Reason {
	if in.tooLarge() {
		return &reasonTooLarge
	}
	if !in.consistent() {
		return &reasonMalformed
	}
	if !in.staff() {
		if r := in.refuseTypes(); r != nil {
			return r
		}
	}
	return in.refuseNeeds()
}

// refuseTypes refuses a vendor of the chain whose type has no rules.
func (in *Input) refuseTypes() *Reason {
	if r := in.Vendor.refuseType(); r != nil {
		return r
	}
	for i := range in.Parents {
		if r := in.Parents[i].refuseType(); r != nil {
			return r
		}
	}
	return nil
}

func (v *Vendor) refuseType() *Reason {
	if slices.Contains(VendorTypes, v.Type) {
		return nil
	}
	r := reasonUnknownType(v)
	return &r
}

func (in *Input) refuseNeeds() *Reason {
	if len(in.Action.Needs) == 0 && !connects(in.Action.Operation) {
		return &reasonNoNeeds
	}
	for _, n := range in.Action.Needs {
		if !slices.Contains(Rights, n.Right) {
			r := reasonUnknownRight(n.Right)
			return &r
		}
		if n.Right == Admin && !in.staff() {
			r := reasonAdmin(in.Vendor.Type)
			return &r
		}
	}
	return nil
}

// connects says whether an operation only opens the way and needs no right by itself.
func connects(operation string) bool {
	return operation == "ssh.connect" || operation == "http.connect" || operation == "tcp.connect"
}

// selfService says whether an operation is on the person's own pages and keys.
func selfService(operation string) bool { return strings.HasPrefix(operation, "gateway.self.") }

// consistent says whether person, vendors and target fit together. Staff are of the reserved vendor and its type, alone.
func (in *Input) consistent() bool {
	if in.Person.ID == "" || in.Target.Name == "" || in.Action.Operation == "" || in.Person.Vendor != in.Vendor.ID {
		return false
	}
	if in.staff() {
		return in.Vendor.Type == staffType && len(in.Parents) == 0
	}
	if in.Vendor.Type == staffType || in.Vendor.ID == "" || len(in.Person.Roles) > 0 {
		return false
	}
	for i := range in.Parents {
		if p := &in.Parents[i]; p.ID == "" || p.ID == StaffVendor || p.Type == staffType {
			return false
		}
	}
	return true
}

func (in *Input) tooLarge() bool {
	if len(in.Action.Needs) > maxNeeds || len(in.Parents) > maxParents || len(in.Leases) > maxLeases ||
		len(in.Person.Roles) > maxEntries || len(in.Target.Labels) > maxEntries {
		return true
	}
	text := textSize{total: len(in.Action.Command), over: len(in.Action.Command) > maxText}
	for i := range in.Action.Needs {
		n := &in.Action.Needs[i]
		text.total += len(n.Resource)
		text.over = text.over || len(n.Resource) > maxText
		text.add(string(n.Right))
	}
	text.add(in.Person.ID)
	text.add(in.Person.Vendor)
	text.add(in.Auth.Kind)
	text.add(in.Auth.Cert.Serial)
	text.add(in.Auth.MFA.Method)
	in.Target.size(&text)
	text.add(in.Action.Protocol)
	text.add(in.Action.Operation)
	for _, role := range in.Person.Roles {
		text.add(role)
	}
	in.Vendor.size(&text)
	for i := range in.Parents {
		in.Parents[i].size(&text)
	}
	return text.over || text.total > maxTotal
}

// tooLargeLabels tells whether a label is. It is asked where rules read labels, which are the directory's and not a peer's.
func tooLargeLabels(labels map[string]string) bool {
	var text textSize
	for k, v := range labels {
		text.add(k)
		text.add(v)
	}
	return text.over || text.total > maxTotal
}

// textSize adds up the sizes of texts.
type textSize struct {
	total int
	over  bool // one of them is too large
}

// add counts a name.
func (t *textSize) add(name string) {
	t.total += len(name)
	if len(name) > maxName {
		t.over = true
	}
}

func (g *Target) size(t *textSize) {
	t.add(g.Name)
	t.add(g.Kind)
	t.add(g.Login)
	t.add(g.Sensitivity)
	t.add(g.Enforcement)
}

func (v *Vendor) size(t *textSize) {
	t.add(v.ID)
	t.add(v.Type)
	t.over = t.over || len(v.Windows) > maxEntries
}
