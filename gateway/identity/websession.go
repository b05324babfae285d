package identity

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Limits of web sessions.
const (
	webSessionLifetime = 12 * time.Hour
	webSessionIdle     = 15 * time.Minute
	webSessionTouch    = time.Minute // how often the last use is stored
	handoffLifetime    = 30 * time.Second
	maxHandoffs        = 4096
	maxPersonHandoffs  = 16
)

// OpenWebSession makes the cookie value of a session on one host. mfa must be a PurposeLogin that was just given,
// else ErrStale.
func (r *Registry) OpenWebSession(ctx context.Context, c Credential, host string, mfa MFA) (cookie string, err error) {
	if err := r.checkFresh(mfa, PurposeLogin, ceremonyLifetime); err != nil {
		return "", err
	}
	return r.putWebSession(ctx, c, host, mfa, r.now().Add(webSessionLifetime))
}

func (r *Registry) putWebSession(
	ctx context.Context, c Credential, host string, mfa MFA, expires time.Time,
) (string, error) {
	if host == "" {
		return "", errors.New("a web session needs its host")
	}
	// With the lock held, a logout or revocation comes wholly before (and is seen by live) or wholly after.
	r.change.Lock()
	defer r.change.Unlock()
	if _, err := r.live(ctx, c, StateActive); err != nil {
		return "", err
	}
	cookie := newToken()
	hash, _ := hashToken(cookie)
	now := r.now().UTC()
	err := r.store.PutWebSession(ctx, WebSession{
		IDHash: hash, Person: c.Person, Vendor: c.Vendor, Host: strings.ToLower(host), CertSHA256: c.SHA256, MFA: mfa,
		CreatedAt: now, SeenAt: now, Expires: expires.UTC(),
	})
	if err != nil {
		return "", fmt.Errorf("storing a web session of %s: %w", c.Person, err)
	}
	return cookie, nil
}

// WebSession finds the session of a cookie shown on host under c, which the caller has from Client. ErrNoSession for
// every reason but the store's.
func (r *Registry) WebSession(ctx context.Context, cookie, host string, c Credential) (WebSession, error) {
	hash, ok := hashToken(cookie)
	if !ok {
		return WebSession{}, ErrNoSession
	}
	s, err := r.findWebSession(ctx, hash)
	if err != nil {
		return WebSession{}, err
	}
	if s.MFA.Emergency() != "" && s.belongs(host, c) {
		return s, nil
	}
	if !s.belongs(host, c) || r.Revoked(kindX509, c.Serial) || r.Revoked(kindPerson, c.Person) {
		return WebSession{}, ErrNoSession
	}
	now := r.now()
	if !now.Before(s.Expires) || now.Sub(s.SeenAt) >= webSessionIdle {
		return WebSession{}, errors.Join(ErrNoSession, r.store.DeleteWebSession(ctx, hash))
	}
	if now.Sub(s.SeenAt) < webSessionTouch {
		return s, nil
	}
	return r.touch(ctx, hash, now.UTC())
}

func (r *Registry) findWebSession(ctx context.Context, hash string) (WebSession, error) {
	if s, ok := r.emergencySession(hash); ok {
		return s, nil
	}
	s, err := r.store.WebSession(ctx, hash)
	if errors.Is(err, ErrNotFound) {
		return WebSession{}, ErrNoSession
	}
	if err != nil {
		return WebSession{}, fmt.Errorf("looking up a web session: %w", err)
	}
	s.MFA.Purpose = PurposeLogin // no other opens a session
	return s, nil
}

func (s WebSession) belongs(host string, c Credential) bool {
	return s.Host == strings.ToLower(host) && s.Person == c.Person &&
		subtle.ConstantTimeCompare([]byte(s.CertSHA256), []byte(c.SHA256)) == 1
}

// touch stores the last use, reading anew under the lock so that a session closed meanwhile does not come back.
func (r *Registry) touch(ctx context.Context, hash string, now time.Time) (WebSession, error) {
	r.change.Lock()
	defer r.change.Unlock()
	s, err := r.findWebSession(ctx, hash)
	if err != nil {
		return WebSession{}, err
	}
	s.SeenAt = now
	if err := r.store.PutWebSession(ctx, s); err != nil {
		return WebSession{}, fmt.Errorf("storing a web session of %s: %w", s.Person, err)
	}
	return s, nil
}

// CloseWebSessions logs a person out on every host.
func (r *Registry) CloseWebSessions(ctx context.Context, person string) error {
	r.change.Lock()
	defer r.change.Unlock()
	return r.logOut(ctx, person, ErrNoSession)
}

// handoff carries a session from the console's host to an app's.
type handoff struct {
	from    WebSession
	host    string
	expires time.Time
}

type handoffs struct {
	mu   sync.Mutex
	open map[string]handoff // by token hash
}

func (h *handoffs) put(hash string, new handoff, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == nil {
		h.open = map[string]handoff{}
	}
	own := 0
	for other, o := range h.open {
		if !now.Before(o.expires) {
			delete(h.open, other)
		} else if o.from.Person == new.from.Person {
			own++
		}
	}
	if own >= maxPersonHandoffs || len(h.open) >= maxHandoffs {
		return fmt.Errorf("handoffs under way: %w; try again in half a minute", ErrLimit)
	}
	h.open[hash] = new
	return nil
}

func (h *handoffs) take(hash string) (handoff, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.open[hash]
	delete(h.open, hash)
	return o, ok
}

func (h *handoffs) drop(person string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for hash, o := range h.open {
		if o.from.Person == person {
			delete(h.open, hash)
		}
	}
}

// Handoff makes a one-time token of 30 s which opens a session on another host, for the same certificate and no longer
// than s itself. The caller has s from WebSession.
func (r *Registry) Handoff(_ context.Context, s WebSession, host string) (token string, err error) {
	if host == "" || s.IDHash == "" {
		return "", errors.New("a handoff needs a session and a host")
	}
	token = newToken()
	hash, _ := hashToken(token)
	now := r.now()
	return token, r.handoffs.put(hash, handoff{from: s, host: strings.ToLower(host), expires: now.Add(handoffLifetime)}, now)
}

// TakeHandoff trades the token for that host's cookie. ErrNoSession when it was used, is late, is for another host or
// certificate, or the session it came from is gone.
func (r *Registry) TakeHandoff(ctx context.Context, token, host string, c Credential) (cookie string, err error) {
	hash, ok := hashToken(token)
	if !ok {
		return "", ErrNoSession
	}
	h, ok := r.handoffs.take(hash)
	now := r.now()
	if !ok || !now.Before(h.expires) || h.host != strings.ToLower(host) || !h.from.belongs(h.from.Host, c) {
		return "", ErrNoSession
	}
	from, err := r.findWebSession(ctx, h.from.IDHash)
	if err != nil {
		return "", err
	}
	if !now.Before(from.Expires) {
		return "", ErrNoSession
	}
	if from.MFA.Emergency() != "" {
		return r.OpenEmergencySession(c, host, from.MFA)
	}
	return r.putWebSession(ctx, c, host, from.MFA, from.Expires)
}
