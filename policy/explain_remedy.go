package policy

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Limits of what is tried.
const (
	maxRemedies = 12
	maxChanges  = 40
	maxNamed    = 64 // bytes of a name in a sentence
)

// change is one thing that could have been otherwise.
type change struct {
	id, table, en, ja string
	apply             func(in *Input)
	edit              func(r *Revision) *Revision // of the policy itself; nil for all others
	drops             bool                        // leaves a part of the question out instead of meeting a condition
}

// remedies decides again with one thing changed, then with two, then with as many as it takes, and reports what allows. What
// would take another rule comes last.
func (e *explainer) remedies(ctx context.Context, d *Decision, needs []ExplainedNeed) []Remedy {
	changes := e.changes(d)
	changes = changes[:min(len(changes), maxChanges)]
	found := e.helpful(ctx, changes)
	if len(found) > 0 {
		return found
	}
	if c, ok := e.ruleChange(needs); ok {
		return e.helpful(ctx, append(changes, c))
	}
	return nil
}

// helpful are the changes that allow: each alone, else two together, else one set of which none can be left out.
func (e *explainer) helpful(ctx context.Context, changes []change) []Remedy {
	var found []Remedy
	for i := range changes {
		if e.allows(ctx, changes[i:i+1]) {
			found = append(found, remedyOf(changes[i:i+1]))
		}
	}
	if len(found) > 0 {
		return found[:min(len(found), maxRemedies)]
	}
	for i := range changes {
		for j := i + 1; j < len(changes) && len(found) < maxRemedies; j++ {
			if pair := []change{changes[i], changes[j]}; e.allows(ctx, pair) {
				found = append(found, remedyOf(pair))
			}
		}
	}
	if len(found) > 0 {
		return found
	}
	return e.together(ctx, changes)
}

// together finds one set of changes of which none can be left out.
func (e *explainer) together(ctx context.Context, changes []change) []Remedy {
	set := slices.DeleteFunc(slices.Clone(changes), func(c change) bool { return c.drops })
	if !e.allows(ctx, set) {
		return nil
	}
	for i := len(set) - 1; i >= 0; i-- {
		if without := slices.Delete(slices.Clone(set), i, i+1); e.allows(ctx, without) {
			set = without
		}
	}
	return []Remedy{remedyOf(set)}
}

// allows decides the input with these changes.
func (e *explainer) allows(ctx context.Context, changes []change) bool {
	in, r := *e.in, e.revision
	in.Parents, in.Leases = slices.Clone(in.Parents), slices.Clone(in.Leases)
	for _, c := range changes {
		if c.apply != nil {
			c.apply(&in)
		}
		if c.edit != nil {
			r = c.edit(r)
		}
	}
	return ctx.Err() == nil && e.decide(ctx, r, &in).Effect == Allow
}

// remedyOf puts changes into one sentence.
func remedyOf(changes []change) Remedy {
	var r Remedy
	var tables, en, ja []string
	for _, c := range changes {
		r.IDs = append(r.IDs, c.id)
		if c.table != "" && !slices.Contains(tables, c.table) {
			tables = append(tables, c.table)
		}
		en, ja = append(en, c.en), append(ja, c.ja)
	}
	r.Table = strings.Join(tables, ", ")
	r.EN = "It would have been allowed " + strings.Join(en, ", and ")
	r.JA = strings.Join(ja, "、かつ") + "許可されます"
	if r.Table != "" {
		r.EN, r.JA = fmt.Sprintf("%s (%s)", r.EN, r.Table), fmt.Sprintf("%s（%s）", r.JA, r.Table)
	}
	r.EN, r.JA = r.EN+".", r.JA+"。"
	return r
}

// changes lists what may be tried, the likeliest first.
func (e *explainer) changes(d *Decision) []change {
	var list []change
	if e.inquiry == nil { // not even put to the rules
		return e.needChanges(d)
	}
	list = append(list, e.proofs()...)
	if e.in.staff() {
		list = append(list, e.staffChanges()...)
	} else {
		list = append(list, e.vendorChanges()...)
	}
	list = append(list, e.needChanges(d)...)
	if !e.in.staff() {
		list = append(list, e.parentChanges()...)
		list = append(list, e.cellChanges(d)...)
	}
	return list
}

