package webproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// exchange is one request that was allowed, from its decision to the last byte of its response.
type exchange struct {
	proxy   *Proxy
	visit   *visit
	grant   *access.Grant
	want    asked
	request *http.Request // as it came
	reply   *reply
	ctx     context.Context // ends with the request or the session, whichever is first
	channel uint32
	started time.Time
	token   string // the identity the app is shown

	check nameCheck // of the request's body; may be nil
	up    *upload   // nil without a request body
	sent  recorder.BodyRef

	status   int
	header   http.Header // of the response, redacted
	received recorder.BodyRef
	down     *download // nil without a response body that streams
	failure  error     // why no response, or not the whole of it, came
	closed   bool      // the whole exchange is on record
}

// exchangeKey is where a request's context holds its *exchange.
type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

// exchange decides one request, forwards it and has it on record.
func (p *Proxy) exchange(w http.ResponseWriter, r *http.Request, v *visit, want asked) {
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-r.Context().Done():
		return
	}
	x := &exchange{proxy: p, visit: v, want: want, request: r, channel: v.channel.Add(1), started: p.cfg.Now().UTC(),
		reply: newReply(w, p.cfg.StallTimeout)}
	defer x.reply.release()
	ctx, stop := x.bind(r.Context())
	defer stop()
	x.ctx = context.WithValue(ctx, exchangeKey{}, x)
	var err error
	if x.check, err = checkBody(r.Header); err != nil {
		p.refuseShape(w, r, v, want, err)
		return
	}
	if r.ContentLength > p.cfg.MaxUpload {
		p.refuseShape(w, r, v, want, errTooLarge)
		return
	}
	if x.grant, err = x.authorize(); err != nil {
		x.refused(err)
		return
	}
	defer x.end()
	x.run()
}

// bind makes a context that ends with the request and with the session, and then also wakes up whatever reads from or
// writes to the client.
func (x *exchange) bind(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	session := x.visit.session.Context()
	stop := context.AfterFunc(session, func() {
		cancel(context.Cause(session))
		x.reply.cut()
	})
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

func (x *exchange) authorize() (*access.Grant, error) {
	operation := access.Operation{Kind: "http.request", Method: x.request.Method, Path: x.want.path, Channel: x.channel}
	grant, err := x.visit.session.Authorize(x.ctx, operation)
	if err != nil {
		return nil, err
	}
	if duty := x.unmet(grant); duty != "" {
		grant.End(recorder.Refused, map[string]any{"reason": "the decision obliges to " + duty})
		return nil, fmt.Errorf("decision %s obliges to %s, which this gateway cannot do", grant.Decision().ID, duty)
	}
	return grant, nil
}

// unmet names an obligation of the decision that cannot be kept here.
func (x *exchange) unmet(grant *access.Grant) string {
	o := grant.Decision().Obligations
	given := x.visit.session.Principal().MFA.At
	switch {
	case o.MFAMaxAge > 0 && x.proxy.cfg.Now().Sub(given) > o.MFAMaxAge:
		return "a newer confirmation with the security key"
	case o.Download == "off":
		return "showing without downloading"
	case o.Watermark:
		return "a watermark"
	case o.Supervise:
		return "a supervisor who watches"
	case o.MaxBytes > 0:
		return "a limit of bytes"
	}
	return ""
}

// refused answers a request that the door did not allow and puts what the person saw into the recording.
func (x *exchange) refused(err error) {
	x.reply.answering()
	var refusal *access.Refusal
	if errors.As(err, &refusal) {
		if err := x.visit.session.Record(x.channel, recorder.KindNotice, []byte(refusal.Message("en"))); err != nil {
			x.proxy.refuse(x.reply, x.request, err)
			return
		}
	}
	x.proxy.refuse(x.reply, x.request, err)
}

// run forwards the request once its start, and its body where it is kept, are on record.
func (x *exchange) run() {
	out, err := x.begin()
	if err != nil {
		x.fail(err)
		return
	}
	x.proxy.forward.ServeHTTP(x.reply, out)
}

func (x *exchange) begin() (*http.Request, error) {
	v := x.visit
	var err error
	if x.token, err = v.token.get(x.proxy.cfg.Authority, x.proxy.cfg.Console, v.session, x.proxy.cfg.Now()); err != nil {
		return nil, fmt.Errorf("%w: %w", errInternal, err)
	}
	start, err := json.Marshal(recorder.Operation{Kind: "http.request", Command: x.request.Method + " " + x.target(),
		Enforced: x.grant.Label(), Decision: x.grant.Decision().ID})
	if err != nil {
		return nil, err
	}
	if err := v.session.Record(x.channel, recorder.KindStart, start); err != nil {
		return nil, err
	}
	return x.receive(x.request)
}

// target is the path and query as they go on record.
func (x *exchange) target() string {
	target := (&url.URL{Path: x.want.path}).EscapedPath()
	if x.want.query != "" {
		target += "?" + redactQuery(x.want.query)
	}
	return target
}

// rewrite makes the request the app gets: the decided path, the gateway's word on who and where, nothing forged.
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In)
	stripRequest(pr.Out.Header)
	upstream := x.visit.session.Target().Upstream
	pr.Out.URL = &url.URL{Scheme: upstream.Scheme, Host: upstream.Host, Path: x.want.path, RawQuery: x.want.query}
	pr.Out.Host = x.request.Host
	pr.Out.Trailer = nil
	pr.Out.Header.Set(identityHeader, x.token)
	pr.Out.Header.Set("X-Forwarded-For", x.visit.key.source.String())
	pr.Out.Header.Set("X-Forwarded-Host", x.request.Host)
	pr.Out.Header.Set("X-Forwarded-Proto", "https")
	// What comes back is redacted, counted and kept readable, so it must come as it is.
	pr.Out.Header.Set("Accept-Encoding", "identity")
}

