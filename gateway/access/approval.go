package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// DefaultMinutes is how long a lease lives when neither the request nor the answer says.
const DefaultMinutes = 60

// MaxMinutes is the longest lease, whatever a route allows.
const MaxMinutes = policy.MaxLeaseMinutes

// Errors about what somebody asked or answered; the text around them says what to do.
var (
	ErrInvalid = errors.New("not accepted")
	ErrChanged = errors.New("the request has changed since it was shown")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Consent is a yes. Zero fields leave the request as it is; what is given may make it smaller and never larger.
type Consent struct {
	Minutes int     // of each lease; 0: as asked, or DefaultMinutes, within the route's limit
	Scopes  []Scope // what of it to give; nil: all
	Reason  string
	Digest  string // of the request as it was shown; "" does without the check
}

// Approve says yes to a request. It returns the leases that were made, none as long as other people have to approve, too.
// A *Refusal says that this person may not answer, ErrAnswered that it is too late, ErrChanged that the request is not what
// was shown, ErrInvalid what is wrong with the consent.
func (d *Door) Approve(ctx context.Context, by identity.Principal, id string, c Consent) ([]Lease, error) {
	var made []Lease
	err := d.answer(ctx, by, "gateway.request.approve", id, func(r *ApprovalRequest, now time.Time) (leases []Lease, err error) {
		made, err = d.consent(ctx, by, r, c, now)
		return made, err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// Deny says no, which ends the request whoever has approved it before.
func (d *Door) Deny(ctx context.Context, by identity.Principal, id, reason string) error {
	return d.answer(ctx, by, "gateway.request.deny", id, func(r *ApprovalRequest, now time.Time) ([]Lease, error) {
		if err := checkText("reason", reason, maxReason); err != nil {
			return nil, err
		}
		r.conclude(Answer{Status: RequestDenied, By: by.Person, At: now, Reason: reason})
		return nil, nil
	})
}

// answer lets somebody who may answer a request that waits change it. The answer is on record before it counts.
func (d *Door) answer(
	ctx context.Context, by identity.Principal, operation, id string, change func(*ApprovalRequest, time.Time) ([]Lease, error),
) error {
	id = clip(id, 64)
	if err := d.actOn(ctx, by, operation, id, d.requester(ctx, id)); err != nil {
		return err
	}
	d.answering.Lock()
	defer d.answering.Unlock()
	var detail map[string]any
	err := d.cfg.Store.ChangeRequest(ctx, id, func(r *ApprovalRequest) ([]Lease, error) {
		r.complete()
		now := d.cfg.Now().UTC()
		if reason, ok := d.mayAnswer(by.Person, *r, now); !ok {
			return nil, d.refuseAct(ctx, by, operation, id, d.unfounded(reason).Decision)
		}
		if err := r.waits(now); err != nil {
			return nil, err
		}
		before := r.standing()
		leases, err := change(r, now)
		if err != nil {
			return nil, err
		}
		detail = answered(r, before, leases)
		return leases, d.Event(ctx, by, recorder.ClassConfig, "gateway.request.answered", recorder.OK, detail)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("answering request %s: %w", id, err), d.unanswered(ctx, by, detail))
	}
	return d.loadLeases(ctx)
}

// requester says who asks, for the rules about who may answer.
func (d *Door) requester(ctx context.Context, id string) map[string]string {
	r, err := d.cfg.Store.Request(ctx, id)
	if err != nil { // answering will fail, too
		return nil
	}
	return map[string]string{"requester": r.Person, "vendor": r.Vendor}
}

// unanswered puts on record that an answer which stands there was not stored.
func (d *Door) unanswered(ctx context.Context, by identity.Principal, detail map[string]any) error {
	if detail == nil {
		return nil
	}
	return d.Event(context.WithoutCancel(ctx), by, recorder.ClassConfig, "gateway.request.answered", recorder.Failed, detail)
}

// waits says why a request cannot be answered, changed or cancelled any more.
func (r *ApprovalRequest) waits(now time.Time) error {
	switch {
	case r.Status != RequestPending:
		return fmt.Errorf("it is %s: %w", r.Status, ErrAnswered)
	case !now.Before(r.Expires):
		return fmt.Errorf("it expired at %s, ask again: %w", r.Expires.Format(time.RFC3339), ErrAnswered)
	}
	return nil
}

// conclude notes the answer that decides the request.
func (r *ApprovalRequest) conclude(a Answer) {
	r.Status, r.Answer = a.Status, a
	r.Answers = append(r.Answers, a)
}

// consent takes one approval in; once enough people have approved, it returns the leases.
func (d *Door) consent(
	ctx context.Context, by identity.Principal, r *ApprovalRequest, c Consent, now time.Time,
) ([]Lease, error) {
	if c.Digest != "" && c.Digest != r.Digest() {
		return nil, fmt.Errorf("look at it again: %w", ErrChanged)
	}
	route := d.route(*r)
	if slices.ContainsFunc(r.Answers, func(a Answer) bool { return d.samePerson(by.Person, a.By) }) {
		return nil, fmt.Errorf("you have approved it before; somebody else has to, too: %w", ErrAnswered)
	}
	if route.Ticket && r.Ticket == "" {
		return nil, invalid("a ticket is required here: %s has to add one to the request", r.Person)
	}
	if err := checkText("reason", c.Reason, maxReason); err != nil {
		return nil, err
	}
	if err := r.narrow(c, route); err != nil {
		return nil, err
	}
	if reasons := d.futile(ctx, *r, now); len(reasons) > 0 {
		decision := d.unfounded(reasons[0]).Decision
		decision.Reasons = reasons
		return nil, d.refuseAct(ctx, by, "gateway.request.approve", r.ID, decision)
	}
	yes := Answer{Status: RequestApproved, By: by.Person, At: now, Minutes: r.Minutes, Scopes: r.Scopes, Reason: c.Reason}
	r.Answers = append(r.Answers, yes)
	approvers := d.approvers(*r, now)
	if len(approvers) < route.Need {
		return nil, nil
	}
	r.Status, r.Answer = RequestApproved, yes
	leases := d.leasesFor(*r, approvers, now)
	if len(leases) == 0 {
		return nil, invalid("the booked time is over")
	}
	return leases, nil
}

// narrow makes the request what the consent leaves of it and the route allows; widening is an error.
func (r *ApprovalRequest) narrow(c Consent, route policy.Route) error {
	minutes := c.Minutes
	switch {
	case minutes == 0 && r.Minutes > 0:
		minutes = min(r.Minutes, route.MaxMinutes)
	case minutes == 0:
		minutes = min(DefaultMinutes, route.MaxMinutes)
	case minutes < 1 || minutes > route.MaxMinutes:
		return invalid("minutes: a lease here lives 1 to %d minutes, not %d", route.MaxMinutes, minutes)
	case r.Minutes > 0 && minutes > r.Minutes:
		return invalid("minutes: an answer can shorten the %d minutes of the request, not make %d of them", r.Minutes, minutes)
	}
	scopes := r.Scopes
	if c.Scopes != nil {
		if err := checkScopes(c.Scopes); err != nil {
			return err
		}
		for _, s := range c.Scopes {
			if !slices.ContainsFunc(r.Scopes, func(wide Scope) bool { return wide.includes(s) }) {
				return invalid("%s %s is more than was asked for: an answer can only narrow a request", s.Right, s.Pattern)
			}
		}
		scopes = slices.Clone(c.Scopes)
	}
	if err := fits(scopes, route); err != nil {
		return err
	}
	r.Minutes, r.Scopes = minutes, scopes
	return nil
}

func (s Scope) includes(narrow Scope) bool {
	return s.Right == narrow.Right && policy.PatternIncludes(s.Right, s.Pattern, narrow.Pattern)
}

// fits says which pattern is wider than the route allows.
func fits(scopes []Scope, route policy.Route) error {
	for _, s := range scopes {
		if route.Exact && !policy.ExactPattern(s.Right, s.Pattern) {
			return invalid("%s %s: only exact commands and files can be approved here, without *", s.Right, s.Pattern)
		}
	}
	return nil
}

// route is how a request has to be answered under the policy of now.
func (d *Door) route(r ApprovalRequest) policy.Route {
	var rights []policy.Right
	for _, s := range r.Scopes {
		rights = append(rights, s.Right)
	}
	return d.routeFor(r.Vendor, r.Target, rights)
}

func (d *Door) routeFor(vendor, target string, rights []policy.Right) policy.Route {
	var links []policy.Vendor
	for _, v := range d.cfg.Directory.Current().Chain(vendor) {
		links = append(links, policy.Vendor{ID: v.ID, Type: v.Type})
	}
	return d.cfg.Engine.Revision().RouteFor(links, target, rights...)
}

// mayAnswer says whether a person may answer a request, and if not, why. Whether they are approvers at all is policy's to
// say.
func (d *Door) mayAnswer(person string, r ApprovalRequest, now time.Time) (policy.Reason, bool) {
	dir := d.cfg.Directory.Current()
	for _, id := range dir.Same(person) {
		if p, _ := dir.Person(id); d.samePerson(id, r.Person) || related(dir, p.Vendor, r) {
			return ownRequest, false
		}
	}
	route, waited := d.route(r), now.Sub(r.CreatedAt)
	escalated := false
	for _, panel := range route.Panels {
		if !panel.Admits(person, waited) {
			return notApprover(route.Names), false
		}
		escalated = escalated || panel.Escalated(person, waited)
	}
	for _, v := range dir.Chain(r.Vendor) {
		if len(v.Approvers) > 0 && !slices.Contains(v.Approvers, person) && !escalated {
			return notVendorApprover(v.ID), false
		}
	}
	return policy.Reason{}, true
}

// related says whether a vendor is the requester's, stands above it or works for it.
func related(dir *directory.Directory, vendor string, r ApprovalRequest) bool {
	requester, _ := dir.Person(r.Person)
	for _, theirs := range []string{r.Vendor, requester.Vendor} {
		if vendor == theirs || above(dir, vendor, theirs) || above(dir, theirs, vendor) {
			return true
		}
	}
	return false
}

func above(dir *directory.Directory, parent, vendor string) bool {
	return slices.ContainsFunc(dir.Chain(vendor), func(v directory.Vendor) bool { return v.ID == parent })
}

// approvers are the people whose approval counts: each once, and only as long as they might still give it.
func (d *Door) approvers(r ApprovalRequest, now time.Time) []string {
	dir := d.cfg.Directory.Current()
	var people []string
	for _, a := range r.Answers {
		p, known := dir.Person(a.By)
		if a.Status != RequestApproved || !known || !slices.Contains(p.Roles, directory.RoleApprover) ||
			d.cfg.Revoked("person", a.By) {
			continue
		}
		if slices.ContainsFunc(people, func(before string) bool { return d.samePerson(before, a.By) }) {
			continue
		}
		if _, ok := d.mayAnswer(a.By, r, now); ok {
			people = append(people, a.By)
		}
	}
	return people
}

// standing is what answers change of a request, for the record.
func (r *ApprovalRequest) standing() map[string]any {
	s := map[string]any{"status": string(r.Status), "scopes": r.Scopes}
	if r.Minutes > 0 {
		s["minutes"] = r.Minutes
	}
	return s
}

func answered(r *ApprovalRequest, before map[string]any, leases []Lease) map[string]any {
	last := r.Answers[len(r.Answers)-1]
	detail := map[string]any{"request": r.ID, "for": r.Person, "on": r.Target, "answer": string(last.Status), "before": before,
		"after": r.standing()}
	set(detail, "reason", last.Reason)
	set(detail, "ticket", r.Ticket)
	if len(leases) > 0 {
		ids := make([]string, 0, len(leases))
		for _, l := range leases[:min(len(leases), 64)] {
			ids = append(ids, l.ID)
		}
		detail["leases"], detail["until"] = ids, leases[len(leases)-1].Until
	}
	return detail
}
