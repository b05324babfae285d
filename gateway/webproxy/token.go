package webproxy

import (
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
)

// How long an identity token is believed by the app, and how long one is used before the next is signed.
const (
	tokenLife = 2 * time.Minute
	tokenUse  = time.Minute
)

// token is the identity that one session carries to its app, signed at most once a minute.
type token struct {
	mu     sync.Mutex
	jwt    string
	signed time.Time
}

// get returns the current token, signing a new one when the old is a minute old.
func (t *token) get(authority *identity.Authority, issuer string, s *access.Session, now time.Time) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if age := now.Sub(t.signed); t.jwt != "" && age >= 0 && age < tokenUse {
		return t.jwt, nil
	}
	p := s.Principal()
	jwt, err := authority.SignIdentity(map[string]any{
		"iss": issuer, "aud": s.Target().Host, "sub": p.Person, "vendor": p.Vendor, "session": s.ID(), "jti": ulid.Make().String(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(tokenLife).Unix(), "auth_time": p.MFA.At.Unix(),
	})
	if err != nil {
		return "", err
	}
	t.jwt, t.signed = jwt, now
	return jwt, nil
}
