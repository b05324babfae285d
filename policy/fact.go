package policy

import (
	"net/netip"
	"slices"
	"time"
)

// skew is how far ahead of the decision's clock a second factor may have been given.
const skew = time.Minute

// facts are what Go finds out about one vendor of the chain before Rego is asked, one word each; guardrail.rego lists the
// words. Rego sees no clock, so a verdict holds as long as its facts do.
type facts struct {
	certificate, mfa, contract, window, network, target, breakGlass string
	cutOff                                                          bool
}

// ends are the moments after now at which facts change.
type ends struct {
	now  time.Time
	next time.Time // the soonest change of any fact
	last time.Time // the soonest end of access; zero when nothing ends it
}

// at notes a moment at which some fact changes.
func (e *ends) at(t time.Time) {
	if t.Before(e.next) && t.After(e.now) {
		e.next = t
	}
}

// over notes a moment after now at which access ends.
func (e *ends) over(t time.Time) {
	if t.Before(e.next) {
		e.next = t
	}
	if e.last.IsZero() || t.Before(e.last) {
		e.last = t
	}
}

// begins notes the moments at which leases begin that were booked ahead and cover a need.
func (e *ends) begins(in *Input, n *Need) {
	for i := range in.Leases {
		l := &in.Leases[i]
		if l.From.After(e.now) && l.From.Before(e.next) && l.Person == in.Person.ID && l.Target == in.Target.Name && MatchLease(*l, *n) {
			e.at(l.From)
		}
	}
}

// factsOf finds out about one vendor of the chain. The network is the one of the person's own vendor, because that is where
// the person sits; contract, window, targets and cut-off are each vendor's own, so that a parent's limits bind its subs.
func factsOf(in *Input, v *Vendor, maxAge time.Duration, c *clock, e *ends) facts {
	f := facts{
		certificate: certificateFact(in.Auth.Cert, e),
		mfa:         mfaFact(in.Auth.MFA, maxAge, e),
		contract:    exempt,
		window:      exempt,
		network:     exempt,
		target:      targetFact(in.Target.Name, v.Targets),
		breakGlass:  breakGlassFact(in, e),
		cutOff:      v.CutOff,
	}
	if !in.staff() {
		f.contract = contractFact(v.Contract, e)
		f.window = windowFact(v.Windows, c, e)
		f.network = networkFact(in.Source.IP, in.Vendor.Networks)
	}
	return f
}

// exempt is the fact of a control that does not hold for staff.
const exempt = "exempt"

// certificateFact is C-1.
func certificateFact(cert Cert, e *ends) string {
	switch {
	case cert.Serial == "":
		return "missing"
	case !cert.NotAfter.After(e.now):
		return "expired"
	}
	e.over(cert.NotAfter)
	return "valid"
}

// mfaFact is C-4. WebAuthn counts only when the authenticator verified its user.
func mfaFact(mfa MFA, maxAge time.Duration, e *ends) string {
	if mfa.Method == "" || mfa.At.IsZero() {
		return "missing"
	}
	if mfa.At.After(e.now) && mfa.At.Add(-skew).After(e.now) {
		e.at(mfa.At.Add(-skew))
		return "missing"
	}
	if mfa.Method == "webauthn" && !mfa.UV {
		return "unverified"
	}
	old := mfa.At.Add(maxAge)
	if !old.After(e.now) {
		return "expired"
	}
	e.over(old)
	return "fresh"
}

// contractFact is V-7.
func contractFact(c Contract, e *ends) string {
	switch {
	case c.From.IsZero() || c.Until.IsZero():
		return "missing"
	case !e.now.Before(c.Until):
		return "ended"
	case e.now.Before(c.From):
		e.at(c.From)
		e.at(c.Until) // should it end before it begins
		return "future"
	}
	e.over(c.Until)
	return "running"
}

// windowFact is C-2: one open window is enough, and access lasts until none is open any more.
func windowFact(names []string, c *clock, e *ends) string {
	if len(names) == 0 {
		return "missing"
	}
	hours := c.hours(names)
	if !hours.open {
		e.at(hours.until)
		return "closed"
	}
	e.over(hours.until)
	return "open"
}

// networkFact is C-3.
func networkFact(ip netip.Addr, networks []netip.Prefix) string {
	if len(networks) == 0 {
		return "missing"
	}
	if !ip.IsValid() {
		return "outside"
	}
	ip = ip.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(ip) {
			return "inside"
		}
	}
	return "outside"
}

// breakGlassFact says whether a member of staff has declared an emergency that still lasts. One that claims to last longer
// than any may is none.
func breakGlassFact(in *Input, e *ends) string {
	if in.BreakGlass == nil || !in.staff() || !in.BreakGlass.Until.After(e.now) {
		return "none"
	}
	if in.BreakGlass.Until.After(e.now.Add(MaxBreakGlass)) {
		e.at(in.BreakGlass.Until.Add(-MaxBreakGlass))
		return "none"
	}
	e.over(in.BreakGlass.Until)
	return "declared"
}

// targetFact is C-5.
func targetFact(target string, listed []string) string {
	switch {
	case target == GatewayTarget:
		return "gateway"
	case slices.Contains(listed, target):
		return "listed"
	}
	return "unlisted"
}
