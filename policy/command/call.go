package command

import (
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/sekisho/sekisho/policy"
)

// call reads a simple command.
func (r *reader) call(cmd *syntax.CallExpr) {
	for _, a := range cmd.Assigns {
		r.assignment(a)
	}
	if len(cmd.Args) == 0 {
		return
	}
	argv := make([]word, len(cmd.Args))
	for i, arg := range cmd.Args {
		argv[i] = r.word(arg)
	}
	name := argv[0]
	function := name.fixed() && r.declared[name.text]
	if function {
		r.invoke(argv)
	}
	if !function || r.catalogue.lookup(name.text) != nil {
		r.run(argv)
	}
}

// invoke reads a call of a function that the line defines; its body was read where it stands. One that is not certainly
// defined by now may be a program instead, or call itself.
func (r *reader) invoke(argv []word) {
	if !r.defined[argv[0].text] {
		r.opaque("a function that may not be defined yet")
	}
	if slices.Contains(zshWords, argv[0].text) {
		r.opaque(anotherShell)
	}
	r.programs = append(r.programs, texts(argv))
	r.need(policy.Read, r.line(argv))
}

// zshWords are what zsh takes for its own whatever function has that name.
var zshWords = []string{"-", "always", "end", "foreach", "nocorrect", "repeat"}

// run reads a program and its arguments.
func (r *reader) run(argv []word) {
	defer func() { r.depth-- }()
	if !r.deeper() {
		return
	}
	r.programs = append(r.programs, texts(argv))
	name := argv[0]
	switch {
	case !name.fixed():
		r.opaque("a program that is named by a variable or wildcard")
		return
	case name.text == "" || strings.HasPrefix(name.text, "="):
		r.opaque("a program that cannot be told")
		return
	}
	p := r.catalogue.lookup(name.text)
	if p == nil {
		r.unlisted(argv)
		return
	}
	r.apply(p.also, argv, word{})
	switch p.kind {
	case wrapper:
		r.wrapped(p, argv)
	case xargs:
		r.xargs(p, argv)
	case shell:
		r.shell(argv)
	case find:
		r.find(argv)
	case sed:
		r.sed(argv)
	case trap:
		r.trap(argv)
	case test:
		r.condition(argv)
	case printf:
		r.printf(p, argv)
	case set:
		r.set(argv)
	case rsync:
		r.rsync(argv)
	case git:
		r.git(argv)
	default:
		r.plain(p, argv)
	}
}

// scripts are how files end that an interpreter would run.
var scripts = []string{
	".sh", ".bash", ".zsh", ".ksh", ".csh", ".fish", ".py", ".pl", ".rb", ".js", ".php", ".lua", ".tcl", ".awk",
}

// unlisted is a program that the catalogue does not have. What is named like a script could do anything.
func (r *reader) unlisted(argv []word) {
	name := argv[0].text
	if slices.Contains(scripts, path.Ext(name)) {
		r.opaque("an unknown script")
	}
	r.runs(policy.Execute, argv)
}

// apply notes one effect: on the file that w stands for, or on the whole command.
func (r *reader) apply(e effect, argv []word, w word) {
	switch e {
	case reads, writes, deletes:
		if !w.pipe && !w.is("") && !(e == reads && w.is("-")) && !(w.fixed() && r.ownDevice(policy.Right(e), w.text)) {
			r.file(policy.Right(e), r.resource(w))
		}
	case runs, admins:
		r.runs(policy.Right(e), argv)
	case hides:
		r.opaque(argv[0].text)
	case names:
		r.named(w)
	case numbers:
		if !w.number() {
			r.opaque("arithmetic on variables")
		}
	case moves:
		r.moved = true
	}
}

// named is a word that names a variable which gets a value.
func (r *reader) named(w word) {
	if !w.fixed() {
		r.opaque("an assignment that cannot be told")
		return
	}
	if r.declared[w.text] { // unset takes functions, too
		r.opaque("a function that may not be defined yet")
	}
	r.assigned(w.text, unknown)
}

// runs notes a command that runs, by its words. Where it does more than they say, because part of them is not known or
// because the line feeds it input or variables, the whole line's hash stands beside them, so that an approval is for this
// line only.
func (r *reader) runs(right policy.Right, argv []word) {
	r.need(right, r.line(argv))
	if r.bound || r.fed > 0 || slices.ContainsFunc(argv, func(w word) bool { return w.dynamic || w.pipe }) {
		r.need(right, r.hash)
	}
}

// line is a command as a resource: each word quoted where it needs to be, what is not known as written.
func (r *reader) line(argv []word) string {
	words := texts(argv)
	for i, w := range argv {
		if w.fixed() {
			words[i] = quote(w.text)
		}
	}
	return strings.Join(words, " ")
}

func texts(argv []word) []string {
	out := make([]string, len(argv))
	for i, w := range argv {
		out[i] = w.text
	}
	return out
}
