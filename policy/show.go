package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Shown is what a vendor may do on a target as the policy's tables and rules have it, and where each part comes from.
type Shown struct {
	Revision    int               `json:"revision"`
	Vendor      string            `json:"vendor"`
	Type        string            `json:"type"`
	Chain       []string          `json:"chain"` // the vendor's id, then its parents'
	Target      string            `json:"target"`
	Cells       []ShownCell       `json:"cells"`             // one for each right, in the matrix's order
	Paths       []ShownOverride   `json:"paths,omitempty"`   // overrides that hold for some paths only, in the order they apply
	Windows     []ShownWindow     `json:"windows"`           // of the vendor and its parents
	Obligations Obligations       `json:"obligations"`       // the strictest of the chain
	Bounds      []ShownObligation `json:"bounds"`            // where the obligations come from
	Rules       []ShownRule       `json:"rules,omitempty"`   // rules that may narrow a cell further
	Notices     []Reason          `json:"notices,omitempty"` // why nothing is allowed at all: target not listed, cut off …
}

// ShownCell is the effective cell of one right where no path override applies.
type ShownCell struct {
	Right  Right       `json:"right"`
	Cell   string      `json:"cell"`  // always | approval | never: the least of Links
	Table  string      `json:"table"` // M-1…M-5 of the vendor that limits it
	By     string      `json:"by"`    // the vendor of the chain that limits it, "" when Go itself does (admin)
	Links  []ShownLink `json:"links"` // the vendor's own, then its parents'
	Effect Effect      `json:"effect"`
	// Reasons are what the rules say to somebody of this vendor who meets every control (C-1…C-5) and asks for this right
	// on nothing in particular; Effect is their answer. It differs from Cell where a rule narrows it.
	Reasons []Reason `json:"reasons,omitempty"`
}

// ShownLink is one vendor's own cell.
type ShownLink struct {
	Vendor   string `json:"vendor"`
	Type     string `json:"type"`
	Table    string `json:"table"`
	Cell     string `json:"cell"`
	Override string `json:"override,omitempty"` // the override that set it
	Place    Place  `json:"place"`
}

// ShownOverride is an override for a path that applies to a vendor of the chain on this target.
type ShownOverride struct {
	Name        string           `json:"name"`
	Vendor      string           `json:"vendor"` // the vendor of the chain that it applies to
	Path        string           `json:"path"`
	Cells       map[Right]string `json:"cells,omitempty"`
	Obligations Obligations      `json:"obligations"`
	Place       Place            `json:"place"`
}

// ShownWindow is one working window of a vendor of the chain.
type ShownWindow struct {
	Vendor string `json:"vendor"`
	Name   string `json:"name"`
	Known  bool   `json:"known"` // windows.yaml has it
	Text   string `json:"text"`  // as windows.yaml says it: its days, hours and zone
	Place  Place  `json:"place"`
}

// ShownObligation is a place that adds to the obligations.
type ShownObligation struct {
	Vendor      string      `json:"vendor"`
	From        string      `json:"from"` // every, a vendor type, or override NAME
	Obligations Obligations `json:"obligations"`
	Place       Place       `json:"place"`
}

// ShownRule is a rule of the guardrail or a vendor type that may say approval or deny whatever the cell is.
type ShownRule struct {
	Package string `json:"package"`
	Rule    string `json:"rule"` // approval | deny
	Text    string `json:"text"` // its source, at most 12 lines
	Place   Place  `json:"place"`
}

// Show tells what v may do on target, with parents from the direct one up to the head of the chain. It fails when the rules
// fail.
func (r *Revision) Show(ctx context.Context, v Vendor, parents []Vendor, target Target) (Shown, error) {
	chain := append([]Vendor{v}, parents...)
	s := Shown{Revision: r.number, Vendor: v.ID, Type: v.Type, Target: target.Name}
	at, err := readPlaces(r.files)
	if err != nil {
		return Shown{}, err
	}
	for i := range chain {
		link := &chain[i]
		s.Chain = append(s.Chain, link.ID)
		s.Paths = append(s.Paths, r.pathOverrides(at, link, target.Name)...)
		s.Windows = append(s.Windows, at.windowsOf(link)...)
		s.Bounds = append(s.Bounds, r.boundsOf(at, link, target.Name)...)
		s.Obligations = s.Obligations.and(r.matrix.obligationsFor(subject{link.Type, link.ID, target.Name}))
		s.Rules = append(s.Rules, r.narrowing(link.Type, s.Rules)...)
		s.Notices = append(s.Notices, notices(link, target.Name)...)
	}
	for _, right := range Rights {
		cell, err := r.showCell(ctx, at, chain, target, right)
		if err != nil {
			return Shown{}, err
		}
		s.Cells = append(s.Cells, cell)
	}
	return s, nil
}

