package command

import (
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// sedCall is a call of sed, sorted.
type sedCall struct {
	scripts, files []word
	explicit       bool // scripts came with -e, so the first operand is a file
	inPlace        bool // files are written, too
}

// sed reads sed: its scripts must be edits and prints only, its files are read, and written with -i.
func (r *reader) sed(argv []word) {
	var s sedCall
	for rest := argv[1:]; len(rest) > 0; {
		rest = r.sedWord(rest, &s)
	}
	if !s.explicit && len(s.files) > 0 {
		s.scripts, s.files = s.files[:1], s.files[1:]
	}
	r.sedScripts(s.scripts)
	for _, file := range s.files {
		r.apply(reads, argv, file)
		if s.inPlace {
			r.apply(writes, argv, file)
		}
	}
	if len(s.files) == 0 {
		r.need(policy.Read, r.line(argv))
	}
}

// sedWord sorts the first word, and the next one where it belongs to it, and returns the others.
func (r *reader) sedWord(words []word, s *sedCall) []word {
	w, rest := words[0], words[1:]
	switch {
	case w.mayBeOption() && !w.fixed():
		r.opaque("an argument that may be an option of sed")
	case !w.fixed() || len(w.text) < 2 || w.text[0] != '-':
		s.files = append(s.files, w)
	case w.text == "--":
		s.files = append(s.files, rest...)
		return nil
	case strings.HasPrefix(w.text, "--"):
		return r.sedLong(w.text, rest, s)
	default:
		return r.sedLetters(w.text[1:], rest, s)
	}
	return rest
}

// sedLong reads an option like --expression=SCRIPT.
func (r *reader) sedLong(text string, rest []word, s *sedCall) []word {
	option, value, attached := strings.Cut(text, "=")
	switch option {
	case "--quiet", "--silent", "--regexp-extended", "--separate", "--unbuffered", "--null-data", "--posix", "--sandbox":
	case "--in-place":
		s.inPlace = true
	case "--expression":
		if attached {
			rest = append([]word{literal(value)}, rest...)
		}
		return s.script(rest)
	default:
		r.opaque("the option " + option + " of sed")
	}
	return rest
}

// sedLetters reads options like -nE, -i.bak or -e SCRIPT.
func (r *reader) sedLetters(letters string, rest []word, s *sedCall) []word {
	for i := range len(letters) {
		switch letters[i] {
		case 'n', 'E', 'r', 's', 'u', 'z':
		case 'i': // what follows is the suffix of a backup
			s.inPlace = true
			return rest
		case 'e':
			if attached := letters[i+1:]; attached != "" {
				rest = append([]word{literal(attached)}, rest...)
			}
			return s.script(rest)
		default:
			r.opaque("the option -" + letters[i:i+1] + " of sed")
			return rest
		}
	}
	return rest
}

// script takes the next word as a script.
func (s *sedCall) script(words []word) []word {
	s.explicit = true
	if len(words) == 0 {
		return nil
	}
	s.scripts = append(s.scripts, words[0])
	return words[1:]
}

func (r *reader) sedScripts(scripts []word) {
	for _, script := range scripts {
		if !script.fixed() || !harmlessSed(script.text) {
			r.opaque("a sed script that may run code")
		}
	}
}

// harmlessSed says that a script only prints, deletes lines and substitutes: the commands e, w, r and their like run
// programs or touch files.
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
