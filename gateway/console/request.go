package console

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/gateway/access"
)

// Limits of lists and words.
const (
	defaultList = 200
	maxList     = 1000
	maxReason   = 500
)

// wantReason checks a reason that somebody gives for an act on record.
func wantReason(reason string) (string, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > maxReason {
		return "", badRequest("reason: 1 to %d bytes are required", maxReason)
	}
	return reason, nil
}

// listLimit reads the ?limit= of a list; searchLimit that of an audit search, which is everything by default.
func listLimit(r *http.Request) (int, error)   { return limit(r, defaultList, maxList) }
func searchLimit(r *http.Request) (int, error) { return limit(r, maxSearch, maxSearch) }

func limit(r *http.Request, usual, most int) (int, error) {
	asked := r.URL.Query().Get("limit")
	if asked == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(asked)
	if err != nil || n < 1 || n > most {
		return 0, badRequest("limit: want 1 to %d, not %q", most, asked)
	}
	return n, nil
}

var requestStatuses = []access.RequestStatus{access.RequestPending, access.RequestApproved, access.RequestDenied,
	access.RequestExpired}

// requestStatus reads ?status=; "" and "all" are every status.
func requestStatus(r *http.Request) (access.RequestStatus, error) {
	status := access.RequestStatus(r.URL.Query().Get("status"))
	if status == "all" {
		status = ""
	}
	if status != "" && !slices.Contains(requestStatuses, status) {
		return "", badRequest("status: want pending, approved, denied, expired or all, not %q", status)
	}
	return status, nil
}

func (c *Console) apiRequests(w http.ResponseWriter, r *http.Request, v *visitor) error {
	status, err := requestStatus(r)
	if err != nil {
		return err
	}
	limit, err := listLimit(r)
	if err != nil {
		return err
	}
	list, err := c.cfg.Door.Requests(r.Context(), v.principal(), status, limit)
	if err != nil {
		return err
	}
	return answerLines(c, w, each(list))
}

// apiApproveRequest answers with the leases that were made.
func (c *Console) apiApproveRequest(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Minutes int    `json:"minutes"` // 0 for the default
		Reason  string `json:"reason"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	reason, err := wantReason(body.Reason)
	if err != nil {
		return err
	}
	if err := wantMinutes(body.Minutes); err != nil {
		return err
	}
	leases, err := c.cfg.Door.Approve(r.Context(), v.principal(), r.PathValue("id"), body.Minutes, reason)
	if err != nil {
		return err
	}
	return answerLines(c, w, each(leases))
}

func wantMinutes(minutes int) error {
	if minutes < 0 || minutes > access.MaxMinutes {
		return badRequest("minutes: a lease lives 1 to %d minutes, not %d", access.MaxMinutes, minutes)
	}
	return nil
}

func (c *Console) apiDenyRequest(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id, reason, err := c.withReason(w, r, "id")
	if err != nil {
		return err
	}
	if err := c.cfg.Door.Deny(r.Context(), v.principal(), id, reason); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Console) apiLeases(w http.ResponseWriter, r *http.Request, v *visitor) error {
	list, err := c.cfg.Door.Leases(r.Context(), v.principal())
	if err != nil {
		return err
	}
	return answerLines(c, w, each(list))
}

func (c *Console) apiRevokeLease(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := c.cfg.Door.RevokeLease(r.Context(), v.principal(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// requestsView is the approver's page.
type requestsView struct {
	Requests   []access.ApprovalRequest
	Status     string
	Filters    []string
	Minutes    int
	MaxMinutes int
	MayAnswer  bool
}

func (c *Console) showRequests(w http.ResponseWriter, r *http.Request, v *visitor) error {
	status, err := requestStatus(r)
	if err != nil {
		return err
	}
	shown := string(status)
	if !r.URL.Query().Has("status") {
		status, shown = access.RequestPending, "pending"
	}
	list, err := c.cfg.Door.Requests(r.Context(), v.principal(), status, defaultList)
	if err != nil {
		return err
	}
	data := requestsView{Requests: list, Status: shown, Filters: []string{"pending", "approved", "denied", "expired", "all"},
		Minutes: access.DefaultMinutes, MaxMinutes: access.MaxMinutes,
		MayAnswer: c.may(r.Context(), v, "gateway.request.approve")}
	if shown == "" {
		data.Status = "all"
	}
	c.render(w, http.StatusOK, "requests", c.newPage(r, v, "requests.title", data))
	return nil
}

func (c *Console) answerRequest(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id, by := r.PathValue("id"), v.principal()
	given, done := formValue(w, r, "answer"), ""
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	switch given {
	case "approve":
		reason, err := wantReason(reason)
		if err != nil {
			return err
		}
		minutes, err := strconv.Atoi(r.PostFormValue("minutes"))
		if err != nil || minutes == 0 {
			return badRequest("minutes: want a number from 1 to %d", access.MaxMinutes)
		}
		if err := wantMinutes(minutes); err != nil {
			return err
		}
		if _, err := c.cfg.Door.Approve(r.Context(), by, id, minutes, reason); err != nil {
			return err
		}
		done = "approved"
	case "deny":
		if err := c.cfg.Door.Deny(r.Context(), by, id, reason); err != nil {
			return err
		}
		done = "denied"
	default:
		return badRequest("answer: want approve or deny")
	}
	http.Redirect(w, r, "/requests?done="+done, http.StatusSeeOther)
	return nil
}
