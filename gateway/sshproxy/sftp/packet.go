package sftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// The packet types of version 3 (draft-ietf-secsh-filexfer-02), the one that every client and server speaks.
const (
	typeInit          = 1
	typeVersion       = 2
	typeOpen          = 3
	typeClose         = 4
	typeRead          = 5
	typeWrite         = 6
	typeLstat         = 7
	typeFstat         = 8
	typeSetstat       = 9
	typeFsetstat      = 10
	typeOpendir       = 11
	typeReaddir       = 12
	typeRemove        = 13
	typeMkdir         = 14
	typeRmdir         = 15
	typeRealpath      = 16
	typeStat          = 17
	typeRename        = 18
	typeReadlink      = 19
	typeSymlink       = 20
	typeStatus        = 101
	typeHandle        = 102
	typeData          = 103
	typeName          = 104
	typeAttrs         = 105
	typeExtended      = 200
	typeExtendedReply = 201
)

// Status codes.
const (
	statusOK               = 0
	statusEOF              = 1
	statusNoSuchFile       = 2
	statusPermissionDenied = 3
	statusFailure          = 4
	statusBadMessage       = 5
	statusUnsupported      = 8
)

// Flags of OPEN.
const (
	flagRead   = 0x01
	flagWrite  = 0x02
	flagAppend = 0x04
	flagCreate = 0x08
	flagTrunc  = 0x10
	flagExcl   = 0x20
	flagsKnown = flagRead | flagWrite | flagAppend | flagCreate | flagTrunc | flagExcl
)

// Limits of what a peer may send.
const (
	maxPacket = 256<<10 + 1024 // bytes; OpenSSH takes 256 KiB
	maxPath   = 4096           // bytes, PATH_MAX
	maxAttrs  = 1024           // bytes; those that are known take 32
	maxHandle = 256            // bytes, by the draft
)

// ErrMalformed is a packet that is not what its type says. The connection cannot go on after it.
var ErrMalformed = errors.New("malformed SFTP packet")

// frame is one packet with its length: 4 bytes length, 1 byte type, and for all but INIT and VERSION 4 bytes request id.
type frame []byte

func (f frame) kind() byte     { return f[4] }
func (f frame) id() uint32     { return binary.BigEndian.Uint32(f[5:]) }
func (f frame) setID(n uint32) { binary.BigEndian.PutUint32(f[5:], n) }

// body is what follows the request id.
func (f frame) body() []byte { return f[9:] }

