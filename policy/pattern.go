package policy

import "strings"

// symbol is a byte of a pattern, or the star that stands for a run of them.
type symbol int16

const anyRun symbol = -1

// symbols are a pattern or a part of one, with the escapes resolved.
type symbols []symbol

// readPattern resolves the escapes \* and \\ of a pattern; several stars in a row are one.
func readPattern(pattern string) symbols {
	out := make(symbols, 0, len(pattern))
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*':
			if len(out) == 0 || out[len(out)-1] != anyRun {
				out = append(out, anyRun)
			}
		case c == '\\' && i+1 < len(pattern) && (pattern[i+1] == '*' || pattern[i+1] == '\\'):
			i++
			out = append(out, symbol(pattern[i]))
		default:
			out = append(out, symbol(c))
		}
	}
	return out
}

func readLiteral(text string) symbols {
	out := make(symbols, len(text))
	for i := range len(text) {
		out[i] = symbol(text[i])
	}
	return out
}

// wide says that the pattern covers more than one resource.
func (p symbols) wide() bool {
	for _, s := range p {
		if s == anyRun {
			return true
		}
	}
	return false
}

// text is a pattern without a star.
func (p symbols) text() string {
	var b strings.Builder
	for _, s := range p {
		b.WriteByte(byte(s))
	}
	return b.String()
}

func anything(symbol) bool { return true }

// plainSymbol is a character that means itself wherever it stands in a command, or a star, which stands for such.
func plainSymbol(s symbol) bool {
	return s == anyRun || s >= 0 && strings.IndexByte(plainCharacters, byte(s)) >= 0
}

const plainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"

// glob says whether the pattern covers every text that other stands for, where a star covers what run takes. It takes time
// proportional to both lengths and, where stars are choosy, may say no where a cleverer search would say yes.
func (p symbols) glob(other symbols, run func(symbol) bool) bool {
	i, j, star, from := 0, 0, -1, 0
	for j < len(other) {
		switch {
		case i < len(p) && p[i] == anyRun:
			star, from = i, j
			i++
		case i < len(p) && p[i] == other[j]:
			i, j = i+1, j+1
		case star >= 0 && run(other[from]):
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(p) && p[i] == anyRun {
		i++
	}
	return i == len(p)
}

// words splits a command, or a pattern for commands, as a shell would that knows only quotes. It is false for everything
// else a shell would do something about: then only the very same text is the same command. A star within quotes is a star.
func (p symbols) words() ([]symbols, bool) {
	var all []symbols
	for rest := p; ; {
		word, n, ok := rest.word()
		if !ok {
			return nil, false
		}
		all = append(all, word)
		if n == len(rest) {
			return all, true
		}
		rest = rest[n+1:] // past the space
	}
}

// word reads the first word and says where it ends: at a space or the end.
func (p symbols) word() (word symbols, n int, ok bool) {
	for n < len(p) && p[n] != ' ' {
		switch {
		case plainSymbol(p[n]):
			word = append(word, p[n])
			n++
		case p[n] == '\'' || p[n] == '"':
			inner, size, ok := p[n:].quoted()
			if !ok {
				return nil, 0, false
			}
			word = append(word, inner...)
			n += size
		default:
			return nil, 0, false
		}
	}
	return word, n, n > 0
}

// quoted reads what stands between quotes and says how long it is with them.
func (p symbols) quoted() (inner symbols, n int, ok bool) {
	quote := p[0]
	for n = 1; n < len(p); n++ {
		s := p[n]
		switch {
		case s == quote:
			return inner, n + 1, true
		case quote == '"' && (s == '$' || s == '`'):
			return nil, 0, false
		case quote == '"' && s == '\\' && n+1 < len(p) && (p[n+1] == '"' || p[n+1] == '\\' || p[n+1] == '$' || p[n+1] == '`'):
			n++
			s = p[n]
		}
		if s == anyRun {
			s = '*'
		}
		inner = append(inner, s)
	}
	return nil, 0, false
}

// coversCommand compares a command with a pattern word by word.
func coversCommand(p symbols, command string) bool { return includesCommand(p, readLiteral(command)) }

// includesCommand says that every command the narrow pattern covers is covered by the wide one.
func includesCommand(wide, narrow symbols) bool {
	w, ok := wide.words()
	if !ok || w[0].wide() {
		return false
	}
	n, ok := narrow.words()
	if !ok {
		return false
	}
	for i, word := range w {
		if i == len(w)-1 && word.lone() {
			return i < len(n) && plainWords(n[i:])
		}
		if i >= len(n) || !word.glob(n[i], plainSymbol) || word.lone() && len(n[i]) == 0 {
			return false
		}
	}
	return len(w) == len(n)
}

// lone says that a word is a star and nothing else.
func (p symbols) lone() bool { return len(p) == 1 && p[0] == anyRun }

// plainWords says that all words are plain and none is empty.
func plainWords(words []symbols) bool {
	for _, word := range words {
		if len(word) == 0 {
			return false
		}
		for _, s := range word {
			if !plainSymbol(s) {
				return false
			}
		}
	}
	return true
}
