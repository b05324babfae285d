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
	"strconv"

	"github.com/sekisho/sekisho/recorder"
)

// errSwitched refuses an app's 101: what follows it would be neither decided nor on record.
var errSwitched = errors.New("the app tried to switch protocols")

// respond puts a response on record, as far as it has come, and returns what may be shown of it.
func (x *exchange) respond(res *http.Response) (*http.Response, error) {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return nil, errSwitched
	}
	x.status, x.header = res.StatusCode, redactHeader(res.Header)
	// A copy, because trailers arrive in the original: they could carry what stripResponse takes away.
	shown := *res
	shown.Trailer = nil
	stripResponse(shown.Header)
	leadHere(shown.Header, x.visit.session.Target().Upstream, x.request.Host)
	if x.request.Method == http.MethodHead || res.Body == http.NoBody || res.ContentLength == 0 {
		return &shown, x.close()
	}
	d := &download{x: x, src: res.Body, sum: sha256.New()}
	how, omitted := x.visit.redact.manner(res.Header, res.ContentLength)
	x.received = recorder.BodyRef{Type: mediaType(res.Header), Omitted: omitted}
	var err error
	switch how {
	case whole:
		err = d.hold(&shown)
	case pieces:
		err = d.sniff(&shown)
	default:
		err = d.stream()
	}
	shown.Body = d
	return &shown, err
}

// download is a response body on its way to the client. Nothing of it is shown before it is on record, or before the
// record says why it is not there.
type download struct {
	x      *exchange
	src    io.ReadCloser
	sum    hash.Hash
	bytes  int64
	ready  *bytes.Buffer // held back, already on record; nil when there is none
	keeps  bool          // each piece is recorded as it passes
	stored int64
	err    error // sticky; io.EOF at the end
}

// sniff looks at the first piece of a body of unknown length: what looks like JSON is held back to be redacted, anything
// else streams.
func (d *download) sniff(shown *http.Response) error {
	first := copyBuffers{}.Get()
	defer copyBuffers{}.Put(first)
	n, err := d.src.Read(first)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	d.src = readCloser{io.MultiReader(bytes.NewReader(bytes.Clone(first[:n])), d.src), d.src}
	if errors.Is(err, io.EOF) || looksJSON(first[:n]) {
		return d.hold(shown)
	}
	d.keeps, d.x.received.Streamed = true, true
	return d.stream()
}

type readCloser struct {
	io.Reader
	io.Closer
}

// hold reads the whole body, puts it on record as far as it may be stored, and only then lets it be shown.
func (d *download) hold(shown *http.Response) error {
	x := d.x
	d.ready = borrowBuffer()
	complete, err := holdBack(d.ready, d.src, x.visit.redact.limit)
	if err != nil {
		return fmt.Errorf("the app broke its response off: %w", err)
	}
	d.sum.Write(d.ready.Bytes())
	d.bytes = int64(d.ready.Len())
	if !complete {
		x.received.Omitted = omittedLarge
		return d.stream()
	}
	if x.received, err = x.keep(shown.Header, d.ready.Bytes(), d.sum, false); err != nil {
		return err
	}
	shown.ContentLength, shown.TransferEncoding = d.bytes, nil
	shown.Header.Set("Content-Length", strconv.FormatInt(d.bytes, 10))
	d.err = io.EOF
	return x.close()
}

// stream puts the response on record without its body, which follows.
func (d *download) stream() error {
	d.x.down = d
	return d.x.write(true)
}

func (d *download) Read(p []byte) (int, error) {
	if d.ready != nil && d.ready.Len() > 0 {
		return d.ready.Read(p)
	}
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.src.Read(p)
	d.bytes += int64(n)
	d.sum.Write(p[:n])
	if kept := d.record(p[:n]); kept != nil {
		n, err = 0, kept
	}
	if err != nil {
		if failed := d.finish(err); failed != nil {
			n, err = 0, failed
		}
		d.err = err
	}
	return n, err
}

// record stores one piece, until there are more than are kept.
func (d *download) record(piece []byte) error {
	if !d.keeps || len(piece) == 0 {
		return nil
	}
	if room := d.x.visit.redact.limit - d.stored; int64(len(piece)) > room {
		d.keeps, d.x.received.Omitted = false, omittedLarge
		piece = piece[:room]
	}
	d.stored += int64(len(piece))
	digest := sha256.Sum256(piece)
	entry := append(digest[:], piece...)
	return d.x.visit.session.Record(d.x.channel, recorder.KindBody, entry)
}

// finish puts the end of a streamed body on record; io.EOF is a good end.
func (d *download) finish(cause error) error {
	d.x.received.Bytes, d.x.received.SHA256 = d.bytes, hex.EncodeToString(d.sum.Sum(nil))
	if !errors.Is(cause, io.EOF) && d.x.failure == nil {
		d.x.failure = cause
		if ended := context.Cause(d.x.visit.session.Context()); ended != nil {
			d.x.failure = ended
		}
	}
	return d.x.close()
}

// abandon ends a streamed body that was not read to its end, because the client or the session is gone.
func (d *download) abandon() {
	if d.err == nil {
		d.err = errGone
		_ = d.finish(errGone) // the session may be over; the event says the same
	}
}

// errGone says that the client did not take the whole response.
var errGone = errors.New("the client went away")

func (d *download) Close() error {
	if d.ready != nil {
		returnBuffer(d.ready)
		d.ready = nil
	}
	return d.src.Close()
}
