package sftp

import "github.com/sekisho/sekisho/gateway/access"

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

// moves says whether another path may mean another file once the request has been carried out.
func (q *request) moves() bool { return q.renames() || q.name == extHardlink || q.kind == typeSymlink }

// operation is the request as the door sees it, on resolved paths.
func (q *request) operation(from, to place, own bool) access.Operation {
	op := access.Operation{Kind: q.what(), Path: from.path, To: to.path, Own: own, Folder: q.renames() && from.folder}
	if q.kind == typeOpen {
		op.Read = q.flags&flagRead != 0
		op.Write = q.flags&^uint32(flagRead) != 0
	}
	return op
}
