package policy

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FileDiff is how one file of a policy folder differs between two folders. Text is a unified diff with three lines of context,
// for people to read: characters that do not show themselves (controls, invisible marks, changes of writing direction) are
// written as \u{HEX}, so that no line of a policy can hide what it does.
type FileDiff struct {
	Name    string `json:"name"`
	Text    string `json:"text"`
	Added   int    `json:"added"`   // lines
	Removed int    `json:"removed"` // lines
}

// DiffFiles compares two policy folders file by file, sorted by name; files that are the same are left out. What is not part
// of a policy, as notes beside it, is not compared. An error means that one of them is no policy folder.
func DiffFiles(a, b fs.FS) ([]FileDiff, error) {
	from, err := readFolder(a)
	if err != nil {
		return nil, err
	}
	to, err := readFolder(b)
	if err != nil {
		return nil, err
	}
	before, after := from.all(), to.all()
	names := maps.Clone(before)
	maps.Copy(names, after)
	var diffs []FileDiff
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if d := diffFile(name, before, after); d.Text != "" {
			diffs = append(diffs, d)
		}
	}
	return diffs, nil
}

func diffFile(name string, before, after map[string][]byte) FileDiff {
	old, had := before[name]
	now, has := after[name]
	if had == has && string(old) == string(now) {
		return FileDiff{}
	}
	d := FileDiff{Name: name}
	edits := editsOf(lines(string(old)), lines(string(now)))
	for _, e := range edits {
		switch e.kind {
		case '+':
			d.Added++
		case '-':
			d.Removed++
		}
	}
	d.Text = fmt.Sprintf("--- %s\n+++ %s\n", side("a/", name, had), side("b/", name, has)) + unified(edits)
	return d
}

func side(prefix, name string, exists bool) string {
	if !exists {
		return "/dev/null"
	}
	return prefix + name
}

// lines splits a text behind each newline; the last line may have none.
func lines(text string) []string {
	list := strings.SplitAfter(text, "\n")
	if list[len(list)-1] == "" {
		list = list[:len(list)-1]
	}
	return list
}

// edit is one line of a diff: ' ' kept, '-' removed, '+' added.
type edit struct {
	kind byte
	line string
}

// editsOf turns a into b. What both begin and end with is kept as it is, the rest is compared by Myers' algorithm.
func editsOf(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	edits := make([]edit, 0, len(a)+len(b)-head-tail)
	edits = appendEdits(edits, ' ', a[:head])
	edits = append(edits, shortest(a[head:len(a)-tail], b[head:len(b)-tail])...)
	return appendEdits(edits, ' ', a[len(a)-tail:])
}

func appendEdits(edits []edit, kind byte, lines []string) []edit {
	for _, line := range lines {
		edits = append(edits, edit{kind, line})
	}
	return edits
}

// maxEdits bounds the work of a comparison, which grows with the square of the changed lines. Two texts that differ in more
// are shown as one removed and one added.
const maxEdits = 1000

// shortest is Myers' greedy search (An O(ND) Difference Algorithm, 1986): reach[d][k+d] is how far into a the diagonal k
// leads with d edits.
func shortest(a, b []string) []edit {
	var reach [][]int
	for d := 0; d <= min(maxEdits, len(a)+len(b)); d++ {
		row := make([]int, 2*d+1)
		for k := -d; k <= d; k += 2 {
			x := step(reach, d, k)
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			row[k+d] = x
			if x >= len(a) && x-k >= len(b) {
				return retrace(append(reach, row), a, b)
			}
		}
		reach = append(reach, row)
	}
	return appendEdits(appendEdits(nil, '-', a), '+', b)
}

// step is where the d-th edit leaves diagonal k: down from k+1 (a line of b added) or right from k-1 (a line of a removed),
// whichever leads further.
func step(reach [][]int, d, k int) int {
	if d == 0 {
		return 0
	}
	before := reach[d-1]
	if k == -d || k != d && before[k-1+d-1] < before[k+1+d-1] {
		return before[k+1+d-1]
	}
	return before[k-1+d-1] + 1
}

// retrace walks the search back from the end.
func retrace(reach [][]int, a, b []string) []edit {
	var edits []edit
	x, y := len(a), len(b)
	for d := len(reach) - 1; d >= 0; d-- {
		k := x - y
		start := step(reach, d, k)
		for x > start {
			x, y = x-1, y-1
			edits = append(edits, edit{' ', a[x]})
		}
		if d == 0 {
			break
		}
		if before := reach[d-1]; k == -d || k != d && before[k-1+d-1] < before[k+1+d-1] {
			y--
			edits = append(edits, edit{'+', b[y]})
		} else {
			x--
			edits = append(edits, edit{'-', a[x]})
		}
	}
	slices.Reverse(edits)
	return edits
}

// around is how many unchanged lines stand around a change.
const around = 3

// unified writes edits as hunks.
func unified(edits []edit) string {
	var text strings.Builder
	a, b := 1, 1 // line numbers of the next edit
	for i := 0; i < len(edits); {
		if edits[i].kind == ' ' && !changesWithin(edits[i:], around+1) {
			i, a, b = i+1, a+1, b+1
			continue
		}
		hunk := hunkAt(edits[i:])
		a, b = writeHunk(&text, hunk, a, b)
		i += len(hunk)
	}
	return text.String()
}

func changesWithin(edits []edit, n int) bool {
	return slices.ContainsFunc(edits[:min(n, len(edits))], func(e edit) bool { return e.kind != ' ' })
}

// hunkAt is the run of edits from here to where more than twice the context is unchanged.
func hunkAt(edits []edit) []edit {
	end, kept := 0, 0
	for i, e := range edits {
		if e.kind != ' ' {
			end, kept = i+1, 0
			continue
		}
		if kept++; end > 0 && kept > 2*around {
			break
		}
	}
	return edits[:min(end+around, len(edits))]
}

func writeHunk(text *strings.Builder, hunk []edit, a, b int) (nextA, nextB int) {
	var removed, added int
	for _, e := range hunk {
		if e.kind != '+' {
			removed++
		}
		if e.kind != '-' {
			added++
		}
	}
	fmt.Fprintf(text, "@@ -%s +%s @@\n", extent(a, removed), extent(b, added))
	for _, e := range hunk {
		line, newline := strings.CutSuffix(e.line, "\n")
		text.WriteByte(e.kind)
		writeVisible(text, line)
		text.WriteByte('\n')
		if !newline {
			text.WriteString("\\ No newline at end of file\n")
		}
	}
	return a + removed, b + added
}

// extent is the START,LENGTH of a hunk's side; an empty side starts at the line before.
func extent(start, length int) string {
	switch length {
	case 0:
		return fmt.Sprintf("%d,0", start-1)
	case 1:
		return fmt.Sprint(start)
	}
	return fmt.Sprintf("%d,%d", start, length)
}

// writeVisible writes a line with what does not show itself spelt out.
func writeVisible(text *strings.Builder, line string) {
	for len(line) > 0 {
		r, size := utf8.DecodeRuneInString(line)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(text, `\x{%02x}`, line[0])
		case r == '\t' || r == '\u3000' || unicode.IsPrint(r):
			text.WriteRune(r)
		default:
			fmt.Fprintf(text, `\u{%x}`, r)
		}
		line = line[size:]
	}
}
