package access

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
)

// What a request asks for is decided before it is filed and before it is approved, as if everything about the person were
// in order then: an approval that could give nothing is not worth anybody's time, and is no promise.

// pointless says why a request should not be filed: it would be refused whoever approves it, or needs no approval.
func (d *Door) pointless(ctx context.Context, r ApprovalRequest, now time.Time) []policy.Reason {
	if reasons := d.futile(ctx, r, now); len(reasons) > 0 {
		return reasons
	}
	in, ok := d.assumed(r, r.beginning(now))
	if !ok {
		return []policy.Reason{notYours}
	}
	for _, s := range r.Scopes {
		switch effect, reasons := d.probe(ctx, in, s); {
		case effect == policy.Deny && !r.From.IsZero(): // out of hours: futile has seen everything else
			return reasons
		case effect != policy.Allow:
			return d.unanswerable(r)
		}
	}
	return []policy.Reason{allowedAnyway}
}

// unanswerable says that fewer people than have to approve a request ever may.
func (d *Door) unanswerable(r ApprovalRequest) []policy.Reason {
	last, need := r.Expires.Add(-1), d.route(r).Need
	var able []string
	for _, p := range d.cfg.Directory.Current().People() {
		if !slices.Contains(p.Roles, directory.RoleApprover) ||
			slices.ContainsFunc(able, func(other string) bool { return d.samePerson(other, p.ID) }) {
			continue
		}
		if _, ok := d.mayAnswer(p.ID, r, last); ok {
			able = append(able, p.ID)
		}
		if len(able) == need {
			return nil
		}
	}
	return []policy.Reason{noApprovers(need, len(able))}
}

// futile says why leases for the request would give nothing, now or, for a booking, at its beginning or end. That it is out
// of hours now is no reason: the lease may be used when the window opens.
func (d *Door) futile(ctx context.Context, r ApprovalRequest, now time.Time) []policy.Reason {
	if d.cfg.Revoked("person", r.Person) || d.cfg.Revoked("vendor", r.Vendor) {
		return []policy.Reason{revokedReason}
	}
	all := r.occurrences(d.cfg.Zone, now)
	for _, at := range []time.Time{r.beginning(now), all[len(all)-1].from} {
		in, ok := d.assumed(r, laterOf(at, now))
		if !ok {
			return []policy.Reason{notYours}
		}
		for _, s := range r.Scopes {
			if effect, reasons := d.probe(ctx, in, s); effect == policy.Deny && !onlyHours(reasons) {
				return reasons
			}
		}
	}
	return nil
}

func (r *ApprovalRequest) beginning(now time.Time) time.Time { return laterOf(r.From, now) }

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// onlyHours says that nothing is in the way but the hour (C-2).
func onlyHours(reasons []policy.Reason) bool {
	return !slices.ContainsFunc(reasons, func(r policy.Reason) bool { return r.ID != "outside-hours" })
}

// assumed is the input of a decision at some time, with the person's proofs in order. It is false for a person, target or
// login that is not there, which includes another vendor's.
func (d *Door) assumed(r ApprovalRequest, at time.Time) (policy.Input, bool) {
	in, ok := d.cfg.Directory.Current().Input(r.Person, r.Target, r.Login)
	if !ok || in.Person.Vendor != r.Vendor || r.Target == policy.GatewayTarget || !within(in, r.Target) {
		return policy.Input{}, false
	}
	in.Auth = policy.Auth{Kind: "human", Cert: policy.Cert{Serial: "assumed", NotAfter: at.Add(24 * time.Hour)},
		MFA: policy.MFA{Method: "webauthn", At: at, UV: true}}
	if len(in.Vendor.Networks) > 0 {
		in.Source = policy.Source{IP: in.Vendor.Networks[0].Addr().Unmap()}
	}
	in.Time = policy.Clock{Now: at, Zone: d.cfg.Zone.String()}
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, in.Vendor.CutOff = d.cutOffs[in.Vendor.ID]
	for i, parent := range in.Parents {
		_, in.Parents[i].CutOff = d.cutOffs[parent.ID]
	}
	return in, true
}

// probe decides one scope. A wide pattern is decided as the wildcard it is and by an example; the kinder answer counts,
// because the decision about the real thing is still to come.
func (d *Door) probe(ctx context.Context, in policy.Input, s Scope) (policy.Effect, []policy.Reason) {
	effect, reasons := policy.Deny, []policy.Reason(nil)
	for _, resource := range examples(s) {
		in.Action = d.probeAction(in, policy.Need{Right: s.Right, Resource: resource})
		r := ruling{Decision: d.cfg.Engine.Decide(ctx, in), input: &in}
		r.carriedOut()
		if r.Effect > effect || reasons == nil {
			effect, reasons = r.Effect, r.Reasons
		}
	}
	return effect, reasons
}

func examples(s Scope) []string {
	if literal, one := policy.PatternLiteral(s.Pattern); one {
		return []string{literal}
	}
	return []string{s.Pattern, strings.ReplaceAll(s.Pattern, "*", "x")}
}

// probeAction is the operation that would meet a need on the target; on an admin login it needs the admin right, too.
func (d *Door) probeAction(in policy.Input, n policy.Need) policy.Action {
	a := policy.Action{Protocol: "ssh", Operation: "ssh.exec", Needs: []policy.Need{n}}
	switch {
	case in.Target.Kind == "https":
		a.Protocol, a.Operation = "https", "http.request"
	case n == policy.Need{Right: policy.Execute, Resource: "shell"}:
		a.Operation = "ssh.shell"
	}
	if t, ok := d.cfg.Directory.Current().Target(in.Target.Name); ok && t.AdminLogin(in.Target.Login) {
		a.Needs = append(a.Needs, policy.Need{Right: policy.Admin, Resource: "login:" + in.Target.Login})
	}
	return a
}

// unsettled are the needs of a command line that are not allowed as it is; of a line that is, all of them.
func (d *Door) unsettled(r ApprovalRequest, needs []policy.Need) []policy.Need {
	in, ok := d.assumed(r, r.beginning(r.CreatedAt))
	if !ok {
		return needs
	}
	var left []policy.Need
	for _, n := range needs {
		if effect, _ := d.probe(context.Background(), in, exactly([]policy.Need{n})[0]); effect != policy.Allow && !slices.Contains(left, n) {
			left = append(left, n)
		}
	}
	if len(left) == 0 {
		return needs
	}
	return left
}
