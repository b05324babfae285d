package sftp

import (
	"path"
	"strings"
)

// Limits of a walk.
const (
	maxLinks = 40  // links that one path may lead through, as the kernel has it
	maxParts = 512 // folders and links of one path
	maxBatch = 32  // questions sent at once
)

// place is what the target says a path is.
type place struct {
	path    string // without links and dots
	missing bool   // there is nothing of that name in its folder
	folder  bool
}

// walk finds out what a path really is by looking at every folder on the way, as the kernel does. REALPATH would be one
// question, but many servers answer it by tidying the text up, and a link would hide a file from policy.
type walk struct {
	ask  func(questions []frame) (answers []frame, err error) // all at once, the answers in their order
	home string                                               // where relative paths begin; "" until it was asked for
}

// to resolves p: the link that it ends in when follow is true, and every one before. refused is an answer for the client
// instead, with the request id unset: the target's own, or the gateway's where the target does not say enough.
func (w *walk) to(p string, follow bool) (at place, refused frame, err error) {
	todo := parts(p)
	if !path.IsAbs(p) {
		if refused, err = w.findHome(); refused != nil || err != nil {
			return place{}, refused, err
		}
		todo = append(parts(w.home), todo...)
	}
	if last := path.Base(p); last == "." || last == ".." {
		follow = true // a folder by another name: there is no link to leave alone
	}
	trail := trail{todo: todo, follow: follow}
	for len(trail.todo) > 0 {
		if trail.todo[0] == ".." {
			trail.up()
			continue
		}
		if len(trail.todo)+len(trail.done) > maxParts {
			return place{}, status(0, statusFailure, "the path is too deep"), nil
		}
		if refused, err = w.step(&trail); refused != nil || err != nil {
			return place{}, refused, err
		}
	}
	at = place{path: trail.path(), missing: trail.missing, folder: trail.folder || len(trail.done) == 0}
	if len(at.path) > maxPath {
		return place{}, status(0, statusFailure, "the path is too long"), nil
	}
	return at, nil, nil
}

// trail is a walk under way.
type trail struct {
	done, todo []string // done holds no link
	follow     bool
	links      int
	missing    bool
	folder     bool // what done ends in is one
}

func (t *trail) path() string { return "/" + strings.Join(t.done, "/") }

func (t *trail) up() {
	t.todo, t.done, t.folder = t.todo[1:], t.done[:max(0, len(t.done)-1)], true
}

// step looks at the names before the next dots, all at once, and goes as far as the first link.
func (w *walk) step(t *trail) (refused frame, err error) {
	var questions []frame
	at := t.path()
	for _, name := range t.todo {
		if name == ".." || len(questions) == maxBatch {
			break
		}
		at = path.Join(at, name)
		questions = append(questions, packet(typeLstat, 0).str(at).frame())
	}
	answers, err := w.ask(questions)
	if err != nil {
		return nil, err
	}
	for _, answer := range answers {
		last := len(t.todo) == 1
		if answer.kind() == typeStatus {
			if !last || answer.status() != statusNoSuchFile {
				return answer, nil
			}
			t.missing = true
		}
		kind, known := fileKind(answer)
		if !known && !t.missing {
			return status(0, statusFailure, "the target does not say what this path is"), nil
		}
		if kind == kindLink && (!last || t.follow) {
			return w.link(t)
		}
		t.folder = kind == kindFolder
		t.done, t.todo = append(t.done, t.todo[0]), t.todo[1:]
	}
	return nil, nil
}

// link puts what the next name links to in its place.
func (w *walk) link(t *trail) (refused frame, err error) {
	if t.links++; t.links > maxLinks {
		return status(0, statusFailure, "too many links"), nil
	}
	answers, err := w.ask([]frame{packet(typeReadlink, 0).str(path.Join(t.path(), t.todo[0])).frame()})
	if err != nil {
		return nil, err
	}
	if answers[0].kind() == typeStatus && answers[0].status() != statusOK {
		return answers[0], nil
	}
	says, ok := onlyName(answers[0])
	if !ok {
		return status(0, statusFailure, "the target does not say what this path is"), nil
	}
	if path.IsAbs(says) {
		t.done = nil
	}
	t.todo = append(parts(says), t.todo[1:]...)
	t.folder = true // where the link leads to nothing but dots
	return nil, nil
}

func (w *walk) findHome() (refused frame, err error) {
	if w.home != "" {
		return nil, nil
	}
	answers, err := w.ask([]frame{packet(typeRealpath, 0).str(".").frame()})
	if err != nil {
		return nil, err
	}
	home, ok := onlyName(answers[0])
	if !ok || !path.IsAbs(home) {
		return status(0, statusFailure, "the target does not say where relative paths begin"), nil
	}
	w.home = home
	return nil, nil
}

// parts are the names of a path in their order, without those that say nothing.
func parts(p string) (names []string) {
	for _, name := range strings.Split(p, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// Kinds of files, of the mode that ATTRS holds.
const (
	kindFolder = 0o040000
	kindLink   = 0o120000
)

// fileKind is what an ATTRS packet says a file is; false when it does not say so.
func fileKind(answer frame) (kind uint32, known bool) {
	if answer.kind() != typeAttrs {
		return 0, false
	}
	d := decoder{rest: answer.body()}
	flags := d.uint32()
	if flags&0x01 != 0 {
		d.take(8)
	}
	if flags&0x02 != 0 {
		d.take(8)
	}
	mode := d.uint32()
	return mode & 0o170000, flags&0x04 != 0 && d.rest != nil && mode&0o170000 != 0
}

// onlyName is the one name of a NAME packet that answers REALPATH or READLINK.
func onlyName(reply frame) (string, bool) {
	if reply.kind() != typeName {
		return "", false
	}
	d := decoder{rest: reply.body()}
	if d.uint32() != 1 {
		return "", false
	}
	name := d.path()
	return name, d.rest != nil && d.problem == "" && name != ""
}
