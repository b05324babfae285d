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
	return operation == "ssh.connect" || operation == "http.connect"
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
		len(in.Person.Roles) > maxEntries || len(in.Target.Labels) > maxEntries || len(in.Action.Command) > maxText {
		return true
	}
	total := len(in.Action.Command)
	for _, n := range in.Action.Needs {
		if len(n.Resource) > maxText || len(n.Right) > maxName {
			return true
		}
		total += len(n.Resource)
	}
	names := []string{
		in.Person.ID, in.Person.Vendor, in.Auth.Kind, in.Auth.Cert.Serial, in.Auth.MFA.Method, in.Target.Name, in.Target.Kind,
		in.Target.Login, in.Target.Sensitivity, in.Target.Enforcement, in.Action.Protocol, in.Action.Operation,
	}
	names = append(names, in.Person.Roles...)
	for k, v := range in.Target.Labels {
		names = append(names, k, v)
	}
	for _, name := range names {
		if len(name) > maxName {
			return true
		}
		total += len(name)
	}
	return total > maxTotal || in.Vendor.tooLarge() || slices.ContainsFunc(in.Parents, Vendor.tooLarge)
}

func (v Vendor) tooLarge() bool {
	return len(v.ID) > maxName || len(v.Type) > maxName || len(v.Windows) > maxEntries
}
