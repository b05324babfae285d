package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// An emergency (break-glass) lets a member of staff whom the policy names reach targets for an hour at most, with every
// right and fully recorded. From its declaration to the session nothing waits for the store: what counts is in memory and in
// the audit log. What stands here holds whatever the Rego says.

// ErrDeclaration: what was declared or reviewed is not acceptable; the wrapping error says what to change.
var ErrDeclaration = errors.New("not acceptable")

// EveryTarget stands for all targets, alone in a list.
const EveryTarget = "*"

// Limits of what people write about an emergency, in bytes.
const (
	maxEmergencyText    = 1000
	maxEmergencyTargets = 64
)

// reviewsWanted is how many different people look at an emergency afterwards.
const reviewsWanted = 2

// Emergency is a declared break-glass access, live or over.
type Emergency struct {
	ID        string            `json:"id"` // g-ULID
	Person    string            `json:"person"`
	Reason    string            `json:"reason"`
	Incident  string            `json:"incident,omitempty"`
	Targets   []string          `json:"targets"` // "*" alone for all that the policy lists
	At        time.Time         `json:"at"`
	Until     time.Time         `json:"until"`
	EndedAt   time.Time         `json:"ended_at,omitzero"`
	EndedBy   string            `json:"ended_by,omitempty"` // a person; "" for the gateway itself
	EndReason string            `json:"end_reason,omitempty"`
	SourceIP  string            `json:"source_ip"`
	Revision  int               `json:"revision"` // of the policy that named the person
	Proof     EmergencyProof    `json:"proof"`
	Sessions  []string          `json:"sessions,omitempty"` // opened under it
	Reviews   []EmergencyReview `json:"reviews,omitempty"`
}

// EmergencyProof is what the person proved themselves by.
type EmergencyProof struct {
	Certificate string    `json:"certificate"` // serial of the client certificate
	WebAuthnAt  time.Time `json:"webauthn_at"`
	AAGUID      string    `json:"aaguid,omitempty"`      // model of the hardware key
	SSHSerial   string    `json:"ssh_serial,omitempty"`  // of the SSH certificate made for it
	Fingerprint string    `json:"fingerprint,omitempty"` // of that certificate's key
}

// EmergencyReview is what somebody else says about it afterwards.
type EmergencyReview struct {
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	Verdict string    `json:"verdict"`
	Reason  string    `json:"reason"`
}

// The verdicts of a review.
const (
	VerdictJustified   = "justified"
	VerdictUnjustified = "unjustified"
)

// The states of an emergency.
const (
	EmergencyLive       = "live"
	EmergencyUnreviewed = "unreviewed" // over, and fewer than two people have looked at it
	EmergencyReviewed   = "reviewed"
)

// State is where it stands.
func (e Emergency) State() string {
	switch {
	case e.EndedAt.IsZero():
		return EmergencyLive
	case len(e.Reviews) < reviewsWanted:
		return EmergencyUnreviewed
	}
	return EmergencyReviewed
}

// Declaration is an emergency about to be declared. Its ID is the one the person confirmed with their hardware key.
type Declaration struct {
	ID          string
	Reason      string
	Incident    string
	Targets     []string // none: all that the policy lists
	Minutes     int      // 0: as long as the policy allows
	SSHSerial   string   // of the certificate made for it, "" for none
	Fingerprint string
}

// NewEmergencyID makes the id of an emergency.
func NewEmergencyID() string { return "g-" + ulid.Make().String() }

