package directory

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// Vendor is one contractor company (委託先), or one link of a chain of them (再委託先).
type Vendor struct {
	ID        string
	Name      Name
	Type      string          // development | maintenance | operations | consulting | temporary
	Parent    string          // the vendor it works for; "" for a head of a chain
	Contract  policy.Contract // half-open instants; zero when none is given, which never matches
	Networks  []netip.Prefix  // C-3
	Windows   []string        // C-2; none: never gets in
	Targets   []string        // C-5
	Approvers []string        // people of @staff with the role approver
	Risk      *Risk           // nil when never assessed
}

// Risk is the outcome of the last assessment.
type Risk struct {
	Level    int       // V-1, 0–4
	Score    *int      // V-3, 0–100; nil when not given
	Assessed time.Time // start of that day in the gateway's zone; zero when not given
}

func (v Vendor) policy(chain []string) policy.Vendor {
	p := policy.Vendor{
		ID:       v.ID,
		Type:     v.Type,
		Chain:    chain,
		Contract: v.Contract,
		Networks: v.Networks,
		Windows:  v.Windows,
		Targets:  v.Targets,
	}
	if v.Risk != nil {
		p.Risk = &v.Risk.Level
	}
	return p
}

// vendorTypes are the rows of the permission matrix (M-1…M-5).
var vendorTypes = []string{"development", "maintenance", "operations", "consulting", "temporary"}

// maxChain bounds a chain of vendors, and with it the work of one decision.
const maxChain = 8

func (d *decoder) vendor(id string, v value, dir *Directory) Vendor {
	vendor := Vendor{ID: id}
	d.fields(v, "a vendor", fields{
		"name":     func(v value) { vendor.Name = d.name(v) },
		"type":     func(v value) { vendor.Type = d.choice(v, vendorTypes...) },
		"parent":   func(v value) { vendor.Parent = d.parent(v, id, dir) },
		"contract": func(v value) { vendor.Contract = d.contract(v) },
		"networks": func(v value) { vendor.Networks = d.networks(v) },
		"windows":  func(v value) { vendor.Windows = d.windows(v) },
		"targets": func(v value) {
			vendor.Targets = d.references(v, "targets", func(v value, target string) { d.reach(v, target, &vendor, dir) })
		},
		"approvers": func(v value) {
			vendor.Approvers = d.references(v, "approvers", func(v value, person string) { d.approver(v, person, dir) })
		},
		"risk": func(v value) { vendor.Risk = d.risk(v) },
	}, "type")
	return vendor
}

// parent reads the vendor above and has the chain upwards checked (V-6).
func (d *decoder) parent(v value, id string, dir *Directory) string {
	parent, ok := d.id(v)
	if !ok {
		return ""
	}
	d.later = append(d.later, func() {
		if _, ok := dir.vendors[parent]; !ok {
			d.errorf(v, "there is no vendor %q in this document", parent)
			return
		}
		d.chain(v, id, dir)
	})
	return parent
}

// chain checks that the vendors above id come to an end, soon enough. A circle is reported once, at its first vendor.
func (d *decoder) chain(v value, id string, dir *Directory) {
	links := []string{id}
	for above := dir.vendors[id].Parent; above != ""; above = dir.vendors[above].Parent {
		if above == id {
			if slices.Min(links) == id {
				d.errorf(v, "the parents go in a circle: %s", strings.Join(append(links, id), " → "))
			}
			return
		}
		if slices.Contains(links, above) {
			return
		}
		links = append(links, above)
	}
	if len(links) > maxChain {
		d.errorf(v, "the chain above %q has %d vendors: want at most %d", id, len(links), maxChain)
	}
}

// reach checks that a target exists and that the parent, if there is one, reaches it too (V-6).
func (d *decoder) reach(v value, target string, vendor *Vendor, dir *Directory) {
	if _, ok := dir.targets[target]; !ok {
		d.errorf(v, "there is no target %q in this document", target)
		return
	}
	if parent, ok := dir.vendors[vendor.Parent]; ok && !slices.Contains(parent.Targets, target) {
		d.errorf(v, "%q cannot have the target %q: its parent %q does not have it (V-6)", vendor.ID, target, parent.ID)
	}
}

func (d *decoder) approver(v value, id string, dir *Directory) {
	switch p, ok := dir.people[id]; {
	case !ok:
		d.errorf(v, "there is no person %q in this document", id)
	case !slices.Contains(p.Roles, RoleApprover):
		d.errorf(v, "%q cannot approve: want a person of @staff with the role %s", id, RoleApprover)
	}
}

// contract reads days that both belong to the contract and returns the instants that bound it.
func (d *decoder) contract(v value) policy.Contract {
	var from, until time.Time
	var began, ended bool
	d.fields(v, "a contract", fields{
		"from":  func(v value) { from, began = d.date(v) },
		"until": func(v value) { until, ended = d.date(v) },
	}, "from", "until")
	if !began || !ended {
		return policy.Contract{}
	}
	if until.Before(from) {
		d.errorf(v, "the contract ended on %s, before it began on %s", until.Format(time.DateOnly), from.Format(time.DateOnly))
		return policy.Contract{}
	}
	return policy.Contract{From: from, Until: startOfDay(until.Year(), until.Month(), until.Day()+1, d.opts.Zone)}
}

func (d *decoder) networks(v value) []netip.Prefix {
	var networks []netip.Prefix
	d.list(v, "networks", func(v value) {
		n, ok := d.network(v)
		if ok && slices.Contains(networks, n) {
			d.errorf(v, "%q stands twice in networks", n)
		} else if ok {
			networks = append(networks, n)
		}
	})
	return networks
}

func (d *decoder) network(v value) (netip.Prefix, bool) {
	s, ok := d.scalar(v)
	if !ok {
		return netip.Prefix{}, false
	}
	n, err := netip.ParsePrefix(s)
	switch addr, single := netip.ParseAddr(s); {
	case single == nil && addr.Zone() == "":
		d.errorf(v, "%q is a single address: want a network, %q for just this one", s, netip.PrefixFrom(addr, addr.BitLen()))
	case err != nil:
		d.errorf(v, "%q is not a network: want a CIDR such as 203.0.113.0/24 or 2001:db8::/32", s)
	case n.Addr().Is4In6():
		d.errorf(v, "%q is an IPv4 network written as IPv6: want a CIDR such as 203.0.113.0/24", s)
	case n != n.Masked():
		d.errorf(v, "%q has bits set beyond its length: want %q", s, n.Masked())
	default:
		return n, true
	}
	return netip.Prefix{}, false
}

func (d *decoder) windows(v value) []string {
	return d.strings(v, "windows", func(v value) (string, bool) {
		name, ok := d.scalar(v)
		if ok && (d.opts.HasWindow == nil || !d.opts.HasWindow(name)) {
			d.errorf(v, "there is no window %q in the policy's windows.yaml", name)
			return "", false
		}
		return name, ok
	})
}

func (d *decoder) risk(v value) *Risk {
	var r Risk
	d.fields(v, "a risk", fields{
		"level": func(v value) { r.Level, _ = d.number(v, 0, 4) },
		"score": func(v value) {
			if score, ok := d.number(v, 0, 100); ok {
				r.Score = &score
			}
		},
		"assessed": func(v value) { r.Assessed, _ = d.date(v) },
	}, "level")
	return &r
}
