package console

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
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
	access.RequestExpired, access.RequestCancelled}

// requestStatus reads ?status=; "" and "all" are every status.
func requestStatus(r *http.Request) (access.RequestStatus, error) {
	status := access.RequestStatus(r.URL.Query().Get("status"))
	if status == "all" {
		status = ""
	}
	if status != "" && !slices.Contains(requestStatuses, status) {
		return "", badRequest("status: want one of %v or all, not %q", requestStatuses, status)
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

// Request is an approval request with the digest that an answer to it names.
type Request struct {
	access.ApprovalRequest
	Digest string `json:"digest"`
}

// apiRequest shows one request to staff who may see requests, and to whoever made it.
func (c *Console) apiRequest(w http.ResponseWriter, r *http.Request, v *visitor) error {
	found, err := c.request(r.Context(), v, r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, Request{found, found.Digest()})
}

// request finds a request for whoever may see it: staff all of them, others their own.
func (c *Console) request(ctx context.Context, v *visitor, id string) (access.ApprovalRequest, error) {
	if v.person.Staff() {
		return c.cfg.Door.Request(ctx, v.principal(), id)
	}
	return c.cfg.Door.OwnRequest(ctx, v.principal(), id)
}

// apiApproveRequest and apiDenyRequest are the command line's, which proves itself with its certificate and its login. A
// browser's session answers with the security key only; see apiAnswerRequest.
func (c *Console) apiApproveRequest(w http.ResponseWriter, r *http.Request, v *visitor) error {
	return c.answerAsProgram(w, r, v, AnswerApprove)
}

func (c *Console) apiDenyRequest(w http.ResponseWriter, r *http.Request, v *visitor) error {
	return c.answerAsProgram(w, r, v, AnswerDeny)
}

func (c *Console) answerAsProgram(w http.ResponseWriter, r *http.Request, v *visitor, given string) error {
	if !v.program {
		return identity.ErrStale
	}
	a := RequestAnswer{Answer: given}
	if err := decode(w, r, bodyLimit, &a); err != nil {
		return err
	}
	a.Answer = given
	if err := a.complete(); err != nil {
		return err
	}
	return c.giveAnswer(r.Context(), w, v.principal(), r.PathValue("id"), &a)
}

func wantMinutes(minutes int) error {
	if minutes < 0 || minutes > access.MaxMinutes {
		return badRequest("minutes: a lease lives 1 to %d minutes, not %d", access.MaxMinutes, minutes)
	}
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
	id, reason, err := c.withReason(w, r, "id")
	if err != nil {
		return err
	}
	if err := c.cfg.Door.RevokeLease(r.Context(), v.principal(), id, reason); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
