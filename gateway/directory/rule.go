package directory

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// Rule says which right a request to an app needs, where its method alone would tell it wrongly.
type Rule struct {
	Match string // "METHOD /path" or "* /path"; a segment may be *, the last one **
	Right policy.Right
	Table string // what is exported by it; "" when nothing
	Total *int   // rows of that table; nil when not given
}

// methods are those a rule may name and their right when no rule says otherwise.
var methods = map[string]policy.Right{
	"GET":     policy.Read,
	"HEAD":    policy.Read,
	"OPTIONS": policy.Read,
	"PUT":     policy.Write,
	"PATCH":   policy.Write,
	"DELETE":  policy.Delete,
	"POST":    policy.Execute,
}

// RightFor returns the right that a request needs: that of the most specific rule, else the method's own. The path is the
// decoded one; a path that could mean different things to gateway and app, or a method without a right, is false. So is a
// path that an app which ignores case would take under a rule with another right.
func (t Target) RightFor(method, path string) (policy.Right, bool) {
	right, known := methods[method]
	if t.HTTPS == nil || !known || !plainPath(path) {
		return "", false
	}
	if r, ok := t.RuleFor(method, path); ok {
		right = r.Right
	}
	if r, ok := t.ruleFor(method, path, sameName); ok && r.Right != right {
		return "", false
	}
	return right, true
}

// RuleFor returns the most specific rule for a request. A rule for GET holds for HEAD as well unless HEAD has its own.
func (t Target) RuleFor(method, path string) (Rule, bool) {
	if !plainPath(path) {
		return Rule{}, false
	}
	return t.ruleFor(method, path, func(want, segment string) bool { return want == segment })
}

func (t Target) ruleFor(method, path string, same func(want, segment string) bool) (Rule, bool) {
	for _, r := range t.Rules {
		m, pattern, _ := strings.Cut(r.Match, " ")
		if (m == "*" || m == method || m == "GET" && method == "HEAD") && matchSegments(pattern, path, same) {
			return r, true
		}
	}
	return Rule{}, false
}

// sameName compares segments as apps do that ignore case and what Windows drops at the end of a name.
func sameName(want, segment string) bool {
	return strings.EqualFold(want, strings.TrimRight(segment, ". "))
}

// sortRules puts the most specific rule first: the path decides, then the method (HEAD before the GET that covers it).
func sortRules(rules []Rule) {
	slices.SortFunc(rules, func(a, b Rule) int {
		am, ap, _ := strings.Cut(a.Match, " ")
		bm, bp, _ := strings.Cut(b.Match, " ")
		return cmp.Or(compareSpecific(ap, bp), cmp.Compare(methodRank(am), methodRank(bm)), cmp.Compare(am, bm))
	})
}

func methodRank(method string) int {
	switch method {
	case "*":
		return 2
	case "GET":
		return 1
	}
	return 0
}

func (d *decoder) rules(v value) []Rule {
	var rules []Rule
	d.list(v, "rules", func(v value) {
		var r Rule
		d.fields(v, "a rule", fields{
			"match": func(v value) { r.Match = d.match(v, rules) },
			"right": func(v value) { r.Right = policy.Right(d.choice(v, rightWords()...)) },
			"table": func(v value) { r.Table = d.text(v, 200) },
			"total": func(v value) {
				if total, ok := d.number(v, 0, math.MaxInt32); ok {
					r.Total = &total
				}
			},
		}, "match", "right")
		if r.Total != nil && r.Table == "" {
			d.errorf(v, "a rule with a total wants the table it counts")
		}
		rules = append(rules, r)
	})
	sortRules(rules)
	return rules
}

func (d *decoder) match(v value, before []Rule) string {
	s := d.text(v, 1024)
	if s == "" {
		return ""
	}
	method, pattern, _ := strings.Cut(s, " ")
	if _, known := methods[method]; !known && method != "*" || !validPattern(pattern) {
		d.errorf(v, "%q is not a match: want a method (%s, or * for all) and a path; %s", s, strings.Join(sortedKeys(methods), ", "), patternShape)
		return ""
	}
	if slices.ContainsFunc(before, func(r Rule) bool { return r.Match == s }) {
		d.errorf(v, "%q has a rule already", s)
		return ""
	}
	return s
}

func rightWords() []string {
	words := make([]string, len(policy.Rights))
	for i, r := range policy.Rights {
		words[i] = string(r)
	}
	return words
}
