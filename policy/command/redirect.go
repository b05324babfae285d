package command

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/sekisho/sekisho/policy"
)

// redirect reads one redirection. Network paths of bash are opaque, and so is a file that could turn out to be one.
func (r *reader) redirect(d *syntax.Redirect) {
	if d.N != nil && len(d.N.Value) > 1 {
		r.opaque(anotherShell) // tee 12>x, tee {v}>x: what stands before > is an argument in dash
	}
	switch d.Op {
	case syntax.Hdoc, syntax.DashHdoc:
		r.document(d)
		return
	case syntax.WordHdoc:
		r.word(d.Word)
		return
	}
	if strings.HasPrefix(r.source(d.Word), "!") {
		r.opaque(anotherShell) // zsh's >! FILE
	}
	file := r.word(d.Word)
	if why := network(file); why != "" {
		r.opaque(why)
		return
	}
	switch d.Op {
	case syntax.DplIn, syntax.DplOut:
		if descriptor(d.Word.Lit()) {
			return
		}
		r.redirected(policy.Write, file)
	case syntax.RdrOut, syntax.AppOut, syntax.RdrClob, syntax.RdrAll, syntax.AppAll:
		r.redirected(policy.Write, file)
	case syntax.RdrIn:
		r.redirected(policy.Read, file)
	case syntax.RdrInOut:
		r.redirected(policy.Read, file)
		r.redirected(policy.Write, file)
	default:
		r.opaque("a redirection of another shell")
	}
}

func (r *reader) redirected(right policy.Right, file word) {
	if file.pipe || file.fixed() && r.ownDevice(right, file.text) {
		return
	}
	r.file(right, r.resource(file))
}

// feeds says whether a redirection gives a command input.
func feeds(d *syntax.Redirect) bool {
	switch d.Op {
	case syntax.RdrIn, syntax.RdrInOut, syntax.DplIn, syntax.Hdoc, syntax.DashHdoc, syntax.WordHdoc:
		return true
	}
	return false
}

// binds says whether a script sets variables, defines functions or changes what all its commands read.
func binds(file *syntax.File) bool {
	for node := range syntax.Preorder(file) {
		switch node := node.(type) {
		case *syntax.Assign, *syntax.FuncDecl:
			return true
		case *syntax.Stmt:
			call, ok := node.Cmd.(*syntax.CallExpr)
			if ok && slices.ContainsFunc(call.Args, mayBeExec) && slices.ContainsFunc(node.Redirs, feeds) {
				return true
			}
		}
	}
	return false
}

func mayBeExec(w *syntax.Word) bool {
	text, known := static(w)
	return !known || text == "exec"
}

// network says why a file may be one of bash's names for a connection, "" when it is not.
func network(w word) string {
	const devices = "/dev/"
	switch {
	case w.fixed() && (strings.HasPrefix(w.text, "/dev/tcp/") || strings.HasPrefix(w.text, "/dev/udp/")):
		return "a network connection"
	case w.dynamic && (strings.HasPrefix(devices, w.prefix) || strings.HasPrefix(w.prefix, devices)):
		return "a redirection to what a variable names"
	}
	return ""
}

// descriptor says that what follows >& or <& is an open file's number, or - to close it. bash's 1- is a file to others.
func descriptor(text string) bool {
	return text == "-" || text != "" && strings.Trim(text, "0123456789") == ""
}

// ownDevice says that using a path touches no file of anybody's. Opening /dev/stdout opens anew whatever stands there, for
// writing too: it is the line's own output only where nothing was put in its place.
func (r *reader) ownDevice(right policy.Right, path string) bool {
	switch path {
	case "/dev/null", "/dev/tty", "/dev/zero", "/dev/full":
		return true
	case "/dev/stdout", "/dev/stderr":
		return right == policy.Read || !r.rewired
	}
	number, ok := strings.CutPrefix(path, "/dev/fd/")
	return right == policy.Read && (path == "/dev/stdin" || ok && strings.Trim(number, "0123456789") == "")
}

// rewires says whether a script may put a file that it opened for reading in the place of its output.
func rewires(file *syntax.File) bool {
	for node := range syntax.Preorder(file) {
		d, ok := node.(*syntax.Redirect)
		if !ok {
			continue
		}
		switch d.Op {
		case syntax.RdrIn, syntax.RdrInOut:
			if d.N != nil && d.N.Value != "0" {
				return true
			}
		case syntax.DplIn, syntax.DplOut:
			if from := d.Word.Lit(); from != "1" && from != "2" && from != "-" {
				return true
			}
		}
	}
	return false
}
