package access

import (
	"context"
	"fmt"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// Attempt is one try to prove who one is: a login, an enrolment step, a logout. It becomes one R-1 event.
type Attempt struct {
	Kind      string // login.ssh, login.web, login.api, login.failed, logout, enrol.*, credential.*
	Outcome   recorder.Outcome
	Principal identity.Principal // as far as it was proved
	Claimed   string             // the person claimed, when Principal has none
	Method    string             // certificate, webauthn, ssh-certificate+webauthn …
	Reason    string             // why it failed
	Detail    map[string]any     // more facts; optional
}

// Login puts an attempt on record. An error means it is not on record: the caller must then refuse the login.
func (d *Door) Login(ctx context.Context, a Attempt) error {
	detail := map[string]any{}
	for k, v := range a.Detail {
		detail[k] = v
	}
	set(detail, "method", a.Method)
	set(detail, "reason", a.Reason)
	set(detail, "certificate", a.Principal.Serial)
	if a.Principal.Person == "" {
		set(detail, "claimed", clip(a.Claimed, 128))
	}
	if m := a.Principal.MFA; !m.At.IsZero() {
		mfa := map[string]any{"at": m.At.UTC(), "uv": m.UV}
		set(mfa, "aaguid", m.AAGUID)
		detail["webauthn"] = mfa
	}
	ev := recorder.Event{Class: recorder.ClassLogin, Kind: a.Kind, Outcome: a.Outcome, Detail: detail}
	d.describe(&ev, a.Principal)
	if _, err := d.cfg.Audit.Append(ctx, ev); err != nil {
		return fmt.Errorf("recording the login: %w", err)
	}
	return nil
}

// describe fills who and from where.
func (d *Door) describe(ev *recorder.Event, p identity.Principal) {
	ev.Person, ev.Vendor = p.Person, p.Vendor
	if p.Vendor != "" {
		for _, v := range d.cfg.Directory.Current().Chain(p.Vendor) {
			ev.Chain = append(ev.Chain, v.ID)
		}
	}
	if p.Source.IsValid() {
		ev.Source = &recorder.Source{IP: p.Source.Addr().Unmap(), Port: p.Source.Port(), Client: clip(p.Client, 128)}
	}
}

func set(m map[string]any, key, value string) {
	if value != "" {
		m[key] = value
	}
}

// clip bounds what a peer said about itself before it is stored.
func clip(s string, limit int) string {
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
