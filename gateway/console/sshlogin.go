package console

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// PendingSSH is an SSH login that waits for its person. Its code stands in the terminal only.
type PendingSSH struct {
	ID      string     `json:"id"`
	Target  string     `json:"target"`
	Source  netip.Addr `json:"source"`
	Client  string     `json:"client,omitempty"`
	Expires time.Time  `json:"expires"`
}

func pendingSSH(p identity.PendingView) PendingSSH {
	return PendingSSH{ID: p.ID, Target: p.Target, Source: p.Source.Unmap(), Client: p.Client, Expires: p.Expires.UTC()}
}

// showSSHLogin shows what waits: target, source, client and certificate, before anything is confirmed.
func (c *Console) showSSHLogin(w http.ResponseWriter, r *http.Request, v *visitor) error {
	pending, ok := c.cfg.Registry.PendingFor(v.credential.Person)
	if !ok || pending.ID != r.PathValue("id") {
		return identity.ErrNoPending
	}
	return c.showApproval(w, r, v, "approve.ssh", approveView{
		Purpose: PurposeApproveSSH, ID: pending.ID, Path: "/api/v1/ssh/pending/" + pending.ID + "/approve",
		Facts: []fact{{"target", pending.Target, false}, {"source", pending.Source.Unmap().String(), true},
			{"client", pending.Client, true}, {"approve.key", pending.Serial, true}},
		OtherSource: !sameNetwork(pending.Source, v.source.Addr()),
	})
}

func (c *Console) apiPendingSSH(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var list []PendingSSH
	if pending, ok := c.cfg.Registry.PendingFor(v.credential.Person); ok {
		list = append(list, pendingSSH(pending))
	}
	return answerLines(c, w, each(list))
}

func (c *Console) apiApproveSSH(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Proof
		Code string `json:"code"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	ctx, id := r.Context(), r.PathValue("id")
	mfa, err := c.finish(ctx, v, body.Proof, Confirmation{Purpose: PurposeApproveSSH, ID: id, Code: body.Code})
	if err != nil {
		return err
	}
	by := v.proved(mfa)
	if err := c.cfg.Door.Act(ctx, by, "gateway.self.approve-login", id); err != nil {
		return err
	}
	attempt := access.Attempt{Kind: "credential.confirmed", Outcome: recorder.OK, Principal: by, Method: loginMethod,
		Detail: map[string]any{"what": PurposeApproveSSH, "pending": id}}
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		return err
	}
	if err := c.cfg.Registry.ApprovePending(ctx, v.credential, id, body.Code, mfa, v.source.Addr()); err != nil {
		return c.failed(ctx, v, loginMethod, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