// proofs are about how the person proved who they are.
func (e *explainer) proofs() []change {
	var list []change
	auth := &e.in.Auth
	if auth.Kind != "human" {
		list = append(list, change{id: "person", table: "C-4", en: "to a person instead of a machine", ja: "機械ではなく人が操作すれば",
			apply: func(in *Input) { in.Auth.Kind = "human" }})
	}
	if fact := e.inquiry.links[0].facts.certificate; fact != "valid" {
		list = append(list, change{id: "certificate", table: "C-1", en: "with a valid certificate", ja: "有効な証明書があれば",
			apply: func(in *Input) { in.Auth.Cert = Cert{Serial: "valid", NotAfter: in.Time.Now.Add(time.Hour)} }})
	}
	fresh := func(l link) bool { return l.facts.mfa == "fresh" }
	if auth.MFA.Method != "webauthn" || !auth.MFA.UV || !slices.ContainsFunc(e.inquiry.links, fresh) || len(e.inquiry.links) > 1 {
		list = append(list, change{id: "mfa", table: "C-4", en: "right after a login with a security key or passkey",
			ja:    "セキュリティキーまたはパスキーでログインし直せば",
			apply: func(in *Input) { in.Auth.MFA = MFA{Method: "webauthn", At: in.Time.Now, UV: true} }})
	}
	return list
}

// vendorChanges are about the controls of the vendor and its parents.
func (e *explainer) vendorChanges() []change {
	var list []change
	each := func(unmet func(f *facts) bool, c change, apply func(v *Vendor)) {
		var names []string
		for l := range e.inquiry.links {
			if unmet(&e.inquiry.links[l].facts) {
				names = append(names, named(e.inquiry.links[l].vendor.ID))
			}
		}
		if len(names) == 0 {
			return
		}
		c.en, c.ja = fmt.Sprintf(c.en, strings.Join(names, " and ")), fmt.Sprintf(c.ja, strings.Join(names, "・"))
		c.apply = func(in *Input) {
			apply(&in.Vendor)
			for i := range in.Parents {
				apply(&in.Parents[i])
			}
		}
		list = append(list, c)
	}
	if c, ok := e.windowChange(); ok {
		list = append(list, c)
	}
	if c, ok := e.networkChange(); ok {
		list = append(list, c)
	}
	now := e.in.Time.Now
	each(func(f *facts) bool { return f.contract != "running" },
		change{id: "contract", table: "V-7", en: "while the contract of %s is running", ja: "%s の委託契約の期間中であれば"},
		func(v *Vendor) { v.Contract = Contract{From: now.AddDate(-1, 0, 0), Until: now.AddDate(1, 0, 0)} })
	each(func(f *facts) bool { return f.target == "unlisted" },
		change{id: "target", table: "C-5", en: "if this target were one of %s's", ja: "この接続先が %s に割り当てられていれば"},
		func(v *Vendor) { v.Targets = append(slices.Clone(v.Targets), e.in.Target.Name) })
	each(func(f *facts) bool { return f.cutOff },
		change{id: "cut-off", table: "I-1", en: "if %s were not cut off", ja: "%s の遮断が解除されれば"},
		func(v *Vendor) { v.CutOff = false })
	return list
}

