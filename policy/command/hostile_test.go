package command_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy/command"
)

func TestHostileLinesAreReadInShortTime(t *testing.T) {
	c := shipped(t)
	for _, piece := range []string{
		"if ", "! ", "while ", "a=", "x|", "x&&", "x;", "sudo ", "xargs ", "env -i ", "find . -exec ", "sh -c '", "$a", "${a}", "\"$a\"",
		"a\\\n", "<a ", ">$a ", "a{b,c}", "*?", "~", "password=a ", "password=a&", "https://a:b@", "Authorization: Bearer a ", "token:",
		"--password ", "f() x;", "case x in ", "<<a ", "echo a | sudo -S ", "for a in b;do ", "{ ", "( ", "$((1+", "pass", "--",
	} {
		line := strings.Repeat(piece, (16<<10)/len(piece))
		start := time.Now()
		r := c.Classify(line)
		command.Mask(line)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%q took %v", piece, took)
		} else if testing.Verbose() {
			t.Logf("%-28q %8v %d needs %s", piece, took.Round(time.Microsecond), len(r.Needs), r.Why)
		}
	}
}
