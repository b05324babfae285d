package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// Limits of requests.
const (
	maxPending = 32                  // of one person, waiting at once
	maxAhead   = 90 * 24 * time.Hour // of the first occurrence of a booking
	maxTimes   = 53                  // occurrences of a booking
	maxScopes  = 16                  // of one request
	maxPattern = 1024                // bytes
	maxReason  = 500                 // bytes
	maxTicket  = 100                 // bytes
)

// ErrTooMany is returned when a person already has too many requests waiting.
var ErrTooMany = errors.New("too many requests are waiting; have one answered first")

// Ask asks ahead for what will be needed: by Scopes, or by the one command line that will be run.
type Ask struct {
	Target  string
	Login   string // of an SSH target; "" for an app
	Scopes  []Scope
	Command string // instead of Scopes
	Minutes int    // of each lease; 0 leaves it to the answer
	Reason  string // required
	Ticket  string
	From    time.Time // when the first lease begins; zero: at the answer
	Every   string    // EveryDay or EveryWeek with Times, "" for one occurrence
	Times   int       // occurrences, at most 53; 0 or 1 for one
}

// Ask files a request ahead of the work. A *Refusal says that nobody could approve it or that nobody has to; ErrInvalid
// what is wrong with it. The same asked again while it waits finds the request filed before.
func (d *Door) Ask(ctx context.Context, by identity.Principal, a Ask) (ApprovalRequest, error) {
	if err := d.Act(ctx, by, "gateway.self.ask", clip(a.Target, 256)); err != nil {
		return ApprovalRequest{}, err
	}
	// First of all, so that nothing else tells of a target that is not theirs.
	var reasons []policy.Reason
	var opaque *policy.Reason
	r, err := d.begin(by, a)
	if err != nil {
		return ApprovalRequest{}, err
	}
	if _, ok := d.assumed(r, r.CreatedAt); !ok {
		reasons = []policy.Reason{notYours}
	} else if opaque, err = d.fill(&r, a); err != nil {
		return ApprovalRequest{}, err
	} else {
		reasons = d.pointless(ctx, r, r.CreatedAt)
	}
	if t, _ := d.cfg.Directory.Current().Target(r.Target); len(reasons) == 0 && opaque != nil && t.Opaque != "execute" {
		reasons = []policy.Reason{*opaque}
	}
	if len(reasons) > 0 {
		decision := d.unfounded(reasons[0]).Decision
		decision.Reasons = reasons
		return ApprovalRequest{}, d.refuseAct(ctx, by, "gateway.self.ask", clip(a.Target, 256), decision)
	}
	return d.fileOnce(ctx, by, r)
}

// begin makes a request of who asks for what target.
func (d *Door) begin(by identity.Principal, a Ask) (ApprovalRequest, error) {
	r := ApprovalRequest{ID: newID("r-"), Status: RequestPending, Person: by.Person, Vendor: by.Vendor, Target: a.Target,
		Login: a.Login, Minutes: a.Minutes, Reason: strings.TrimSpace(a.Reason), Ticket: strings.TrimSpace(a.Ticket),
		Every: a.Every, Times: a.Times, CreatedAt: d.cfg.Now().UTC()}
	if len(a.Target) > 256 || len(a.Login) > 64 {
		return r, invalid("target and login: too long")
	}
	if r.Reason == "" {
		return r, invalid("reason: say what the work is for")
	}
	return r, checkWords(r.Reason, r.Ticket)
}

// fill checks the rest of an Ask and notes it; opaque says why its command line cannot be told, if it cannot.
func (d *Door) fill(r *ApprovalRequest, a Ask) (opaque *policy.Reason, err error) {
	if err := r.book(a.From, r.CreatedAt); err != nil {
		return nil, err
	}
	if opaque, err = d.scope(r, a); err != nil {
		return nil, err
	}
	return opaque, d.admit(r)
}

// book notes when the leases are to begin.
func (r *ApprovalRequest) book(from, now time.Time) error {
	switch {
	case r.Times < 0 || r.Times > maxTimes:
		return invalid("times: 1 to %d occurrences, not %d", maxTimes, r.Times)
	case r.Times <= 1 && r.Every != "", r.Times > 1 && r.Every == "":
		return invalid("every and times: give both for a booking that repeats")
	case r.Every != "" && r.Every != EveryDay && r.Every != EveryWeek:
		return invalid("every: %q is not %s or %s", clip(r.Every, 32), EveryDay, EveryWeek)
	case from.IsZero() && r.Times > 1:
		return invalid("from: a booking that repeats wants a beginning")
	case from.IsZero():
		r.Times = 0
		return nil
	case from.Before(now.Add(-time.Minute)):
		return invalid("from: %s is past", from.Format(time.RFC3339))
	case from.After(now.Add(maxAhead)):
		return invalid("from: at most %d days ahead", int(maxAhead.Hours()/24))
	case r.Minutes == 0:
		return invalid("minutes: a booking says how long the work takes")
	}
	r.From, r.Times = from.UTC().Truncate(time.Second), max(1, r.Times)
	return nil
}