// MayDeclare tells whether somebody is named for emergencies by the policy in force and a declaration would be accepted as
// far as it is known before they confirm it. A *Refusal is on record.
func (d *Door) MayDeclare(ctx context.Context, by identity.Principal, decl Declaration) (time.Time, error) {
	rule := d.cfg.Engine.Revision().BreakGlass()
	if !d.named(by.Person, by.Vendor) {
		return time.Time{}, d.refuseAct(ctx, by, operationDeclare, decl.Reason, d.unfounded(notNamed).Decision)
	}
	if d.revoked(by) {
		return time.Time{}, d.refuseAct(ctx, by, operationDeclare, decl.Reason, d.unfounded(revokedReason).Decision)
	}
	if e, live := d.emergencies.of(d.cfg.Directory.Current().Same(by.Person), d.cfg.Now()); live {
		return time.Time{}, fmt.Errorf("%s: %w: your emergency access lasts until %s; end it before you declare another", e.ID,
			ErrDeclaration, e.Until.UTC().Format(time.RFC3339))
	}
	longest := min(rule.Minutes, int(policy.MaxBreakGlass/time.Minute))
	if decl.Minutes == 0 {
		decl.Minutes = longest
	}
	switch {
	case strings.TrimSpace(decl.Reason) == "":
		return time.Time{}, fmt.Errorf("emergency access: %w: say why; it goes on record and two people review it", ErrDeclaration)
	case len(decl.Reason) > maxEmergencyText || len(decl.Incident) > maxEmergencyText:
		return time.Time{}, fmt.Errorf("emergency access: %w: reason and incident take %d bytes each", ErrDeclaration, maxEmergencyText)
	case decl.Minutes < 1 || decl.Minutes > longest:
		return time.Time{}, fmt.Errorf("emergency access of %d minutes: %w: the policy allows 1 to %d", decl.Minutes, ErrDeclaration, longest)
	}
	return d.cfg.Now().Add(time.Duration(decl.Minutes) * time.Minute), d.coverable(decl.Targets, rule)
}

const operationDeclare = "gateway.break-glass.declare"

// coverable refuses targets that do not exist or that the policy does not list.
func (d *Door) coverable(targets []string, rule policy.Emergency) error {
	if len(targets) > maxEmergencyTargets {
		return fmt.Errorf("emergency access: %w: at most %d targets; leave them out for all", ErrDeclaration, maxEmergencyTargets)
	}
	for _, t := range targets {
		if _, known := d.cfg.Directory.Current().Target(t); !known || !lists(rule.Targets, t) {
			return fmt.Errorf("target %.64q: %w: it does not exist, or the policy does not list it for emergencies", t, ErrDeclaration)
		}
	}
	return nil
}

// lists tells whether a list of targets has one, by name or as all of them.
func lists(targets []string, target string) bool {
	return len(targets) == 1 && targets[0] == EveryTarget || slices.Contains(targets, target)
}

// named tells whether the policy in force names a person of the company's staff.
func (d *Door) named(person, vendor string) bool {
	p, ok := d.cfg.Directory.Current().Person(person)
	return ok && p.Staff() && vendor == policy.StaffVendor &&
		slices.Contains(d.cfg.Engine.Revision().BreakGlass().People, person)
}

// Declare puts an emergency on record and in force. The person's second factor is the one that confirmed this very
// declaration. A *Refusal says no.
func (d *Door) Declare(ctx context.Context, by identity.Principal, decl Declaration) (Emergency, error) {
	d.emergencies.declaring.Lock()
	defer d.emergencies.declaring.Unlock()
	until, err := d.MayDeclare(ctx, by, decl)
	if err != nil {
		return Emergency{}, err
	}
	now := d.cfg.Now()
	if by.MFA.Emergency() != decl.ID || decl.ID == "" || !by.MFA.UV || now.Sub(by.MFA.At) > confirmedFor {
		return Emergency{}, d.refuseAct(ctx, by, operationDeclare, decl.Reason, d.unfounded(notConfirmed).Decision)
	}
	if err := d.Act(ctx, by, operationDeclare, decl.ID+": "+decl.Reason); err != nil {
		return Emergency{}, err
	}
	if len(decl.Targets) == 0 {
		decl.Targets = []string{EveryTarget}
	}
	e := Emergency{ID: decl.ID, Person: by.Person, Reason: decl.Reason, Incident: decl.Incident, Targets: decl.Targets,
		At: now.UTC(), Until: until.UTC(), SourceIP: by.Source.Addr().Unmap().String(), Revision: d.cfg.Engine.Revision().Number(),
		Proof: EmergencyProof{Certificate: by.Serial, WebAuthnAt: by.MFA.At.UTC(), AAGUID: by.MFA.AAGUID,
			SSHSerial: decl.SSHSerial, Fingerprint: decl.Fingerprint}}
	if err := d.Event(ctx, by, recorder.ClassConfig, kindDeclared, recorder.OK, map[string]any{"what": e.ID + ": " + e.Reason, "emergency": e}); err != nil {
		return Emergency{}, err
	}
	d.cfg.Log.Error("emergency access declared", zap.String("id", e.ID), zap.String("person", e.Person),
		zap.String("reason", e.Reason), zap.Time("until", e.Until))
	d.emergencies.add(e)
	d.Recheck()
	return e, nil
}

