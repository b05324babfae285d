package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/policy"
)

const ownRequests = 50

// Asking asks ahead for what will be needed: see access.Ask.
type Asking struct {
	Target  string         `json:"target"`
	Login   string         `json:"login,omitempty"` // of an SSH target; its first one when ""
	Scopes  []access.Scope `json:"scopes,omitempty"`
	Command string         `json:"command,omitempty"` // instead of scopes
	Minutes int            `json:"minutes,omitempty"`
	Reason  string         `json:"reason"`
	Ticket  string         `json:"ticket,omitempty"`
	From    time.Time      `json:"from,omitzero"`
	Every   string         `json:"every,omitempty"` // day | week
	Times   int            `json:"times,omitempty"`
}

func (c *Console) ask(a Asking) access.Ask {
	if t, ok := c.cfg.Directory.Current().Target(a.Target); ok && a.Login == "" && len(t.Logins) > 0 {
		a.Login = t.Logins[0]
	}
	return access.Ask{Target: a.Target, Login: a.Login, Scopes: a.Scopes, Command: a.Command, Minutes: a.Minutes,
		Reason: a.Reason, Ticket: a.Ticket, From: a.From, Every: a.Every, Times: a.Times}
}

func (c *Console) apiOwnRequests(w http.ResponseWriter, r *http.Request, v *visitor) error {
	list, err := c.cfg.Door.OwnRequests(r.Context(), v.principal(), ownRequests)
	if err != nil {
		return err
	}
	return answerLines(c, w, each(list))
}

func (c *Console) apiOwnLeases(w http.ResponseWriter, r *http.Request, v *visitor) error {
	list, err := c.cfg.Door.OwnLeases(r.Context(), v.principal())
	if err != nil {
		return err
	}
	return answerLines(c, w, each(list))
}

func (c *Console) apiAsk(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body Asking
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	filed, err := c.cfg.Door.Ask(r.Context(), v.principal(), c.ask(body))
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, Request{filed, filed.Digest()})
}

