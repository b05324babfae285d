package policy

import (
	"fmt"
	"path"
	"regexp"
	"slices"
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

// otherName are the names under which any file can be found: a process's folders and what it runs and has open, and the
// devices that hold whole filesystems.
var otherName = regexp.MustCompile(`^/proc/[^/]+/(?:task/[^/]+/)?(?:root|cwd|exe|fd|map_files)(?:/|$)|^/dev/fd/|^/proc/kcore$|` +
	`^/dev/(?:mem|kmem|(?:sd|hd|vd|xvd|nvme|mmcblk|dm-|md|loop|disk/|mapper/|block/)[^/]*)(?:/|$)`)

// mayBeOther tells cheaply most paths apart from those that otherName is about.
func mayBeOther(clean string) bool {
	return strings.HasPrefix(clean, "/proc/") || strings.HasPrefix(clean, "/dev/")
}

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
	if clean == ".." || strings.HasPrefix(clean, "../") || mayBeOther(clean) && otherName.MatchString(clean) {
		return resourcePath{unknown: true}
	}
	return resourcePath{clean: clean}
}

func cleanURLPath(p string) string {
	p, _, _ = strings.Cut(p, "?")
	return path.Clean("/" + p)
}

// pathPattern matches cleaned absolute paths: * is anything but a slash, ** anything, and PATH/** also PATH itself.
type pathPattern struct {
	re    *regexp.Regexp
	loose *regexp.Regexp // without case
	homes []string       // where a login that the pattern may be about would start from
}

func newPathPattern(pattern string) (*pathPattern, error) {
	if !strings.HasPrefix(pattern, "/") || path.Clean(pattern) != pattern {
		return nil, fmt.Errorf("path %q: want an absolute path without . or .., with * and ** as wildcards", pattern)
	}
	re := strings.NewReplacer(`/\*\*`, `(?:/.*)?`, `\*\*`, `.*`, `\*`, `[^/]*`).Replace(regexp.QuoteMeta(pattern))
	return &pathPattern{re: regexp.MustCompile(`(?s)^` + re + `$`), loose: regexp.MustCompile(`(?is)^` + re + `$`),
		homes: homesIn(pattern)}, nil
}

// homesIn lists the usual home folders, those of the login that the pattern names if it does (/home/deploy/…).
func homesIn(pattern string) []string {
	login := "x"
	if folder := strings.Split(pattern, "/"); len(folder) > 2 && !strings.Contains(folder[1]+folder[2], "*") {
		login = folder[2]
	}
	return []string{"/home/" + login, "/Users/" + login, "/root"}
}

func (p *pathPattern) match(r resourcePath) bool { return !r.unknown && p.re.MatchString(r.clean) }

// mayMatch tells whether the path is, on some system, one that the pattern means: it is unknown, it is relative and the
// pattern is about a home folder, or it is the same but for case and for the dots and spaces that Windows drops at the
// end of a name.
func (p *pathPattern) mayMatch(r resourcePath) bool {
	if r.unknown || p.means(r.clean) {
		return true
	}
	return r.clean != "" && r.clean[0] != '/' && slices.ContainsFunc(p.homes, func(home string) bool {
		return p.means(path.Join(home, r.clean))
	})
}

func (p *pathPattern) means(clean string) bool {
	return p.loose.MatchString(clean) || p.loose.MatchString(trailing.ReplaceAllString(clean, "$1"))
}

var trailing = regexp.MustCompile(`[. ]+(/|$)`)
