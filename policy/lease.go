package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// PatternFor is the lease pattern that covers exactly this need: its resource with * and \ escaped by a backslash.
func PatternFor(n Need) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`).Replace(n.Resource)
}

// MatchLease says whether a lease covers a need of its right.
//
// A pattern without a star covers the one resource that it spells; \* and \\ are a star and a backslash. The lone pattern *
// covers every resource that is not a hash. Between the two:
//
//   - On commands a pattern is compared word by word. The first word, the program, is spelled out; in each other word a *
//     stands for any run of plain characters (those that need no quotes), and alone at the end for one word or more of
//     them. So "apt *" covers "apt install -y nginx" and neither "apt 'x; rm'" nor "rm x" in "apt x; rm x", which is a need
//     of its own. A star covers options, too: what a program can be told to do, it can be told under such a lease.
//   - On requests to an app, "METHOD /path", the method is spelled out.
//   - In paths a * stands for any run of characters, slashes included.
//
// A resource whose meaning only the target knows (sha256:…, .., and in paths variables and wildcards) is covered by exact
// equality only. A path is what was named, after the target resolved it where the protocol lets it (SFTP): in a command line
// a link below /srv/app leads a lease for /srv/app/* wherever it points.
func MatchLease(l Lease, n Need) bool {
	if l.Right != n.Right || l.Pattern == "" {
		return false
	}
	if strings.HasPrefix(n.Resource, opaquePrefix) {
		return l.Pattern == n.Resource
	}
	if l.Pattern == "*" {
		return true
	}
	if !strings.Contains(l.Pattern, "*") {
		return l.Pattern == n.Resource || strings.Contains(l.Pattern, `\`) && spells(l.Pattern, n.Resource)
	}
	if begin := strings.IndexAny(l.Pattern, `*\'"`); differs(n.Resource, l.Pattern[:begin]) {
		return false
	}
	p := readPattern(l.Pattern)
	if !p.wide() {
		return p.text() == n.Resource
	}
	switch kindOfPattern(l.Right, l.Pattern) {
	case commandPattern:
		return coversCommand(p, n.Resource)
	default:
		return l.Pattern == n.Resource || plainPath(n.Resource) && p.glob(readLiteral(n.Resource), anything)
	}
}

// differs says at a glance that a resource does not begin as a pattern does, before any quotes.
func differs(resource, begin string) bool {
	return !strings.HasPrefix(resource, begin) && !strings.ContainsAny(resource[:min(len(resource), len(begin))], `'"`)
}

func spells(pattern, resource string) bool {
	literal, exact := PatternLiteral(pattern)
	return exact && literal == resource
}

// PatternLiteral is the one resource that a pattern covers, if it covers only one.
func PatternLiteral(pattern string) (string, bool) {
	p := readPattern(pattern)
	if p.wide() {
		return "", false
	}
	return p.text(), true
}

// ExactPattern says that a pattern covers one command, request or path and nothing else.
func ExactPattern(right Right, pattern string) bool {
	p := readPattern(pattern)
	if !p.wide() {
		return true
	}
	words, ok := p.words()
	return ok && kindOfPattern(right, pattern) == commandPattern && !slices.ContainsFunc(words, symbols.wide)
}

// CheckPattern says what is wrong with a pattern that somebody wrote.
func CheckPattern(right Right, pattern string) error {
	p := readPattern(pattern)
	switch {
	case pattern == "":
		return errors.New("empty; name what is needed")
	case pattern == "*" || !p.wide():
		return nil
	case strings.HasPrefix(pattern, opaquePrefix):
		return errors.New("what cannot be told is named by its whole hash, without *")
	}
	if kindOfPattern(right, pattern) == commandPattern {
		words, ok := p.words()
		switch {
		case !ok:
			return fmt.Errorf("%.64q: words with one space between them, quoted where the shell would need it", pattern)
		case words[0].wide():
			return fmt.Errorf("%.64q: spell the program out, * may stand in what follows it", pattern)
		}
		return nil
	}
	if !plainPath(strings.ReplaceAll(pattern, "*", "")) {
		return fmt.Errorf("%.64q: a path with * has no .., variables or other wildcards", pattern)
	}
	return nil
}

// PatternIncludes says that whatever the narrow pattern covers, the wide one covers, too.
func PatternIncludes(right Right, wide, narrow string) bool {
	if literal, exact := PatternLiteral(narrow); exact {
		return wide == narrow || MatchLease(Lease{Right: right, Pattern: wide}, Need{Right: right, Resource: literal})
	}
	if wide == narrow || wide == "*" {
		return true
	}
	w, n := readPattern(wide), readPattern(narrow)
	kind := kindOfPattern(right, wide)
	if narrow == "*" || !w.wide() || kind != kindOfPattern(right, narrow) {
		return false
	}
	if kind == commandPattern {
		return includesCommand(w, n)
	}
	return w.glob(n, anything)
}

// The kinds of patterns with a star.
type patternKind uint8

const (
	pathPatternKind patternKind = iota
	requestPattern              // METHOD /path, with any right but execute
	commandPattern
)

var httpMethods = []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "POST"}

// kindOfPattern tells commands, requests and paths apart. A request that executes is matched as a command is, whose words
// are the method and the path: that is the stricter of the two.
func kindOfPattern(right Right, pattern string) patternKind {
	first, rest, several := strings.Cut(pattern, " ")
	switch {
	case right == Execute:
		return commandPattern
	case several && slices.Contains(httpMethods, first) && strings.HasPrefix(rest, "/"):
		return requestPattern
	case several && !strings.HasPrefix(pattern, "/"):
		return commandPattern
	}
	return pathPatternKind
}

// plainPath says that a path means what it spells.
func plainPath(path string) bool {
	return !strings.Contains(path, "..") && !strings.ContainsAny(path, wild)
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
