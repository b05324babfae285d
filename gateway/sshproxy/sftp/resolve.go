package sftp

import (
	"errors"
	"fmt"
	"io"
)

// Resolver asks an SFTP server what paths are, one path at a time.
type Resolver struct {
	conn io.ReadWriteCloser
	ids  uint32
	buf  []byte
	walk walk
}

// NewResolver greets the server on conn, which Close closes.
func NewResolver(conn io.ReadWriteCloser) (*Resolver, error) {
	r := &Resolver{conn: conn, buf: make([]byte, maxPacket)}
	r.walk.ask = r.ask
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

// Real is the path without links and dots, and whether it is a folder; its last part may be missing on the target.
func (r *Resolver) Real(p string) (real string, folder bool, err error) { return r.to(p, true) }

// Parent is the path with the folder it is in resolved: what the name itself links to is left alone.
func (r *Resolver) Parent(p string) (string, error) {
	named, _, err := r.to(p, false)
	return named, err
}

func (r *Resolver) to(p string, follow bool) (string, bool, error) {
	at, refused, err := r.walk.to(p, follow)
	if err == nil && refused != nil {
		err = fmt.Errorf("the target cannot resolve %q", p)
	}
	return at.path, at.folder, err
}

// ask sends all questions at once; answers may come in any order.
func (r *Resolver) ask(questions []frame) ([]frame, error) {
	answers := make([]frame, len(questions))
	first := r.ids + 1
	for _, q := range questions {
		r.ids++
		q.setID(r.ids)
		if _, err := r.conn.Write(q); err != nil {
			return nil, err
		}
	}
	for range questions {
		p, err := readFrame(r.conn, r.buf)
		if err != nil {
			return nil, noEOF(err)
		}
		i := int64(0)
		if p.kind() != typeVersion && p.kind() != typeInit {
			i = int64(p.id()) - int64(first)
		}
		if p.kind() < typeStatus || i < 0 || i >= int64(len(answers)) || answers[i] != nil {
			return nil, errors.Join(ErrMalformed, errors.New("an answer to another question"))
		}
		if answers[i] = append(frame(nil), p...); p.kind() == typeStatus && len(p) < 13 {
			return nil, fmt.Errorf("%w: a status", ErrMalformed)
		}
	}
	return answers, nil
}
