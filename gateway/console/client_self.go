package console

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"

	"github.com/sekisho/sekisho/gateway/access"
)

// Enrol trades an invitation's token and a PEM certificate request for a client certificate.
func (c *Client) Enrol(ctx context.Context, token string, csrPEM []byte) (Enrolled, error) {
	var issued Enrolled
	if c.cfg.EnrolURL == "" {
		return issued, errors.New("enrolling: the enrolment host's address is not known")
	}
	body := map[string]string{"token": token, "csr": string(csrPEM)}
	return issued, c.callURL(ctx, http.MethodPost, c.cfg.EnrolURL+"/api/v1/enrol", body, &issued)
}

// ParseInvitation splits an invitation's URL into the enrolment host's origin and the token.
func ParseInvitation(address string) (enrolURL, token string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Fragment == "" {
		return "", "", errors.New("not an invitation: want a link like https://enrol.example.com/#token")
	}
	return "https://" + u.Host, u.Fragment, nil
}

// Status tells how far the enrolment of the client's certificate has come.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.get(ctx, "/api/v1/status", &s)
}

// BeginRegistration opens the registration of the enrolment's authenticator.
func (c *Client) BeginRegistration(ctx context.Context) (Ceremony, error) {
	var ceremony Ceremony
	return ceremony, c.post(ctx, "/api/v1/registration/begin", struct{}{}, &ceremony)
}

// FinishRegistration answers it; the enrolment then waits for its release.
func (c *Client) FinishRegistration(ctx context.Context, proof Proof) error {
	return c.post(ctx, "/api/v1/registration/finish", proof, nil)
}

// Begin opens the WebAuthn ceremony of a confirmation. The Proof that answers it goes to the act itself: FinishLogin,
// AddSSHKey, IssueSSHCertificate, ApproveSSH or ApproveCLILogin.
func (c *Client) Begin(ctx context.Context, what Confirmation) (Ceremony, error) {
	var ceremony Ceremony
	return ceremony, c.post(ctx, "/api/v1/login/begin", what, &ceremony)
}

// FinishLogin logs in; the client acts in the new session from then on.
func (c *Client) FinishLogin(ctx context.Context, proof Proof) (Login, error) {
	var login Login
	if err := c.post(ctx, "/api/v1/login/finish", proof, &login); err != nil {
		return login, err
	}
	c.SetSession(login.Session)
	return login, nil
}

// StartCLILogin begins a login that the person confirms in a browser: show them the URL and the code.
func (c *Client) StartCLILogin(ctx context.Context) (CLILogin, error) {
	var login CLILogin
	return login, c.post(ctx, "/api/v1/login/cli", struct{}{}, &login)
}

// WaitCLILogin waits until the person has confirmed; the client acts in the new session from then on. The gateway answers
// with a *Problem when the login is void or too old.
func (c *Client) WaitCLILogin(ctx context.Context, id string) (Login, error) {
	for {
		resp, err := c.send(ctx, http.MethodGet, c.cfg.BaseURL+"/api/v1/login/cli/"+url.PathEscape(id), nil)
		if err != nil {
			return Login{}, err
		}
		if resp.StatusCode == http.StatusAccepted {
			resp.Body.Close()
			continue
		}
		var login Login
		if err := read(resp, &login); err != nil {
			return login, err
		}
		c.SetSession(login.Session)
		return login, nil
	}
}

// ApproveCLILogin lets a waiting command-line login of the same person in.
func (c *Client) ApproveCLILogin(ctx context.Context, id, code string, proof Proof) error {
	return c.post(ctx, "/api/v1/login/cli/"+url.PathEscape(id)+"/approve", approval{proof, code}, nil)
}

// approval is a proof with the code that was typed.
type approval struct {
	Proof
	Code string `json:"code"`
}

// Logout ends all web sessions of the person.
func (c *Client) Logout(ctx context.Context) error {
	return c.post(ctx, "/api/v1/logout", struct{}{}, nil)
}

// Me is what the person may know about themselves.
func (c *Client) Me(ctx context.Context) (Me, error) {
	var me Me
	return me, c.get(ctx, "/api/v1/me", &me)
}

// OwnRequests lists the person's approval requests, newest first.
func (c *Client) OwnRequests(ctx context.Context) iter.Seq2[access.ApprovalRequest, error] {
	return list[access.ApprovalRequest](ctx, c, "/api/v1/me/requests", nil)
}

// OwnLeases lists the person's leases that have not ended.
func (c *Client) OwnLeases(ctx context.Context) iter.Seq2[access.Lease, error] {
	return list[access.Lease](ctx, c, "/api/v1/me/leases", nil)
}

// Ask files a request ahead of the work.
func (c *Client) Ask(ctx context.Context, a Asking) (Request, error) {
	var filed Request
	return filed, c.post(ctx, "/api/v1/me/requests", a, &filed)
}

// AddReason says why, and under which ticket, about a request of one's own that waits.
func (c *Client) AddReason(ctx context.Context, id, reason, ticket string) error {
	body := struct {
		Reason string `json:"reason"`
		Ticket string `json:"ticket"`
	}{reason, ticket}
	return c.post(ctx, "/api/v1/me/requests/"+url.PathEscape(id)+"/reason", body, nil)
}

// CancelRequest takes a request of one's own back.
func (c *Client) CancelRequest(ctx context.Context, id string) error {
	return c.post(ctx, "/api/v1/me/requests/"+url.PathEscape(id)+"/cancel", struct{}{}, nil)
}

// AddSSHKey enrols a public key. Once the enrolment is active it takes a proof, or a login of at most 15 minutes ago when
// proof is nil.
func (c *Client) AddSSHKey(ctx context.Context, publicKey string, proof *Proof) (SSHKey, error) {
	var key SSHKey
	body := struct {
		*Proof
		PublicKey string `json:"public_key"`
	}{proof, publicKey}
	return key, c.post(ctx, "/api/v1/ssh/keys", body, &key)
}

// IssueSSHCertificate issues a certificate for an enrolled key, with a proof or a login of at most 15 minutes ago.
func (c *Client) IssueSSHCertificate(ctx context.Context, fingerprint string, proof *Proof) (SSHCertificate, error) {
	var cert SSHCertificate
	body := struct {
		*Proof
		Fingerprint string `json:"fingerprint"`
	}{proof, fingerprint}
	return cert, c.post(ctx, "/api/v1/ssh/certificates", body, &cert)
}

// PendingSSH lists the person's SSH logins that wait for approval, at most one.
func (c *Client) PendingSSH(ctx context.Context) iter.Seq2[PendingSSH, error] {
	return list[PendingSSH](ctx, c, "/api/v1/ssh/pending", nil)
}

// ApproveSSH lets a waiting SSH login in.
func (c *Client) ApproveSSH(ctx context.Context, id, code string, proof Proof) error {
	return c.post(ctx, "/api/v1/ssh/pending/"+url.PathEscape(id)+"/approve", approval{proof, code}, nil)
}
