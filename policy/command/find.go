package command

import (
	"slices"
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// What the parts of a find expression are. What is in none of these lists makes the line opaque.
var (
	findTests = []string{ // take a word that is no file
		"-name", "-iname", "-path", "-ipath", "-wholename", "-iwholename", "-regex", "-iregex", "-lname", "-ilname", "-type",
		"-xtype", "-user", "-group", "-uid", "-gid", "-perm", "-size", "-mtime", "-mmin", "-atime", "-amin", "-ctime", "-cmin",
		"-used", "-maxdepth", "-mindepth", "-inum", "-links", "-fstype", "-printf", "-regextype", "-context", "-newermt",
		"-newerat", "-newerct",
	}
	findReads  = []string{"-newer", "-anewer", "-cnewer", "-samefile", "-newermm", "-newerma", "-files0-from"}
	findWrites = []string{"-fprint", "-fprint0", "-fls", "-fprintf"}
	findRuns   = []string{"-exec", "-execdir", "-ok", "-okdir"}
	findWords  = []string{ // stand alone
		"-print", "-print0", "-ls", "-empty", "-prune", "-depth", "-d", "-daystart", "-follow", "-mount", "-xdev", "-noleaf",
		"-nouser", "-nogroup", "-readable", "-writable", "-executable", "-true", "-false", "-quit", "-o", "-or", "-a", "-and",
		"-not", "!", "(", ")", ",", "-warn", "-nowarn", "-H", "-L", "-P", "-ignore_readdir_race", "-noignore_readdir_race",
	}
)

// find reads starting points and an expression with its actions.
func (r *reader) find(argv []word) {
	i := 1
	for i < len(argv) && slices.Contains([]string{"-H", "-L", "-P"}, argv[i].text) {
		i++
	}
	roots := i
	for i < len(argv) && !r.beginsExpression(argv[i]) {
		r.apply(reads, argv, argv[i])
		i++
	}
	start := argv[roots:i]
	if len(start) == 0 {
		start = []word{literal(".")}
		r.file(policy.Read, ".")
	}
	for i < len(argv) {
		i = r.findPart(argv, i, start)
	}
}

// beginsExpression says that a word is no starting point. One that could be either cannot be told.
func (r *reader) beginsExpression(w word) bool {
	if !w.fixed() {
		if w.mayBeOption() {
			r.opaque("an argument that may be an action of find")
		}
		return false
	}
	return strings.HasPrefix(w.text, "-") || slices.Contains([]string{"!", "(", ")", ","}, w.text)
}

// findPart reads one test or action and returns where the next one begins.
func (r *reader) findPart(argv []word, i int, start []word) int {
	w := argv[i]
	takes := func(list []string) bool { return w.fixed() && slices.Contains(list, w.text) }
	switch {
	case takes(findWords):
		return i + 1
	case takes(findTests):
		r.findValue(argv, i+1)
		return i + 2
	case takes(findReads) || takes(findWrites):
		does := reads
		if takes(findWrites) {
			does = writes
		}
		if value := r.findValue(argv, i+1); value != nil {
			r.apply(does, argv, *value)
		}
		if w.text == "-fprintf" {
			r.findValue(argv, i+2)
			return i + 3
		}
		return i + 2
	case w.is("-delete"):
		for _, root := range start {
			r.apply(deletes, argv, root)
		}
		return i + 1
	case takes(findRuns):
		r.moved = r.moved || strings.HasSuffix(w.text, "dir")
		return r.findCommand(argv, i+1)
	}
	r.opaque("a part of find that is not known")
	return i + 1
}

// findValue is the word that a test takes. One that may become several words could bring an action with it, unless it ends
// in a way that no action does.
func (r *reader) findValue(argv []word, i int) *word {
	if i >= len(argv) {
		return nil
	}
	w := argv[i]
	if w.loose || w.wild && !strings.ContainsAny(w.suffix, "./") {
		r.opaque("an argument that may be an action of find")
	}
	return &argv[i]
}

// findCommand reads the command of -exec up to its ; or +, with {} standing for a file that was found.
func (r *reader) findCommand(argv []word, i int) int {
	var command []word
	for ; i < len(argv); i++ {
		if argv[i].is(";") || argv[i].is("+") && len(command) > 0 && command[len(command)-1].text == "{}" {
			break
		}
		if !argv[i].fixed() && (argv[i].mayBe(";") || argv[i].mayBe("+")) {
			r.opaque("an argument that may end a command of find")
		}
		command = append(command, filled(argv[i], "{}"))
	}
	if len(command) == 0 {
		r.opaque("a part of find that is not known")
		return i + 1
	}
	for j := range command {
		if command[j].text == "{}" && command[j].dynamic {
			command[j].prefix = "/" // what is found begins like a starting point, never with a dash
		}
	}
	r.run(command)
	return i + 1
}
