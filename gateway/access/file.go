package access

import (
	"path"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/command"
	"github.com/sekisho/sekisho/recorder"
)

// Incomplete says whether an interactive shell that is given these lines waits for more before it runs any of them.
func Incomplete(lines string) bool { return command.Incomplete(lines) }

// Masked is a command line as it may be put on record.
func Masked(line string) string { return command.Mask(line) }

// once binds what only a line's hash stands for to one entering of the line: a variable of the shell may have changed since.
func once(needs []policy.Need, entering string) []policy.Need {
	bound := slices.Clone(needs)
	for i, n := range bound {
		if strings.HasPrefix(n.Resource, "sha256:") {
			bound[i].Resource = command.Hash(entering + "\x00" + n.Resource)
		}
	}
	return bound
}

// fileRights are the rights that SFTP operations on one path need.
var fileRights = map[string]policy.Right{
	"sftp.stat": policy.Read, "sftp.realpath": policy.Read, "sftp.readlink": policy.Read, "sftp.list": policy.Read,
	"sftp.setstat": policy.Write, "sftp.mkdir": policy.Write, "sftp.symlink": policy.Write,
	"sftp.remove": policy.Delete, "sftp.rmdir": policy.Delete,
}

// fileNeeds are the rights that an SFTP operation needs. One that this does not know needs nothing, which policy denies.
func (op Operation) fileNeeds() []policy.Need {
	on := func(name string, rights ...policy.Right) (needs []policy.Need) {
		for _, right := range rights {
			needs = append(needs, policy.Need{Right: right, Resource: name})
		}
		return needs
	}
	if right, ok := fileRights[op.Kind]; ok {
		return on(op.Path, right)
	}
	switch op.Kind {
	case "sftp.open":
		var rights []policy.Right
		if op.Read {
			rights = append(rights, policy.Read)
		}
		if op.Write {
			rights = append(rights, policy.Write)
		}
		return on(op.Path, rights...)
	case "sftp.rename":
		right := policy.Delete
		if op.Own {
			right = policy.Write
		}
		needs := append(on(op.Path, right), on(op.To, policy.Write)...)
		if op.Folder {
			// Rules for what is in it would not hold for the new names: the rights are needed for whatever it may be.
			needs = append(needs, on(path.Join(op.Path, "**"), policy.Read, policy.Write, policy.Delete)...)
		}
		return needs
	case "sftp.hardlink":
		// What is written to or read from the new name is the old file.
		return append(on(op.Path, policy.Read, policy.Write), on(op.To, policy.Write)...)
	}
	return nil
}

// handsOut says whether the operation gives the contents of files or of a connection away rather than showing them. A shell
// or command at a terminal shows them: whoever looks at a screen can keep what is on it, yet no file leaves by itself.
func (op Operation) handsOut() bool {
	switch op.Kind {
	case "sftp.open":
		return op.Read
	case "ssh.exec", "ssh.shell":
		return !op.Terminal
	}
	return op.Kind == "tcp.forward"
}

// onFile says whether the operation is one on a file by SFTP.
func (op Operation) onFile() bool { return OnFile(op.Kind) }

// OnFile says whether a kind of operation is one on a file by SFTP.
func OnFile(kind string) bool { return strings.HasPrefix(kind, "sftp.") }

// event is under which class and kind the finished operation is put on record. An SFTP operation that shows what a file is
// like and nothing of what is in it has none: a listing alone asks for hundreds. Its packets are in the recording.
func (op Operation) event() (recorder.Class, string) {
	verb, file := strings.CutPrefix(op.Kind, "sftp.")
	switch {
	case op.Kind == "tcp.forward":
		return recorder.ClassCommand, "tcp.forward"
	case !file:
		return recorder.ClassCommand, "command.run"
	case verb == "stat" || verb == "realpath":
		return recorder.ClassFile, ""
	case verb == "open" && op.Write:
		return recorder.ClassFile, "file.write"
	case verb == "open":
		return recorder.ClassFile, "file.read"
	}
	return recorder.ClassFile, "file." + verb
}