// windowChange goes on to when the working hours of the whole chain are open; how old certificate and second factor are
// stays as it is.
func (e *explainer) windowChange() (change, bool) {
	var missing []string
	closed := false
	for l := range e.inquiry.links {
		switch e.inquiry.links[l].facts.window {
		case "missing":
			missing = append(missing, named(e.inquiry.links[l].vendor.ID))
		case "closed":
			closed = true
		}
	}
	if len(missing) == 0 && !closed {
		return change{}, false
	}
	all := slices.Sorted(maps.Keys(e.revision.windows))
	register := func(in *Input) {
		for _, v := range chainOf(in) {
			if len(v.Windows) == 0 {
				v.Windows = all
			}
		}
	}
	opens, ok := e.opens(register)
	if !ok {
		return change{}, false
	}
	c := change{id: "window", table: "C-2", apply: func(in *Input) {
		register(in)
		in.postpone(opens.Sub(in.Time.Now))
	}}
	when := e.clockTime(opens)
	c.en, c.ja = fmt.Sprintf("within working hours, next at %s", when), fmt.Sprintf("作業時間内（次は %s から）であれば", when)
	if len(missing) > 0 {
		c.en = fmt.Sprintf("within working hours registered for %s", strings.Join(missing, " and "))
		c.ja = fmt.Sprintf("%s に作業時間が登録され、その時間内であれば", strings.Join(missing, "・"))
	}
	return c, true
}

func chainOf(in *Input) []*Vendor {
	chain := []*Vendor{&in.Vendor}
	for i := range in.Parents {
		chain = append(chain, &in.Parents[i])
	}
	return chain
}

// maxLookAhead bounds how far ahead common working hours are looked for.
const maxLookAhead = 60 * 24 * time.Hour

// opens is the next moment at which the working hours of the whole chain are open.
func (e *explainer) opens(register func(*Input)) (time.Time, bool) {
	in := *e.in
	in.Parents = slices.Clone(in.Parents)
	register(&in)
	t := in.Time.Now
	for t.Before(in.Time.Now.Add(maxLookAhead)) {
		all := true
		for _, v := range chainOf(&in) {
			if open, next := e.hours(v, t); !open {
				all, t = false, next
				break
			}
		}
		if all {
			return t, true
		}
	}
	return time.Time{}, false
}

// postpone asks the same question later, with proofs that much younger.
func (in *Input) postpone(by time.Duration) {
	in.Time.Now = in.Time.Now.Add(by)
	if !in.Auth.MFA.At.IsZero() {
		in.Auth.MFA.At = in.Auth.MFA.At.Add(by)
	}
	in.Auth.Cert.NotAfter = in.Auth.Cert.NotAfter.Add(by)
	for i := range in.Leases {
		in.Leases[i].Until = in.Leases[i].Until.Add(by)
	}
}

func (e *explainer) networkChange() (change, bool) {
	if fact := e.inquiry.links[0].facts.network; fact != "outside" && fact != "missing" {
		return change{}, false
	}
	name := named(e.in.Vendor.ID)
	c := change{id: "network", table: "C-3", en: "from one of the networks of " + name, ja: name + " の許可ネットワークからの接続であれば",
		apply: func(in *Input) { in.Source.IP = in.Vendor.Networks[0].Addr() }}
	if len(e.in.Vendor.Networks) == 0 {
		c.en, c.ja = "from a network registered for "+name, name+" の許可ネットワークが登録され、そこからの接続であれば"
		c.apply = func(in *Input) {
			in.Source.IP = netip.MustParseAddr("192.0.2.1")
			in.Vendor.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
		}
	}
	return c, true
}

// needChanges are about what was to be done: an approval for it, or leaving a part of it out.
func (e *explainer) needChanges(d *Decision) []change {
	var list []change
	var open []Need
	for i, need := range e.in.Action.Needs {
		if i >= len(d.Needs) || d.Needs[i].Effect != Allow {
			open = append(open, need)
		}
	}
	if len(open) > 0 && open[0].Right != Admin {
		list = append(list, leaseChange(open))
	}
	if c, ok := e.pathChange(open); ok {
		list = append(list, c)
	}
	if len(e.in.Action.Needs) > 1 {
		for _, need := range open[:min(len(open), maxNamed/8)] {
			list = append(list, change{id: "need", drops: true,
				en: fmt.Sprintf("without %s on %s", need.Right, named(need.Resource)),
				ja: fmt.Sprintf("%s に対する %s がなければ", named(need.Resource), rightJA[need.Right]),
				apply: func(in *Input) {
					in.Action.Needs = slices.DeleteFunc(slices.Clone(in.Action.Needs), func(n Need) bool { return n == need })
				}})
		}
	}
	return list
}

