package identity

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

const inviteLifetime = 24 * time.Hour

// Invitation is a one-time way into enrolment. The token is shown once and kept as a hash.
type Invitation struct {
	Token   string
	Expires time.Time
}

// Issued is a client certificate and what it says.
type Issued struct {
	CertPEM  []byte
	ChainPEM []byte // the vendor's intermediate, which a client sends along, then the root
	Serial   string // decimal
	NotAfter time.Time
	Person   string
	Vendor   string
}

// Invite starts an enrolment. An unfinished earlier one of the person ends; active credentials work on until the new
// enrolment is released.
func (r *Registry) Invite(ctx context.Context, person, vendor, by string) (Invitation, error) {
	if err := errors.Join(checkID("person", person), checkID("vendor", vendor), checkBy(by)); err != nil {
		return Invitation{}, err
	}
	if err := r.authority.EnsureVendor(vendor); err != nil {
		return Invitation{}, err
	}
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.endUnfinished(ctx, person, by); err != nil {
		return Invitation{}, err
	}
	token := newToken()
	hash, _ := hashToken(token)
	now := r.now().UTC()
	e := Enrolment{
		ID: "e-" + ulid.Make().String(), Person: person, Vendor: vendor, State: StateInvited, TokenHash: hash,
		InvitedBy: by, InvitedAt: now, Expires: now.Add(inviteLifetime),
	}
	if err := r.store.PutEnrolment(ctx, e); err != nil {
		return Invitation{}, fmt.Errorf("storing the invite of %s: %w", person, err)
	}
	return Invitation{Token: token, Expires: e.Expires}, nil
}

// endUnfinished revokes the person's enrolments that never became active. The caller holds change.
func (r *Registry) endUnfinished(ctx context.Context, person, by string) error {
	all, err := r.enrolmentsOf(ctx, person)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.State == StateActive || e.State == StateRevoked {
			continue
		}
		if err := r.endEnrolment(ctx, e, "replaced by a new invite", by); err != nil {
			return err
		}
	}
	return nil
}

// Enrol trades an invite and a PEM certificate request for a client certificate. Only the request's public key counts.
// ErrRequest leaves the invite usable; ErrInvite says that it is not.
func (r *Registry) Enrol(ctx context.Context, token string, csrPEM []byte) (Issued, error) {
	public, err := parseRequest(csrPEM)
	if err != nil {
		return Issued{}, err
	}
	hash, ok := hashToken(token)
	if !ok {
		return Issued{}, ErrInvite
	}
	r.change.Lock()
	defer r.change.Unlock()
	e, err := r.store.TakeInvite(ctx, hash, r.now().UTC())
	if errors.Is(err, ErrNotFound) {
		return Issued{}, ErrInvite
	}
	if err != nil {
		return Issued{}, fmt.Errorf("taking the invite: %w", err)
	}
	cert, in, err := r.authority.clientCertificate(e.Person, e.Vendor, public)
	if err != nil {
		return Issued{}, err
	}
	e.CertSerial, e.CertSHA256, e.NotAfter = cert.SerialNumber.String(), fingerprint(cert), cert.NotAfter
	if err := r.store.PutEnrolment(ctx, e); err != nil {
		return Issued{}, fmt.Errorf("storing the certificate of %s: %w", e.Person, err)
	}
	return Issued{
		CertPEM:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}),
		ChainPEM: bytes.Join([][]byte{in.pem(), r.authority.RootPEM()}, nil),
		Serial:   e.CertSerial, NotAfter: e.NotAfter, Person: e.Person, Vendor: e.Vendor,
	}, nil
}
