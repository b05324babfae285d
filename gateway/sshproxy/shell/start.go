package shell

import (
	_ "embed"
	"path"
	"strings"
)

//go:embed bash.rc
var bashRC string

// Command is the exec line that starts a gated shell, given the account's login shell and a token; false for a shell that
// cannot be gated. Whatever shell the target runs the line with hands it on to that one.
func Command(login, token string) (string, bool) {
	if path.Base(login) != "bash" {
		return "", false
	}
	rc := strings.ReplaceAll(bashRC, "@TOKEN@", token)
	start := "cat /run/motd.dynamic /etc/motd 2>/dev/null; exec " + quote(login) + " --rcfile <(printf %s " + quote(rc) + ") -i"
	return "exec " + quote(login) + " -c " + quote(start), true
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