// confirmedFor is how old the confirmation of a declaration may be.
const confirmedFor = 2 * time.Minute

// The kinds of an emergency's events.
const (
	kindDeclared = "break-glass.declared"
	kindEnded    = "break-glass.ended"
	kindReviewed = "break-glass.reviewed"
)

// EndEmergency ends a live emergency and its sessions: one's own, or any by whose role allows it.
func (d *Door) EndEmergency(ctx context.Context, by identity.Principal, id, reason string) error {
	e, ok := d.emergencies.get(id)
	if !ok || e.Person != by.Person {
		if err := d.Act(ctx, by, "gateway.break-glass.end", id+": "+reason); err != nil {
			return err
		}
	} else if d.revoked(by) {
		return d.refuseAct(ctx, by, "gateway.break-glass.end", id, d.unfounded(revokedReason).Decision)
	}
	if !ok {
		return fmt.Errorf("emergency %s: %w", id, ErrNotFound)
	}
	return d.endEmergency(ctx, by, id, because("ended by "+by.Person, reason))
}

// endEmergency shuts first and records then. by is zero when the gateway ends it.
func (d *Door) endEmergency(ctx context.Context, by identity.Principal, id, reason string) error {
	e, err := d.emergencies.end(id, by.Person, reason, d.cfg.Now().UTC())
	if err != nil {
		return err
	}
	d.Recheck()
	d.cfg.Log.Error("emergency access over", zap.String("id", id), zap.String("person", e.Person), zap.String("reason", reason))
	return d.Event(ctx, by, recorder.ClassConfig, kindEnded, recorder.OK,
		map[string]any{"what": id + ": " + reason, "emergency": id, "person": e.Person, "reason": reason, "ended_at": e.EndedAt, "sessions": e.Sessions})
}

// ReviewEmergency is what one of two people says about an emergency that is over: neither who declared it, nor the same
// person twice, under whatever id.
func (d *Door) ReviewEmergency(ctx context.Context, by identity.Principal, id, verdict, reason string) (Emergency, error) {
	if verdict != VerdictJustified && verdict != VerdictUnjustified {
		return Emergency{}, fmt.Errorf("verdict %.32q: %w: want %s or %s", verdict, ErrDeclaration, VerdictJustified, VerdictUnjustified)
	}
	if strings.TrimSpace(reason) == "" || len(reason) > maxEmergencyText {
		return Emergency{}, fmt.Errorf("review: %w: say why, in up to %d bytes", ErrDeclaration, maxEmergencyText)
	}
	d.emergencies.reviewing.Lock()
	defer d.emergencies.reviewing.Unlock()
	e, err := d.findEmergency(ctx, id)
	if err != nil {
		return Emergency{}, err
	}
	if err := d.reviewable(ctx, by, e); err != nil {
		return Emergency{}, err
	}
	if err := d.Act(ctx, by, operationReview, id+": "+verdict); err != nil {
		return Emergency{}, err
	}
	review := EmergencyReview{By: by.Person, At: d.cfg.Now().UTC(), Verdict: verdict, Reason: reason}
	detail := map[string]any{"what": id + ": " + verdict, "emergency": id, "person": e.Person, "review": review}
	if err := d.Event(ctx, by, recorder.ClassConfig, kindReviewed, recorder.OK, detail); err != nil {
		return Emergency{}, err
	}
	e.Reviews = append(slices.Clone(e.Reviews), review)
	d.emergencies.add(e)
	return e, nil
}

const operationReview = "gateway.break-glass.review"

func (d *Door) reviewable(ctx context.Context, by identity.Principal, e Emergency) error {
	refuse := func(r policy.Reason) error {
		return d.refuseAct(ctx, by, operationReview, e.ID, d.unfounded(r).Decision)
	}
	switch {
	case d.samePerson(by.Person, e.Person):
		return refuse(ownEmergency)
	case slices.ContainsFunc(e.Reviews, func(r EmergencyReview) bool { return d.samePerson(by.Person, r.By) }):
		return refuse(reviewedBefore)
	case e.State() == EmergencyLive:
		return fmt.Errorf("emergency %s: %w: it is not over yet; end it first", e.ID, ErrDeclaration)
	case e.State() == EmergencyReviewed:
		return fmt.Errorf("emergency %s: %w", e.ID, ErrAnswered)
	}
	return nil
}

