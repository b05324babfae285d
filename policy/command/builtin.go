package command

import (
	"slices"
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// printf reads printf. zsh evaluates what %d shows and bash gives a variable its value with %n, so the format must be known
// and what it shows as a number be one.
func (r *reader) printf(p *program, argv []word) {
	args := r.arguments(p, argv).operands
	if len(args) > 0 && !(args[0].fixed() && showsOnly(args[0].text, args[1:])) {
		r.opaque("a printf that may evaluate what it shows")
	}
	r.need(policy.Read, r.line(argv))
}

// showsOnly says whether a format, which is used again as long as there are words, shows texts and numbers and no more.
func showsOnly(format string, words []word) bool {
	list := conversions(format)
	for i, after := range list {
		after = strings.TrimLeft(after, "-+ #'0123456789.")
		switch {
		case after == "" || !strings.Contains("sbqcdiouxXeEfFgG", after[:1]):
			return false
		case strings.Contains("sbqc", after[:1]):
			continue
		}
		for j, w := range words {
			if w.splits() || j%len(list) == i && !w.number() {
				return false
			}
		}
	}
	return true
}

// conversions lists what follows each % of a format, %% left out.
func conversions(format string) []string {
	var list []string
	for {
		_, after, ok := strings.Cut(format, "%")
		if !ok {
			return list
		}
		if strings.HasPrefix(after, "%") {
			format = after[1:]
			continue
		}
		list, format = append(list, after), after
	}
}

// set reads set: options that change no more than when a script stops and what it shows, then positional parameters.
func (r *reader) set(argv []word) {
	for i := 1; i < len(argv); i++ {
		w := argv[i]
		if !w.fixed() && w.mayBeOption() {
			r.opaque("an argument that may be an option of set")
		}
		if !w.fixed() || len(w.text) < 2 || w.text == "--" || w.text[0] != '-' && w.text[0] != '+' {
			break
		}
		letters := strings.TrimSuffix(w.text[1:], "o")
		named := letters != w.text[1:]
		if strings.Trim(letters, "euxfvnCE") != "" || named && i+1 < len(argv) && !harmlessOption(argv[i+1]) {
			r.opaque("the option " + w.text + " of set")
		}
		if named {
			i++
		}
	}
	r.need(policy.Read, r.line(argv))
}

// harmlessOption says whether an option by name, of set or of a shell, is one that set may change. Others change what the
// lines after it mean: histexpand, posix, zsh's many.
func harmlessOption(w word) bool {
	return w.fixed() && slices.Contains([]string{
		"errexit", "nounset", "pipefail", "xtrace", "verbose", "noexec", "noclobber", "errtrace", "noglob",
	}, w.text)
}
