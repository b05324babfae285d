package policy

import (
	"strings"
	"time"
)

// PatternFor is the lease pattern that covers exactly this need: its resource with * and \ escaped by a backslash.
func PatternFor(n Need) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`).Replace(n.Resource)
}

// MatchLease says whether a lease covers a need. The lone pattern * covers every resource that is not a hash. Otherwise
// the resource equals the pattern, or each * in the pattern stands for any run of characters; \* and \\ are a star and a
// backslash. A resource whose meaning only the target knows (sha256:…, .., and in paths variables and wildcards) is covered
// by exact equality only.
func MatchLease(l Lease, n Need) bool {
	if l.Right != n.Right || l.Pattern == "" {
		return false
	}
	if strings.HasPrefix(n.Resource, opaquePrefix) {
		return l.Pattern == n.Resource
	}
	if l.Pattern == "*" || l.Pattern == n.Resource {
		return true
	}
	runs := literals(l.Pattern)
	if len(runs) == 1 {
		return runs[0] == n.Resource
	}
	return plain(n) && glob(runs, n.Resource)
}

// literals splits a pattern at its stars and resolves the escapes in what stands between them.
func literals(pattern string) []string {
	var runs []string
	var run strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*':
			runs = append(runs, run.String())
			run.Reset()
		case c == '\\' && i+1 < len(pattern) && (pattern[i+1] == '*' || pattern[i+1] == '\\'):
			i++
			run.WriteByte(pattern[i])
		default:
			run.WriteByte(c)
		}
	}
	return append(runs, run.String())
}

// plain says that a resource means what it spells.
func plain(n Need) bool {
	if strings.Contains(n.Resource, "..") {
		return false
	}
	return n.Right == Execute || !strings.ContainsAny(n.Resource, wild)
}

// glob says whether s is the runs in order with anything between them, in time proportional to both lengths.
func glob(runs []string, s string) bool {
	first, middle, last := runs[0], runs[1:len(runs)-1], runs[len(runs)-1]
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for _, run := range middle {
		if _, s, ok = strings.Cut(s, run); !ok {
			return false
		}
	}
	return strings.HasSuffix(s, last)
}

// raise finds the lease that lets person do n on target now, preferring the one that lasts longest.
func raise(leases []Lease, person, target string, n Need, now time.Time) (best Lease, ok bool) {
	if n.Right == Admin {
		return Lease{}, false
	}
	for _, l := range leases {
		if l.Person != person || l.Target != target || l.From.After(now) || !l.Until.After(now) || !MatchLease(l, n) {
			continue
		}
		if !ok || l.Until.After(best.Until) {
			best, ok = l, true
		}
	}
	return best, ok
}
