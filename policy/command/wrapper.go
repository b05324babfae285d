package command

import (
	"slices"
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// wrapped reads a program that runs another: options, assignments, operands of its own, then the command.
func (r *reader) wrapped(p *program, argv []word) {
	args := r.arguments(p, argv)
	rest := args.operands
	for p.assigns && len(rest) > 0 && r.environment(rest[0]) {
		rest = rest[1:]
	}
	skipped := min(p.skip, len(rest))
	if slices.ContainsFunc(rest[:skipped], word.splits) {
		r.opaque("an argument that may be a command")
	}
	rest = rest[skipped:]
	if len(rest) == 0 || args.flagged(p, shows) {
		r.need(policy.Read, r.line(argv))
		return
	}
	r.run(rest)
}

// xargs reads a wrapper whose command gets more arguments from outside: appended, or in place of a marker.
func (r *reader) xargs(p *program, argv []word) {
	args := r.arguments(p, argv)
	rest := slices.Clone(args.operands)
	if len(rest) == 0 {
		r.need(policy.Read, r.line(argv))
		return
	}
	marker, ok := args.values["-I"]
	switch {
	case !ok:
		r.run(append(rest, unknown))
		return
	case !marker.fixed() || args.any(appending...):
		r.opaque("xargs")
	}
	for i := range rest {
		rest[i] = filled(rest[i], marker.text)
	}
	r.run(rest)
}

// appending are the options with which xargs forgets a marker, if they come after it.
var appending = []string{"-n", "--max-args", "-L", "-l", "--max-lines"}

// filled is a word in which a marker stands for something that is not known.
func filled(w word, marker string) word {
	if !w.fixed() || !strings.Contains(w.text, marker) {
		return w
	}
	before, _, _ := strings.Cut(w.text, marker)
	return word{text: w.text, prefix: before, dynamic: true}
}

// shell reads a shell: what it gets with -c is read in its turn, anything else it may run cannot be told.
func (r *reader) shell(argv []word) {
	script := false
	i := 1
	for ; i < len(argv); i++ {
		w := argv[i]
		if w.mayBeOption() && !w.fixed() {
			r.opaque("a shell")
			return
		}
		if !w.fixed() || !strings.HasPrefix(w.text, "-") && !strings.HasPrefix(w.text, "+") {
			break
		}
		switch {
		case slices.Contains([]string{"--posix", "--norc", "--noprofile", "--login"}, w.text):
		case (w.is("-o") || w.is("+o")) && i+1 < len(argv) && harmlessOption(argv[i+1]):
			i++
		case len(w.text) > 1 && strings.Trim(w.text[1:], "ceuxvlfhm") == "":
			script = script || w.text[0] == '-' && strings.Contains(w.text, "c")
		default:
			r.opaque("a shell")
			return
		}
	}
	if !script || i >= len(argv) || !argv[i].fixed() {
		r.opaque("a shell")
		return
	}
	before := len(r.needs)
	r.script(argv[i].text)
	if len(r.needs) == before {
		r.need(policy.Read, r.line(argv))
	}
}

// trap reads trap: resetting and ignoring signals is harmless, a handler is code.
func (r *reader) trap(argv []word) {
	if len(argv) > 1 && !argv[1].is("-") && !argv[1].is("") && !argv[1].is("-l") && !argv[1].is("-p") {
		r.opaque("a trap")
	}
	r.need(policy.Read, r.line(argv))
}
