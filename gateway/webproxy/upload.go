package webproxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// upload is a request body on its way to the app: counted, hashed, looked through for parameters that change the method,
// and bounded in size and in time without a byte.
type upload struct {
	ctx   context.Context
	src   io.Reader
	reply *reply // sets the deadlines
	stall time.Duration
	check nameCheck // may be nil
	limit int64

	mu    sync.Mutex // a transport may read on while the exchange is put on record
	sum   hash.Hash
	bytes int64
	err   error // sticky; io.EOF when all of it has passed
}

func (u *upload) Read(p []byte) (int, error) {
	if err := u.failed(); err != nil {
		return 0, err
	}
	// The deadline comes before the look at ctx: whoever cancels ctx sets a deadline in the past afterwards.
	u.reply.readBy(time.Now().Add(u.stall))
	if u.ctx.Err() != nil {
		return u.pass(nil, context.Cause(u.ctx))
	}
	n, err := u.src.Read(p)
	return u.pass(p[:n], err)
}

// pass counts and checks what was read and decides how much of it goes on.
func (u *upload) pass(p []byte, err error) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes += int64(len(p))
	u.sum.Write(p)
	ended := errors.Is(err, io.EOF)
	if u.bytes > u.limit {
		err = errTooLarge
	} else if u.check != nil && (err == nil || ended) {
		if bad := u.look(p, ended); bad != nil {
			err = bad
		}
	}
	if err == nil {
		return len(p), nil
	}
	u.reply.readBy(time.Time{})
	if u.err = u.meaning(err); !errors.Is(u.err, io.EOF) {
		return 0, u.err
	}
	return len(p), u.err
}

// look passes a piece of the body to its check; the end also ends a last parameter without a value.
func (u *upload) look(p []byte, ended bool) error {
	_, err := u.check.Write(p)
	if err == nil && ended {
		_, err = u.check.Write([]byte("&"))
	}
	return err
}

// meaning tells a session that ended and a client that stopped sending from one that is gone. net/http cancels the
// request's context for either of the last two.
func (u *upload) meaning(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, errTooLarge), errors.Is(err, errOverride), errors.Is(err, errForm):
		return err
	case errors.As(context.Cause(u.ctx), new(*access.Ended)):
		return context.Cause(u.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errStalled
	}
	return fmt.Errorf("%w: %w", errGone, err)
}

// errStalled says that a request body stood still for too long.
var errStalled = errors.New("nothing came for too long")

// failed is what stopped the body; io.EOF when it came to its end.
func (u *upload) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// describe adds to a reference what has passed by now.
func (u *upload) describe(ref *recorder.BodyRef) {
	u.mu.Lock()
	defer u.mu.Unlock()
	ref.Bytes = u.bytes
	if ref.SHA256 == "" {
		ref.SHA256 = hex.EncodeToString(u.sum.Sum(nil))
	}
	if !errors.Is(u.err, io.EOF) {
		ref.Omitted = omittedCut
	}
}

// receive prepares the request's body. One that is no larger than what is kept on record is read whole, put on record and
// then forwarded; a larger one streams, and only its hash and size are kept.
func (x *exchange) receive(r *http.Request) (*http.Request, error) {
	out := r.Clone(x.ctx)
	out.Trailer = nil
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		out.Body, out.ContentLength = http.NoBody, 0
		return out, nil
	}
	x.up = &upload{ctx: x.ctx, src: r.Body, reply: x.reply, stall: x.proxy.cfg.StallTimeout, check: x.check,
		sum: sha256.New(), limit: x.proxy.cfg.MaxUpload}
	how, omitted := x.visit.redact.manner(r.Header, max(r.ContentLength, 0))
	if how == digest {
		x.sent = recorder.BodyRef{Type: mediaType(r.Header), Omitted: omitted}
		out.Body = io.NopCloser(x.up)
		return out, nil
	}
	var held bytes.Buffer // not pooled: a transport may read it after it has answered
	complete, err := holdBack(&held, x.up, x.visit.redact.limit)
	if err != nil {
		return nil, err
	}
	if !complete {
		x.sent = recorder.BodyRef{Type: mediaType(r.Header), Omitted: omittedLarge}
		out.Body = io.NopCloser(io.MultiReader(&held, x.up))
		return out, nil
	}
	if x.sent, err = x.keep(r.Header, held.Bytes(), x.up.sum, x.check != nil && x.check.secret()); err != nil {
		return nil, err
	}
	body := held.Bytes()
	out.ContentLength, out.TransferEncoding = int64(len(body)), nil
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	out.Body, err = out.GetBody()
	return out, err
}

// keep puts a complete body on record as far as it may be stored; secret says that it may not.
func (x *exchange) keep(h http.Header, body []byte, sum hash.Hash, secret bool) (recorder.BodyRef, error) {
	ref := recorder.BodyRef{Bytes: int64(len(body)), Type: mediaType(h)}
	stored, omitted, keep := x.visit.redact.clean(h, body)
	if secret {
		keep, omitted = false, omittedUnread
	}
	ref.Omitted = omitted
	if !keep {
		ref.SHA256 = hex.EncodeToString(sum.Sum(nil))
		return ref, nil
	}
	digest := sha256.Sum256(stored)
	ref.SHA256 = hex.EncodeToString(digest[:])
	return ref, x.record(digest, stored)
}

// record stores a body under its hash, unless this recording holds it already.
func (x *exchange) record(digest [sha256.Size]byte, body []byte) error {
	if x.visit.known.has(digest) {
		return nil
	}
	entry := make([]byte, 0, len(digest)+len(body))
	entry = append(append(entry, digest[:]...), body...)
	if err := x.visit.session.Record(x.channel, recorder.KindBody, entry); err != nil {
		return fmt.Errorf("recording a body: %w", err)
	}
	x.visit.known.add(digest)
	return nil
}
