package command

import (
	"slices"
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// arguments are a program's words sorted into options and operands.
type arguments struct {
	operands []word
	given    map[string]bool // the options that are there, by name with dashes
	values   map[string]word // what the listed ones that take a word got
}

// plain reads a program with options and operands.
func (r *reader) plain(p *program, argv []word) {
	before := len(r.needs)
	args := r.arguments(p, argv)
	r.operands(p, argv, args)
	if len(r.needs) == before && (p.also == "" || p.also == nothing || p.also == moves) {
		r.need(policy.Read, r.line(argv))
	}
}

// operands notes what happens to the files.
func (r *reader) operands(p *program, argv []word, args arguments) {
	files := args.operands
	if !args.any(p.unless...) {
		skipped := min(p.skip, len(files))
		for _, w := range files[:skipped] {
			if w.splits() {
				r.apply(p.operands, argv, w)
			}
		}
		files = files[skipped:]
	}
	last := len(files) - 1
	if p.last == "" || args.any("-t", "--target-directory") {
		last = -1
	}
	for i, file := range files {
		switch {
		case i == last && !file.fixed(): // several files may come out of it
			r.apply(p.operands, argv, file)
			r.apply(p.last, argv, file)
		case i == last && i > 0:
			r.apply(p.last, argv, file)
		default:
			r.apply(p.operands, argv, file)
		}
		for _, e := range []effect{reads, writes, deletes} {
			if args.flagged(p, e) {
				r.apply(e, argv, file)
			}
		}
	}
}

// any says whether one of these options is there.
func (a arguments) any(options ...string) bool {
	return slices.ContainsFunc(options, func(option string) bool { return a.given[option] })
}

// flagged says whether an option without a value is there that has this effect.
func (a arguments) flagged(p *program, e effect) bool {
	for option := range a.given {
		if p.flags[option] == e {
			return true
		}
	}
	return false
}

// arguments sorts a program's words. Of a program whose options are leading, everything after the first operand is one.
func (r *reader) arguments(p *program, argv []word) arguments {
	args := arguments{given: map[string]bool{}, values: map[string]word{}}
	for i := 1; i < len(argv); i++ {
		w := argv[i]
		switch {
		case w.is("--"):
			args.operands = append(args.operands, argv[i+1:]...)
			return args
		case !w.fixed() || len(w.text) < 2 || w.text[0] != '-':
			if w.mayBeOption() {
				r.anyOption(p, argv)
			}
			if p.leading {
				args.operands = argv[i:]
				return args
			}
			args.operands = append(args.operands, w)
		case strings.HasPrefix(w.text, "--"):
			i += r.long(p, argv, i, &args)
		default:
			i += r.short(p, argv, i, &args)
		}
	}
	return args
}

// anyOption notes what an option could do that a word may turn out to be. Needs that the program has anyway are noted for
// whatever the line makes of them; anything more cannot be told.
func (r *reader) anyOption(p *program, argv []word) {
	could := map[effect]bool{}
	for _, options := range []map[string]effect{p.values, p.flags} {
		for _, e := range options {
			could[e] = true
		}
	}
	more := p.strict
	for _, e := range []effect{reads, writes, deletes, runs, admins, hides, shows, names, numbers, moves} {
		switch {
		case !could[e] || e == p.also:
		case e == p.operands || e == p.last || e == reads:
			r.apply(e, argv, unknown)
		default:
			more = true
		}
	}
	if more {
		r.opaque("an argument that may be an option of " + argv[0].text)
	}
}

// long reads --name, --name=value or --name value and returns how many words beyond the first it took. A name may be
// shortened, so a listed option counts wherever it may be meant.
func (r *reader) long(p *program, argv []word, i int, args *arguments) int {
	name, value, attached := strings.Cut(argv[i].text, "=")
	meant := p.meant(name)
	if len(meant) == 0 {
		r.unlistedOption(p, argv, name)
	}
	taken := 0
	for _, option := range meant {
		switch _, takesValue := p.values[option]; {
		case !takesValue:
			r.flag(p, argv, option, args)
		case attached:
			r.value(p, argv, option, literal(value), args)
		default:
			taken = r.next(p, argv, i+1, option, args)
		}
	}
	return taken
}

// meant lists the options of a program that a long option may be short for.
func (p *program) meant(name string) []string {
	var list []string
	for _, options := range []map[string]effect{p.values, p.flags} {
		for option := range options {
			if option == name {
				return []string{option}
			}
			if strings.HasPrefix(option, name) {
				list = append(list, option)
			}
		}
	}
	slices.Sort(list)
	return list
}

// short reads -abc, -ovalue or -o value and returns how many words beyond the first it took. A program that spells long
// options with one dash lists them in full.
func (r *reader) short(p *program, argv []word, i int, args *arguments) int {
	text := argv[i].text
	if _, ok := p.values[text]; ok {
		return r.next(p, argv, i+1, text, args)
	}
	if _, ok := p.flags[text]; ok {
		r.flag(p, argv, text, args)
		return 0
	}
	for j := 1; j < len(text); j++ {
		option := "-" + text[j:j+1]
		if _, ok := p.values[option]; ok {
			if rest := text[j+1:]; rest != "" {
				r.value(p, argv, option, literal(rest), args)
				return 0
			}
			return r.next(p, argv, i+1, option, args)
		}
		if _, ok := p.flags[option]; !ok {
			r.unlistedOption(p, argv, option)
		}
		r.flag(p, argv, option, args)
	}
	return 0
}

// next gives an option the word after it and returns how many words that are.
func (r *reader) next(p *program, argv []word, i int, option string, args *arguments) int {
	if i >= len(argv) {
		args.given[option] = true
		return 0
	}
	if argv[i].loose || argv[i].wild && argv[i].mayBeOption() {
		r.anyOption(p, argv) // several words may come out of it
	}
	r.value(p, argv, option, argv[i], args)
	return 1
}

// value applies an option's effect to the word it takes.
func (r *reader) value(p *program, argv []word, option string, w word, args *arguments) {
	args.given[option] = true
	args.values[option] = w
	r.apply(p.values[option], argv, w)
}

// flag notes an option without a value. Effects on operands are applied with them.
func (r *reader) flag(p *program, argv []word, option string, args *arguments) {
	args.given[option] = true
	if e := p.flags[option]; e == runs || e == admins || e == hides {
		r.apply(e, argv, word{})
	}
}

func (r *reader) unlistedOption(p *program, argv []word, option string) {
	if p.strict {
		r.opaque("the option " + option + " of " + argv[0].text)
	}
}