// scope notes what the leases are to cover.
func (d *Door) scope(r *ApprovalRequest, a Ask) (opaque *policy.Reason, err error) {
	if a.Command == "" {
		if err := checkScopes(a.Scopes); err != nil {
			return nil, err
		}
		for _, s := range a.Scopes {
			if !utf8.ValidString(s.Pattern) || strings.ContainsFunc(s.Pattern, unshown) {
				return nil, invalid("pattern: only characters that whoever approves it can see")
			}
		}
		r.Asked = slices.Clone(a.Scopes)
		r.Scopes = r.Asked
		return nil, d.checkRequests(r)
	}
	if len(a.Scopes) > 0 || len(a.Command) > maxCommand || !utf8.ValidString(a.Command) {
		return nil, invalid("give a command line of at most 16 KiB or what is needed, not both")
	}
	catalogue, err := d.currentCatalogue()
	if err != nil {
		return nil, err
	}
	c := classified{action: policy.Action{Protocol: "ssh", Operation: "ssh.exec"}}
	d.classifyLine(&c, catalogue, a.Command)
	if c.action.Command != c.line {
		return nil, invalid("the command line is longer than 16 KiB with its secrets masked")
	}
	r.Operation, r.Command, r.Needs = "ssh.exec", c.action.Command, d.unsettled(*r, c.action.Needs)
	r.complete()
	if c.action.Opaque {
		why := opaqueReason(c.why)
		opaque = &why
	}
	return opaque, nil
}

// checkRequests makes sure that what is asked for on an app names the method and the path.
func (d *Door) checkRequests(r *ApprovalRequest) error {
	target, _ := d.cfg.Directory.Current().Target(r.Target)
	if target.HTTPS == nil {
		return nil
	}
	for _, s := range r.Scopes {
		method, path, _ := strings.Cut(s.Pattern, " ")
		if _, known := target.RightFor(method, "/"); !known || !strings.HasPrefix(path, "/") {
			return invalid("pattern: on an app give a method and a path, such as PUT /orders/*, not %q", clip(s.Pattern, 64))
		}
	}
	return nil
}

// admit holds a request against its route and sets its deadline.
func (d *Door) admit(r *ApprovalRequest) error {
	route := d.route(*r)
	switch {
	case r.Minutes < 0 || r.Minutes > route.MaxMinutes:
		return invalid("minutes: a lease here lives 1 to %d minutes, not %d", route.MaxMinutes, r.Minutes)
	case route.Ticket && r.Ticket == "":
		return invalid("ticket: one is required here")
	}
	r.Expires = r.CreatedAt.Add(route.Deadline)
	if all := r.occurrences(d.cfg.Zone, r.CreatedAt); !r.From.IsZero() && all[len(all)-1].until.Before(r.Expires) {
		r.Expires = all[len(all)-1].until.UTC()
	}
	return fits(r.Scopes, route)
}

