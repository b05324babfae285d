package policy

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// resourcePath is the path that a need is about, as far as it can be told from what was typed.
type resourcePath struct {
	clean   string // cleaned; "" when the need is not about a path
	unknown bool   // the path depends on what only the target knows: variables, wildcards, the home or current folder
}

// String is the form that Rego sees: the cleaned path, "?" or "".
func (p resourcePath) String() string {
	if p.unknown {
		return "?"
	}
	return p.clean
}

// opaquePrefix begins the resource of what can only be named by its hash.
const opaquePrefix = "sha256:"

// wild are the characters with which a path as typed may mean another one on the target.
const wild = "$`*?[{~\\"

// otherName are the names under which a process finds any file: its folders and what it has open.
var otherName = regexp.MustCompile(`^/proc/[^/]+/(?:task/[^/]+/)?(?:root|cwd|fd|map_files)(?:/|$)|^/dev/fd/`)

// pathOf finds the path of a read, write or delete: the resource itself or, for HTTP, what follows the method.
func pathOf(protocol string, n Need) resourcePath {
	if n.Right != Read && n.Right != Write && n.Right != Delete && protocol != "https" {
		return resourcePath{}
	}
	p := n.Resource
	if protocol == "https" {
		_, p, _ = strings.Cut(p, " ")
		if strings.Contains(p, "..") {
			return resourcePath{unknown: true}
		}
		return resourcePath{clean: cleanURLPath(p)}
	}
	if strings.HasPrefix(p, opaquePrefix) || strings.ContainsAny(p, wild) {
		return resourcePath{unknown: true}
	}
	clean := path.Clean(p)
	if clean == ".." || strings.HasPrefix(clean, "../") || otherName.MatchString(clean) {
		return resourcePath{unknown: true}
	}
	return resourcePath{clean: clean}
}

func cleanURLPath(p string) string {
	p, _, _ = strings.Cut(p, "?")
	return path.Clean("/" + p)
}

// pathPattern matches cleaned absolute paths: * is anything but a slash, ** anything, and PATH/** also PATH itself.
type pathPattern struct{ re *regexp.Regexp }

func newPathPattern(pattern string) (*pathPattern, error) {
	if !strings.HasPrefix(pattern, "/") || path.Clean(pattern) != pattern {
		return nil, fmt.Errorf("path %q: want an absolute path without . or .., with * and ** as wildcards", pattern)
	}
	re := strings.NewReplacer(`/\*\*`, `(?:/.*)?`, `\*\*`, `.*`, `\*`, `[^/]*`).Replace(regexp.QuoteMeta(pattern))
	return &pathPattern{re: regexp.MustCompile(`(?s)^` + re + `$`)}, nil
}

func (p *pathPattern) match(r resourcePath) bool { return !r.unknown && p.re.MatchString(r.clean) }
