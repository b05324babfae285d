package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// The words that most documents hold are shared instead of being made each time.
func init() {
	ast.InternStringTerm(VendorTypes...)
	ast.InternStringTerm(cellNames[:]...)
	ast.InternStringTerm("read", "write", "execute", "delete", "admin", "human", "webauthn", "ssh", "https", "gateway",
		"ssh.connect", "ssh.exec", "ssh.shell", "http.connect", "http.request", "kernel", "wire", "parsed", "recorded",
		"valid", "missing", "expired", "fresh", "unverified", "running", "future", "ended", "open", "closed", "inside",
		"outside", "listed", "unlisted", "none", "declared", exempt, StaffVendor, GatewayTarget, staffType)
	for _, name := range []string{"person", "id", "vendor", "roles", "staff", "auth", "kind", "mfa", "method", "uv", "source",
		"ip", "target", "name", "login", "labels", "sensitivity", "enforcement", "action", "protocol", "operation", "command",
		"opaque", "type", "own", "risk", "facts", "certificate", "contract", "window", "network", "break_glass", "cut_off",
		"chain", "windows", "right", "resource", "path", "cell", "override"} {
		ast.InternStringTerm(name)
	}
}

// pairs collects the keys and values of an object.
type pairs [][2]*ast.Term

// text adds a text if it is read.
func (p *pairs) text(read bool, key, value string) {
	if read {
		p.term(key, str(value))
	}
}

func (p *pairs) flag(read bool, key string, value bool) {
	if read {
		p.term(key, boolean(value))
	}
}

func (p *pairs) term(key string, value *ast.Term) { *p = append(*p, [2]*ast.Term{str(key), value}) }

// nested adds an object unless nothing in it is read.
func (p *pairs) nested(key string, inner pairs) {
	if len(inner) > 0 {
		p.term(key, ast.ObjectTerm(inner...))
	}
}

// document builds the input that Rego reads (lib.rego) for one decision, as far as it is read. What all its questions share
// is built once.
type document struct {
	reads  fields
	shared pairs
}

// newDocument shows rules everything.
func newDocument(in *Input, c *clock) *document { return documentOf(in, c, allFields) }

// documentOf shows rules the fields that they read.
func documentOf(in *Input, c *clock, reads fields) *document {
	d := &document{reads: reads, shared: make(pairs, 0, 16)}
	d.shared.nested("person", personPairs(in, reads))
	d.shared.nested("auth", authPairs(&in.Auth, reads))
	d.shared.nested("target", targetPairs(&in.Target, reads))
	d.shared.nested("action", actionPairs(&in.Action, reads))
	if reads.has(fieldChain) {
		chain := []*ast.Term{str(in.Vendor.ID)}
		for i := range in.Parents {
			chain = append(chain, str(in.Parents[i].ID))
		}
		d.shared.term("chain", ast.ArrayTerm(chain...))
	}
	if reads.has(fieldIP) {
		ip := ""
		if in.Source.IP.IsValid() {
			ip = in.Source.IP.String()
		}
		d.shared.nested("source", pairs{{str("ip"), str(ip)}})
	}
	if reads.has(fieldWindows) {
		d.shared.term("windows", strs(c.open))
	}
	return d
}

func personPairs(in *Input, reads fields) pairs {
	p := make(pairs, 0, 4)
	p.text(reads.has(fieldPersonID), "id", in.Person.ID)
	p.text(reads.has(fieldPersonVendor), "vendor", in.Person.Vendor)
	if reads.has(fieldRoles) {
		p.term("roles", strs(in.Person.Roles))
	}
	p.flag(reads.has(fieldStaff), "staff", in.staff())
	return p
}

func authPairs(a *Auth, reads fields) pairs {
	p, mfa := make(pairs, 0, 2), make(pairs, 0, 2)
	p.text(reads.has(fieldAuthKind), "kind", a.Kind)
	mfa.text(reads.has(fieldMethod), "method", a.MFA.Method)
	mfa.flag(reads.has(fieldUV), "uv", a.MFA.UV)
	p.nested("mfa", mfa)
	return p
}

func targetPairs(t *Target, reads fields) pairs {
	p := make(pairs, 0, 6)
	p.text(reads.has(fieldTargetName), "name", t.Name)
	p.text(reads.has(fieldTargetKind), "kind", t.Kind)
	p.text(reads.has(fieldLogin), "login", t.Login)
	if reads.has(fieldLabels) {
		p.term("labels", labels(t.Labels))
	}
	p.text(reads.has(fieldSensitivity), "sensitivity", t.Sensitivity)
	p.text(reads.has(fieldEnforcement), "enforcement", t.Enforcement)
	return p
}

func actionPairs(a *Action, reads fields) pairs {
	p := make(pairs, 0, 4)
	p.text(reads.has(fieldProtocol), "protocol", a.Protocol)
	p.text(reads.has(fieldOperation), "operation", a.Operation)
	p.text(reads.has(fieldCommand), "command", a.Command)
	p.flag(reads.has(fieldOpaque), "opaque", a.Opaque)
	return p
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

// input is the document for one question.
func (d *document) input(q question) *ast.Term {
	p := append(make(pairs, 0, len(d.shared)+8), d.shared...)
	p.nested("vendor", vendorPairs(q.vendor, q.own, d.reads))
	p.nested("facts", q.facts.pairs(d.reads))
	p.text(d.reads.has(fieldRight), "right", string(q.need.Right))
	p.text(d.reads.has(fieldResource), "resource", q.need.Resource)
	p.text(d.reads.has(fieldPath), "path", q.path)
	p.text(d.reads.has(fieldCell), "cell", q.cell)
	p.text(d.reads.has(fieldOverride), "override", q.override)
	return ast.ObjectTerm(p...)
}

func vendorPairs(v *Vendor, own bool, reads fields) pairs {
	p := make(pairs, 0, 4)
	p.text(reads.has(fieldVendorID), "id", v.ID)
	p.text(reads.has(fieldVendorType), "type", v.Type)
	p.flag(reads.has(fieldOwn), "own", own)
	if reads.has(fieldRisk) {
		p.term("risk", risk(v.Risk))
	}
	return p
}

func (f *facts) pairs(reads fields) pairs {
	p := make(pairs, 0, 8)
	p.text(reads.has(fieldCertificate), "certificate", f.certificate)
	p.text(reads.has(fieldMFA), "mfa", f.mfa)
	p.text(reads.has(fieldContract), "contract", f.contract)
	p.text(reads.has(fieldWindow), "window", f.window)
	p.text(reads.has(fieldNetwork), "network", f.network)
	p.text(reads.has(fieldListed), "target", f.target)
	p.text(reads.has(fieldBreakGlass), "break_glass", f.breakGlass)
	p.flag(reads.has(fieldCutOff), "cut_off", f.cutOff)
	return p
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