// pathChange tells paths that could not be told: an exception that tightens holds for them, too.
func (e *explainer) pathChange(open []Need) (change, bool) {
	protocol := e.in.Action.Protocol
	hidden := func(n Need) bool { return pathOf(protocol, n).unknown }
	if !slices.ContainsFunc(open, hidden) {
		return change{}, false
	}
	return change{id: "path", en: "if the path could be told: without variables, wildcards and ..",
		ja: "変数・ワイルドカード・.. を使わず、パスが判定できれば",
		apply: func(in *Input) {
			in.Action.Needs = slices.Clone(in.Action.Needs)
			for i, n := range in.Action.Needs {
				if hidden(n) {
					in.Action.Needs[i].Resource = plainResource(protocol)
				}
			}
		}}, true
}

// plainResource is a path that no exception is about.
func plainResource(protocol string) string {
	if protocol == "https" {
		return "GET /"
	}
	return "/"
}

func leaseChange(needs []Need) change {
	var en, ja []string
	for _, n := range needs[:min(len(needs), 3)] {
		en = append(en, fmt.Sprintf("%s on %s", n.Right, named(n.Resource)))
		ja = append(ja, fmt.Sprintf("%s に対する %s", named(n.Resource), rightJA[n.Right]))
	}
	if more := len(needs) - len(en); more > 0 {
		en, ja = append(en, fmt.Sprintf("%d more", more)), append(ja, fmt.Sprintf("ほか %d 件", more))
	}
	return change{id: "lease",
		en: "with an approved request for " + strings.Join(en, ", "), ja: strings.Join(ja, "、") + " の申請が承認されれば",
		apply: func(in *Input) {
			for _, n := range needs {
				in.Leases = append(in.Leases, Lease{ID: "l-approved", Person: in.Person.ID, Target: in.Target.Name, Right: n.Right,
					Pattern: PatternFor(n), Until: in.Time.Now.Add(time.Hour)})
			}
		}}
}

var rightJA = map[Right]string{Read: "読取", Write: "書込", Execute: "実行", Delete: "削除", Admin: "管理者操作"}

// parentChanges leave the limits of one parent vendor out.
func (e *explainer) parentChanges() []change {
	var list []change
	for _, parent := range e.in.Parents {
		name := named(parent.ID)
		list = append(list, change{id: "parent", table: "V-6", drops: true,
			en: fmt.Sprintf("if the parent vendor %s were allowed it, too", name), ja: fmt.Sprintf("再委託元 %s にも許可されていれば", name),
			apply: func(in *Input) {
				in.Parents = slices.DeleteFunc(in.Parents, func(v Vendor) bool { return v.ID == parent.ID })
			}})
	}
	return list
}

// cellChanges give all vendors of the chain a cell of the matrix.
func (e *explainer) cellChanges(d *Decision) []change {
	var list []change
	var done []Right
	for i, need := range e.in.Action.Needs {
		if need.Right == Admin || slices.Contains(done, need.Right) || i < len(d.Needs) && d.Needs[i].Effect == Allow {
			continue
		}
		done = append(done, need.Right)
		own, _ := e.revision.linkFor(e.places, &e.in.Vendor, e.in.Target.Name, need.Right, pathOf(e.in.Action.Protocol, need))
		list = append(list, change{id: "matrix", table: own.Table,
			en: fmt.Sprintf("if the matrix said always instead of %s for %s at %s", own.Cell, need.Right, own.Place),
			ja: fmt.Sprintf("権限マトリックスの %s（%s）が %s ではなく always であれば", rightJA[need.Right], own.Place, own.Cell),
			edit: func(r *Revision) *Revision {
				return r.with(override{name: "explained", cells: row{need.Right: always}})
			}})
	}
	return list
}

// with is the revision with one more override. It is for asking only.
func (r *Revision) with(o override) *Revision {
	edited, m := *r, *r.matrix
	selector := [2]string{o.vendor, o.target}
	m.bySelector = maps.Clone(m.bySelector)
	m.bySelector[selector] = append(slices.Clone(m.bySelector[selector]), len(m.overrides))
	m.overrides = append(slices.Clone(m.overrides), o)
	edited.matrix = &m
	return &edited
}

