package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxGlob bounds a glob pattern, in bytes.
const maxGlob = 1024

// globExpression is the regular expression that matches what a glob pattern does: * is any run of characters without a
// delimiter, ** any run, ? one character that is no delimiter, [a-z] and [!a-z] one of a class, {a,b} one of several, and a
// backslash takes the meaning from what follows it. The library that OPA itself uses takes time that grows with a high power
// of the text's length.
func globExpression(pattern string, delimiters []rune) (string, error) {
	if len(pattern) > maxGlob {
		return "", fmt.Errorf("a pattern of more than %d bytes", maxGlob)
	}
	one := `[^` + classOf(delimiters) + `]`
	if len(delimiters) == 0 {
		one = `.`
	}
	var re strings.Builder
	re.WriteString(`(?s)^`)
	depth, runes := 0, []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; {
		case c == '\\' && i+1 < len(runes):
			i++
			re.WriteString(regexp.QuoteMeta(string(runes[i])))
		case c == '*' && i+1 < len(runes) && runes[i+1] == '*':
			i++
			re.WriteString(`.*`)
		case c == '*':
			re.WriteString(one + `*`)
		case c == '?':
			re.WriteString(one)
		case c == '[':
			class, length, err := globClass(runes[i:])
			if err != nil {
				return "", err
			}
			re.WriteString(class)
			i += length - 1
		case c == '{':
			depth++
			re.WriteString(`(?:`)
		case c == ',' && depth > 0:
			re.WriteString(`|`)
		case c == '}' && depth > 0:
			depth--
			re.WriteString(`)`)
		case c == '}' || c == '\\':
			return "", fmt.Errorf("pattern %q: %c stands alone", pattern, c)
		default:
			re.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	if depth > 0 {
		return "", fmt.Errorf("pattern %q: { has no }", pattern)
	}
	re.WriteString(`$`)
	return re.String(), nil
}

// globClass reads [abc], [a-z] or one of these with a ! at its beginning.
func globClass(runes []rune) (class string, length int, err error) {
	end := slices.Index(runes, ']')
	inside := runes[1:max(end, 1)]
	negated := len(inside) > 0 && inside[0] == '!'
	if negated {
		inside = inside[1:]
	}
	if len(inside) == 0 {
		return "", 0, fmt.Errorf("pattern %q: [ has no ], or nothing in it", string(runes))
	}
	if len(inside) == 3 && inside[1] == '-' {
		if inside[0] > inside[2] {
			return "", 0, fmt.Errorf("pattern %q: the range %s is upside down", string(runes), string(inside))
		}
		class = classOf(inside[:1]) + "-" + classOf(inside[2:])
	} else {
		class = classOf(inside)
	}
	if negated {
		class = "^" + class
	}
	return "[" + class + "]", end + 1, nil
}

// classOf spells characters so that they mean themselves in a class.
func classOf(runes []rune) string {
	var class strings.Builder
	for _, c := range runes {
		fmt.Fprintf(&class, `\x{%x}`, c)
	}
	return class.String()
}