// Emergencies lists them, newest first; with open only the live and the unreviewed.
func (d *Door) Emergencies(ctx context.Context, by identity.Principal, open bool) ([]Emergency, error) {
	if err := d.Act(ctx, by, "gateway.break-glass.list", ""); err != nil {
		return nil, err
	}
	if open {
		return d.OpenEmergencies(), nil
	}
	return d.allEmergencies(ctx)
}

// Emergency is one of them.
func (d *Door) Emergency(ctx context.Context, by identity.Principal, id string) (Emergency, error) {
	if err := d.Act(ctx, by, "gateway.break-glass.show", id); err != nil {
		return Emergency{}, err
	}
	return d.findEmergency(ctx, id)
}

// OpenEmergencies are those that are live or unreviewed, newest first, from memory. Everybody of the staff is shown that
// there are any.
func (d *Door) OpenEmergencies() []Emergency { return d.emergencies.open() }

// EmergencyCovers tells whether an emergency opens a target, as far as the policy in force lists it.
func (d *Door) EmergencyCovers(e Emergency, target string) bool { return d.covered(e, target) }

// EmergencyCommands is what was done under an emergency that the caller has from Emergency, oldest first: the newest limit
// of its operations, run and refused.
func (d *Door) EmergencyCommands(ctx context.Context, e Emergency, limit int) ([]recorder.Event, error) {
	var ran []recorder.Event
	query := audit.Query{Class: recorder.ClassCommand, Person: e.Person, Text: e.ID, Since: e.At}
	for ev, err := range d.cfg.Audit.Search(ctx, query) {
		if err != nil {
			return nil, fmt.Errorf("reading what was done under %s: %w", e.ID, err)
		}
		if ev.Kind == "command.run" || ev.Kind == "command.refused" {
			ran = append(ran, ev)
		}
		if len(ran) >= limit {
			break
		}
	}
	slices.Reverse(ran)
	return ran, nil
}

// EmergencyPass tells the registry whose emergency is live.
func (d *Door) EmergencyPass(id string) (identity.Pass, bool) {
	e, ok := d.emergencies.live(id, d.cfg.Now())
	if !ok || !d.named(e.Person, policy.StaffVendor) {
		return identity.Pass{}, false
	}
	return identity.Pass{ID: e.ID, Person: e.Person, Vendor: policy.StaffVendor, Certificate: e.Proof.Certificate,
		Serial: e.Proof.SSHSerial, Fingerprint: e.Proof.Fingerprint, Until: e.Until,
		ConfirmedAt: e.Proof.WebAuthnAt, AAGUID: e.Proof.AAGUID}, true
}

var notNamed = policy.Reason{ID: "not-named",
	EN: "You are not among the people whom the policy names for emergency access.",
	JA: "緊急アクセスを宣言できる担当者として登録されていません。"}

var notConfirmed = policy.Reason{ID: "not-confirmed", Table: "C-4",
	EN: "An emergency is declared with a hardware key, just now and for this very declaration (C-4).",
	JA: "緊急アクセスの宣言には、その宣言に対するハードウェアキーでの本人確認が必要です（C-4）。"}

var ownEmergency = policy.Reason{ID: "own-emergency",
	EN: "Somebody else has to review an emergency access of your own.",
	JA: "自分の緊急アクセスは別の担当者が確認する必要があります。"}

var reviewedBefore = policy.Reason{ID: "reviewed-before",
	EN: "You have reviewed this emergency access already; a second person has to.",
	JA: "この緊急アクセスはすでに確認済みです。もう一人の担当者が確認する必要があります。"}

var duringEmergency = policy.Reason{ID: "emergency-changes-nothing",
	EN: "While your emergency access lasts you cannot do this; end it first, or ask a colleague.",
	JA: "緊急アクセスの間はこの操作を行えません。先に終了するか、別の担当者に依頼してください。"}
