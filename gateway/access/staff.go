package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// quiet are the endings of operations that only look: allowed ones leave no event, refused ones do.
var quiet = []string{".list", ".show", ".status", ".get", ".plan", ".check", ".history", "gateway.self.requests"}

// Act decides an operation on the gateway itself: gateway.noun.verb by staff, gateway.self.verb by anybody about
// themselves. A *Refusal says no. What was allowed and is more than a look is on record before Act returns.
func (d *Door) Act(ctx context.Context, by identity.Principal, operation, resource string) error {
	return d.actOn(ctx, by, operation, resource, nil)
}

// actOn is Act on something of which the rules can know more than its name: the labels of the target.
func (d *Door) actOn(
	ctx context.Context, by identity.Principal, operation, resource string, labels map[string]string,
) error {
	self := strings.HasPrefix(operation, "gateway.self.")
	need := policy.Need{Right: policy.Admin, Resource: legible(resource, maxResource)}
	if self {
		need.Right = policy.Read
	}
	in, ok := d.input(by, policy.GatewayTarget, "", policy.Action{Protocol: "gateway", Operation: operation, Needs: []policy.Need{need}})
	if !ok {
		r := d.unfounded(notYours)
		return d.refuseRuled(ctx, by, operation, resource, &r)
	}
	in.Target.Labels = labels
	ruled := d.verdict(ctx, by, in)
	if enlarges(&in) {
		ruled.refuse(duringEmergency)
	}
	if ruled.Effect != policy.Allow {
		return d.refuseRuled(ctx, by, operation, resource, &ruled)
	}
	if slices.ContainsFunc(quiet, func(end string) bool { return strings.HasSuffix(operation, end) }) {
		return nil
	}
	ev := recorder.Event{Class: recorder.ClassConfig, Kind: operation, Outcome: recorder.OK, Target: policy.GatewayTarget}
	if resource != "" {
		ev.Detail = map[string]any{"what": clip(resource, 512)}
	}
	d.describe(&ev, by)
	if err := d.append(ctx, ev, &ruled); err != nil {
		return fmt.Errorf("recording %s: %w", operation, err)
	}
	return nil
}

// refuseAct refuses an act that policy would allow.
func (d *Door) refuseAct(ctx context.Context, by identity.Principal, operation, resource string, decision policy.Decision) error {
	return d.refuseRuled(ctx, by, operation, resource, &ruling{Decision: decision, capped: true})
}

func (d *Door) refuseRuled(ctx context.Context, by identity.Principal, operation, resource string, r *ruling) error {
	ev := recorder.Event{Class: recorder.ClassConfig, Kind: operation, Outcome: recorder.Refused, Target: policy.GatewayTarget,
		Detail: map[string]any{"reasons": reasonIDs(r.Reasons)}}
	set(ev.Detail, "what", clip(resource, 512))
	d.describe(&ev, by)
	if err := d.append(ctx, ev, r); err != nil {
		return fmt.Errorf("recording a refusal: %w", err)
	}
	return &Refusal{Effect: policy.Deny, Reasons: r.Reasons, Decision: r.ID}
}

// Event puts a fact about the gateway itself on record on behalf of somebody whose act was allowed by Act.
func (d *Door) Event(ctx context.Context, by identity.Principal, class recorder.Class, kind string, outcome recorder.Outcome, detail map[string]any) error {
	ev := recorder.Event{Class: class, Kind: kind, Outcome: outcome, Target: policy.GatewayTarget, Detail: detail}
	d.describe(&ev, by)
	if _, err := d.cfg.Audit.Append(ctx, ev); err != nil {
		return fmt.Errorf("recording %s: %w", kind, err)
	}
	return nil
}

// Sessions lists sessions, newest first.
func (d *Door) Sessions(ctx context.Context, by identity.Principal, q SessionQuery) ([]SessionRecord, error) {
	if err := d.Act(ctx, by, "gateway.session.list", ""); err != nil {
		return nil, err
	}
	list, err := d.cfg.Store.Sessions(ctx, q)
	return d.lively(list), err
}

// Session returns one session's record.
func (d *Door) Session(ctx context.Context, by identity.Principal, id string) (SessionRecord, error) {
	if err := d.Act(ctx, by, "gateway.session.show", id); err != nil {
		return SessionRecord{}, err
	}
	rec, err := d.cfg.Store.Session(ctx, id)
	if err != nil {
		return SessionRecord{}, fmt.Errorf("session %s: %w", id, err)
	}
	return d.lively([]SessionRecord{rec})[0], nil
}