// ruleChange leaves out the rules of vendor types and staff that refuse or ask beyond the matrix. The guardrail's stay.
func (e *explainer) ruleChange(needs []ExplainedNeed) (change, bool) {
	out := map[Place]bool{}
	for _, need := range needs {
		for _, link := range need.Links {
			for _, rule := range link.Rules {
				if rule.Package != guardrailPackage && rule.Rule != "allow" && !e.repeatsCell(rule) {
					out[rule.Place] = true
				}
			}
		}
	}
	if len(out) == 0 {
		return change{}, false
	}
	var places []string
	for at := range out {
		places = append(places, at.String())
	}
	slices.Sort(places)
	names := strings.Join(places[:min(len(places), 3)], ", ")
	edited := sync.OnceValue(func() *Revision { return e.revision.without(out) })
	return change{id: "rule", en: "without the rule at " + names, ja: names + " の規則がなければ",
		edit: func(r *Revision) *Revision {
			changed, without := *r, edited()
			if without == nil {
				return r
			}
			changed.compiler, changed.guard, changed.kinds = without.compiler, without.guard, without.kinds
			return &changed
		}}, true
}

func (e *explainer) repeatsCell(f FiredRule) bool {
	return slices.ContainsFunc(e.revision.compiler.GetRulesExact(answerRef(f.Package, f.Rule)), func(rule *ast.Rule) bool {
		return placeOf(rule.Loc()) == f.Place && repeatsCell(rule)
	})
}

// without is the revision with some rules never true, nil when it does not compile so. It is for asking only.
func (r *Revision) without(rules map[Place]bool) *Revision {
	f, err := readFolder(files(r.files))
	if err != nil {
		return nil
	}
	modules, err := parseModules(f.rules)
	if err != nil {
		return nil
	}
	for _, module := range modules {
		for _, rule := range module.Rules {
			if rules[placeOf(rule.Loc())] {
				rule.Body = append(ast.NewBody(ast.NewExpr(ast.BooleanTerm(false))), rule.Body...)
			}
		}
	}
	edited := *r
	if edited.compiler, err = compile(modules); err != nil {
		return nil
	}
	if edited.prepare(edited.compiler, f) != nil {
		return nil
	}
	return &edited
}

// staffChanges are about the company's own people.
func (e *explainer) staffChanges() []change {
	var list []change
	for _, role := range e.roles() {
		if !slices.Contains(e.in.Person.Roles, role) {
			list = append(list, change{id: "role", en: "with the role " + named(role), ja: "役割 " + named(role) + " があれば",
				apply: func(in *Input) { in.Person.Roles = append(slices.Clone(in.Person.Roles), role) }})
		}
	}
	list = append(list,
		change{id: "somebody-else", drops: true, en: "to somebody else", ja: "別の人が行えば",
			apply: func(in *Input) { in.Person.ID = "@somebody-else" }},
		change{id: "break-glass", en: "in an emergency declared by break-glass", ja: "緊急アクセスを宣言していれば",
			apply: func(in *Input) {
				in.BreakGlass = &BreakGlass{ID: "g-declared", Until: in.Time.Now.Add(time.Hour)}
			}})
	return list
}

// roles are the keys of data.sekisho.staff.roles.
func (e *explainer) roles() []string {
	var names []string
	for _, rule := range e.revision.compiler.GetRulesExact(answerRef(staffType, "roles")) {
		if rule.Head.Value == nil {
			continue
		}
		if object, ok := rule.Head.Value.Value.(ast.Object); ok {
			object.Foreach(func(key, _ *ast.Term) {
				if name, ok := key.Value.(ast.String); ok {
					names = append(names, string(name))
				}
			})
		}
	}
	slices.Sort(names)
	return names
}

// named is a name or a resource as a sentence shows it: short, and with what does not show itself spelt out.
func named(name string) string {
	var text strings.Builder
	writeVisible(&text, clip(name, maxNamed))
	return text.String()
}
