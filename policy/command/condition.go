package command

import (
	"slices"

	"github.com/sekisho/sekisho/policy"
)

// comparisons are the operators of test that stand between two operands.
var comparisons = []string{"=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef"}

// condition reads test and [. Their -v and -R evaluate the name, and in zsh -t the number, that they are given.
func (r *reader) condition(argv []word) {
	operands := argv[1:]
	if n := len(operands); n > 0 && operands[n-1].is("]") {
		operands = operands[:n-1]
	}
	for i, w := range operands {
		evaluates := w.is("-t") && i+1 < len(operands) && !operands[i+1].number()
		if w.is("-v") || w.is("-R") || w.loose || evaluates || !w.fixed() && w.mayBeOption() && mayOperate(operands, i) {
			r.opaque("a test that may run code")
		}
	}
	r.need(policy.Read, r.line(argv))
}

// mayOperate says whether a word that is not known may turn out to be an operator that something follows: it is none when
// nothing does, on either side of a comparison and behind an operator like -n.
func mayOperate(operands []word, i int) bool {
	compares := func(j int) bool { return operands[j].fixed() && slices.Contains(comparisons, operands[j].text) }
	switch {
	case i == len(operands)-1, i >= 2 && compares(i-1), i+2 < len(operands) && compares(i+1):
		return false
	case i == 0 || operands[i-1].is("-a") || operands[i-1].is("-o"):
		return true
	}
	before := operands[i-1]
	return !before.fixed() || len(before.text) != 2 || before.text[0] != '-'
}
