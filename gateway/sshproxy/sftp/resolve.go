package sftp

import (
	"fmt"
	"io"
	"path"
)

// Resolver asks an SFTP server what paths are, one question at a time.
type Resolver struct {
	conn io.ReadWriteCloser
	ids  uint32
	buf  []byte
}

// NewResolver greets the server on conn, which Close closes.
func NewResolver(conn io.ReadWriteCloser) (*Resolver, error) {
	r := &Resolver{conn: conn, buf: make([]byte, maxPacket)}
	_, err := conn.Write(frame{0, 0, 0, 5, typeInit, 0, 0, 0, 3})
	if err == nil {
		var p frame
		if p, err = readFrame(conn, r.buf); err == nil && p.kind() != typeVersion {
			err = fmt.Errorf("%w: no greeting", ErrMalformed)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return r, nil
}

// Close ends the questions.
func (r *Resolver) Close() error { return r.conn.Close() }

// Real is the path without links and dots; its last part may be missing on the target.
func (r *Resolver) Real(p string) (string, error) {
	l, _ := lookupOf(p, true)
	return r.resolve(l)
}

// Parent is the path with the folder it is in resolved: what the name itself links to is left alone.
func (r *Resolver) Parent(p string) (string, error) {
	l, ok := lookupOf(p, false)
	if !ok {
		return "", fmt.Errorf("%q is no path", p)
	}
	return r.resolve(l)
}

func (r *Resolver) resolve(l lookup) (string, error) {
	reply, err := r.ask(packet(typeRealpath, 0).str(l.ask).frame())
	if err != nil {
		return "", err
	}
	real, ok := onlyName(reply)
	if ok {
		real, ok = l.resolve(real)
	}
	if !ok {
		return "", fmt.Errorf("the target cannot resolve %q", path.Join(l.ask, l.base))
	}
	return real, nil
}

// IsFolder says whether there is a folder at p.
func (r *Resolver) IsFolder(p string) bool {
	reply, err := r.ask(packet(typeStat, 0).str(p).frame())
	if err != nil || reply.kind() != typeAttrs {
		return false
	}
	const directory = 0o040000
	d := decoder{rest: reply.body()}
	flags := d.uint32()
	if flags&0x01 != 0 {
		d.take(8)
	}
	if flags&0x02 != 0 {
		d.take(8)
	}
	return flags&0x04 != 0 && d.uint32()&0o170000 == directory
}

func (r *Resolver) ask(p frame) (frame, error) {
	r.ids++
	p.setID(r.ids)
	if _, err := r.conn.Write(p); err != nil {
		return nil, err
	}
	reply, err := readFrame(r.conn, r.buf)
	if err == nil && (reply.kind() == typeVersion || reply.id() != r.ids) {
		err = fmt.Errorf("%w: an answer to another question", ErrMalformed)
	}
	return reply, err
}