// showCell finds the least cell of a chain and what the rules make of it.
func (r *Revision) showCell(ctx context.Context, at *places, chain []Vendor, target Target, right Right) (ShownCell, error) {
	shown := ShownCell{Right: right, Effect: Allow}
	least := always
	for i := range chain {
		link, c := r.showLink(at, &chain[i], target.Name, right)
		shown.Links = append(shown.Links, link)
		if i == 0 || c < least {
			least, shown.By, shown.Table = c, link.Vendor, link.Table
		}
		o, err := r.ideal(ctx, chain[i], target, right)
		if err != nil {
			return ShownCell{}, err
		}
		shown.take(o, &chain[i], i == 0)
	}
	shown.Cell = least.String()
	if right == Admin {
		admin := reasonAdmin(chain[0].Type)
		shown.Cell, shown.By, shown.Table = never.String(), "", admin.Table
		shown.Effect, shown.Reasons = Deny, []Reason{admin}
	}
	if shown.Effect == Deny && len(shown.Reasons) == 0 {
		shown.Reasons = []Reason{reasonSilent}
	}
	return shown, nil
}

// take takes in what the rules say about one vendor of the chain: the least counts, with its reasons.
func (s *ShownCell) take(o opinion, v *Vendor, own bool) {
	effect := o.effect()
	if effect > s.Effect {
		return
	}
	if effect < s.Effect {
		s.Effect, s.Reasons = effect, nil
	}
	reasons := o.approval
	if effect == Deny {
		reasons = o.deny
	}
	for _, reason := range reasons {
		if !own {
			reason = reason.ofParent(v.ID)
		}
		s.Reasons = addReason(s.Reasons, reason)
	}
}

// showLink is one vendor's own cell where no override for a path applies.
func (r *Revision) showLink(at *places, v *Vendor, target string, right Right) (ShownLink, cell) {
	return r.linkFor(at, v, target, right, resourcePath{})
}

// linkFor is one vendor's own cell for a path, with where it comes from.
func (r *Revision) linkFor(at *places, v *Vendor, target string, right Right, p resourcePath) (ShownLink, cell) {
	who := subject{v.Type, v.ID, target}
	c, by := r.matrix.cellFor(who, right, p)
	link := ShownLink{Vendor: v.ID, Type: v.Type, Table: tableOf(v.Type), Cell: c.String(), Override: by}
	i := -1
	for j := range r.matrix.overrides {
		o := &r.matrix.overrides[j]
		if set, ok := o.cells[right]; ok && by != "" && o.name == by && set == c && o.selects(who) {
			i = j
		}
	}
	link.Place = at.cell(v.Type, i, right)
	return link, c
}

// tableOf is the row of the requirements for a vendor type: M-1…M-5.
func tableOf(vendorType string) string {
	if i := slices.Index(VendorTypes, vendorType); i >= 0 {
		return fmt.Sprintf("M-%d", i+1)
	}
	return ""
}

func (r *Revision) pathOverrides(at *places, v *Vendor, target string) []ShownOverride {
	var list []ShownOverride
	for i := range r.matrix.overrides {
		o := &r.matrix.overrides[i]
		if o.path == nil || !o.selects(subject{v.Type, v.ID, target}) {
			continue
		}
		shown := ShownOverride{Name: o.name, Vendor: v.ID, Path: at.path(i), Obligations: o.obligations,
			Place: placeIn(matrixFile, at.matrix.Overrides[i]), Cells: map[Right]string{}}
		for right, c := range o.cells {
			shown.Cells[right] = c.String()
		}
		list = append(list, shown)
	}
	return list
}

func (r *Revision) boundsOf(at *places, v *Vendor, target string) []ShownObligation {
	var list []ShownObligation
	for _, name := range []string{"every", v.Type} {
		if spec, ok := at.matrix.Obligations[name]; ok {
			bound, _ := newObligations(spec.Value)
			list = append(list, ShownObligation{Vendor: v.ID, From: name, Obligations: bound, Place: placeIn(matrixFile, spec)})
		}
	}
	for i := range r.matrix.overrides {
		o := &r.matrix.overrides[i]
		if o.path == nil && o.obligations != (Obligations{}) && o.selects(subject{v.Type, v.ID, target}) {
			list = append(list, ShownObligation{Vendor: v.ID, From: "override " + o.name, Obligations: o.obligations,
				Place: placeIn(matrixFile, at.matrix.Overrides[i])})
		}
	}
	return list
}

func (p *places) windowsOf(v *Vendor) []ShownWindow {
	list := []ShownWindow{}
	for _, name := range v.Windows {
		w, known := p.windows[name]
		shown := ShownWindow{Vendor: v.ID, Name: name, Known: known}
		if known {
			shown.Text, shown.Place = windowText(w.Value), placeIn(windowsFile, w)
		}
		list = append(list, shown)
	}
	return list
}

// windowText writes a window in one line: mon tue 09:00–18:00 Asia/Tokyo.
func windowText(w map[string]any) string {
	words := []string{listText(w["days"]), listText(w["dates"]), fmt.Sprintf("%v–%v", w["from"], w["to"]), fmt.Sprint(w["zone"])}
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if !slices.Contains([]string{"days", "dates", "from", "to", "zone"}, name) {
			words = append(words, name, listText(w[name]))
		}
	}
	words = slices.DeleteFunc(words, func(word string) bool { return word == "" })
	return strings.Join(words, " ")
}

