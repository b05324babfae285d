package policy

import (
	"fmt"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// opinion is what one package of rules says.
type opinion struct {
	allow          bool
	approval, deny []Reason
}

// effect puts an opinion into one word: deny beats approval beats allow, and silence is a deny.
func (o opinion) effect() Effect {
	switch {
	case len(o.deny) > 0:
		return Deny
	case len(o.approval) > 0:
		return Approval
	case o.allow:
		return Allow
	}
	return Deny
}

// small says whether an opinion may be remembered.
func (o opinion) small() bool {
	text := 0
	for _, list := range [][]Reason{o.approval, o.deny} {
		for _, r := range list {
			text += len(r.ID) + len(r.Table) + len(r.EN) + len(r.JA)
		}
	}
	return text <= maxKeptText
}

// read takes an opinion out of the query's variables; an answer of another shape than the rules promise is an error.
func (o *opinion) read(answer topdown.QueryResult) (err error) {
	*o = opinion{}
	if o.allow, err = readAllow(answer[allowVar]); err != nil {
		return err
	}
	if o.approval, err = readReasons("approval", answer[approvalVar]); err != nil {
		return err
	}
	o.deny, err = readReasons("deny", answer[denyVar])
	return err
}

// only unpacks the array of at most one answer that a comprehension gives.
func only(answer *ast.Term) *ast.Term {
	if answer == nil {
		return nil
	}
	array, ok := answer.Value.(*ast.Array)
	switch {
	case !ok:
		return answer
	case array.Len() == 0:
		return nil
	}
	return array.Elem(0)
}

func readAllow(answer *ast.Term) (bool, error) {
	term := only(answer)
	if term == nil {
		return false, nil
	}
	yes, ok := term.Value.(ast.Boolean)
	if !ok {
		return false, fmt.Errorf("allow is %s: want true or false", shown(term))
	}
	return bool(yes), nil
}

func readReasons(rule string, answer *ast.Term) ([]Reason, error) {
	term := only(answer)
	if term == nil {
		return nil, nil
	}
	set, ok := term.Value.(ast.Set)
	if !ok {
		return nil, fmt.Errorf("%s is not a set: write `%s contains …`", rule, rule)
	}
	if set.Len() > maxReasons {
		return nil, fmt.Errorf("%s has more than %d reasons", rule, maxReasons)
	}
	var reasons []Reason
	for _, element := range set.Slice() {
		reason, err := readReason(element)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rule, err)
		}
		reasons = append(reasons, reason)
	}
	return reasons, nil
}

// customReason is the id of a reason that is written as a plain sentence.
const customReason = "rule"

// Bounds on reasons, which a rule may make of what a contractor types and which are remembered.
const (
	maxReasons = 64   // of one rule
	maxReason  = 1024 // bytes of each of its texts
)

// readReason takes a sentence or {id, table, en, ja}; table may be missing and one language stands in for the other.
func readReason(term *ast.Term) (Reason, error) {
	switch value := term.Value.(type) {
	case ast.String:
		text := cut(string(value), maxReason)
		return Reason{ID: customReason, EN: text, JA: text}, nil
	case ast.Object:
		r := Reason{ID: field(value, "id"), Table: field(value, "table"), EN: field(value, "en"), JA: field(value, "ja")}
		if r.EN == "" {
			r.EN = r.JA
		}
		if r.JA == "" {
			r.JA = r.EN
		}
		if r.ID != "" && r.EN != "" {
			return r, nil
		}
	}
	return Reason{}, fmt.Errorf("%s is no reason: want a sentence or an object with id, table, en and ja", shown(term))
}

// shown is what an error says about a value, which may be large.
func shown(term *ast.Term) string {
	switch term.Value.(type) {
	case ast.String, ast.Number, ast.Boolean, ast.Null:
		return cut(term.String(), 64)
	}
	return "a value of type " + ast.ValueName(term.Value)
}

// cut shortens a text to at most n bytes, at a whole character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

func field(object ast.Object, name string) string {
	if term := object.Get(ast.InternedTerm(name)); term != nil {
		if s, ok := term.Value.(ast.String); ok {
			return cut(string(s), maxReason)
		}
	}
	return ""
}
