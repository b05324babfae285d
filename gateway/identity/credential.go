package identity

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Credential is a client certificate as proved on a connection.
type Credential struct {
	Person   string
	Vendor   string
	Serial   string // decimal
	SHA256   string // hex, of the certificate's DER
	NotAfter time.Time
	State    State
}

// Principal joins a credential with the second factor and the connection's facts.
func (c Credential) Principal(mfa MFA, source netip.AddrPort, client string) Principal {
	return Principal{Person: c.Person, Vendor: c.Vendor, Serial: c.Serial, NotAfter: c.NotAfter, MFA: mfa,
		Source: source, Client: client}
}

// Client proves the peer of a TLS connection whose ClientCAs were ours. It returns a nil error for an active credential
// only. With ErrCertified and ErrWaiting the Credential is filled as well, so that enrolment can go on; every other
// error (ErrNoCertificate, ErrForeign, ErrExpired, ErrRevoked) comes with a zero one. Ask on every request: a
// connection outlives a revocation.
func (r *Registry) Client(ctx context.Context, cs *tls.ConnectionState) (Credential, error) {
	c, err := r.proved(cs)
	if err != nil {
		return Credential{}, err
	}
	e, err := r.live(ctx, c)
	if err != nil {
		return Credential{}, err
	}
	c.State = e.State
	switch e.State {
	case StateActive:
		return c, nil
	case StateCertified:
		return c, ErrCertified
	case StateWaiting:
		return c, ErrWaiting
	}
	return Credential{}, fmt.Errorf("certificate of %s: %w", c.Person, ErrState)
}

// proved reads the verified chains, never the certificates a peer merely sent: leaf, its vendor's intermediate, our root.
func (r *Registry) proved(cs *tls.ConnectionState) (Credential, error) {
	if cs == nil || len(cs.VerifiedChains) == 0 {
		return Credential{}, fmt.Errorf("%w: choose the certificate from your enrolment", ErrNoCertificate)
	}
	for _, chain := range cs.VerifiedChains {
		if len(chain) != 3 || !chain[2].Equal(r.authority.root.cert) {
			continue
		}
		leaf := chain[0]
		person, vendor, err := subject(leaf)
		if err != nil || leaf.IsCA || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
			continue
		}
		if !r.authority.issued(chain[1], vendor) {
			continue
		}
		return Credential{Person: person, Vendor: vendor, Serial: leaf.SerialNumber.String(), SHA256: fingerprint(leaf),
			NotAfter: leaf.NotAfter}, r.checkSpan(leaf)
	}
	return Credential{}, fmt.Errorf("client certificate: %w", ErrForeign)
}

// checkSpan looks at the clock again, because TLS did so only when the connection began.
func (r *Registry) checkSpan(leaf *x509.Certificate) error {
	if now := r.now(); now.Before(leaf.NotBefore) || !now.Before(leaf.NotAfter) {
		return fmt.Errorf("client certificate, valid from %s until %s: %w", leaf.NotBefore.UTC().Format(time.RFC3339),
			leaf.NotAfter.UTC().Format(time.RFC3339), ErrExpired)
	}
	return nil
}

// live finds the enrolment behind a credential and refuses one that was revoked. With states given it must be in one
// of them.
func (r *Registry) live(ctx context.Context, c Credential, states ...State) (Enrolment, error) {
	if r.Revoked("x509", c.Serial) || r.Revoked("vendor", c.Vendor) {
		return Enrolment{}, fmt.Errorf("certificate of %s: %w", c.Person, ErrRevoked)
	}
	if e, ok := r.inEmergency(c); ok && (len(states) == 0 || slices.Contains(states, StateActive)) {
		return e, nil
	}
	e, err := r.store.EnrolmentBySerial(ctx, c.Serial)
	if errors.Is(err, ErrNotFound) {
		return Enrolment{}, fmt.Errorf("certificate %s: %w", c.Serial, ErrForeign)
	}
	if err != nil {
		return Enrolment{}, fmt.Errorf("looking up certificate %s: %w", c.Serial, err)
	}
	same := subtle.ConstantTimeCompare([]byte(e.CertSHA256), []byte(c.SHA256)) == 1
	if !same || e.Person != c.Person || e.Vendor != c.Vendor {
		return Enrolment{}, fmt.Errorf("certificate %s: %w", c.Serial, ErrForeign)
	}
	if e.State == StateRevoked || e.State == StateActive && r.Revoked("person", e.Person) {
		return Enrolment{}, fmt.Errorf("certificate of %s: %w", c.Person, ErrRevoked)
	}
	if !r.now().Before(e.NotAfter) {
		return Enrolment{}, fmt.Errorf("certificate of %s: %w", c.Person, ErrExpired)
	}
	if len(states) > 0 && !slices.Contains(states, e.State) {
		return Enrolment{}, fmt.Errorf("enrolment of %s is %s: %w", e.Person, e.State, stateError(e.State))
	}
	return e, nil
}

func stateError(s State) error {
	switch s {
	case StateCertified:
		return ErrCertified
	case StateWaiting:
		return ErrWaiting
	}
	return ErrState
}
