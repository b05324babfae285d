package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// Invitation is a one-time link. Whoever has it can enrol as the person until it expires.
type Invitation struct {
	Person  string    `json:"person"`
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// Enrolment is one person's way in as staff see it.
type Enrolment struct {
	ID         string         `json:"id"`
	Person     string         `json:"person"`
	Vendor     string         `json:"vendor"`
	State      identity.State `json:"state"`
	InvitedBy  string         `json:"invited_by"`
	InvitedAt  time.Time      `json:"invited_at"`
	Expires    time.Time      `json:"expires"` // of the invitation
	Serial     string         `json:"serial,omitempty"`
	NotAfter   time.Time      `json:"not_after,omitzero"`
	ReleasedBy string         `json:"released_by,omitempty"`
	ReleasedAt time.Time      `json:"released_at,omitzero"`
}

func enrolment(e identity.Enrolment) Enrolment {
	return Enrolment{ID: e.ID, Person: e.Person, Vendor: e.Vendor, State: e.State, InvitedBy: e.InvitedBy,
		InvitedAt: e.InvitedAt, Expires: e.Expires, Serial: e.CertSerial, NotAfter: e.NotAfter, ReleasedBy: e.ReleasedBy, ReleasedAt: e.ReleasedAt}
}

func (c *Console) apiInvite(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Person string `json:"person"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	by := v.principal()
	if err := c.cfg.Door.Act(r.Context(), by, "gateway.invite.create", body.Person); err != nil {
		return err
	}
	invitation, err := c.invite(r.Context(), by, body.Person, v.person.ID)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, invitation)
}

// invite makes an invitation for somebody of the directory and puts it on record.
func (c *Console) invite(ctx context.Context, by identity.Principal, person, inviter string) (Invitation, error) {
	listed, ok := c.cfg.Directory.Current().Person(person)
	if !ok {
		return Invitation{}, &Problem{Status: http.StatusNotFound, Title: "Not found",
			Detail: fmt.Sprintf("There is no person %q in the directory; apply a directory that lists them first.", person)}
	}
	invitation, err := c.cfg.Registry.Invite(ctx, listed.ID, listed.Vendor, inviter)
	if err != nil {
		return Invitation{}, err
	}
	attempt := access.Attempt{Kind: "enrol.invited", Outcome: recorder.OK, Principal: by,
		Detail: map[string]any{"invited": listed.ID, "vendor": listed.Vendor, "by": inviter,
			"expires": invitation.Expires.UTC()}}
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		return Invitation{}, err
	}
	return Invitation{Person: listed.ID, URL: c.inviteURL(invitation.Token), Expires: invitation.Expires.UTC()}, nil
}

func (c *Console) enrolments(ctx context.Context, v *visitor) ([]Enrolment, error) {
	if err := c.cfg.Door.Act(ctx, v.principal(), "gateway.enrolment.list", ""); err != nil {
		return nil, err
	}
	all, err := c.cfg.Registry.Enrolments(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Enrolment, 0, len(all))
	for _, e := range all {
		list = append(list, enrolment(e))
	}
	return list, nil
}

func (c *Console) apiEnrolments(w http.ResponseWriter, r *http.Request, v *visitor) error {
	list, err := c.enrolments(r.Context(), v)
	if err != nil {
		return err
	}
	return answerLines(c, w, each(list))
}

func (c *Console) apiRelease(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Code string `json:"code"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	if err := c.releaseAs(r.Context(), v, r.PathValue("person"), body.Code); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Console) releaseAs(ctx context.Context, v *visitor, person, code string) error {
	by := v.principal()
	if err := c.cfg.Door.Act(ctx, by, "gateway.enrolment.release", person); err != nil {
		return err
	}
	if slices.Contains(c.cfg.Directory.Current().Same(v.person.ID), person) {
		return identity.ErrOwn
	}
	return c.release(ctx, by, person, code, v.person.ID)
}

// release compares the code and puts the outcome on record.
func (c *Console) release(ctx context.Context, by identity.Principal, person, code, releaser string) error {
	attempt := access.Attempt{Kind: "enrol.released", Outcome: recorder.OK, Principal: by,
		Detail: map[string]any{"released": person, "by": releaser}}
	err := c.cfg.Registry.Release(ctx, person, code, releaser)
	if err != nil {
		attempt.Outcome, attempt.Reason = recorder.Failed, err.Error()
	}
	if recordErr := c.cfg.Door.Login(ctx, attempt); err == nil {
		err = recordErr
	}
	return err
}

func (c *Console) apiRevoke(w http.ResponseWriter, r *http.Request, v *visitor) error {
	person, reason, err := c.withReason(w, r, "person")
	if err != nil {
		return err
	}
	ctx, by := r.Context(), v.principal()
	if err := c.cfg.Door.Act(ctx, by, "gateway.enrolment.revoke", person+": "+reason); err != nil {
		return err
	}
	// Revoked first: the door must shut even when the record fails.
	if err := c.cfg.Registry.RevokePerson(ctx, person, reason, v.person.ID); err != nil {
		return err
	}
	attempt := access.Attempt{Kind: "credential.revoked", Outcome: recorder.OK, Principal: by, Reason: reason,
		Detail: map[string]any{"revoked": person}}
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// withReason reads the id in the path and the reason every such act must give.
func (c *Console) withReason(w http.ResponseWriter, r *http.Request, id string) (what, reason string, err error) {
	var body struct {
		Reason string `json:"reason"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return "", "", err
	}
	reason, err = wantReason(body.Reason)
	return r.PathValue(id), reason, err
}

// peopleView is the list of enrolments.
type peopleView struct{ Enrolments []Enrolment }

func (c *Console) showPeople(w http.ResponseWriter, r *http.Request, v *visitor) error {
	list, err := c.enrolments(r.Context(), v)
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "people", c.newPage(r, v, "people.title", peopleView{list}))
	return nil
}

func (c *Console) releasePage(w http.ResponseWriter, r *http.Request, v *visitor) error {
	person := r.PathValue("person")
	if err := c.releaseAs(r.Context(), v, person, formValue(w, r, "code")); err != nil {
		return err
	}
	http.Redirect(w, r, "/people?"+url.Values{"done": {"released"}}.Encode(), http.StatusSeeOther)
	return nil
}
