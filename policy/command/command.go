// Package command tells what a shell command line needs: which right on which resource. It reads the line as bash would
// without running anything. It is a guard rail, not a wall: what it cannot tell it calls opaque, and what a listed program
// does beyond its own files it cannot see.
package command

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/sekisho/sekisho/policy"
)

// Limits on one line. Beyond them it is opaque.
const (
	maxLine    = 16 << 10 // bytes
	maxOpeners = 512      // brackets, braces and backquotes
	maxDepth   = 64       // nested constructs, and shells within shells
	maxNeeds   = 256
)

// Result is what a line needs. Needs is never empty; of an opaque line it is {execute, sha256:HEX}.
//
// A need's Resource is the file as written for read, write and delete, or the quoted command for execute and for programs
// that take no files. Where a file depends on a variable, on another command's output or on a change of folder, it is the
// line's Hash; where a command does, the Hash is needed as well. So an approval covers this line and no other.
type Result struct {
	Needs    []policy.Need
	Opaque   bool
	Why      string     // why a line is opaque: a few words, "eval"
	Programs [][]string // the commands of the line with their arguments, secrets masked
}

// Hash names a line by its content: sha256:HEX.
func Hash(line string) string {
	sum := sha256.Sum256([]byte(line))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Classify tells what a line needs. It never fails: a line it cannot read is opaque.
//
// What is shown of the line is taken from Mask(line), what is decided from the line itself; where the two would need
// different rights, the line is opaque, and where they name different files, the line's hash stands for them. What runs with
// a secret, or with the word that stands for one, needs the hash as well.
func (c *Catalogue) Classify(line string) Result {
	hash := Hash(line)
	r := c.read(line, hash)
	result := r.result()
	if masked := Mask(line); masked != line {
		shown := c.read(masked, hash)
		result.Programs = shown.programs
		switch {
		case result.Opaque:
			result.Why = Mask(result.Why)
		case shown.why != "" || !sameRights(result.Needs, shown.needs):
			return opaque(hash, "a secret in an unusual place", shown.programs)
		default:
			result.Needs = r.disguised(shown)
		}
	} else if !result.Opaque && strings.Contains(line, mask) {
		result.Needs = r.toLine(result.Needs)
	}
	return result
}

func (c *Catalogue) read(line, hash string) *reader {
	r := &reader{catalogue: c, hash: hash, files: map[policy.Need]bool{}}
	r.script(line)
	if len(r.needs) == 0 { // nothing but assignments or a comment
		r.need(policy.Read, cmp.Or(strings.TrimSpace(line), ":"))
	}
	r.settle()
	return r
}

func (r *reader) result() Result {
	if r.why != "" {
		return opaque(r.hash, r.why, r.programs)
	}
	return Result{Needs: r.needs, Programs: r.programs}
}

// settle names relative paths by the line's hash when the line changes its folder: they are not what they are elsewhere.
// What runs in another folder may do something else, too.
func (r *reader) settle() {
	if !r.moved {
		return
	}
	needs := r.needs
	r.needs = nil
	for _, n := range needs {
		if r.files[n] && !strings.HasPrefix(n.Resource, "/") {
			r.file(n.Right, r.hash)
		} else {
			r.need(n.Right, n.Resource)
		}
		if n.Right == policy.Execute {
			r.need(n.Right, r.hash)
		}
	}
}

// disguised is what a line needs with its secrets masked. A path is not told by a part of it, and what runs with another
// secret may do something else.
func (r *reader) disguised(shown *reader) []policy.Need {
	needs := slices.Clone(shown.needs)
	for i, n := range r.needs {
		if r.files[n] && n != needs[i] {
			needs[i].Resource = r.hash
		}
	}
	return r.toLine(needs)
}

// toLine binds what runs to the line, by its hash.
func (r *reader) toLine(needs []policy.Need) []policy.Need {
	hash := policy.Need{Right: policy.Execute, Resource: r.hash}
	if slices.ContainsFunc(needs, func(n policy.Need) bool { return n.Right == policy.Execute }) && !slices.Contains(needs, hash) {
		return append(needs, hash)
	}
	return needs
}

func opaque(hash, why string, programs [][]string) Result {
	return Result{Opaque: true, Why: why, Programs: programs, Needs: []policy.Need{{Right: policy.Execute, Resource: hash}}}
}

// sameRights says that two lists need the same rights in the same order; secrets may make their resources differ.
func sameRights(a, b []policy.Need) bool {
	return slices.EqualFunc(a, b, func(x, y policy.Need) bool { return x.Right == y.Right })
}

// parse reads a line as bash, the language that holds the others' everyday forms.
func parse(line string) (*syntax.File, string) {
	switch {
	case len(line) > maxLine:
		return nil, "a line of more than 16 KiB"
	case strings.ContainsRune(line, 0):
		return nil, "a NUL byte"
	case openers(line) > maxOpeners:
		return nil, "deep nesting"
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash), syntax.KeepComments(true)).Parse(strings.NewReader(line), "")
	if err != nil {
		return nil, "syntax that cannot be read"
	}
	return file, ""
}

func openers(line string) (n int) {
	for i := range len(line) {
		switch line[i] {
		case '(', '{', '[', '`':
			n++
		}
	}
	return n
}
