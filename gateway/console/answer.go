package console

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// The answers to a request.
const (
	AnswerApprove = "approve"
	AnswerDeny    = "deny"
)

// RequestAnswer is what an approver says to a request.
type RequestAnswer struct {
	Answer  string         `json:"answer"`            // AnswerApprove or AnswerDeny
	Digest  string         `json:"digest"`            // of the request as it was shown
	Minutes int            `json:"minutes,omitempty"` // of each lease; 0 as asked
	Scopes  []access.Scope `json:"scopes"`            // what of it to allow; all of it when null
	Reason  string         `json:"reason"`
}

// complete checks what can be told without the request.
func (a *RequestAnswer) complete() error {
	if a == nil || a.Answer != AnswerApprove && a.Answer != AnswerDeny {
		return badRequest("answer: want %s or %s", AnswerApprove, AnswerDeny)
	}
	if a.Digest == "" {
		return badRequest("digest: that of the request as it was shown is required")
	}
	if _, err := wantReason(a.Reason); err != nil {
		return err
	}
	if a.Scopes != nil && len(a.Scopes) == 0 {
		return badRequest("scopes: this would allow nothing; deny it instead")
	}
	return wantMinutes(a.Minutes)
}

func (a *RequestAnswer) consent() access.Consent {
	return access.Consent{Minutes: a.Minutes, Scopes: a.Scopes, Reason: strings.TrimSpace(a.Reason), Digest: a.Digest}
}

// checkAnswer says before the security key is asked for why an answer could not be taken.
func (c *Console) checkAnswer(ctx context.Context, v *visitor, id string, a *RequestAnswer) error {
	if !v.loggedIn {
		return identity.ErrNoSession
	}
	if err := a.complete(); err != nil {
		return err
	}
	r, err := c.cfg.Door.Request(ctx, v.principal(), id)
	if err != nil {
		return err
	}
	return sameRequest(r, a.Digest)
}

// sameRequest refuses an answer to a request that is not what was shown any more, and says what has changed.
func sameRequest(r access.ApprovalRequest, digest string) error {
	if r.Digest() == digest {
		return nil
	}
	p := &Problem{Status: http.StatusConflict, Title: "The request has changed", Request: r.ID}
	var changed []string
	if n := len(r.Answers); n > 0 {
		last := r.Answers[n-1]
		changed = append(changed, "now "+string(last.Status)+" by "+last.By)
	}
	if r.Status == access.RequestCancelled {
		changed = append(changed, "it was taken back")
	}
	if len(changed) == 0 {
		changed = append(changed, "its reason or ticket is another")
	}
	p.Detail = "The request has changed since it was shown to you (" + strings.Join(changed, "; ") + "). Look at it again. / " +
		"表示後に申請が変更されました。内容をもう一度確認してください。"
	return p
}

// apiAnswerRequest takes an answer that the approver has confirmed with their security key: exactly this answer to exactly the
// request that they were shown.
func (c *Console) apiAnswerRequest(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Proof
		Answer *RequestAnswer `json:"answer"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	ctx, id := r.Context(), r.PathValue("id")
	confirmed := Confirmation{Purpose: PurposeAnswer, ID: id, Answer: body.Answer}
	mfa, err := c.finish(ctx, v, body.Proof, confirmed)
	if err != nil {
		return err
	}
	if err := body.Answer.complete(); err != nil {
		return err
	}
	by := v.proved(mfa)
	attempt := access.Attempt{Kind: "credential.confirmed", Outcome: recorder.OK, Principal: by, Method: loginMethod,
		Detail: map[string]any{"what": PurposeAnswer, "request": id, "answer": body.Answer.Answer, "digest": body.Answer.Digest}}
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		return err
	}
	return c.giveAnswer(ctx, w, by, id, body.Answer)
}

// giveAnswer has the door take an answer and tells how the request stands then.
func (c *Console) giveAnswer(ctx context.Context, w http.ResponseWriter, by identity.Principal, id string, a *RequestAnswer) error {
	r, err := c.cfg.Door.Request(ctx, by, id)
	if err != nil {
		return err
	}
	if err := sameRequest(r, a.Digest); err != nil {
		return err
	}
	answered := Answered{Request: id}
	if a.Answer == AnswerDeny {
		err = c.cfg.Door.Deny(ctx, by, id, strings.TrimSpace(a.Reason))
	} else {
		answered.Leases, err = c.cfg.Door.Approve(ctx, by, id, a.consent())
	}
	if errors.Is(err, access.ErrChanged) {
		if now, again := c.cfg.Door.Request(ctx, by, id); again == nil {
			return sameRequest(now, a.Digest)
		}
	}
	if err != nil {
		return err
	}
	if r, err = c.cfg.Door.Request(ctx, by, id); err != nil {
		return err
	}
	answered.Status, answered.Terms = r.Status, r.Terms
	return answer(w, http.StatusOK, answered)
}

// Answered is what came of an answer: the leases, if enough people have approved.
type Answered struct {
	Request string               `json:"request"`
	Status  access.RequestStatus `json:"status"`
	Terms   *access.Terms        `json:"terms,omitempty"`
	Leases  []access.Lease       `json:"leases,omitempty"`
}

// narrowed tells whether answers have made a request smaller than what was asked for.
func narrowed(r access.ApprovalRequest) bool {
	if len(r.Asked) != len(r.Scopes) {
		return true
	}
	for i := range r.Asked {
		if r.Asked[i] != r.Scopes[i] {
			return true
		}
	}
	return false
}

// wide tells whether a request covers more than one resource.
func wide(r access.ApprovalRequest) bool {
	for _, s := range r.Scopes {
		if _, exact := policy.PatternLiteral(s.Pattern); !exact {
			return true
		}
	}
	return false
}
