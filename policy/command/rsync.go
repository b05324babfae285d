package command

import (
	"slices"
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// What an rsync client may start its other end with (rsync --server). What is in none of these lists makes the line opaque:
// options that name a program, a configuration or a list of files, and -s, which sends the paths where nobody reads them.
const rsyncLetters = "vqnmlLkKrRdtpAXogJODHhWxzyuIcCiEbSFPNUa0"

var (
	rsyncWords = []string{
		"--append", "--append-verify", "--copy-links", "--copy-unsafe-links", "--delay-updates", "--devices", "--dirs", "--existing",
		"--fuzzy", "--hard-links", "--ignore-errors", "--ignore-existing", "--ignore-missing-args", "--inplace", "--list-only",
		"--mkpath", "--msgs2stderr", "--munge-links", "--new-compress", "--no-D", "--no-W", "--no-devices", "--no-i-r",
		"--no-implied-dirs", "--no-inc-recursive", "--no-msgs2stderr", "--no-r", "--no-relative", "--no-specials",
		"--no-whole-file", "--numeric-ids", "--old-compress", "--omit-dir-times", "--omit-link-times", "--one-file-system",
		"--open-noatime", "--partial", "--preallocate", "--prune-empty-dirs", "--safe-links", "--size-only", "--sparse",
		"--specials", "--stats", "--use-qsort", "--whole-file",
	}
	rsyncValues = []string{ // take a word that is no file
		"--block-size", "--bwlimit", "--checksum-choice", "--checksum-seed", "--chmod", "--compress-choice", "--compress-level",
		"--debug", "--groupmap", "--iconv", "--info", "--log-format", "--max-alloc", "--max-delete", "--max-size", "--min-size",
		"--modify-window", "--out-format", "--outbuf", "--skip-compress", "--stderr", "--stop-after", "--stop-at", "--suffix",
		"--time-limit", "--timeout", "--usermap", "-B",
	}
	rsyncFolders = map[string][]effect{ // take a folder
		"--backup-dir": {writes}, "--partial-dir": {writes}, "--temp-dir": {writes}, "--compare-dest": {reads},
		"--copy-dest": {reads}, "--link-dest": {reads, writes},
	}
	rsyncDeletes = []string{
		"--del", "--delete", "--delete-after", "--delete-before", "--delete-delay", "--delete-during", "--delete-excluded",
		"--delete-missing-args", "--force", "--remove-sent-files", "--remove-source-files",
	}
	rsyncHidden = []string{ // of a client's own, beside what starts another program
		"--config", "--copy-as", "--daemon", "--dparam", "--files-from", "--log-file", "--only-write-batch", "--password-file",
		"--read-batch", "--remote-option", "--rsh", "--rsync-path", "--write-batch", "--write-devices",
	}
)

// rsync reads both ends of one: the end that a client starts on the target, by its paths as given, and a client on the
// target, which runs, reads what it copies and writes where to. What the other end of a connection makes of the paths later
// on it does not see.
func (r *reader) rsync(argv []word) {
	if len(argv) > 1 && argv[1].is("--server") {
		r.rsyncServer(argv)
		return
	}
	r.runs(policy.Execute, argv)
	removes := false
	var files []word
	for _, w := range argv[1:] {
		name, _, _ := strings.Cut(w.text, "=")
		switch {
		case !w.fixed() && w.mayBeOption():
			r.opaque("an argument that may be an option of rsync")
		case !w.fixed() || !strings.HasPrefix(name, "-") || name == "-":
			files = append(files, w)
		case slices.Contains(rsyncHidden, name), !strings.HasPrefix(name, "--") && strings.ContainsAny(name, "eMs"):
			r.opaque("the option " + name + " of rsync")
		case slices.Contains(rsyncDeletes, name):
			removes = true
		}
	}
	for i, w := range files {
		if w.fixed() && strings.Contains(w.text, ":") {
			continue // elsewhere
		}
		last := i > 0 && i == len(files)-1
		if !last || !w.fixed() {
			r.apply(reads, argv, w)
		}
		if last {
			r.apply(writes, argv, w)
		}
		if removes {
			r.apply(deletes, argv, w)
		}
	}
}

// rsyncServer reads rsync --server [--sender] OPTION... . PATH...
func (r *reader) rsyncServer(argv []word) {
	s := rsyncEnd{}
	for i := 2; i < len(argv); i++ {
		w := argv[i]
		switch {
		case s.plain || w.fixed() && (w.text == "" || w.text == "-" || w.text[0] != '-'):
			s.paths = append(s.paths, w)
		case !w.fixed() && !w.mayBeOption():
			s.paths = append(s.paths, w)
		case !w.fixed():
			r.opaque("an argument that may be an option of rsync")
		case w.text == "--":
			s.plain = true
		case strings.HasPrefix(w.text, "--") || w.text == "-B":
			i += r.rsyncOption(&s, argv, i)
		case !rsyncBundle(w.text[1:]):
			r.opaque("the option " + w.text + " of rsync")
		}
	}
	if len(s.paths) < 2 || !s.paths[0].is(".") || !s.sender && len(s.paths) != 2 {
		r.opaque("an rsync without its paths")
		return
	}
	for _, w := range s.paths[1:] {
		if w.is("") {
			w = literal(".")
		}
		if s.sender {
			r.apply(reads, argv, w)
		} else {
			r.apply(writes, argv, w)
		}
		if s.deletes {
			r.apply(deletes, argv, w)
		}
	}
}

// rsyncEnd is what rsync --server was found to be.
type rsyncEnd struct {
	sender, deletes, plain bool
	paths                  []word
}

// rsyncOption reads --name, --name=value or --name value and returns how many words beyond the first it took.
func (r *reader) rsyncOption(s *rsyncEnd, argv []word, i int) (taken int) {
	name, value, attached := strings.Cut(argv[i].text, "=")
	folder := rsyncFolders[name]
	switch {
	case name == "--sender" && !attached:
		s.sender = true
		return 0
	case slices.Contains(rsyncDeletes, name) && !attached:
		s.deletes = true
		return 0
	case slices.Contains(rsyncWords, name) && !attached:
		return 0
	case folder == nil && !slices.Contains(rsyncValues, name) || !attached && i+1 >= len(argv):
		r.opaque("the option " + name + " of rsync")
		return 0
	}
	w := literal(value)
	if !attached {
		w, taken = argv[i+1], 1
		if w.splits() {
			r.opaque("an argument that may be an option of rsync")
		}
	}
	for _, e := range folder {
		if w.fixed() && !strings.HasPrefix(w.text, "/") {
			w = unknown // it is below the folder that is copied to, or beside it
		}
		r.apply(e, argv, w)
	}
	return taken
}

// rsyncBundle says whether letters are options that change nothing about what rsync does to which files. What follows e is
// for the other end: what this rsync is able to, after the version of the protocol and a dot.
func rsyncBundle(letters string) bool {
	for i, c := range letters {
		if c == 'e' {
			version, able, ok := strings.Cut(letters[i+1:], ".")
			return ok && strings.Trim(version, "0123456789") == "" && !strings.ContainsFunc(able, func(c rune) bool {
				return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.'
			})
		}
		if !strings.ContainsRune(rsyncLetters, c) {
			return false
		}
	}
	return letters != ""
}
