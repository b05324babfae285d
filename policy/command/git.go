package command

import (
	"path"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// gitServices are the ends of a transfer that git starts on the other side, with what each does to the repository.
var gitServices = map[string]effect{"upload-pack": reads, "upload-archive": reads, "receive-pack": writes}

var (
	gitServiceOptions = []string{"--strict", "--no-strict", "--stateless-rpc", "--advertise-refs", "--http-backend-info-refs"}
	gitFlags          = []string{ // of git itself
		"-p", "-P", "--paginate", "--no-pager", "--bare", "--no-replace-objects", "--literal-pathspecs", "--no-optional-locks",
		"--version", "--help", "-h", "-v", "--no-advice", "--no-lazy-fetch",
	}
	gitHidden = []string{ // commands that run others, or come back later
		"bisect", "citool", "credential", "daemon", "difftool", "filter-branch", "gui", "hook", "instaweb", "maintenance",
		"mergetool", "shell", "submodule", "web--browse",
	}
	gitHiddenOptions = []string{ // of any command: they name a program
		"--exec", "--upload-pack", "--receive-pack", "--open-files-in-pager", "--extcmd", "--config", "--template",
	}
	gitHiddenLetters = map[string]string{"clone": "uc", "rebase": "x", "grep": "O", "ls-remote": "u", "fetch-pack": "u"}
)

// git reads a command of git. The ends of clone, fetch, archive and push need what they do to the repository; every other
// command needs execute, because hooks and settings may run anything; what is told to run something is opaque.
func (r *reader) git(argv []word) {
	if service, ok := strings.CutPrefix(path.Base(argv[0].text), "git-"); ok {
		r.gitService(service, argv, argv[1:])
		return
	}
	rest := argv[1:]
	for len(rest) > 0 && (!rest[0].fixed() && rest[0].mayBeOption() || strings.HasPrefix(rest[0].text, "-")) {
		name, _, attached := strings.Cut(rest[0].text, "=")
		switch {
		case !rest[0].fixed():
			r.opaque("an argument that may be an option of git")
		case slices.Contains(gitFlags, name) && !attached:
		case slices.Contains([]string{"-C", "--git-dir", "--work-tree"}, name):
			r.moved = true
			if !attached && len(rest) > 1 {
				rest = rest[1:]
			}
		default:
			r.opaque("the option " + name + " of git")
		}
		rest = rest[1:]
	}
	if len(rest) == 0 {
		r.need(policy.Read, r.line(argv))
		return
	}
	name := rest[0]
	if gitServices[name.text] != "" && name.fixed() {
		r.gitService(name.text, argv, rest[1:])
		return
	}
	if !name.fixed() || slices.Contains(gitHidden, name.text) {
		r.opaque("git " + name.text)
	}
	for _, w := range rest[1:] {
		if gitRuns(name.text, w) {
			r.opaque("an option of git " + name.text + " that runs a program")
		}
	}
	r.runs(policy.Execute, argv)
}

// gitRuns says whether a word of a git command may name a program: by an option, which git lets people shorten, or by an
// address of the form helper::address.
func gitRuns(command string, w word) bool {
	if !w.fixed() {
		return w.mayBeOption()
	}
	option, _, _ := strings.Cut(w.text, "=")
	if strings.HasPrefix(option, "--") {
		return len(option) > 3 && slices.ContainsFunc(gitHiddenOptions, func(hidden string) bool { return strings.HasPrefix(hidden, option) })
	}
	if strings.HasPrefix(option, "-") {
		letters := gitHiddenLetters[command]
		return letters != "" && strings.ContainsAny(option, letters)
	}
	return strings.Contains(option, "::")
}

// gitService reads what follows git-upload-pack and its like: options, then one repository.
func (r *reader) gitService(service string, argv, rest []word) {
	does := gitServices[service]
	for len(rest) > 0 && rest[0].fixed() && strings.HasPrefix(rest[0].text, "-") {
		option := rest[0].text
		if timeout, ok := strings.CutPrefix(option, "--timeout="); !slices.Contains(gitServiceOptions, option) && (!ok || !literal(timeout).number()) {
			r.opaque("the option " + option + " of " + argv[0].text)
		}
		rest = rest[1:]
	}
	if does == "" || len(rest) != 1 || rest[0].text == "" || rest[0].loose || !rest[0].fixed() && rest[0].mayBeOption() {
		r.opaque("an end of a git transfer without its repository")
		return
	}
	r.apply(does, argv, rest[0])
}
