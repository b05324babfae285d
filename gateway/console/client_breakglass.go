package console

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// BeginEmergency opens the ceremony that declares an emergency. A hardware key answers it.
func (c *Client) BeginEmergency(ctx context.Context, what EmergencyDeclaration) (Ceremony, error) {
	var ceremony Ceremony
	return ceremony, c.post(ctx, "/api/v1/break-glass/begin", what, &ceremony)
}

// BeginWaitingEmergency opens the ceremony for a declaration that waits on a command line.
func (c *Client) BeginWaitingEmergency(ctx context.Context, id, code string) (Ceremony, error) {
	var ceremony Ceremony
	body := map[string]string{"waiting": id, "code": code}
	return ceremony, c.post(ctx, "/api/v1/break-glass/begin", body, &ceremony)
}

// DeclareEmergency answers the ceremony; the emergency lives from then on.
func (c *Client) DeclareEmergency(ctx context.Context, proof Proof) (DeclaredEmergency, error) {
	var declared DeclaredEmergency
	return declared, c.post(ctx, "/api/v1/break-glass/declare", proof, &declared)
}

// StartEmergency leaves the confirmation to the person's browser: show them the URL and the code.
func (c *Client) StartEmergency(ctx context.Context, what EmergencyDeclaration) (WaitingEmergency, error) {
	var waiting WaitingEmergency
	return waiting, c.post(ctx, "/api/v1/break-glass/waiting", what, &waiting)
}

// WaitEmergency waits until the person has confirmed.
func (c *Client) WaitEmergency(ctx context.Context, id string) (DeclaredEmergency, error) {
	for {
		resp, err := c.send(ctx, http.MethodGet, c.cfg.BaseURL+"/api/v1/break-glass/waiting/"+url.PathEscape(id), nil)
		if err != nil {
			return DeclaredEmergency{}, err
		}
		if resp.StatusCode == http.StatusAccepted {
			resp.Body.Close()
			continue
		}
		var declared DeclaredEmergency
		return declared, read(resp, &declared)
	}
}

// Emergencies lists them, newest first; with open the live and the unreviewed only.
func (c *Client) Emergencies(ctx context.Context, open bool) iter.Seq2[EmergencyFile, error] {
	q := url.Values{}
	if open {
		q.Set("open", "1")
	}
	return list[EmergencyFile](ctx, c, "/api/v1/break-glass", q)
}

// Emergency is one of them with its commands.
func (c *Client) Emergency(ctx context.Context, id string) (EmergencyFile, error) {
	var file EmergencyFile
	return file, c.get(ctx, "/api/v1/break-glass/"+url.PathEscape(id), &file)
}

// EndEmergency ends one's own, by the certificate alone, or anybody's in a session.
func (c *Client) EndEmergency(ctx context.Context, id, reason string) error {
	return c.post(ctx, "/api/v1/break-glass/"+url.PathEscape(id)+"/end", reasoned{reason}, nil)
}

// ReviewEmergency says what one thinks of an emergency that is over: justified or unjustified.
func (c *Client) ReviewEmergency(ctx context.Context, id, verdict, reason string) (EmergencyFile, error) {
	var file EmergencyFile
	body := map[string]string{"verdict": verdict, "reason": reason}
	return file, c.post(ctx, "/api/v1/break-glass/"+url.PathEscape(id)+"/review", body, &file)
}

// DeclareEmergency declares with an authenticator and keeps the SSH certificate where ssh finds it beside the profile's key.
func (p *Profile) DeclareEmergency(
	ctx context.Context, c *Client, what EmergencyDeclaration, a Authenticator,
) (DeclaredEmergency, error) {
	ceremony, err := c.BeginEmergency(ctx, what)
	if err != nil {
		return DeclaredEmergency{}, err
	}
	response, err := a.Get(p.ConsoleURL, ceremony.Options)
	if err != nil {
		return DeclaredEmergency{}, err
	}
	declared, err := c.DeclareEmergency(ctx, Proof{Ceremony: ceremony.ID, Response: response})
	if err != nil {
		return declared, err
	}
	return declared, p.KeepEmergency(declared)
}

// KeepEmergency keeps its SSH certificate.
func (p *Profile) KeepEmergency(declared DeclaredEmergency) error {
	if declared.Certificate == nil {
		return nil
	}
	return p.save(profileSSHKey+"-cert.pub", []byte(strings.TrimSpace(declared.Certificate.Certificate)+"\n"))
}

// SSHPublicKey is the public half of the profile's SSH key, in authorized_keys form.
func (p *Profile) SSHPublicKey() (string, error) {
	public, err := os.ReadFile(p.SSHKeyFile() + ".pub")
	return strings.TrimSpace(string(public)), err
}
