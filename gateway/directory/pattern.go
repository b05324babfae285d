package directory

import (
	"cmp"
	"slices"
	"strings"
)

// A pattern is an absolute path whose segments are literal, * for any one segment, or a last ** for the folder itself
// and everything below it.

// matchPattern reports whether a path matches. A trailing slash of the path does not matter.
func matchPattern(pattern, path string) bool {
	return matchSegments(pattern, path, func(want, segment string) bool { return want == segment })
}

// matchSegments is matchPattern with another idea of when a literal segment is the same.
func matchSegments(pattern, path string, same func(want, segment string) bool) bool {
	segments := split(path)
	for i, want := range split(pattern) {
		if want == "**" {
			return true
		}
		if i >= len(segments) || want != "*" && !same(want, segments[i]) {
			return false
		}
	}
	return len(split(pattern)) == len(segments)
}

func matchAny(patterns []string, path string) bool {
	return plainPath(path) && slices.ContainsFunc(patterns, func(p string) bool { return matchPattern(p, path) })
}

// split cuts an absolute path into its segments; "/" has none.
func split(path string) []string {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// plainPath reports whether a path is absolute and without empty, dot or dot-dot segments, backslashes and control
// characters: one that means the same to the gateway and to whoever reads it next.
func plainPath(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return false
	}
	segments := strings.Split(strings.TrimSuffix(path[1:], "/"), "/")
	if len(segments) == 1 && segments[0] == "" {
		return path == "/"
	}
	return !slices.ContainsFunc(segments, func(s string) bool { return s == "" || s == "." || s == ".." })
}

// compareSpecific orders patterns from the most to the least specific: at the first segment where they differ in kind a
// literal comes before * and * before **.
func compareSpecific(a, b string) int {
	return slices.CompareFunc(split(a), split(b), func(x, y string) int {
		return cmp.Or(cmp.Compare(vagueness(x), vagueness(y)), cmp.Compare(x, y))
	})
}

func vagueness(segment string) int {
	switch segment {
	case "**":
		return 2
	case "*":
		return 1
	}
	return 0
}

const patternShape = "want an absolute path whose segments are plain, * for any one, or ** at the end for everything below"

// validPattern reports whether s is a pattern: a * stands only for whole segments, and ** only last.
func validPattern(s string) bool {
	if !plainPath(s) || s != "/" && strings.HasSuffix(s, "/") || strings.ContainsAny(s, "?#%") {
		return false
	}
	segments := split(s)
	for i, segment := range segments {
		if strings.Contains(segment, "*") && segment != "*" && (segment != "**" || i != len(segments)-1) {
			return false
		}
	}
	return true
}
