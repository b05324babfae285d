package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// How long approvals live.
const (
	requestTTL     = 24 * time.Hour
	DefaultMinutes = 60  // of a lease when the approver names none
	MaxMinutes     = 480 // the longest lease
	maxPending     = 32  // requests of one person waiting at once
)

// ErrTooMany is returned when a person already has too many requests waiting.
var ErrTooMany = errors.New("too many requests are waiting; have one answered first")

// file stores a request for the needs that wait for approval and returns its id. The same operation asked again while its
// request waits finds that request instead of filing another.
func (d *Door) file(ctx context.Context, s *Session, op Operation, c classified, decision policy.Decision) (string, error) {
	needs := waiting(decision)
	d.filing.Lock()
	defer d.filing.Unlock()
	pending, err := d.cfg.Store.Requests(ctx, RequestPending, 1000)
	if err != nil {
		return "", fmt.Errorf("looking for an earlier request: %w", err)
	}
	now := d.cfg.Now().UTC()
	mine := 0
	for _, r := range pending {
		if r.Person != s.principal.Person || !now.Before(r.Expires) {
			continue
		}
		if mine++; r.Target == s.target.Name && r.Login == s.login && slices.Equal(r.Needs, needs) {
			return r.ID, nil
		}
	}
	if mine >= maxPending {
		return "", ErrTooMany
	}
	r := ApprovalRequest{ID: newID("r-"), Status: RequestPending, Person: s.principal.Person, Vendor: s.principal.Vendor,
		Target: s.target.Name, Login: s.login, Session: s.id, Operation: op.Kind, Command: c.action.Command, Needs: needs,
		Decision: decision.ID, CreatedAt: now, Expires: now.Add(requestTTL)}
	if err := d.cfg.Store.PutRequest(ctx, r); err != nil {
		return "", fmt.Errorf("filing a request: %w", err)
	}
	return r.ID, nil
}

// waiting lists the needs of a decision whose cell is △.
func waiting(decision policy.Decision) []policy.Need {
	var needs []policy.Need
	for _, n := range decision.Needs {
		if n.Effect == policy.Approval && !slices.Contains(needs, n.Need) {
			needs = append(needs, n.Need)
		}
	}
	return needs
}

// Approve answers a request with leases of so many minutes (0: DefaultMinutes), one for each need. Nobody answers for
// themselves or their own vendor, and where the vendor names its approvers only they do.
func (d *Door) Approve(ctx context.Context, by identity.Principal, id string, minutes int, reason string) ([]policy.Lease, error) {
	if minutes == 0 {
		minutes = DefaultMinutes
	}
	if minutes < 1 || minutes > MaxMinutes {
		return nil, fmt.Errorf("a lease lives 1 to %d minutes, not %d", MaxMinutes, minutes)
	}
	r, err := d.answerable(ctx, by, "gateway.request.approve", id)
	if err != nil {
		return nil, err
	}
	now := d.cfg.Now().UTC()
	leases := make([]policy.Lease, 0, len(r.Needs))
	for _, n := range r.Needs {
		leases = append(leases, policy.Lease{ID: newID("l-"), Person: r.Person, Target: r.Target, Right: n.Right,
			Pattern: policy.PatternFor(n), Until: now.Add(time.Duration(minutes) * time.Minute)})
	}
	answer := Answer{Status: RequestApproved, By: by.Person, At: now, Minutes: minutes, Reason: reason}
	if err := d.answer(ctx, by, r, answer, leases); err != nil {
		return nil, err
	}
	return leases, nil
}

// Deny answers a request with no.
func (d *Door) Deny(ctx context.Context, by identity.Principal, id, reason string) error {
	r, err := d.answerable(ctx, by, "gateway.request.deny", id)
	if err != nil {
		return err
	}
	return d.answer(ctx, by, r, Answer{Status: RequestDenied, By: by.Person, At: d.cfg.Now().UTC(), Reason: reason}, nil)
}

// answerable finds a request that by may answer.
func (d *Door) answerable(ctx context.Context, by identity.Principal, operation, id string) (ApprovalRequest, error) {
	if err := d.Act(ctx, by, operation, id); err != nil {
		return ApprovalRequest{}, err
	}
	r, err := d.cfg.Store.Request(ctx, id)
	if err != nil {
		return ApprovalRequest{}, fmt.Errorf("request %s: %w", id, err)
	}
	if reason, ok := d.mayAnswer(by, r); !ok {
		return ApprovalRequest{}, d.refuseAct(ctx, by, operation, id, policy.Decision{ID: newID("d-"), Reasons: []policy.Reason{reason}})
	}
	if r.Status != RequestPending {
		return ApprovalRequest{}, fmt.Errorf("request %s is %s: %w", id, r.Status, ErrAnswered)
	}
	if !d.cfg.Now().Before(r.Expires) {
		return ApprovalRequest{}, fmt.Errorf("request %s expired at %s; the contractor can ask again", id, r.Expires.Format(time.RFC3339))
	}
	return r, nil
}

