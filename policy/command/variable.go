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
		"ENV", "HOME", "SHELL", "SHELLOPTS", "BASHOPTS", "BROWSER", "VISUAL", "PS0", "PS1", "PS2", "PS3", "PS4", "RPROMPT",
		"NULLCMD", "READNULLCMD", "ZDOTDIR", "HISTFILE", "TERMCAP", "INPUTRC", "FCEDIT", "EXECIGNORE", "GLOBIGNORE",
		"POSIXLY_CORRECT", "MAKEFLAGS", "MAIL", "RUSTC_WRAPPER", "CC", "CXX", "TZDIR", "LOCALDOMAIN", "ARGV0", "STTY", "GREP",
		"GZIP", "GETCONF_DIR", "HISTCHARS", "histchars", "path", "fpath", "cdpath", "prompt", "psvar", "fignore", "mailpath",
		"manpath", "module_path", "aliases", "functions", "commands", "galiases", "saliases", "options",
	}
	powerfulPrefixes = []string{
		"LD_", "DYLD_", "BASH_", "GIT_", "PYTHON", "PERL", "RUBY", "LESS", "SSH_", "SUDO_", "GCONV_", "MALLOC_", "GLIBC_",
		"TAR_", "RSYNC_", "SYSTEMD_", "ZSH", "NPM_CONFIG_", "npm_config_", "PROMPT", "TERMINFO", "TEXTDOMAIN", "OPENSSL_",
	}
	powerfulSuffixes = []string{"PATH", "_COMMAND", "PAGER", "EDITOR", "OPTIONS", "_OPTS", "_functions", "_hook", "_PRELOAD"}
)

// counters are the shells' own variables that hold a number: what is assigned to them is evaluated as an expression, which
// may run commands.
var counters = []string{
	"ARGC", "BASHPID", "BAUD", "COLUMNS", "DIRSTACKSIZE", "EGID", "ERRNO", "EUID", "FUNCNEST", "GID", "HISTCMD", "HISTSIZE",
	"KEYTIMEOUT", "LINENO", "LINES", "LISTMAX", "LOGCHECK", "MAILCHECK", "OPTIND", "PPID", "RANDOM", "REPORTMEMORY",
	"REPORTTIME", "SAVEHIST", "SECONDS", "SHLVL", "SRANDOM", "TMOUT", "TRY_BLOCK_ERROR", "TRY_BLOCK_INTERRUPT", "TTYIDLE",
	"UID", "status",
}

// assigned notes that a shell variable gets a value, unknown when it comes from elsewhere.
func (r *reader) assigned(name string, value word) {
	if slices.Contains(counters, name) && !value.number() {
		r.opaque("arithmetic on variables")
	}
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
	if a.Index != nil && !r.number(a.Index) {
		r.opaque("arithmetic on variables")
	}
	value := unknown
	if a.Value != nil {
		value = r.word(a.Value)
	}
	r.assigned(a.Name.Value, value)
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
	name, value, ok := strings.Cut(w.text, "=")
	if !ok || !syntax.ValidName(name) {
		return false
	}
	if !w.fixed() {
		r.assigned(name, unknown)
	} else {
		r.assigned(name, literal(value))
	}
	r.bound = true
	return true
}
