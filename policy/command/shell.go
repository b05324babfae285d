package command

import (
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/sekisho/sekisho/policy"
)

// Shell is what an interactive shell says about itself when a line is entered.
type Shell struct {
	Dir       string // the folder it is in; "" when that is not known
	Aliases   map[string]string
	Functions map[string]bool
	Opaque    string // why the shell itself says that the line cannot be told, "" when it does not
}

// Limits on what an interactive shell may say.
const (
	maxAliases  = 1024
	maxExpanded = 8 // rounds of aliases that name aliases
)

// ClassifyIn tells what a line needs that is entered into an interactive shell. Files are the absolute ones, aliases are
// expanded, functions are opaque. What changes how the shell reads or asks about later lines is opaque, too.
func (c *Catalogue) ClassifyIn(sh Shell, line string) Result {
	expanded, why := sh.expand(line)
	if sh.Opaque != "" {
		why = sh.Opaque
	}
	if why != "" {
		return opaque(Hash(line), why, nil)
	}
	r := c.Classify(expanded)
	if r.Opaque {
		return r
	}
	for i, n := range r.Needs {
		r.Needs[i] = sh.absolute(n, line)
	}
	return r
}

// absolute names a relative file by where the shell is.
func (sh Shell) absolute(n policy.Need, line string) policy.Need {
	switch {
	case n.Right == policy.Execute:
		word, _, _ := strings.Cut(n.Resource, " ")
		if strings.Contains(word, "/") && !strings.HasPrefix(word, "/") {
			n.Resource = Hash(sh.Dir + "\x00" + line)
		}
	case strings.HasPrefix(n.Resource, "sha256:"), strings.HasPrefix(n.Resource, "/"), strings.HasPrefix(n.Resource, "~"):
	case sh.Dir == "":
		n.Resource = Hash(line)
	default:
		n.Resource = path.Join(sh.Dir, n.Resource)
	}
	return n
}

// ruling are the builtins that change how the shell reads what comes later, or whether it asks.
var ruling = []string{"trap", "shopt", "bind", "set", "enable", "unalias", "fc", "exec"}

// expand replaces aliases as the shell will, and says why a line cannot be told.
func (sh Shell) expand(line string) (expanded, why string) {
	if len(sh.Aliases) > maxAliases {
		return "", "too many aliases"
	}
	used := map[string]bool{}
	for range maxExpanded {
		file, why := parse(line)
		if file == nil {
			return "", why
		}
		next, again := sh.expandOnce(line, file, used)
		if !again {
			return line, sh.settled(file, used)
		}
		if line = next; len(line) > maxLine {
			return "", "a line of more than 16 KiB"
		}
	}
	return "", "aliases within aliases"
}

// expandOnce replaces every command word that is an alias not used in an earlier round.
func (sh Shell) expandOnce(line string, file *syntax.File, used map[string]bool) (next string, again bool) {
	var edits []edit
	var now []string
	for _, words := range commandWords(file) {
		for _, word := range words {
			name := plainWord(word)
			text, is := sh.Aliases[name]
			if !is || used[name] {
				break
			}
			edits = append(edits, edit{int(word.Pos().Offset()), int(word.End().Offset()), text})
			now = append(now, name)
			if !strings.HasSuffix(text, " ") && !strings.HasSuffix(text, "\t") {
				break // only after a blank at its end the next word is looked at
			}
		}
	}
	if len(edits) == 0 {
		return line, false
	}
	for _, name := range now {
		used[name] = true
	}
	slices.SortFunc(edits, func(a, b edit) int { return b.from - a.from })
	for _, e := range edits {
		line = line[:e.from] + e.text + line[e.to:]
	}
	return line, true
}

// settled says why a line without further aliases to expand cannot be told.
func (sh Shell) settled(file *syntax.File, used map[string]bool) (why string) {
	for node := range syntax.Preorder(file) {
		if p, ok := node.(*syntax.ParamExp); ok && p.Param != nil && strings.HasPrefix(p.Param.Value, "__sekisho") {
			return "a variable of the gateway's"
		}
		if a, ok := node.(*syntax.Assign); ok && a.Name != nil && strings.HasPrefix(a.Name.Value, "__sekisho") {
			return "a variable of the gateway's"
		}
		if f, ok := node.(*syntax.FuncDecl); ok && (f.Name == nil || strings.HasPrefix(f.Name.Value, "__sekisho")) {
			return "a function of the gateway's"
		}
	}
	for _, words := range commandWords(file) {
		name := bareName(words[0])
		text, alias := sh.Aliases[name]
		switch {
		case strings.HasPrefix(name, "__sekisho"):
			return "a function of the gateway's"
		case slices.ContainsFunc(words, func(w *syntax.Word) bool { return strings.Contains(bareName(w), "__sekisho") }):
			return "a name of the gateway's"
		case sh.Functions[name]:
			return "the function " + name
		case slices.Contains(ruling, name):
			return name
		case alias && plainWord(words[0]) == name && (!used[name] || firstWord(text) != name):
			return "the alias " + name
		}
	}
	return ""
}

// commandWords are the words of every simple command in a line, the command first.
func commandWords(file *syntax.File) (all [][]*syntax.Word) {
	for node := range syntax.Preorder(file) {
		if call, ok := node.(*syntax.CallExpr); ok && len(call.Args) > 0 {
			all = append(all, call.Args)
		}
	}
	return all
}

// plainWord is a word that nothing in it quotes, "" for any other.
func plainWord(word *syntax.Word) string {
	if len(word.Parts) != 1 {
		return ""
	}
	if lit, ok := word.Parts[0].(*syntax.Lit); ok && !strings.Contains(lit.Value, `\`) {
		return lit.Value
	}
	return ""
}

// bareName is a command's name whatever quotes stand in it; variables stay as they are.
func bareName(word *syntax.Word) string {
	var name strings.Builder
	for node := range syntax.Preorder(word) {
		switch n := node.(type) {
		case *syntax.Lit:
			name.WriteString(strings.ReplaceAll(n.Value, `\`, ""))
		case *syntax.SglQuoted:
			name.WriteString(n.Value)
		}
	}
	return name.String()
}

func firstWord(text string) string {
	words := strings.Fields(text)
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// Incomplete says whether a shell that is given these lines waits for more before it runs any of them.
func Incomplete(lines string) bool {
	if len(lines) > maxLine || openers(lines) > maxOpeners {
		return false
	}
	if strings.HasSuffix(strings.TrimRight(lines, "\n"), `\`) && !strings.HasSuffix(lines, `\\`) {
		return true
	}
	_, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(lines+"\n"), "")
	return err != nil && syntax.IsIncomplete(err)
}