// file stores a request for the needs of an operation that wait for approval and returns its id.
func (d *Door) file(ctx context.Context, s *Session, op Operation, c classified, decision policy.Decision) (string, error) {
	now := d.cfg.Now().UTC()
	r := ApprovalRequest{ID: newID("r-"), Status: RequestPending, Person: s.principal.Person, Vendor: s.principal.Vendor,
		Target: s.target.Name, Login: s.login, Session: s.id, Operation: op.Kind, Command: c.action.Command,
		Needs: waiting(decision), Decision: decision.ID, CreatedAt: now}
	r.complete()
	r.Expires = now.Add(d.route(r).Deadline)
	filed, err := d.fileOnce(ctx, s.principal, r)
	return filed.ID, err
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

// exactly are the scopes that cover needs and nothing else.
func exactly(needs []policy.Need) []Scope {
	scopes := make([]Scope, 0, len(needs))
	for _, n := range needs {
		scopes = append(scopes, Scope{Right: n.Right, Pattern: policy.PatternFor(n)})
	}
	return scopes
}

// complete fills in what a request of an operation leaves out, and one that was filed before requests had scopes.
func (r *ApprovalRequest) complete() {
	if len(r.Asked) == 0 {
		r.Asked = exactly(r.Needs)
	}
	if len(r.Scopes) == 0 {
		r.Scopes = r.Asked
	}
}

// fileOnce stores a request unless the same one is waiting, which it returns then.
func (d *Door) fileOnce(ctx context.Context, by identity.Principal, r ApprovalRequest) (ApprovalRequest, error) {
	d.filing.Lock()
	defer d.filing.Unlock()
	mine, err := d.cfg.Store.Requests(ctx, RequestQuery{Status: RequestPending, Person: r.Person, Limit: 1000})
	if err != nil {
		return r, fmt.Errorf("looking for an earlier request: %w", err)
	}
	mine = slices.DeleteFunc(mine, func(old ApprovalRequest) bool { return !r.CreatedAt.Before(old.Expires) })
	for _, old := range mine {
		if old.complete(); old.same(r) {
			return old, nil
		}
	}
	if len(mine) >= maxPending {
		return r, ErrTooMany
	}
	if err := d.cfg.Store.PutRequest(ctx, r); err != nil {
		return r, fmt.Errorf("filing a request: %w", err)
	}
	d.due.Store(0)
	return r, d.Event(ctx, by, recorder.ClassConfig, "gateway.request.filed", recorder.OK, r.describe())
}

// same says whether two requests of one person ask for the same.
func (r *ApprovalRequest) same(other ApprovalRequest) bool {
	return r.Target == other.Target && r.Login == other.Login && r.Command == other.Command && r.From.Equal(other.From) &&
		r.Every == other.Every && r.Times == other.Times && slices.Equal(r.Asked, other.Asked) &&
		(r.Session == "") == (other.Session == "")
}

func (r *ApprovalRequest) describe() map[string]any {
	detail := map[string]any{"request": r.ID, "for": r.Person, "on": r.Target, "scopes": r.Scopes, "expires": r.Expires}
	set(detail, "login", r.Login)
	set(detail, "line", r.Command)
	set(detail, "reason", r.Reason)
	set(detail, "ticket", r.Ticket)
	if r.Minutes > 0 {
		detail["minutes"] = r.Minutes
	}
	if !r.From.IsZero() {
		detail["from"], detail["times"] = r.From, r.Times
		set(detail, "every", r.Every)
	}
	return detail
}

// AddReason says why, and under which ticket, about a request that the door filed. Once somebody has answered it stays as
// they saw it.
func (d *Door) AddReason(ctx context.Context, by identity.Principal, id, reason, ticket string) error {
	reason, ticket = strings.TrimSpace(reason), strings.TrimSpace(ticket)
	if err := checkWords(reason, ticket); err != nil {
		return err
	}
	if reason == "" && ticket == "" {
		return invalid("give a reason or a ticket")
	}
	return d.amend(ctx, by, "gateway.self.explain", "gateway.request.explained", id, func(r *ApprovalRequest, _ time.Time) error {
		if len(r.Answers) > 0 {
			return fmt.Errorf("somebody has approved it as it is: %w", ErrAnswered)
		}
		if reason != "" {
			r.Reason = reason
		}
		if ticket != "" {
			r.Ticket = ticket
		}
		return nil
	})
}

// Cancel takes a request back.
func (d *Door) Cancel(ctx context.Context, by identity.Principal, id string) error {
	return d.amend(ctx, by, "gateway.self.cancel", "gateway.request.cancelled", id, func(r *ApprovalRequest, now time.Time) error {
		r.Status, r.Answer = RequestCancelled, Answer{Status: RequestCancelled, By: by.Person, At: now}
		return nil
	})
}

// amend lets people change a request of their own that waits; somebody else's is not found.
func (d *Door) amend(
	ctx context.Context, by identity.Principal, operation, kind, id string, change func(*ApprovalRequest, time.Time) error,
) error {
	if err := d.Act(ctx, by, operation, clip(id, 64)); err != nil {
		return err
	}
	d.answering.Lock()
	defer d.answering.Unlock()
	var detail map[string]any
	err := d.cfg.Store.ChangeRequest(ctx, id, func(r *ApprovalRequest) ([]Lease, error) {
		now := d.cfg.Now().UTC()
		if r.Person != by.Person {
			return nil, ErrNotFound
		}
		r.complete()
		if err := r.waits(now); err != nil {
			return nil, err
		}
		before := r.describe()
		if err := change(r, now); err != nil {
			return nil, err
		}
		detail = map[string]any{"request": r.ID, "before": before, "after": r.describe()}
		return nil, nil
	})
	if err != nil {
		return fmt.Errorf("request %s: %w", clip(id, 64), err)
	}
	return d.Event(ctx, by, recorder.ClassConfig, kind, recorder.OK, detail)
}

// checkWords checks what people write about a request.
func checkWords(reason, ticket string) error {
	if err := checkText("reason", reason, maxReason); err != nil {
		return err
	}
	return checkText("ticket", ticket, maxTicket)
}

func checkText(what, text string, most int) error {
	if len(text) > most || !utf8.ValidString(text) {
		return invalid("%s: at most %d bytes of text", what, most)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }) {
		return invalid("%s: no control characters", what)
	}
	return nil
}

// unshown are characters that leave nothing on a screen or move what follows them.
func unshown(r rune) bool { return !unicode.IsPrint(r) }

func checkScopes(scopes []Scope) error {
	if len(scopes) == 0 || len(scopes) > maxScopes {
		return invalid("1 to %d rights with a pattern, not %d", maxScopes, len(scopes))
	}
	for i, s := range scopes {
		switch {
		case !slices.Contains(policy.Rights, s.Right) || s.Right == policy.Admin:
			return invalid("right: %q is not read, write, execute or delete", clip(string(s.Right), 32))
		case len(s.Pattern) > maxPattern && !policy.ExactPattern(s.Right, s.Pattern):
			return invalid("pattern: at most %d bytes", maxPattern)
		case slices.Contains(scopes[:i], s):
			return invalid("%s %s stands there twice", s.Right, s.Pattern)
		}
		if err := policy.CheckPattern(s.Right, s.Pattern); err != nil {
			return invalid("pattern: %v", err)
		}
	}
	return nil
}
