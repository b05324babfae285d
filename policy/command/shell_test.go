package command_test

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/command"
)

func TestALineIsReadAsItsShellWill(t *testing.T) {
	sh := command.Shell{
		Dir: "/srv/app",
		Aliases: map[string]string{"ls": "ls --color=auto", "l": "ls -l", "clean": "rm -rf", "both": "echo x; clean", "sudo": "sudo ",
			"loop": "echo a; loop2", "loop2": "loop", "tricky": "'"},
		Functions: map[string]bool{"deploy": true, "cat": true},
	}
	c := shipped(t)
	for line, want := range map[string]string{
		"ls":                      "read /srv/app",
		"l sub":                   "read /srv/app/sub",
		"clean data":              "delete /srv/app/data",
		"both data":               "delete /srv/app/data",
		`\clean data`:             "execute clean data",
		"rm data":                 "delete /srv/app/data",
		"rm ../x":                 "delete /srv/x",
		"rm /x":                   "delete /x",
		"head -1 f > out":         "write /srv/app/out, read /srv/app/f",
		"./run":                   "execute sha256:",
		"deploy now":              "opaque the function deploy",
		"cat x":                   "opaque the function cat",
		`c"a"t x`:                 "opaque the function cat",
		"loop":                    "opaque",
		"tricky":                  "opaque",
		"trap - DEBUG":            "opaque trap",
		"shopt -u extdebug":       "opaque shopt",
		"set -T":                  "opaque set",
		"__sekisho_ok=1":          "opaque a variable of the gateway's",
		"__sekisho_ask":           "opaque a function of the gateway's",
		"read __sekisho_closed":   "opaque a name of the gateway's",
		"echo ${__sekisho_token}": "opaque a variable of the gateway's",
		"echo $((__sekisho_x=1))": "opaque",
		"printf -v __sekis''ho x": "opaque",
		"__sekisho_ask() { :; }":  "opaque a function of the gateway's",
	} {
		got := c.ClassifyIn(sh, line)
		text := ""
		for _, n := range got.Needs {
			text += ", " + string(n.Right) + " " + n.Resource
		}
		text = strings.TrimPrefix(text, ", ")
		if got.Opaque {
			text = "opaque " + got.Why
		}
		if !strings.Contains(text, want) {
			t.Errorf("%s: %s, want %s", line, text, want)
		}
	}
}

func TestWithoutAFolderARelativeFileIsKnownByItsLineOnly(t *testing.T) {
	got := shipped(t).ClassifyIn(command.Shell{}, "rm data")
	if len(got.Needs) != 1 || got.Needs[0] != (policy.Need{Right: policy.Delete, Resource: command.Hash("rm data")}) {
		t.Error(got)
	}
}

func TestAnIncompleteLineWaitsForMore(t *testing.T) {
	for line, want := range map[string]bool{
		"for i in 1 2; do": true, "for i in 1 2; do\necho $i\ndone": false, "echo 'a": true, "echo \"a\nb\"": false, `echo a \`: true,
		"cat <<E": true, "cat <<E\nx\nE": false, "if true; then": true, "ls |": true, "ls &&": true, "ls": false, "": false,
		"echo )": false, "f() {": true, "$(": true, `echo a \\`: false,
	} {
		if got := command.Incomplete(line); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
