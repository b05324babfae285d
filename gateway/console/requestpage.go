package console

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
)

// recentSessions is how many sessions of a requester an approver is shown.
const recentSessions = 5

// requestsView is the approvers' list: what waits for this person first.
type requestsView struct {
	Mine, Others []access.ApprovalRequest
	Status       string
	Filters      []string
}

// showRequests lists requests: to staff everybody's, to a contractor their own.
func (c *Console) showRequests(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if !v.person.Staff() {
		return c.showOwnRequests(w, r, v)
	}
	status, err := requestStatus(r)
	if err != nil {
		return err
	}
	if !r.URL.Query().Has("status") {
		status = access.RequestPending
	}
	list, err := c.cfg.Door.Requests(r.Context(), v.principal(), status, defaultList)
	if err != nil {
		return err
	}
	data := requestsView{Status: orElse(string(status), "all"),
		Filters: []string{"pending", "approved", "denied", "expired", "cancelled", "all"}}
	for _, request := range list {
		if answerable(request) {
			data.Mine = append(data.Mine, request)
		} else {
			data.Others = append(data.Others, request)
		}
	}
	// What ends first is answered first.
	slices.SortStableFunc(data.Mine, func(a, b access.ApprovalRequest) int { return a.Expires.Compare(b.Expires) })
	c.render(w, http.StatusOK, "requests", c.newPage(r, v, "requests.title", data))
	return nil
}

// answerable tells whether a request waits for the person it was listed for.
func answerable(r access.ApprovalRequest) bool {
	return r.Status == access.RequestPending && r.Terms != nil && r.Terms.MayAnswer
}

// requestView is one request with all that somebody who answers it has to know.
type requestView struct {
	Request        access.ApprovalRequest
	Digest         string
	Own, Staff     bool
	MayAnswer      bool
	MayExplain     bool
	Narrowed, Wide bool
	Minutes        int // offered in the form
	MaxMinutes     int
	Back           string // key of the words for the list it stands in

	Asker    directory.Person
	Chain    []directory.Vendor
	Contract policy.Contract
	Reasons  []policy.Reason // of the decision that filed it
	Sessions []access.SessionRecord
	Link     *RequestLink
}

func (c *Console) showRequest(w http.ResponseWriter, r *http.Request, v *visitor) error {
	ctx := r.Context()
	request, err := c.request(ctx, v, r.PathValue("id"))
	if err != nil {
		return err
	}
	data := requestView{Request: request, Digest: request.Digest(), Own: request.Person == v.person.ID, Staff: v.person.Staff(),
		Narrowed: narrowed(request), Wide: wide(request), Back: "own.title"}
	data.MayAnswer = answerable(request) && c.may(ctx, v, "gateway.request.approve")
	if request.Terms != nil {
		data.MaxMinutes = request.Terms.MaxMinutes
		if request.Minutes > 0 {
			data.MaxMinutes = min(data.MaxMinutes, request.Minutes)
		}
		data.Minutes = min(access.DefaultMinutes, data.MaxMinutes)
		if request.Minutes > 0 {
			data.Minutes = min(request.Minutes, data.MaxMinutes)
		}
	}
	if data.Staff {
		data.Back = "requests.title"
		if err := c.addAsker(r, v, &data); err != nil {
			return err
		}
	}
	if request.Status == access.RequestPending {
		link := c.linkTo(request)
		data.Link = &link
	}
	p := c.newPage(r, v, "request.title", data)
	p.Scripts = []string{"answer.js", "copy.js"}
	c.render(w, http.StatusOK, "request", p)
	return nil
}

// addAsker adds who asks: the person, the chain of vendors, what policy said to the operation, and recent sessions.
func (c *Console) addAsker(r *http.Request, v *visitor, data *requestView) error {
	ctx, by, dir := r.Context(), v.principal(), c.cfg.Directory.Current()
	data.Asker, _ = dir.Person(data.Request.Person)
	data.Chain = dir.Chain(data.Request.Vendor)
	if len(data.Chain) > 0 {
		data.Contract = data.Chain[0].Contract
	}
	if c.may(ctx, v, "gateway.session.list") {
		q := access.SessionQuery{Person: data.Request.Person, Limit: recentSessions}
		sessions, err := c.cfg.Door.Sessions(ctx, by, q)
		if err != nil {
			return err
		}
		data.Sessions = sessions
	}
	data.MayExplain = data.Request.Decision != "" && c.may(ctx, v, "gateway.policy.explain")
	var err error
	data.Reasons, err = c.filedFor(ctx, data.Request)
	return err
}

// filedFor says why the rights of a request are △ now.
func (c *Console) filedFor(ctx context.Context, r access.ApprovalRequest) ([]policy.Reason, error) {
	shown, err := c.showPolicy(ctx, r.Vendor, r.Target)
	if errors.Is(err, access.ErrNotFound) {
		return nil, nil
	}
	var reasons []policy.Reason
	for _, cell := range shown.Cells {
		asked := slices.ContainsFunc(r.Scopes, func(s access.Scope) bool { return s.Right == cell.Right })
		if asked {
			reasons = append(reasons, cell.Reasons...)
		}
	}
	return reasons, err
}

// Booking words when booked leases are in force: by the gateway's clock.
func (p page) Booking(r access.ApprovalRequest) string {
	from := r.From.In(p.zone).Format("2006-01-02 15:04 MST")
	switch r.Every {
	case access.EveryDay:
		return p.T("booked.day", from, max(r.Times, 1), r.Minutes)
	case access.EveryWeek:
		return p.T("booked.week", from, max(r.Times, 1), r.Minutes)
	}
	return p.T("booked.once", from, r.Minutes)
}