// Reading authorises reading a session's recording, puts that on record and returns the recording's path.
func (d *Door) Reading(ctx context.Context, by identity.Principal, id string) (string, error) {
	if err := d.Act(ctx, by, "gateway.recording.read", id); err != nil {
		return "", err
	}
	rec, err := d.cfg.Store.Session(ctx, id)
	if err != nil {
		return "", fmt.Errorf("session %s: %w", id, err)
	}
	return recorder.Path(d.cfg.Recording.Dir, rec.ID), nil
}

// EndSession ends one live session; the person sees the reason.
func (d *Door) EndSession(ctx context.Context, by identity.Principal, id, reason string) error {
	if err := d.Act(ctx, by, "gateway.session.end", id+": "+reason); err != nil {
		return err
	}
	s := d.find(id)
	if s == nil {
		return fmt.Errorf("session %s is not live: %w", id, ErrNotFound)
	}
	s.kill(&Ended{Reason: "ended by " + by.Person, EN: because("staff ended it", reason), JA: because("担当者が終了しました", reason)})
	return nil
}

// CutOff shuts a vendor and its sub-contractors out (I-1): their live sessions end now and nothing new opens. It returns
// the sessions that were ended.
func (d *Door) CutOff(ctx context.Context, by identity.Principal, vendor, reason string) ([]string, error) {
	if err := d.Act(ctx, by, "gateway.vendor.cut-off", vendor+": "+reason); err != nil {
		return nil, err
	}
	if err := d.contractor(vendor); err != nil {
		return nil, err
	}
	cut := CutOff{Vendor: vendor, Reason: reason, By: by.Person, At: d.cfg.Now().UTC()}
	// In memory first: the door shuts even when the store fails.
	d.mu.Lock()
	d.cutOffs[vendor] = cut
	d.mu.Unlock()
	d.Recheck() // catches a session that was decided before and opens only now
	ended := &Ended{Reason: "vendor cut off", EN: because("your company's access was cut off", reason),
		JA: because("貴社のアクセスは遮断されました", reason)}
	ids := []string{}
	for _, s := range d.snapshot() {
		if d.under(s.principal.Vendor, vendor) {
			s.kill(ended)
			ids = append(ids, s.id)
		}
	}
	if err := d.cfg.Store.PutCutOff(ctx, cut); err != nil {
		return ids, fmt.Errorf("the vendor is cut off until the gateway restarts, but not stored: %w", err)
	}
	return ids, d.Event(ctx, by, recorder.ClassConfig, "gateway.vendor.isolated", recorder.OK,
		map[string]any{"vendor": vendor, "reason": reason, "sessions": ids})
}

// Restore lets a vendor that was cut off back in.
func (d *Door) Restore(ctx context.Context, by identity.Principal, vendor, reason string) error {
	if err := d.Act(ctx, by, "gateway.vendor.restore", vendor+": "+reason); err != nil {
		return err
	}
	d.mu.Lock()
	_, held := d.cutOffs[vendor]
	d.mu.Unlock()
	err := d.cfg.Store.DeleteCutOff(ctx, vendor)
	if err != nil && !(held && errors.Is(err, ErrNotFound)) { // held but not stored: storing it had failed
		return fmt.Errorf("vendor %s is not cut off: %w", vendor, err)
	}
	d.mu.Lock()
	delete(d.cutOffs, vendor)
	d.mu.Unlock()
	return nil
}

// CutOffs lists the vendors that are shut out.
func (d *Door) CutOffs(ctx context.Context, by identity.Principal) ([]CutOff, error) {
	if err := d.Act(ctx, by, "gateway.vendor.list", ""); err != nil {
		return nil, err
	}
	return d.cfg.Store.CutOffs(ctx)
}

func (d *Door) contractor(vendor string) error {
	if vendor == policy.StaffVendor {
		return fmt.Errorf("%s is the company itself and cannot be cut off", vendor)
	}
	if _, ok := d.cfg.Directory.Current().Vendor(vendor); !ok {
		return fmt.Errorf("vendor %s: %w", vendor, ErrNotFound)
	}
	return nil
}

// under tells whether vendor is ancestor or one of its sub-contractors.
func (d *Door) under(vendor, ancestor string) bool {
	for _, v := range d.cfg.Directory.Current().Chain(vendor) {
		if v.ID == ancestor {
			return true
		}
	}
	return vendor == ancestor
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}