func (d *Door) mayAnswer(by identity.Principal, r ApprovalRequest) (policy.Reason, bool) {
	if by.Person == r.Person || by.Vendor == r.Vendor {
		return policy.Reason{ID: "own_request", EN: "Nobody answers a request of their own or of their own vendor.",
			JA: "自分または自社の申請には回答できません。"}, false
	}
	for _, v := range d.cfg.Directory.Current().Chain(r.Vendor) {
		if len(v.Approvers) > 0 && !slices.Contains(v.Approvers, by.Person) {
			return policy.Reason{ID: "not_approver", EN: fmt.Sprintf("You are not an approver of vendor %s.", v.ID),
				JA: fmt.Sprintf("委託先 %s の承認者ではありません。", v.ID)}, false
		}
	}
	return policy.Reason{}, true
}

func (d *Door) answer(ctx context.Context, by identity.Principal, r ApprovalRequest, a Answer, leases []policy.Lease) error {
	d.answering.Lock()
	defer d.answering.Unlock()
	if err := d.cfg.Store.AnswerRequest(ctx, r.ID, a, leases); err != nil {
		return fmt.Errorf("answering request %s: %w", r.ID, err)
	}
	detail := map[string]any{"request": r.ID, "for": r.Person, "on": r.Target, "needs": r.Needs, "answer": string(a.Status)}
	set(detail, "reason", a.Reason)
	if len(leases) > 0 {
		detail["minutes"], detail["leases"] = a.Minutes, leaseIDs(leases)
	}
	if err := d.Event(ctx, by, recorder.ClassConfig, "gateway.request.answered", recorder.OK, detail); err != nil {
		return err
	}
	return d.loadLeases(ctx)
}

func leaseIDs(leases []policy.Lease) []string {
	ids := make([]string, 0, len(leases))
	for _, l := range leases {
		ids = append(ids, l.ID)
	}
	return ids
}

// loadLeases refreshes the leases decisions see and has live sessions decided again.
func (d *Door) loadLeases(ctx context.Context) error {
	leases, err := d.cfg.Store.Leases(ctx, "", d.cfg.Now())
	if err != nil {
		return fmt.Errorf("loading leases: %w", err)
	}
	d.mu.Lock()
	d.leases = leases
	d.mu.Unlock()
	d.Recheck()
	return nil
}

// Requests lists approval requests, newest first. One whose time has passed unanswered is shown as expired.
func (d *Door) Requests(ctx context.Context, by identity.Principal, status RequestStatus, limit int) ([]ApprovalRequest, error) {
	if err := d.Act(ctx, by, "gateway.request.list", ""); err != nil {
		return nil, err
	}
	return d.requests(ctx, status, limit)
}

// OwnRequests lists the requests a contractor has made.
func (d *Door) OwnRequests(ctx context.Context, by identity.Principal, limit int) ([]ApprovalRequest, error) {
	if err := d.Act(ctx, by, "gateway.self.requests", ""); err != nil {
		return nil, err
	}
	all, err := d.requests(ctx, "", 1000)
	if err != nil {
		return nil, err
	}
	mine := slices.DeleteFunc(all, func(r ApprovalRequest) bool { return r.Person != by.Person })
	return mine[:min(len(mine), limit)], nil
}

func (d *Door) requests(ctx context.Context, status RequestStatus, limit int) ([]ApprovalRequest, error) {
	asked := status
	if asked == RequestExpired {
		asked = RequestPending
	}
	all, err := d.cfg.Store.Requests(ctx, asked, limit)
	if err != nil {
		return nil, fmt.Errorf("listing requests: %w", err)
	}
	now := d.cfg.Now()
	for i := range all {
		if all[i].Status == RequestPending && !now.Before(all[i].Expires) {
			all[i].Status = RequestExpired
		}
	}
	if status == "" {
		return all, nil
	}
	return slices.DeleteFunc(all, func(r ApprovalRequest) bool { return r.Status != status }), nil
}

// Leases lists the live leases of everybody.
func (d *Door) Leases(ctx context.Context, by identity.Principal) ([]policy.Lease, error) {
	if err := d.Act(ctx, by, "gateway.lease.list", ""); err != nil {
		return nil, err
	}
	return d.cfg.Store.Leases(ctx, "", d.cfg.Now())
}

// RevokeLease ends a lease; what runs under it ends within a second.
func (d *Door) RevokeLease(ctx context.Context, by identity.Principal, id string) error {
	if err := d.Act(ctx, by, "gateway.lease.revoke", id); err != nil {
		return err
	}
	d.answering.Lock()
	defer d.answering.Unlock()
	if err := d.cfg.Store.RevokeLease(ctx, id, d.cfg.Now()); err != nil {
		return fmt.Errorf("revoking lease %s: %w", id, err)
	}
	return d.loadLeases(ctx)
}
