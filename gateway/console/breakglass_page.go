package console

import (
	"net/http"
	"strings"

	"github.com/sekisho/sekisho/gateway/access"
)

// emergencyDraft is the page on which an emergency is declared.
type emergencyDraft struct {
	Live    *access.Emergency // the person's own, which must end first
	Minutes int
	Targets []string
	Waiting string // the command line's that waits, "" for none
	What    EmergencyDeclaration
	Facts   []fact
	Away    bool // it comes from another network than this browser
	Here    string
	Done    string
}

// showDeclaring is shown from memory, to whoever the policy names.
func (c *Console) showDeclaring(w http.ResponseWriter, r *http.Request, v *visitor) error {
	rule := c.cfg.Engine.Revision().BreakGlass()
	data := emergencyDraft{Minutes: rule.Minutes, Here: v.source.Addr().Unmap().String()}
	for _, e := range c.cfg.Door.OpenEmergencies() {
		if e.Person == v.person.ID && e.State() == access.EmergencyLive {
			data.Live = &e
		}
	}
	for _, t := range c.cfg.Directory.Current().Targets() {
		if c.cfg.Door.EmergencyCovers(access.Emergency{Targets: []string{access.EveryTarget}}, t.Name) {
			data.Targets = append(data.Targets, t.Name)
		}
	}
	return c.showDraft(w, r, v, data)
}

// showWaitingEmergency shows what a command line wants to declare, before anything is confirmed.
func (c *Console) showWaitingEmergency(w http.ResponseWriter, r *http.Request, v *visitor) error {
	e, err := c.waitingEmergencies.find(v.credential.Person, r.PathValue("id"))
	if err != nil {
		return err
	}
	targets := strings.Join(e.what.Targets, ", ")
	if targets == "" {
		targets = say(v.lang, "all")
	}
	return c.showDraft(w, r, v, emergencyDraft{Waiting: e.id, What: e.what, Here: v.source.Addr().Unmap().String(),
		Away: !sameNetwork(e.source, v.source.Addr()),
		Facts: []fact{{"reason", e.what.Reason, false}, {"emergency.incident", e.what.Incident, false}, {"target", targets, true},
			{"source", e.source.Unmap().String(), true}, {"client", e.client, true}}})
}

func (c *Console) showDraft(w http.ResponseWriter, r *http.Request, v *visitor, data emergencyDraft) error {
	p := c.newPage(r, v, "emergency.title", data)
	p.Narrow, p.Scripts = true, []string{"breakglass.js"}
	c.render(w, http.StatusOK, "breakglass", p)
	return nil
}

// emergenciesView is the list.
type emergenciesView struct {
	Emergencies []access.Emergency
}

func (c *Console) showEmergencies(w http.ResponseWriter, r *http.Request, v *visitor) error {
	list, err := c.cfg.Door.Emergencies(r.Context(), v.principal(), false)
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "emergencies", c.newPage(r, v, "emergencies.title", emergenciesView{list}))
	return nil
}

// emergencyView is one emergency with what the visitor may do about it.
type emergencyView struct {
	EmergencyFile
	MayReview, MayEnd bool
}

func (c *Console) showEmergency(w http.ResponseWriter, r *http.Request, v *visitor) error {
	file, err := c.emergencyFile(r.Context(), v, r.PathValue("id"))
	if err != nil {
		return err
	}
	own := file.Person == v.person.ID
	reviewed := false
	for _, review := range file.Reviews {
		reviewed = reviewed || review.By == v.person.ID
	}
	data := emergencyView{EmergencyFile: file,
		MayReview: file.State == access.EmergencyUnreviewed && !own && !reviewed && c.may(r.Context(), v, "gateway.break-glass.review"),
		MayEnd:    file.State == access.EmergencyLive && (own || c.may(r.Context(), v, "gateway.break-glass.end"))}
	c.render(w, http.StatusOK, "emergency", c.newPage(r, v, "emergency.title", data))
	return nil
}

func (c *Console) reviewEmergencyPage(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id, verdict := r.PathValue("id"), formValue(w, r, "verdict")
	reason, err := wantReason(strings.TrimSpace(r.PostFormValue("reason")))
	if err != nil {
		return err
	}
	if _, err := c.cfg.Door.ReviewEmergency(r.Context(), v.principal(), id, verdict, reason); err != nil {
		return err
	}
	http.Redirect(w, r, "/emergencies/"+id+"?done=emergency-reviewed", http.StatusSeeOther)
	return nil
}

func (c *Console) endEmergencyPage(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id := r.PathValue("id")
	reason, err := wantReason(strings.TrimSpace(formValue(w, r, "reason")))
	if err != nil {
		return err
	}
	if err := c.cfg.Door.EndEmergency(r.Context(), v.principal(), id, reason); err != nil {
		return err
	}
	http.Redirect(w, r, "/emergencies/"+id+"?done=emergency-ended", http.StatusSeeOther)
	return nil
}
