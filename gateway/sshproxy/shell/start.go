package shell

import (
	_ "embed"
	"path"
	"strings"
)

//go:embed bash.rc
var bashRC string

//go:embed zsh.rc
var zshRC string

// Command is the exec line that starts a gated shell, given the account's login shell and a token; false for a shell that
// cannot be gated. Whatever shell the target runs the line with hands it on to sh, and that to the login shell.
//
// The shell reads the files that it would read as a login shell, in their order: an account that has a .bashrc and no
// profile gets no .bashrc, as with ssh alone. It is no login shell in two ways: `logout` is `exit`, and .bash_logout is not
// read.
func Command(login, token string) (line string, ok bool) {
	var start string
	switch path.Base(login) {
	case "bash":
		start = "exec " + quote(login) + " -c " + quote("exec "+quote(login)+" --rcfile <(printf %s "+quote(withToken(bashRC, token))+") -i")
	case "zsh":
		start = zshStart(login, token)
	default:
		return "", false
	}
	return "exec sh -c " + quote("[ -e ~/.hushlogin ] || cat /run/motd.dynamic /etc/motd 2>/dev/null; "+start), true
}

func withToken(rc, token string) string { return strings.ReplaceAll(rc, "@TOKEN@", token) }

// zshStart makes a folder of start files that hand on to the person's own and, after the last one, to the gate. The folder
// is gone before the first prompt.
func zshStart(login, token string) string {
	var b strings.Builder
	b.WriteString(`d=$(mktemp -d "${TMPDIR:-/tmp}/sekisho.XXXXXXXXXX") || exit 1; `)
	put := func(name, text string) { b.WriteString("printf %s " + quote(text) + ` >"$d/` + name + `"; `) }
	put(".zshenv", "typeset -g __sekisho_dir=$ZDOTDIR\nunset ZDOTDIR\n"+theirs(".zshenv")+ours)
	put(".zprofile", back+theirs(".zprofile")+ours)
	put(".zshrc", back+theirs(".zshrc")+ours)
	put(".zlogin", back+theirs(".zlogin")+zshEnds)
	put("gate", withToken(zshRC, token))
	b.WriteString(`ZDOTDIR=$d exec ` + quote(login) + " -l -i")
	return b.String()
}

// theirs reads one of the person's own files, where they keep them.
func theirs(name string) string {
	return "if [[ -r ${ZDOTDIR:-$HOME}/" + name + " ]]; then . ${ZDOTDIR:-$HOME}/" + name + "; fi\n"
}

const (
	// ours and back change whose folder zsh looks into: it does so for the next file only after the last one was read.
	ours = "typeset -g __sekisho_zdotdir=${ZDOTDIR-}\nZDOTDIR=$__sekisho_dir\n"
	back = "if [[ -n $__sekisho_zdotdir ]]; then ZDOTDIR=$__sekisho_zdotdir; else unset ZDOTDIR; fi\n"

	// zshEnds also corrects a history file that a start file of the system's has put beside ours.
	zshEnds = `if [[ ${HISTFILE-} == $__sekisho_dir/* ]]; then HISTFILE=${ZDOTDIR:-$HOME}/${HISTFILE##*/}; fi
. $__sekisho_dir/gate
command rm -rf -- $__sekisho_dir
unset __sekisho_dir __sekisho_zdotdir
`
)

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