func listText(value any) string {
	list, ok := value.([]any)
	if !ok {
		if value == nil {
			return ""
		}
		list = []any{value}
	}
	words := make([]string, len(list))
	for i, word := range list {
		words[i] = fmt.Sprint(word)
	}
	return strings.Join(words, " ")
}

// maxRuleText bounds the lines of a rule's source.
const maxRuleText = 12

// narrowing lists the rules of a vendor type beyond those that repeat the matrix's cell, unless they are in have.
func (r *Revision) narrowing(vendorType string, have []ShownRule) []ShownRule {
	var list []ShownRule
	for _, answer := range answers {
		for _, rule := range r.compiler.GetRulesExact(answerRef(vendorType, answer)) {
			shown := ShownRule{Package: vendorType, Rule: answer, Text: ruleText(rule), Place: placeOf(rule.Loc())}
			if !repeatsCell(rule) && !rule.Default && !slices.Contains(have, shown) {
				list = append(list, shown)
			}
		}
	}
	return list
}

// repeatsCell says whether the rule's only condition is the matrix's cell.
func repeatsCell(rule *ast.Rule) bool {
	if rule.Else != nil {
		return false
	}
	asked := false
	for _, expr := range rule.Body {
		if expr.Generated { // the reason that is handed out
			continue
		}
		if !expr.IsEquality() || expr.Negated || inputName(expr.Operand(0), nil) != "input.cell" {
			return false
		}
		asked = true
	}
	return asked
}

func ruleText(rule *ast.Rule) string {
	text := lines(strings.TrimSpace(string(rule.Loc().Text)))
	if len(text) > maxRuleText {
		text = append(text[:maxRuleText], "…")
	}
	return strings.Join(text, "")
}

// notices are the controls that keep a vendor out as things stand.
func notices(v *Vendor, target string) []Reason {
	var list []Reason
	add := func(unmet bool, id, table, en, ja string) {
		if unmet {
			list = append(list, Reason{ID: id, Table: table,
				EN: fmt.Sprintf("%s %s (%s).", v.ID, en, table), JA: fmt.Sprintf("%s は%s（%s）。", v.ID, ja, table)})
		}
	}
	add(v.CutOff, "cut-off", "I-1", "is cut off", "遮断されています")
	add(targetFact(target, v.Targets) == "unlisted", "target-not-listed", "C-5", "may not reach this target", "この接続先に接続できません")
	add(len(v.Windows) == 0, "no-window", "C-2", "has no working hours", "作業時間が登録されていません")
	add(len(v.Networks) == 0, "no-network", "C-3", "has no networks", "許可ネットワークが登録されていません")
	add(v.Contract.From.IsZero() || v.Contract.Until.IsZero(), "no-contract", "V-7", "has no contract", "委託契約が登録されていません")
	return list
}

// idealFacts are those of somebody who meets every control.
var idealFacts = facts{certificate: "valid", mfa: "fresh", contract: "running", window: "open", network: "inside",
	target: "listed", breakGlass: "none"}

// ideal asks guardrail and vendor type about somebody of this vendor who meets every control and wants a right on nothing in
// particular.
func (r *Revision) ideal(ctx context.Context, v Vendor, target Target, right Right) (opinion, error) {
	in := &Input{
		Person: Person{ID: "somebody", Vendor: v.ID},
		Vendor: v,
		Auth:   Auth{Kind: "human", MFA: MFA{Method: "webauthn", UV: true}},
		Target: target,
		Action: Action{Protocol: "ssh", Operation: "ssh.exec"},
	}
	if target.Kind == "https" {
		in.Action = Action{Protocol: "https", Operation: "http.request"}
	} else {
		in.Target.Kind = "ssh"
	}
	asked := question{vendor: &in.Vendor, own: true, facts: &idealFacts, need: Need{Right: right, Resource: "/"}}
	path := pathOf(in.Action.Protocol, asked.need)
	c, by := r.matrix.cellFor(subject{v.Type, v.ID, target.Name}, right, path)
	asked.path, asked.cell, asked.override = path.String(), c.String(), by
	if r.kinds[v.Type] == nil {
		return opinion{}, fmt.Errorf("there are no rules for the vendor type %.32q", v.Type)
	}
	document := newDocument(in, &clock{open: v.Windows}).input(asked)
	said := opinion{allow: true}
	for _, p := range []*program{r.guard, r.kinds[v.Type]} {
		a := p.say(ctx, document)
		if a.fault != nil {
			return opinion{}, a.fault
		}
		said = said.least(a.opinion)
	}
	return said, nil
}

// least is what two packages say together: both have to allow.
func (o opinion) least(other opinion) opinion {
	return opinion{allow: o.allow && other.allow, approval: append(o.approval, other.approval...), deny: append(o.deny, other.deny...)}
}
