package sftp

import (
	"path"

	"github.com/sekisho/sekisho/gateway/access"
)

// what says which operation of the door a request is, "" for one that is not on a path.
func (q *request) what() string {
	switch q.kind {
	case typeOpen:
		return "sftp.open"
	case typeStat, typeLstat:
		return "sftp.stat"
	case typeRealpath:
		return "sftp.realpath"
	case typeReadlink:
		return "sftp.readlink"
	case typeOpendir:
		return "sftp.list"
	case typeSetstat:
		return "sftp.setstat"
	case typeMkdir:
		return "sftp.mkdir"
	case typeRemove:
		return "sftp.remove"
	case typeRmdir:
		return "sftp.rmdir"
	case typeRename:
		return "sftp.rename"
	case typeSymlink:
		return "sftp.symlink"
	}
	switch q.name {
	case extRename:
		return "sftp.rename"
	case extHardlink:
		return "sftp.hardlink"
	case extStatvfs:
		return "sftp.stat"
	case extLsetstat:
		return "sftp.setstat"
	}
	return ""
}

// follows says whether the target follows a link that the path ends in.
func (q *request) follows() bool {
	switch q.kind {
	case typeOpen, typeStat, typeRealpath, typeOpendir, typeSetstat:
		return true
	}
	return q.name == extStatvfs
}

// creates says whether the request may make a file that was not there.
func (q *request) creates() bool { return q.kind == typeOpen && q.flags&flagCreate != 0 }

// renames says whether the request gives a file another name.
func (q *request) renames() bool { return q.kind == typeRename || q.name == extRename }

// operation is the request as the door sees it, on resolved paths.
func (q *request) operation(from, to string, own bool) access.Operation {
	op := access.Operation{Kind: q.what(), Path: from, To: to, Own: own}
	if q.kind == typeOpen {
		op.Read = q.flags&flagRead != 0
		op.Write = q.flags&^uint32(flagRead) != 0
	}
	return op
}

// lookup is what the gateway asks the target about one path before it decides: its real path, or that of the folder it is
// in where the last link is not followed.
type lookup struct {
	ask  string // what REALPATH is sent for
	base string // to be put behind the answer
}

func lookupOf(p string, follow bool) (lookup, bool) {
	if follow {
		return lookup{ask: p}, true
	}
	dir, base := path.Split(trimSlashes(p))
	if base == "" || base == "." || base == ".." {
		// A folder by another name: there is no last link, so its own real path will do.
		return lookup{ask: p}, p != ""
	}
	if dir == "" {
		dir = "."
	}
	return lookup{ask: dir, base: base}, true
}

// trimSlashes drops slashes at the end, which say nothing but that it is a folder.
func trimSlashes(p string) string {
	for len(p) > 1 && p[len(p)-1] == '/' {
		p = p[:len(p)-1]
	}
	return p
}

// resolve puts the target's answer and the base together; false for an answer that is no absolute path.
func (l lookup) resolve(real string) (string, bool) {
	if !path.IsAbs(real) || path.Clean(real) != real {
		return "", false
	}
	if l.base == "" {
		return real, true
	}
	return path.Join(real, l.base), true
}
