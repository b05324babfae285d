package console

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// Invite makes a one-time link for a person of the directory.
func (c *Client) Invite(ctx context.Context, person string) (Invitation, error) {
	var invitation Invitation
	return invitation, c.post(ctx, "/api/v1/invitations", map[string]string{"person": person}, &invitation)
}

// Enrolments lists everybody's, newest first.
func (c *Client) Enrolments(ctx context.Context) iter.Seq2[Enrolment, error] {
	return list[Enrolment](ctx, c, "/api/v1/enrolments", nil)
}

// Release lets a waiting enrolment in, with the code its person read out.
func (c *Client) Release(ctx context.Context, person, code string) error {
	return c.post(ctx, "/api/v1/people/"+url.PathEscape(person)+"/release", map[string]string{"code": code}, nil)
}

// RevokePerson ends all that a person holds, at once.
func (c *Client) RevokePerson(ctx context.Context, person, reason string) error {
	return c.post(ctx, "/api/v1/people/"+url.PathEscape(person)+"/revoke", reasoned{reason}, nil)
}

// Directory is the document in force.
func (c *Client) Directory(ctx context.Context) (DirectoryVersion, error) {
	var version DirectoryVersion
	return version, c.get(ctx, "/api/v1/directory", &version)
}

// PlanDirectory says what applying a document would change.
func (c *Client) PlanDirectory(ctx context.Context, yaml []byte) (DirectoryPlan, error) {
	var plan DirectoryPlan
	return plan, c.post(ctx, "/api/v1/directory/plan", map[string]string{"yaml": string(yaml)}, &plan)
}

// ApplyDirectory puts a document in force. base is the plan's.
func (c *Client) ApplyDirectory(ctx context.Context, yaml []byte, reason string, base int) (DirectoryPlan, error) {
	var plan DirectoryPlan
	body := struct {
		YAML   string `json:"yaml"`
		Reason string `json:"reason"`
		Base   int    `json:"base"`
	}{string(yaml), reason, base}
	return plan, c.post(ctx, "/api/v1/directory/apply", body, &plan)
}

// Requests lists approval requests, newest first; "" is every status, limit 0 the gateway's own.
func (c *Client) Requests(ctx context.Context, status access.RequestStatus, limit int) iter.Seq2[access.ApprovalRequest, error] {
	q := url.Values{}
	put(q, "status", string(status))
	putInt(q, "limit", limit)
	return list[access.ApprovalRequest](ctx, c, "/api/v1/requests", q)
}

// Request is one request with the digest that an answer names.
func (c *Client) Request(ctx context.Context, id string) (Request, error) {
	var r Request
	return r, c.get(ctx, "/api/v1/requests/"+url.PathEscape(id), &r)
}

// ApproveRequest says yes to a request as it was shown, and tells how it stands then.
func (c *Client) ApproveRequest(ctx context.Context, id string, a RequestAnswer) (Answered, error) {
	var answered Answered
	a.Answer = AnswerApprove
	return answered, c.post(ctx, "/api/v1/requests/"+url.PathEscape(id)+"/approve", a, &answered)
}

// DenyRequest says no to it.
func (c *Client) DenyRequest(ctx context.Context, id string, a RequestAnswer) (Answered, error) {
	var answered Answered
	a.Answer = AnswerDeny
	return answered, c.post(ctx, "/api/v1/requests/"+url.PathEscape(id)+"/deny", a, &answered)
}

// AnswerRequest gives an answer that the proof confirms: that of a ceremony for PurposeAnswer with exactly this answer.
func (c *Client) AnswerRequest(ctx context.Context, id string, a RequestAnswer, proof Proof) (Answered, error) {
	var answered Answered
	body := struct {
		Proof
		Answer RequestAnswer `json:"answer"`
	}{proof, a}
	return answered, c.post(ctx, "/api/v1/requests/"+url.PathEscape(id)+"/answer", body, &answered)
}

// RequestLink makes a link that leads whoever may see the request to it, until its deadline.
func (c *Client) RequestLink(ctx context.Context, id string) (RequestLink, error) {
	var link RequestLink
	return link, c.get(ctx, "/api/v1/requests/"+url.PathEscape(id)+"/link", &link)
}

// Leases lists those that have not ended.
func (c *Client) Leases(ctx context.Context) iter.Seq2[access.Lease, error] {
	return list[access.Lease](ctx, c, "/api/v1/leases", nil)
}

// RevokeLease ends a lease; what runs under it ends within a second.
func (c *Client) RevokeLease(ctx context.Context, id, reason string) error {
	return c.post(ctx, "/api/v1/leases/"+url.PathEscape(id)+"/revoke", reasoned{reason}, nil)
}

