package scp

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Command is the exec line with which an scp client starts scp on the target: one of the two ends of a copy.
type Command struct {
	Upload    bool // -t: the target receives; else -f, it sends
	Recursive bool // -r
	Times     bool // -p
	Folder    bool // -d: the path has to be a folder
	Path      string
}

// Parse reads `scp -t PATH` and `scp -f PATH` with the flags that clients send. It is false for everything that is not
// exactly that: more than one path, what a shell would expand, other flags.
func Parse(line string) (Command, bool) {
	words, ok := split(line)
	if !ok || len(words) < 3 || path.Base(words[0]) != "scp" {
		return Command{}, false
	}
	var c Command
	directions := 0
	words = words[1:]
	for len(words) > 0 && len(words[0]) > 1 && words[0][0] == '-' {
		flags := words[0][1:]
		words = words[1:]
		if flags == "-" {
			break
		}
		for _, flag := range flags {
			switch flag {
			case 't':
				c.Upload = true
				directions++
			case 'f':
				directions++
			case 'r':
				c.Recursive = true
			case 'p':
				c.Times = true
			case 'd':
				c.Folder = true
			case 'v', 'q':
			default:
				return Command{}, false
			}
		}
	}
	if directions != 1 || len(words) != 1 || words[0] == "" {
		return Command{}, false
	}
	c.Path = words[0]
	return c, true
}

// On is the command for a path that is known to be absolute.
func (c Command) On(path string) string {
	words := []string{"scp"}
	for _, flag := range []struct {
		set  bool
		name string
	}{{c.Recursive, "-r"}, {c.Times, "-p"}, {c.Folder, "-d"}, {c.Upload, "-t"}, {!c.Upload, "-f"}} {
		if flag.set {
			words = append(words, flag.name)
		}
	}
	return strings.Join(append(words, "'"+strings.ReplaceAll(path, "'", `'\''`)+"'"), " ")
}

// split takes a line apart as a shell does, if there is nothing in it that a shell would expand or carry out. A ~/ at the
// beginning of a word is the folder in which the target starts anyway.
func split(line string) (words []string, ok bool) {
	const special = "*?[]{}$`\"\\;&|<>()#!~\n\r"
	for rest := strings.TrimLeft(line, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		var word strings.Builder
		if after, home := strings.CutPrefix(rest, "~/"); home {
			rest = after
			word.WriteString("./")
		}
		for rest != "" && rest[0] != ' ' && rest[0] != '\t' {
			switch c := rest[0]; {
			case c == '\'':
				quoted, after, closed := strings.Cut(rest[1:], "'")
				if !closed {
					return nil, false
				}
				word.WriteString(quoted)
				rest = after
			case c == '"':
				quoted, after, closed := strings.Cut(rest[1:], `"`)
				if !closed || strings.ContainsAny(quoted, "$`\\!") {
					return nil, false
				}
				word.WriteString(quoted)
				rest = after
			case c == '\\' && len(rest) > 1 && rest[1] != '\n':
				word.WriteByte(rest[1])
				rest = rest[2:]
			case strings.IndexByte(special, c) >= 0:
				return nil, false
			default:
				word.WriteByte(c)
				rest = rest[1:]
			}
		}
		words = append(words, word.String())
	}
	return words, true
}

// fitName says whether a name may be one file in a folder, and put on record as it is.
func fitName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r == '/' || unicode.IsControl(r) })
}
