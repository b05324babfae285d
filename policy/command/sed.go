package command

import (
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// sed reads sed: its scripts must be edits and prints only, its files are read, and written with -i.
func (r *reader) sed(_ *program, argv []word) {
	var scripts, files []word
	explicit, inPlace := false, false
	take := func(i int) {
		if explicit = true; i < len(argv) {
			scripts = append(scripts, argv[i])
		}
	}
	for i := 1; i < len(argv); i++ {
		w := argv[i]
		text := w.text
		switch {
		case w.mayBeOption() && !w.fixed():
			r.opaque("an argument that may be an option of sed")
		case !w.fixed() || len(text) < 2 || text[0] != '-':
			files = append(files, w)
		case text == "--":
			files = append(files, argv[i+1:]...)
			i = len(argv)
		case strings.HasPrefix(text, "--"):
			option, value, attached := strings.Cut(text, "=")
			switch {
			case option == "--expression" && attached:
				explicit, scripts = true, append(scripts, literal(value))
			case option == "--expression":
				i++
				take(i)
			case option == "--in-place":
				inPlace = true
			case !sedHarmless(option):
				r.opaque("the option " + option + " of sed")
			}
		default:
			i += r.sedLetters(text[1:], &inPlace, &scripts, &explicit, func() { take(i + 1) })
		}
	}
	if !explicit && len(files) > 0 {
		scripts, files = files[:1], files[1:]
	}
	r.sedScripts(scripts)
	for _, file := range files {
		r.apply(reads, argv, file)
		if inPlace {
			r.apply(writes, argv, file)
		}
	}
	if len(files) == 0 {
		r.need(policy.Read, r.line(argv))
	}
}

func sedHarmless(option string) bool {
	switch option {
	case "--quiet", "--silent", "--regexp-extended", "--separate", "--unbuffered", "--null-data", "--posix", "--sandbox":
		return true
	}
	return false
}

// sedLetters reads -nE, -i.bak or -e SCRIPT and returns how many more words it took.
func (r *reader) sedLetters(letters string, inPlace *bool, scripts *[]word, explicit *bool, next func()) int {
	for i := range len(letters) {
		switch letters[i] {
		case 'n', 'E', 'r', 's', 'u', 'z':
		case 'i':
			*inPlace = true
			return 0
		case 'e':
			if rest := letters[i+1:]; rest != "" {
				*explicit, *scripts = true, append(*scripts, literal(rest))
				return 0
			}
			next()
			return 1
		default:
			r.opaque("the option -" + letters[i:i+1] + " of sed")
			return 0
		}
	}
	return 0
}

func (r *reader) sedScripts(scripts []word) {
	for _, script := range scripts {
		if !script.fixed() || !harmlessSed(script.text) {
			r.opaque("a sed script that may run code")
		}
	}
}

// harmlessSed says that a script only prints, deletes lines and substitutes: the commands e, w, r and their like run programs
// or touch files.
func harmlessSed(script string) bool {
	for script != "" {
		script = strings.TrimLeft(script, " \t\n;{}")
		if script == "" {
			return true
		}
		var ok bool
		if script, ok = sedAddress(script); !ok || script == "" {
			return false
		}
		command := script[0]
		script = script[1:]
		switch {
		case strings.IndexByte("pPdDnNgGhHx=lq", command) >= 0:
			script = strings.TrimLeft(script, "0123456789")
		case command == 's' || command == 'y':
			if script, ok = sedSubstitute(script); !ok {
				return false
			}
		case command == '{' || command == '}':
		default:
			return false
		}
		if script != "" && strings.IndexByte(" \t\n;}", script[0]) < 0 && command != '{' {
			return false
		}
	}
	return true
}

// sedAddress skips what selects lines: numbers, $, /re/, ranges of these and !.
func sedAddress(s string) (string, bool) {
	for {
		s = strings.TrimLeft(s, "0123456789$~+ ")
		if strings.HasPrefix(s, "/") {
			var ok bool
			if s, ok = sedUntil(s[1:], '/'); !ok {
				return "", false
			}
			s = strings.TrimLeft(s, "I ")
		}
		if !strings.HasPrefix(s, ",") {
			return strings.TrimLeft(s, "! "), true
		}
		s = s[1:]
	}
}

// sedSubstitute skips the two parts and the flags of s and y.
func sedSubstitute(s string) (string, bool) {
	if s == "" || s[0] == '\\' || s[0] == '\n' || s[0] >= 0x80 {
		return "", false
	}
	delimiter := s[0]
	rest, ok := sedUntil(s[1:], delimiter)
	if !ok {
		return "", false
	}
	if rest, ok = sedUntil(rest, delimiter); !ok {
		return "", false
	}
	return strings.TrimLeft(rest, "gpiIm0123456789"), true
}

// sedUntil skips to behind the next delimiter that is not escaped. One between brackets does not count for GNU sed and does
// for others, so a script that has one is not accepted.
func sedUntil(s string, delimiter byte) (string, bool) {
	bracket := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\n' || c == delimiter && bracket:
			return "", false
		case c == delimiter:
			return s[i+1:], true
		case bracket:
			bracket = c != ']' || strings.IndexByte(":.=", s[i-1]) >= 0
		case c == '\\':
			i++
		case c == '[':
			if rest := strings.TrimPrefix(s[i+1:], "^"); strings.HasPrefix(rest, "]") {
				return "", false
			}
			bracket = true
		}
	}
	return "", false
}
