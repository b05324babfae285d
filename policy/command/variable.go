package command

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/sekisho/sekisho/policy"
)

// powerful are the variables, by name, beginning and end, that decide which programs run or make them run code.
var (
	powerful = []string{
		"ENV", "HOME", "SHELL", "SHELLOPTS", "BASHOPTS", "BROWSER", "VISUAL", "PS0", "PS1", "PS2", "PS3", "PS4", "PROMPT",
		"RPROMPT", "NULLCMD", "READNULLCMD", "ZDOTDIR", "HISTFILE", "TERMINFO", "TERMCAP", "INPUTRC", "FCEDIT", "EXECIGNORE",
		"GLOBIGNORE", "POSIXLY_CORRECT", "MAKEFLAGS", "MAIL", "RUSTC_WRAPPER", "CC", "CXX", "TZDIR", "LOCALDOMAIN",
		"path", "fpath", "cdpath", "prompt", "psvar", "fignore", "mailpath", "manpath", "aliases", "functions", "commands",
		"galiases", "saliases", "options",
	}
	powerfulPrefixes = []string{
		"LD_", "DYLD_", "BASH_", "GIT_", "PYTHON", "PERL", "RUBY", "LESS", "SSH_", "SUDO_", "GCONV_", "MALLOC_", "GLIBC_",
		"TAR_", "RSYNC_", "SYSTEMD_", "ZSH", "NPM_CONFIG_", "npm_config_",
	}
	powerfulSuffixes = []string{"PATH", "_COMMAND", "PAGER", "EDITOR", "OPTIONS", "_OPTS", "_functions", "_hook", "_PRELOAD"}
)

// assigned notes that a shell variable gets a value.
func (r *reader) assigned(name string) {
	if !syntax.ValidName(name) {
		r.opaque("an assignment that cannot be told")
		return
	}
	begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	ends := func(suffix string) bool { return strings.HasSuffix(name, suffix) }
	if slices.Contains(powerful, name) || slices.ContainsFunc(powerfulPrefixes, begins) ||
		slices.ContainsFunc(powerfulSuffixes, ends) {
		r.opaque("setting " + name)
	}
}

// assignment reads NAME=value or NAME=(…).
func (r *reader) assignment(a *syntax.Assign) {
	if a.Name == nil || a.Naked && a.Value != nil {
		r.opaque("an assignment that cannot be told")
		return
	}
	r.assigned(a.Name.Value)
	if a.Index != nil && !r.number(a.Index) {
		r.opaque("arithmetic on variables")
	}
	if a.Value != nil {
		r.word(a.Value)
	}
	if a.Array == nil {
		return
	}
	for _, element := range a.Array.Elems {
		if element.Index != nil && !r.number(element.Index) {
			r.opaque("arithmetic on variables")
		}
		if element.Value != nil {
			r.word(element.Value)
		}
	}
}

// declaration reads export, local, readonly, declare and typeset. Their options change what assignments mean.
func (r *reader) declaration(d *syntax.DeclClause) {
	for _, a := range d.Args {
		if a.Name == nil {
			r.opaque("options of " + d.Variant.Value)
			return
		}
		r.assignment(a)
	}
	r.need(policy.Read, r.source(d))
}

// environment reads NAME=VALUE as env and sudo take it.
func (r *reader) environment(w word) bool {
	name, _, ok := strings.Cut(w.text, "=")
	if !ok || !syntax.ValidName(name) {
		return false
	}
	r.assigned(name)
	return true
}
