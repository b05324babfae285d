package identity

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound is returned by a Store when the asked row does not exist.
var ErrNotFound = errors.New("not found")

// Store keeps enrolments, credentials and revocations. Every method is one transaction. Implementations return
// ErrNotFound for a missing row.
type Store interface {
	// PutEnrolment creates or replaces an enrolment by its ID.
	PutEnrolment(ctx context.Context, e Enrolment) error
	// TakeInvite finds the enrolment whose invite hashes to tokenHash, is in StateInvited and has not expired at now, and
	// moves it to StateCertified in the same transaction, so that an invite works once. ErrNotFound otherwise.
	TakeInvite(ctx context.Context, tokenHash string, now time.Time) (Enrolment, error)
	// Enrolment returns the newest enrolment of a person.
	Enrolment(ctx context.Context, person string) (Enrolment, error)
	// EnrolmentBySerial returns the enrolment whose client certificate has this serial.
	EnrolmentBySerial(ctx context.Context, serial string) (Enrolment, error)
	// Enrolments lists all, newest first.
	Enrolments(ctx context.Context) ([]Enrolment, error)

	PutAuthenticator(ctx context.Context, a Authenticator) error
	Authenticators(ctx context.Context, person string) ([]Authenticator, error)

	PutSSHKey(ctx context.Context, k SSHKey) error
	SSHKey(ctx context.Context, fingerprint string) (SSHKey, error)
	SSHKeys(ctx context.Context, person string) ([]SSHKey, error)

	// Revoke adds a revocation; revoking twice keeps the first.
	Revoke(ctx context.Context, r Revocation) error
	// Revocations lists all.
	Revocations(ctx context.Context) ([]Revocation, error)

	PutWebSession(ctx context.Context, s WebSession) error
	WebSession(ctx context.Context, idHash string) (WebSession, error)
	DeleteWebSession(ctx context.Context, idHash string) error
	// DeleteWebSessions removes every session of a person.
	DeleteWebSessions(ctx context.Context, person string) error
}

// State is how far an enrolment has come. Nothing works before StateActive.
type State string

// The states in order; a revoked enrolment never moves again.
const (
	StateInvited   State = "invited"   // the link exists
	StateCertified State = "certified" // the invite was used, the client certificate issued
	StateWaiting   State = "waiting"   // an authenticator is registered; a second person must release it
	StateActive    State = "active"    // released
	StateRevoked   State = "revoked"
)

// Enrolment is one person's way in, from invite to release. A new invite starts a new one and the release of the new one
// revokes the old one's credentials.
type Enrolment struct {
	ID         string
	Person     string
	Vendor     string
	State      State
	TokenHash  string // hex SHA-256 of the invite token
	InvitedBy  string
	InvitedAt  time.Time
	Expires    time.Time // of the invite
	CertSerial string    // decimal X.509 serial, "" before StateCertified
	CertSHA256 string    // hex fingerprint of the client certificate
	NotAfter   time.Time // of the client certificate
	Code       string    // what the second person compares
	ReleasedBy string
	ReleasedAt time.Time
}

// Authenticator is a registered WebAuthn credential.
type Authenticator struct {
	ID         string // enrolment id, colon, base64url credential id
	Person     string
	Enrolment  string
	Credential []byte // JSON of go-webauthn's Credential
	CreatedAt  time.Time
}

// SSHKey is a public key enrolled for certificates.
type SSHKey struct {
	Fingerprint string // SHA256:…
	Person      string
	Enrolment   string
	PublicKey   string // authorized_keys form
	CreatedAt   time.Time
}

// Revocation ends a credential for good.
type Revocation struct {
	Kind   string // x509 | ssh-key | ssh-cert | person | vendor
	ID     string // serial, fingerprint or id
	Reason string
	By     string
	At     time.Time
}

// WebSession is a browser's session after WebAuthn, bound to the certificate it was made under.
type WebSession struct {
	IDHash     string // hex SHA-256 of the cookie value
	Person     string
	Vendor     string
	Host       string // the one host name whose cookie it is
	CertSHA256 string
	MFA        MFA
	CreatedAt  time.Time
	SeenAt     time.Time
	Expires    time.Time
}