// Sessions lists sessions, newest first.
func (c *Client) Sessions(ctx context.Context, q access.SessionQuery) iter.Seq2[access.SessionRecord, error] {
	values := url.Values{}
	put(values, "person", q.Person)
	put(values, "vendor", q.Vendor)
	put(values, "target", q.Target)
	putTime(values, "since", q.Since)
	putInt(values, "limit", q.Limit)
	if q.Live {
		values.Set("live", "1")
	}
	return list[access.SessionRecord](ctx, c, "/api/v1/sessions", values)
}

// ShowSession is one session's record.
func (c *Client) ShowSession(ctx context.Context, id string) (access.SessionRecord, error) {
	var record access.SessionRecord
	return record, c.get(ctx, "/api/v1/sessions/"+url.PathEscape(id), &record)
}

// EndSession ends a live session; its person is shown the reason.
func (c *Client) EndSession(ctx context.Context, id, reason string) error {
	return c.post(ctx, "/api/v1/sessions/"+url.PathEscape(id)+"/end", reasoned{reason}, nil)
}

// Recording streams a decrypted recording in one of the formats. The caller closes it; a stream that breaks off ends with
// io.ErrUnexpectedEOF.
func (c *Client) Recording(ctx context.Context, session, format string) (io.ReadCloser, error) {
	address := c.cfg.BaseURL + "/api/v1/sessions/" + url.PathEscape(session) + "/recording?format=" + url.QueryEscape(format)
	resp, err := c.send(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Entries streams a decrypted recording entry by entry.
func (c *Client) Entries(ctx context.Context, session string) iter.Seq2[Entry, error] {
	return list[Entry](ctx, c, "/api/v1/sessions/"+url.PathEscape(session)+"/recording", url.Values{"format": {FormatEntries}})
}

// Watch streams what a live session shows, from its last screenful on, until it ends.
func (c *Client) Watch(ctx context.Context, session string) iter.Seq2[Entry, error] {
	return list[Entry](ctx, c, "/api/v1/sessions/"+url.PathEscape(session)+"/watch", nil)
}

// SearchAudit streams the events that match; a zero Limit is every one.
func (c *Client) SearchAudit(ctx context.Context, q audit.Query) iter.Seq2[recorder.Event, error] {
	values := url.Values{}
	put(values, "text", q.Text)
	put(values, "class", string(q.Class))
	put(values, "person", q.Person)
	put(values, "vendor", q.Vendor)
	put(values, "session", q.Session)
	put(values, "target", q.Target)
	put(values, "kind", q.Kind)
	putTime(values, "since", q.Since)
	putTime(values, "until", q.Until)
	putInt(values, "limit", q.Limit)
	return list[recorder.Event](ctx, c, "/api/v1/audit", values)
}

// CertifyHost signs a target's host key, given in authorized_keys form.
func (c *Client) CertifyHost(ctx context.Context, target, publicKey string, names []string) (HostCertificate, error) {
	var cert HostCertificate
	body := struct {
		PublicKey string   `json:"public_key"`
		Names     []string `json:"names"`
	}{publicKey, names}
	return cert, c.post(ctx, "/api/v1/targets/"+url.PathEscape(target)+"/host-certificate", body, &cert)
}

// Vendors lists the vendors, sorted by id.
func (c *Client) Vendors(ctx context.Context) iter.Seq2[Vendor, error] {
	return list[Vendor](ctx, c, "/api/v1/vendors", nil)
}

// Vendor is one of them.
func (c *Client) Vendor(ctx context.Context, id string) (Vendor, error) {
	var vendor Vendor
	return vendor, c.get(ctx, "/api/v1/vendors/"+url.PathEscape(id), &vendor)
}

// CutOff shuts a vendor and its sub-contractors out and returns the sessions that were ended.
func (c *Client) CutOff(ctx context.Context, vendor, reason string) ([]string, error) {
	var ended Ended
	err := c.post(ctx, "/api/v1/vendors/"+url.PathEscape(vendor)+"/cut-off", reasoned{reason}, &ended)
	return ended.Sessions, err
}

// Restore lets a vendor that was cut off back in.
func (c *Client) Restore(ctx context.Context, vendor, reason string) error {
	return c.post(ctx, "/api/v1/vendors/"+url.PathEscape(vendor)+"/restore", reasoned{reason}, nil)
}

func put(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}

func putInt(q url.Values, key string, n int) {
	if n > 0 {
		q.Set(key, strconv.Itoa(n))
	}
}

func putTime(q url.Values, key string, at time.Time) {
	if !at.IsZero() {
		q.Set(key, at.UTC().Format(time.RFC3339))
	}
}
