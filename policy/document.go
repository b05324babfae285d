package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// shape is the keys of an object that is built again and again.
type shape []*ast.Term

func newShape(keys ...string) shape { return terms(keys) }

// of builds the object from one value for each key.
func (s shape) of(values ...*ast.Term) *ast.Term {
	items := make([][2]*ast.Term, len(s))
	for i, key := range s {
		items[i] = [2]*ast.Term{key, values[i]}
	}
	return ast.ObjectTerm(items...)
}

var (
	personShape = newShape("id", "vendor", "roles", "staff")
	authShape   = newShape("kind", "mfa")
	mfaShape    = newShape("method", "uv")
	sourceShape = newShape("ip")
	targetShape = newShape("name", "kind", "login", "labels", "sensitivity", "enforcement")
	actionShape = newShape("protocol", "operation", "command", "opaque")
	vendorShape = newShape("id", "type", "own", "risk")
	factsShape  = newShape("certificate", "mfa", "contract", "window", "network", "target", "break_glass", "cut_off")
	inputShape  = newShape("person", "chain", "auth", "source", "target", "action", "windows", "vendor", "facts",
		"right", "resource", "path", "cell", "override")
)

// The words that most documents hold are shared instead of being made each time.
func init() {
	ast.InternStringTerm(VendorTypes...)
	ast.InternStringTerm(cellNames[:]...)
	ast.InternStringTerm("read", "write", "execute", "delete", "admin", "human", "webauthn", "ssh", "https", "gateway",
		"ssh.connect", "ssh.exec", "ssh.shell", "http.connect", "http.request", "kernel", "wire", "parsed", "recorded",
		"valid", "missing", "expired", "fresh", "unverified", "running", "future", "ended", "open", "closed", "inside",
		"outside", "listed", "unlisted", "none", "declared", exempt, StaffVendor, GatewayTarget, staffType)
}

// document builds the input that Rego reads (lib.rego) for one decision. What all its questions share is built once.
type document struct {
	person, chain, auth, source, target, action, windows *ast.Term
}

func newDocument(in *Input, c *clock) *document {
	chain := []*ast.Term{str(in.Vendor.ID)}
	for i := range in.Parents {
		chain = append(chain, str(in.Parents[i].ID))
	}
	ip := ""
	if in.Source.IP.IsValid() {
		ip = in.Source.IP.String()
	}
	p, t, a := &in.Person, &in.Target, &in.Action
	return &document{
		person:  personShape.of(str(p.ID), str(p.Vendor), strs(p.Roles), boolean(in.staff())),
		chain:   ast.ArrayTerm(chain...),
		auth:    authShape.of(str(in.Auth.Kind), mfaShape.of(str(in.Auth.MFA.Method), boolean(in.Auth.MFA.UV))),
		source:  sourceShape.of(str(ip)),
		target:  targetShape.of(str(t.Name), str(t.Kind), str(t.Login), labels(t.Labels), str(t.Sensitivity), str(t.Enforcement)),
		action:  actionShape.of(str(a.Protocol), str(a.Operation), str(a.Command), boolean(a.Opaque)),
		windows: strs(c.open),
	}
}

// question is one need of one vendor of the chain; a zero Need asks about connecting.
type question struct {
	vendor   *Vendor
	own      bool
	facts    *facts
	need     Need
	path     string
	cell     string
	override string
}

func (d *document) input(q question) *ast.Term {
	return inputShape.of(d.person, d.chain, d.auth, d.source, d.target, d.action, d.windows,
		vendorShape.of(str(q.vendor.ID), str(q.vendor.Type), boolean(q.own), risk(q.vendor.Risk)), q.facts.term(),
		str(string(q.need.Right)), str(q.need.Resource), str(q.path), str(q.cell), str(q.override))
}

func (f *facts) term() *ast.Term {
	return factsShape.of(str(f.certificate), str(f.mfa), str(f.contract), str(f.window), str(f.network), str(f.target),
		str(f.breakGlass), boolean(f.cutOff))
}

func str(s string) *ast.Term       { return ast.InternedTerm(s) }
func boolean(yes bool) *ast.Term   { return ast.InternedTerm(yes) }
func strs(list []string) *ast.Term { return ast.ArrayTerm(terms(list)...) }

func terms(list []string) []*ast.Term {
	out := make([]*ast.Term, len(list))
	for i, s := range list {
		out[i] = str(s)
	}
	return out
}

func labels(m map[string]string) *ast.Term {
	o := ast.NewObjectWithCapacity(len(m))
	for k, v := range m {
		o.Insert(str(k), str(v))
	}
	return ast.NewTerm(o)
}

func risk(level *int) *ast.Term {
	if level == nil {
		return ast.NullTerm()
	}
	return ast.IntNumberTerm(*level)
}
