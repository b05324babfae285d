package demo

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// keeper lends a person's software authenticator to every page of a browser, by way of Chromium's virtual
// authenticators. The file stays the one truth: what a page counted up or registered goes back into it, and what another
// program changed there goes into the pages, so that no counter seems to run backwards.
type keeper struct {
	d             *devtools
	authenticator *Authenticator // nil: pages are left alone
	url           string         // opened in the first page, "" once it was

	pages map[string]*lentPage // by session
	seen  time.Time            // the file as the pages know it
}

// lentPage is a page's virtual authenticator and what it holds: credential ids with their counters.
type lentPage struct {
	authenticator string
	counts        map[string]uint32
}

const keeperLook = 50 * time.Millisecond // how often the file is looked at

const keeperCall = 10 * time.Second

// keep works until the browser hangs up or ctx ends.
func (k *keeper) keep(ctx context.Context) error {
	k.pages = map[string]*lentPage{}
	if k.authenticator != nil {
		k.seen = k.authenticator.changed()
	}
	attach := map[string]any{
		"autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true, "filter": []any{map[string]any{"type": "page"}},
	}
	if err := k.call(ctx, "", "Target.setAutoAttach", attach, nil); err != nil {
		return fmt.Errorf("preparing the browser: %w", err)
	}
	look := time.NewTicker(keeperLook)
	defer look.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-k.d.events:
			if !ok {
				return nil
			}
			err = k.event(ctx, e)
		case <-look.C:
			err = k.refresh(ctx)
		}
		// A page that went away in the middle of it is no failure; an authenticator that cannot be lent is.
		if err != nil && !errors.Is(err, errHungUp) && !errors.Is(err, errPageGone) && ctx.Err() == nil {
			return err
		}
	}
}

var errPageGone = errors.New("the page is gone")

func (k *keeper) call(ctx context.Context, session, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(ctx, keeperCall)
	defer cancel()
	err := k.d.call(ctx, session, method, params, result)
	if err != nil && session != "" {
		return fmt.Errorf("%w: %w", errPageGone, err)
	}
	return err
}

func (k *keeper) event(ctx context.Context, e devtoolsEvent) error {
	switch e.method {
	case "Target.attachedToTarget":
		var p struct {
			SessionID string `json:"sessionId"`
		}
		if err := json.Unmarshal(e.params, &p); err != nil {
			return err
		}
		return k.adopt(ctx, p.SessionID)
	case "Target.detachedFromTarget":
		var p struct {
			SessionID string `json:"sessionId"`
		}
		if err := json.Unmarshal(e.params, &p); err != nil {
			return err
		}
		delete(k.pages, p.SessionID)
	case "WebAuthn.credentialAsserted", "WebAuthn.credentialAdded":
		var p struct {
			Credential virtualCredential `json:"credential"`
		}
		if err := json.Unmarshal(e.params, &p); err != nil {
			return err
		}
		c, err := p.Credential.ours()
		if err != nil {
			return err
		}
		if page := k.pages[e.session]; page != nil {
			// Events may be late: what the page was given since counts, if it is more.
			page.counts[string(c.ID)] = max(page.counts[string(c.ID)], c.Count)
		}
		return k.authenticator.keep(c)
	}
	return nil
}

// adopt gives a new page its authenticator and lets it run, in that order; the first one is sent on its way. A page that
// takes no authenticator, such as one of the browser's own, runs all the same.
func (k *keeper) adopt(ctx context.Context, page string) error {
	lent := k.lend(ctx, page)
	if err := k.call(ctx, page, "Runtime.runIfWaitingForDebugger", struct{}{}, nil); err != nil {
		return errors.Join(lent, err)
	}
	if k.url == "" {
		return lent
	}
	url := k.url
	k.url = ""
	return errors.Join(lent, k.call(ctx, page, "Page.navigate", map[string]any{"url": url}, nil))
}

func (k *keeper) lend(ctx context.Context, page string) error {
	if k.authenticator == nil {
		return nil
	}
	if err := k.call(ctx, page, "WebAuthn.enable", map[string]any{"enableUI": false}, nil); err != nil {
		return err
	}
	held, err := k.authenticator.read()
	if err != nil {
		return err
	}
	options := map[string]any{
		"protocol": "ctap2", "transport": held.Kind.transport(), "hasResidentKey": true, "hasUserVerification": true,
		"isUserVerified": true, "automaticPresenceSimulation": true,
	}
	var added struct {
		AuthenticatorID string `json:"authenticatorId"`
	}
	if err := k.call(ctx, page, "WebAuthn.addVirtualAuthenticator", map[string]any{"options": options}, &added); err != nil {
		return err
	}
	k.pages[page] = &lentPage{added.AuthenticatorID, map[string]uint32{}}
	return k.fill(ctx, page, held.Credentials)
}

// fill brings a page up to the file. A credential whose counter the page knows already stays untouched, so that a
// ceremony under way finds it; one that was counted up elsewhere can only be taken out and put in again.
func (k *keeper) fill(ctx context.Context, session string, credentials []credential) error {
	page := k.pages[session]
	for _, c := range credentials {
		known, there := page.counts[string(c.ID)]
		if there && known >= c.Count {
			continue
		}
		v := virtual(c)
		if there {
			params := map[string]any{"authenticatorId": page.authenticator, "credentialId": v.CredentialID}
			if err := k.call(ctx, session, "WebAuthn.removeCredential", params, nil); err != nil {
				return err
			}
		}
		params := map[string]any{"authenticatorId": page.authenticator, "credential": v}
		if err := k.call(ctx, session, "WebAuthn.addCredential", params, nil); err != nil {
			return err
		}
		page.counts[string(c.ID)] = c.Count
	}
	return nil
}

// refresh brings every page up to date when the file has changed.
func (k *keeper) refresh(ctx context.Context) error {
	if k.authenticator == nil {
		return nil
	}
	changed := k.authenticator.changed()
	if changed.Equal(k.seen) {
		return nil
	}
	held, err := k.authenticator.read()
	if err != nil {
		return err
	}
	k.seen = changed
	var gone error
	for session := range k.pages {
		gone = errors.Join(gone, k.fill(ctx, session, held.Credentials))
	}
	return gone
}

// virtualCredential is a credential as the DevTools Protocol has it, bytes in standard base64.
type virtualCredential struct {
	CredentialID string `json:"credentialId"`
	Resident     bool   `json:"isResidentCredential"`
	RP           string `json:"rpId"`
	PrivateKey   string `json:"privateKey"`
	UserHandle   string `json:"userHandle,omitempty"`
	SignCount    uint32 `json:"signCount"`
	UserName     string `json:"userName,omitempty"`
}

func virtual(c credential) virtualCredential {
	text := base64.StdEncoding.EncodeToString
	return virtualCredential{
		CredentialID: text(c.ID), Resident: true, RP: c.RP, PrivateKey: text(c.Key), UserHandle: text(c.User), SignCount: c.Count,
		UserName: c.Name,
	}
}

func (v virtualCredential) ours() (credential, error) {
	c := credential{RP: v.RP, Name: v.UserName, Count: v.SignCount}
	for _, field := range []struct {
		text string
		into *urlBytes
	}{{v.CredentialID, &c.ID}, {v.PrivateKey, &c.Key}, {v.UserHandle, &c.User}} {
		raw, err := base64.StdEncoding.DecodeString(field.text)
		if err != nil {
			return c, fmt.Errorf("the browser's credential: %w", err)
		}
		*field.into = raw
	}
	return c, nil
}
