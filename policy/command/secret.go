package command

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// secretWord is how names of secrets end.
const secretWord = `(?:pass(?:word|wd|phrase|code)?|[-_.]pwd|secret|token|credentials?|` +
	`(?:api|access|auth|private|secret|signing)[-_]?key|session[-_]?id)`

var (
	// hint is in every text that could hold a secret; most lines have none and are not looked at further.
	hint = regexp.MustCompile(`(?i)pass|pwd|secret|token|credential|key|session|auth|cookie|bearer|basic|://|` +
		`-p|-u|-a|-w|AKIA|gh[pousr]_|xox|eyJ|mysql|maria|sudo|stdin|kinit`)

	named      = regexp.MustCompile(`(?i)^-{0,2}[\w.-]*` + secretWord + `$`)
	shortNamed = regexp.MustCompile(`(?i)^-(?:pass(?:word|wd|phrase)?|token|secret|api[-_]?key)$`)
	namedValue = regexp.MustCompile(`(?is)^(-{0,2}[\w.-]*` + secretWord + `\s*[=:]\s*)(.+)$`)
	inside     = regexp.MustCompile(`(?i)((?:^|[?&;,\s"'{])[\w.-]*` + secretWord + `["']?\s*[=:]\s*)` +
		`("[^"]*"|'[^']*'|[^&;,\s"'}]+)`)
	header = regexp.MustCompile(`(?i)((?:^|[\s"'])(?:` +
		`(?:proxy-)?authorization\s*:\s*(?:(?:bearer|basic|digest|token|negotiate)\s+)?|` +
		`(?:set-)?cookie\s*:\s*|` +
		`x-[\w-]*(?:key|token|secret|auth)[\w-]*\s*:\s*))([^\n"']+)`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}`)
	userinfo = regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://[^\s/?#:@"']*:)([^\s/?#"'@]+(?:@[^\s/?#"'@]+)*)@`)
	webUser  = regexp.MustCompile(`(?i)(https?://)([^\s/?#:@"']{8,})@`)
	shaped   = regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|` +
		`\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}`)
	passSource = regexp.MustCompile(`^pass:.+$`)
)

func mayHoldSecret(text string) bool { return hint.MatchString(text) }

// secretName says whether a variable or option is named like a secret.
func secretName(name string) bool { return named.MatchString(name) }

// maskText masks the secrets that a text shows by itself.
func maskText(text string) string {
	if !mayHoldSecret(text) {
		return text
	}
	text = namedValueIn(text)
	text = header.ReplaceAllString(text, "${1}"+mask)
	text = inside.ReplaceAllString(text, "${1}"+mask)
	text = bearer.ReplaceAllString(text, "${1}${2}"+mask)
	text = userinfo.ReplaceAllString(text, "${1}"+mask+"@")
	text = webUser.ReplaceAllString(text, "${1}"+mask+"@")
	return shaped.ReplaceAllString(text, mask)
}

// namedValueIn masks all that follows name= at the beginning of a text without spaces.
func namedValueIn(text string) string {
	if strings.ContainsAny(text, " \t\n") {
		return text
	}
	return namedValue.ReplaceAllString(text, "${1}"+mask)
}

// passwordOptions are programs with options of one letter that take a password, attached or as the next word.
var passwordOptions = []struct {
	programs []string
	attached string // -pSECRET only, as mysql has it
	next     []string
}{
	{[]string{"mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow"}, "-p", nil},
	{[]string{"mariadb", "mariadb-dump", "mariadb-admin", "mariadb-import"}, "-p", nil},
	{[]string{"sshpass", "mongo", "mongosh", "mongodump", "lftp", "7z"}, "-p", []string{"-p"}},
	{[]string{"redis-cli"}, "", []string{"-a", "--pass"}},
	{[]string{"curl", "lftp"}, "-u", []string{"-u", "--user", "-U", "--proxy-user"}},
	{[]string{"smbclient", "rpcclient", "net"}, "-U", []string{"-U"}},
	{[]string{"ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami"}, "-w", []string{"-w"}},
	{[]string{"docker", "podman"}, "", []string{"-p"}},
}

// maskArguments masks a command's words, each by itself and by what stands before it.
func maskArguments(argv []string) []string {
	out := slices.Clone(argv)
	for i, text := range argv {
		if i > 0 && hidesNext(argv[i-1]) && text != "" {
			out[i] = mask
			continue
		}
		out[i] = maskText(passSource.ReplaceAllString(text, "pass:"+mask))
	}
	for i, text := range argv {
		maskOptions(path.Base(text), out[i+1:])
	}
	return out
}

// hidesNext says that a word is an option whose value is a secret.
func hidesNext(option string) bool {
	if !strings.HasPrefix(option, "--") {
		return shortNamed.MatchString(option)
	}
	return !strings.Contains(option, "=") && secretName(option)
}

// maskOptions masks what a program's own short options carry.
func maskOptions(program string, args []string) {
	for _, p := range passwordOptions {
		if !slices.Contains(p.programs, program) {
			continue
		}
		for i, text := range args {
			if p.attached != "" && len(text) > 2 && strings.HasPrefix(text, p.attached) && text[1] != '-' {
				args[i] = p.attached + credential(text[2:])
			}
			if i > 0 && slices.Contains(p.next, args[i-1]) {
				args[i] = credential(text)
			}
		}
	}
}

// credential keeps the user of user:password or user%password.
func credential(text string) string {
	for _, separator := range []string{":", "%"} {
		if user, _, ok := strings.Cut(text, separator); ok {
			return user + separator + mask
		}
	}
	return mask
}

// readsPassword says that a command takes a password from its input.
func readsPassword(words []*syntax.Word) bool {
	for i, w := range words {
		text, _ := static(w)
		switch {
		case slices.Contains([]string{"passwd", "chpasswd", "kinit", "cryptsetup"}, path.Base(text)):
			return true
		case text == "--password-stdin" || text == "--stdin":
			return true
		case text == "-S" && i > 0:
			return true
		}
	}
	return false
}