// readFrame reads one packet into buf, which must hold maxPacket bytes.
func readFrame(r io.Reader, buf []byte) (frame, error) {
	if _, err := io.ReadFull(r, buf[:4]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(buf)
	if n < 5 || n > maxPacket-4 {
		return nil, fmt.Errorf("%w: a length of %d bytes", ErrMalformed, n)
	}
	if _, err := io.ReadFull(r, buf[4:4+n]); err != nil {
		return nil, noEOF(err)
	}
	f := frame(buf[:4+n])
	if k := f.kind(); k != typeInit && k != typeVersion && len(f) < 9 {
		return nil, fmt.Errorf("%w: type %d without a request id", ErrMalformed, k)
	}
	return f, nil
}

// noEOF says of an end in the middle of a packet that it is one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// request is a client's packet, read strictly: every byte of it is accounted for.
type request struct {
	kind   byte
	id     uint32
	name   string // of an extension
	path   string
	to     string // rename, link: the new name
	handle string
	flags  uint32 // open
	attrs  []byte // open, mkdir, setstat, as sent
	offset uint64 // read, write
	length uint32 // read
	data   []byte // write; points into the packet
	// problem is why a well-formed packet cannot be carried out: a name that nobody could put on record. "" for none.
	problem string
}

// parseRequest reads a client's packet.
func parseRequest(f frame) (request, error) {
	q := request{kind: f.kind(), id: f.id()}
	d := decoder{rest: f.body()}
	switch q.kind {
	case typeOpen:
		q.path, q.flags, q.attrs = d.path(), d.uint32(), d.attrs()
	case typeClose, typeFstat, typeReaddir:
		q.handle = d.handle()
	case typeRead:
		q.handle, q.offset, q.length = d.handle(), d.uint64(), d.uint32()
	case typeWrite:
		q.handle, q.offset, q.data = d.handle(), d.uint64(), d.bytes(maxPacket)
	case typeLstat, typeStat, typeOpendir, typeRemove, typeRmdir, typeRealpath, typeReadlink:
		q.path = d.path()
	case typeSetstat, typeMkdir:
		q.path, q.attrs = d.path(), d.attrs()
	case typeFsetstat:
		q.handle, q.attrs = d.handle(), d.attrs()
	case typeRename, typeSymlink:
		q.path, q.to = d.path(), d.path()
	case typeExtended:
		q.name = string(d.bytes(256))
		q.extension(&d)
	default:
		return q, fmt.Errorf("%w: a client sends type %d", ErrMalformed, q.kind)
	}
	if d.rest == nil || len(d.rest) > 0 {
		return q, fmt.Errorf("%w: type %d", ErrMalformed, q.kind)
	}
	q.problem = d.problem
	return q, nil
}

// The extensions that go through. All others are answered as unsupported and not announced to the client.
const (
	extRename   = "posix-rename@openssh.com"
	extHardlink = "hardlink@openssh.com"
	extStatvfs  = "statvfs@openssh.com"
	extFstatvfs = "fstatvfs@openssh.com"
	extFsync    = "fsync@openssh.com"
	extLsetstat = "lsetstat@openssh.com"
	extLimits   = "limits@openssh.com"
)

var extensions = map[string]bool{extRename: true, extHardlink: true, extStatvfs: true, extFstatvfs: true, extFsync: true,
	extLsetstat: true, extLimits: true}

func (q *request) extension(d *decoder) {
	switch q.name {
	case extRename, extHardlink:
		q.path, q.to = d.path(), d.path()
	case extStatvfs:
		q.path = d.path()
	case extLsetstat:
		q.path, q.attrs = d.path(), d.attrs()
	case extFstatvfs, extFsync:
		q.handle = d.handle()
	case extLimits:
	default:
		if d.rest != nil {
			d.rest = d.rest[len(d.rest):] // refused unread
		}
	}
}

// decoder takes fields off a packet. After one that does not fit, rest is nil and everything after it is zero.
type decoder struct {
	rest    []byte
	problem string
}

func (d *decoder) take(n int) []byte {
	if d.rest == nil || n > len(d.rest) {
		d.rest = nil
		return nil
	}
	field := d.rest[:n]
	d.rest = d.rest[n:]
	return field
}

func (d *decoder) uint32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// bytes is a string field of at most limit bytes.
func (d *decoder) bytes(limit int) []byte {
	n := d.uint32()
	if uint64(n) > uint64(limit) {
		d.rest = nil
		return nil
	}
	return d.take(int(n))
}

// path is a file name. One that is too long for any file, has a NUL, at which it would end for the target, or is not
// UTF-8, which could not be put on record as it is, is a problem of this one request.
func (d *decoder) path() string {
	b := d.bytes(maxPacket)
	switch {
	case len(b) > maxPath:
		d.problem = "the path is too long"
	case bytes.IndexByte(b, 0) >= 0:
		d.problem = "the path contains a NUL"
	case !utf8.Valid(b):
		d.problem = "the path is not UTF-8"
	default:
		return string(b)
	}
	return ""
}

func (d *decoder) handle() string { return string(d.bytes(maxHandle)) }

// attrs is a file's attributes, as sent.
func (d *decoder) attrs() []byte {
	start := d.rest
	flags := d.uint32()
	for _, part := range []struct {
		flag uint32
		size int
	}{{0x01, 8}, {0x02, 8}, {0x04, 4}, {0x08, 8}} {
		if flags&part.flag != 0 {
			d.take(part.size)
		}
	}
	if flags&0x80000000 != 0 {
		for n := d.uint32(); n > 0 && d.rest != nil; n-- {
			d.bytes(maxPacket)
			d.bytes(maxPacket)
		}
	}
	if flags&^uint32(0x8000000f) != 0 {
		d.rest = nil
	}
	if d.rest == nil {
		return nil
	}
	taken := start[:len(start)-len(d.rest)]
	if len(taken) > maxAttrs {
		d.problem = "the attributes are too long"
		return nil
	}
	return bytes.Clone(taken) // the packet's memory is used again before the request is decided
}

// encoder builds a packet.
type encoder struct{ out []byte }

func packet(kind byte, id uint32) *encoder {
	e := &encoder{out: make([]byte, 9, 64)}
	e.out[4] = kind
	frame(e.out).setID(id)
	return e
}

func (e *encoder) uint32(n uint32) *encoder {
	e.out = binary.BigEndian.AppendUint32(e.out, n)
	return e
}

func (e *encoder) str(s string) *encoder {
	e.uint32(uint32(len(s)))
	e.out = append(e.out, s...)
	return e
}

func (e *encoder) raw(b []byte) *encoder {
	e.out = append(e.out, b...)
	return e
}

func (e *encoder) frame() frame {
	binary.BigEndian.PutUint32(e.out, uint32(len(e.out)-4))
	return e.out
}

// status is an answer without anything but a code and words.
func status(id, code uint32, words string) frame {
	return packet(typeStatus, id).uint32(code).str(words).str("").frame()
}

// encode writes the request again with other paths, so that what the target does is what was decided.
func (q *request) encode(id uint32, path, to string) frame {
	e := packet(q.kind, id)
	if q.kind == typeExtended {
		e.str(q.name)
	}
	e.str(path)
	switch {
	case q.kind == typeOpen:
		e.uint32(q.flags)
	case q.kind == typeRename || q.kind == typeSymlink || q.name == extRename || q.name == extHardlink:
		e.str(to)
	}
	return e.raw(q.attrs).frame()
}