// roundTripper sends a request through its own session and has the response on record before it returns.
type roundTripper struct{}

func (roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r)
	res, err := x.visit.app.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	shown, err := x.respond(res)
	if err != nil {
		res.Body.Close()
		return nil, err
	}
	return shown, nil
}

// failedForward answers when no response can be shown.
func (p *Proxy) failedForward(_ http.ResponseWriter, r *http.Request, err error) {
	exchangeOf(r).fail(err)
}

// fail answers a request whose response did not come, and keeps why for the record.
func (x *exchange) fail(err error) {
	x.reply.answering()
	if x.up != nil {
		if cause := x.up.failed(); cause != nil && !errors.Is(cause, io.EOF) {
			err = cause // the app only saw its request break off
		}
	}
	if cause := context.Cause(x.visit.session.Context()); cause != nil {
		err = cause
	}
	x.failure = err
	n, reason := failureNotice(err)
	x.proxy.cfg.Log.Info("a request was not answered by its app", zap.String("session", x.visit.session.ID()),
		zap.String("decision", x.grant.Decision().ID), zap.String("answered", reason), zap.Error(err))
	if x.status == 0 {
		x.received = recorder.BodyRef{}
	}
	if err := x.close(); err != nil && !errors.As(err, new(*access.Ended)) {
		n = broken
	}
	x.proxy.show(x.reply, x.request, n.decided(x.grant.Decision().ID))
}

// errInternal says that the gateway itself failed.
var errInternal = errors.New("the gateway failed")

// close puts the whole exchange on record, once.
func (x *exchange) close() error {
	if x.closed {
		return nil
	}
	x.closed = true
	return x.write(false)
}

// write puts the exchange on record as it stands; open says that the response's body is still to come.
func (x *exchange) write(open bool) error {
	sent := x.sent
	if x.up != nil {
		x.up.describe(&sent)
	}
	e := recorder.Exchange{Method: x.request.Method, URL: "https://" + x.request.Host + x.target(), Proto: x.request.Proto,
		Status: x.status, Started: x.started, DurationMS: x.proxy.cfg.Now().Sub(x.started).Milliseconds(),
		RequestHeader: redactHeader(x.request.Header), ResponseHeader: x.header, RequestBody: sent, ResponseBody: x.received,
		Decision: x.grant.Decision().ID, Open: open}
	if x.failure != nil {
		_, e.Error = failureNotice(x.failure)
	}
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an exchange: %w", err)
	}
	return x.visit.session.Record(x.channel, recorder.KindExchange, data)
}

// end closes the books on the exchange: a response that did not come whole, and the event of the operation.
func (x *exchange) end() {
	if x.down != nil {
		x.down.abandon()
	}
	if err := x.close(); err != nil && x.failure == nil {
		x.failure = err
	}
	detail := map[string]any{"method": x.request.Method, "path": x.want.path}
	if x.want.query != "" {
		detail["query"] = clip(redactQuery(x.want.query), 2048)
	}
	if x.status != 0 {
		detail["status"] = x.status
		describe(detail, "bytes", "sha256", x.received)
	}
	if x.up != nil {
		x.up.describe(&x.sent)
		describe(detail, "sent_bytes", "sent_sha256", x.sent)
	}
	x.reply.flush()
	outcome := recorder.OK
	if x.failure != nil {
		outcome = recorder.Failed
		_, detail["error"] = failureNotice(x.failure)
	}
	x.grant.End(outcome, detail)
}

// describe adds a body to an event. The hash of a redacted body is that of what is stored: the other would let a short
// secret be guessed.
func describe(detail map[string]any, size, sum string, ref recorder.BodyRef) {
	detail[size] = ref.Bytes
	if ref.SHA256 != "" && ref.SHA256 != emptySum {
		detail[sum] = ref.SHA256
	}
}

var emptySum = hex.EncodeToString(sha256.New().Sum(nil))
