package command

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/sekisho/sekisho/policy"
)

// redirect reads one redirection. Network paths of bash are opaque, and so is a file that could turn out to be one.
func (r *reader) redirect(d *syntax.Redirect) {
	if d.N != nil && strings.HasPrefix(d.N.Value, "{") {
		r.assigned(strings.Trim(d.N.Value, "{}"))
	}
	if d.Hdoc != nil {
		r.word(d.Hdoc)
	}
	switch d.Op {
	case syntax.Hdoc, syntax.DashHdoc:
		return
	case syntax.WordHdoc:
		r.word(d.Word)
		return
	}
	file := r.word(d.Word)
	if why := network(file); why != "" {
		r.opaque(why)
		return
	}
	switch d.Op {
	case syntax.DplIn, syntax.DplOut:
		if descriptor(file) {
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
	if file.pipe || file.fixed() && ownDevice(file.text) {
		return
	}
	r.need(right, r.resource(file))
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

// descriptor says that what follows >& or <& is an open file's number, or - to close it.
func descriptor(w word) bool {
	number := strings.TrimSuffix(w.text, "-")
	return w.fixed() && w.text != "" && strings.Trim(number, "0123456789") == ""
}

// ownDevice says that a path is no file of anybody's: nothing is kept there.
func ownDevice(path string) bool {
	switch path {
	case "/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/zero", "/dev/full":
		return true
	}
	number, ok := strings.CutPrefix(path, "/dev/fd/")
	return ok && strings.Trim(number, "0123456789") == ""
}