func (c *Console) apiAddReason(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Reason string `json:"reason"`
		Ticket string `json:"ticket"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	if err := c.cfg.Door.AddReason(r.Context(), v.principal(), r.PathValue("id"), body.Reason, body.Ticket); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Console) apiCancelRequest(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := decode(w, r, bodyLimit, &struct{}{}); err != nil {
		return err
	}
	if err := c.cfg.Door.Cancel(r.Context(), v.principal(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ownRequestsView is what a contractor has asked for and may use now.
type ownRequestsView struct {
	Requests []access.ApprovalRequest
	Leases   []access.Lease
}

func (c *Console) showOwnRequests(w http.ResponseWriter, r *http.Request, v *visitor) error {
	ctx, by := r.Context(), v.principal()
	var data ownRequestsView
	var err error
	if data.Requests, err = c.cfg.Door.OwnRequests(ctx, by, ownRequests); err != nil {
		return err
	}
	if data.Leases, err = c.cfg.Door.OwnLeases(ctx, by); err != nil {
		return err
	}
	c.render(w, http.StatusOK, "ownrequests", c.newPage(r, v, "own.title", data))
	return nil
}

// askingView is the form that asks ahead, with what was filled in before when it was not accepted.
type askingView struct {
	Problem  string
	Targets  []string // login@target, or the name of an app
	Target   string
	Kind     string // command, or a right
	Pattern  string
	Rights   []policy.Right
	Minutes  string
	Reason   string
	Ticket   string
	When     string // now | once | day | week
	At       string
	Times    string
	Zone     string
	MaxTimes int
}

func (c *Console) newAskingView(v *visitor) askingView {
	data := askingView{Kind: "command", Rights: []policy.Right{policy.Read, policy.Write, policy.Execute, policy.Delete},
		Minutes: strconv.Itoa(access.DefaultMinutes), When: "now", Times: "1", Zone: c.cfg.Zone.String(), MaxTimes: 53}
	dir := c.cfg.Directory.Current()
	vendor, _ := dir.Vendor(v.person.Vendor)
	for _, name := range vendor.Targets {
		t, ok := dir.Target(name)
		if !ok {
			continue
		}
		if len(t.Logins) == 0 {
			data.Targets = append(data.Targets, name)
		}
		for _, login := range t.Logins {
			data.Targets = append(data.Targets, login+"@"+name)
		}
	}
	return data
}

func (c *Console) showAsking(w http.ResponseWriter, r *http.Request, v *visitor) error {
	data := c.newAskingView(v)
	if target := r.URL.Query().Get("target"); target != "" {
		data.Target = target
	}
	c.renderAsking(w, r, v, http.StatusOK, data)
	return nil
}

func (c *Console) renderAsking(w http.ResponseWriter, r *http.Request, v *visitor, status int, data askingView) {
	p := c.newPage(r, v, "new.title", data)
	p.Narrow = true
	c.render(w, status, "newrequest", p)
}

// askOnPage files a request from the form, or shows the form again with what is wrong.
func (c *Console) askOnPage(w http.ResponseWriter, r *http.Request, v *visitor) error {
	data := c.newAskingView(v)
	data.Target = formValue(w, r, "target")
	data.Kind, data.Pattern = r.PostFormValue("kind"), r.PostFormValue("pattern")
	data.Reason, data.Ticket = r.PostFormValue("reason"), r.PostFormValue("ticket")
	data.Minutes, data.When = r.PostFormValue("minutes"), r.PostFormValue("when")
	data.At, data.Times = r.PostFormValue("at"), r.PostFormValue("times")
	asking, err := c.readAsking(data)
	if err == nil {
		var filed access.ApprovalRequest
		if filed, err = c.cfg.Door.Ask(r.Context(), v.principal(), c.ask(asking)); err == nil {
			http.Redirect(w, r, "/requests/"+url.PathEscape(filed.ID)+"?done=asked", http.StatusSeeOther)
			return nil
		}
	}
	problem := c.problemOf(v.lang, err)
	data.Problem = problem.Detail
	c.renderAsking(w, r, v, problem.Status, data)
	return nil
}

// readAsking reads the form.
func (c *Console) readAsking(form askingView) (Asking, error) {
	a := Asking{Target: form.Target, Reason: form.Reason, Ticket: form.Ticket}
	if login, target, ok := strings.Cut(form.Target, "@"); ok {
		a.Login, a.Target = login, target
	}
	if form.Kind == "command" {
		a.Command = form.Pattern
	} else {
		a.Scopes = []access.Scope{{Right: policy.Right(form.Kind), Pattern: strings.TrimSpace(form.Pattern)}}
	}
	minutes, err := strconv.Atoi(form.Minutes)
	if err != nil || minutes < 1 {
		return a, badRequest("minutes: want a number from 1 to %d", access.MaxMinutes)
	}
	a.Minutes = minutes
	if form.When == "now" {
		return a, nil
	}
	if a.From, err = time.ParseInLocation("2006-01-02T15:04", form.At, c.cfg.Zone); err != nil {
		return a, badRequest("at: say when it begins")
	}
	return a, a.repeat(form)
}

// repeat reads how often a booking comes back.
func (a *Asking) repeat(form askingView) error {
	switch form.When {
	case "once":
		return nil
	case access.EveryDay, access.EveryWeek:
	default:
		return badRequest("when: want now, once, day or week")
	}
	times, err := strconv.Atoi(form.Times)
	if err != nil || times < 1 {
		return badRequest("times: want a number from 1 to %d", form.MaxTimes)
	}
	if times > 1 {
		a.Every, a.Times = form.When, times
	}
	return nil
}

func (c *Console) addReasonOnPage(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id, reason := r.PathValue("id"), formValue(w, r, "reason")
	if err := c.cfg.Door.AddReason(r.Context(), v.principal(), id, reason, r.PostFormValue("ticket")); err != nil {
		return err
	}
	http.Redirect(w, r, "/requests/"+url.PathEscape(id)+"?done=explained", http.StatusSeeOther)
	return nil
}

func (c *Console) cancelOnPage(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id := r.PathValue("id")
	if err := c.cfg.Door.Cancel(r.Context(), v.principal(), id); err != nil {
		return err
	}
	http.Redirect(w, r, "/requests/"+url.PathEscape(id)+"?done=cancelled", http.StatusSeeOther)
	return nil
}
