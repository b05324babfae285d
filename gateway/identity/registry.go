package identity

import (
	"context"
	"crypto/tls"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"
)

// RegistryConfig is what a Registry needs.
type RegistryConfig struct {
	Authority *Authority
	Store     Store
	RPID      string           // WebAuthn relying party: the console's host name without port, or localhost
	RPName    string           // shown by authenticators, default "sekisho"
	Origins   []string         // exact origins with port, https://console.example.com:8443
	Now       func() time.Time // default time.Now
	// AllowSynced accepts passkeys that a platform may copy to other devices. Default: refused.
	AllowSynced bool
}

// Registry knows every person's credentials.
type Registry struct{}

// NewRegistry checks the configuration and loads the revocations.
func NewRegistry(c RegistryConfig) (*Registry, error) { return nil, errNotYet }

// Invitation is a one-time way into enrolment; Token is shown once and stored hashed.
type Invitation struct {
	Token   string
	Expires time.Time
}

// Issued is a client certificate and what it says.
type Issued struct {
	CertPEM  []byte
	ChainPEM []byte // the vendor's intermediate, then the root
	Serial   string
	NotAfter time.Time
	Person   string
	Vendor   string
}

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

// Invite starts an enrolment. An unfinished earlier one ends; active credentials work on until the new one is released.
func (r *Registry) Invite(ctx context.Context, person, vendor, by string) (Invitation, error) {
	return Invitation{}, errNotYet
}

// Enrol trades an invite and a PEM certificate request for a client certificate. Only the request's public key counts.
// ErrRequest leaves the invite usable; ErrInvite says that it is not.
func (r *Registry) Enrol(ctx context.Context, token string, csrPEM []byte) (Issued, error) {
	return Issued{}, errNotYet
}

// Client proves the peer of a TLS connection. It returns a nil error for an active credential only. With ErrCertified
// and ErrWaiting the Credential is filled as well, so that enrolment can go on; with every other error it is zero.
func (r *Registry) Client(ctx context.Context, cs *tls.ConnectionState) (Credential, error) {
	return Credential{}, errNotYet
}

// BeginRegistration opens the WebAuthn registration of a certified enrolment. options is a
// PublicKeyCredentialCreationOptionsJSON object (the argument of parseCreationOptionsFromJSON).
func (r *Registry) BeginRegistration(ctx context.Context, c Credential) (ceremonyID string, options []byte, err error) {
	return "", nil, errNotYet
}

// FinishRegistration takes the RegistrationResponseJSON and moves the enrolment to StateWaiting with a code.
func (r *Registry) FinishRegistration(ctx context.Context, c Credential, ceremonyID string, response []byte) error {
	return errNotYet
}

// AddSSHKey enrols a public key given as one authorized_keys line: while waiting, or when active after the caller
// checked a fresh second factor.
func (r *Registry) AddSSHKey(ctx context.Context, c Credential, authorizedKey string) (SSHKey, error) {
	return SSHKey{}, errNotYet
}

// SSHKeys lists a person's enrolled keys that are not revoked.
func (r *Registry) SSHKeys(ctx context.Context, person string) ([]SSHKey, error) { return nil, errNotYet }

// Code returns a person's waiting enrolment with the code that they read to the second person. Show it to that person only.
func (r *Registry) Code(ctx context.Context, person string) (Enrolment, error) {
	return Enrolment{}, errNotYet
}

// Enrolments lists every enrolment, newest first, without codes and token hashes.
func (r *Registry) Enrolments(ctx context.Context) ([]Enrolment, error) { return nil, errNotYet }

// Release activates a waiting enrolment when by, who is not the person, gives the code; the person's earlier
// credentials are revoked. The third wrong code voids the enrolment.
func (r *Registry) Release(ctx context.Context, person, code, by string) error { return errNotYet }

// RevokePerson ends all that a person holds.
func (r *Registry) RevokePerson(ctx context.Context, person, reason, by string) error { return errNotYet }

// RevokeSerial revokes an X.509 certificate with its whole enrolment, or one SSH certificate.
func (r *Registry) RevokeSerial(ctx context.Context, serial, reason, by string) error { return errNotYet }

// RevokeSSHKey revokes an enrolled SSH key with every certificate made for it.
func (r *Registry) RevokeSSHKey(ctx context.Context, fingerprint, reason, by string) error { return errNotYet }

// Revoked answers from memory. Kinds: x509 and ssh-cert (serial), ssh-key (fingerprint), person, vendor.
func (r *Registry) Revoked(kind, id string) bool { return true }

// OnRevoke has f called after every revocation; f must not block.
func (r *Registry) OnRevoke(f func()) {}

// Purposes of a login ceremony that this package itself asks for.
const (
	PurposeLogin = "web.login"   // OpenWebSession and IssueSSH accept it
	PurposeSSH   = "ssh.approve" // made by BeginApproval only
)

// BeginLogin opens a WebAuthn assertion for an active credential. purpose and bind enter the challenge and so what the
// person signs; purpose comes back in MFA.Purpose. options is a PublicKeyCredentialRequestOptionsJSON object.
func (r *Registry) BeginLogin(ctx context.Context, c Credential, purpose string, bind []byte) (ceremonyID string, options []byte, err error) {
	return "", nil, errNotYet
}

// FinishLogin takes the AuthenticationResponseJSON. A ceremony works once, within two minutes, for the certificate that
// began it, and only with user verification in this very answer.
func (r *Registry) FinishLogin(ctx context.Context, c Credential, ceremonyID string, response []byte) (MFA, error) {
	return MFA{}, errNotYet
}

// OpenWebSession makes the cookie value of a session on one host. The mfa's purpose must be PurposeLogin.
func (r *Registry) OpenWebSession(ctx context.Context, c Credential, host string, mfa MFA) (cookie string, err error) {
	return "", errNotYet
}

// WebSession finds the session of a cookie shown on host under c. ErrNoSession for every reason but the store's.
func (r *Registry) WebSession(ctx context.Context, cookie, host string, c Credential) (WebSession, error) {
	return WebSession{}, errNotYet
}

// CloseWebSessions logs a person out everywhere.
func (r *Registry) CloseWebSessions(ctx context.Context, person string) error { return errNotYet }

// Handoff makes a one-time token of 30 s which opens a session on another host.
func (r *Registry) Handoff(ctx context.Context, s WebSession, host string) (token string, err error) {
	return "", errNotYet
}

// TakeHandoff trades the token for that host's cookie, under the same certificate.
func (r *Registry) TakeHandoff(ctx context.Context, token, host string, c Credential) (cookie string, err error) {
	return "", errNotYet
}

// IssueSSH makes a user certificate of at most 12 h for an enrolled key, usable from source only. mfa must be a
// PurposeLogin of at most 15 minutes ago (a web session's MFA, or one just given), else ErrStale.
func (r *Registry) IssueSSH(ctx context.Context, c Credential, fingerprint string, mfa MFA, source netip.Addr) (*ssh.Certificate, error) {
	return nil, errNotYet
}

// SSHLogin is a person as proved by an SSH certificate. The Principal's MFA is zero unless Fresh; its Source port and
// Client are the caller's to fill.
type SSHLogin struct {
	Principal Principal
	Fresh     bool // the certificate carries a WebAuthn of at most 15 minutes ago
	// Fingerprint is that of the enrolled key.
	Fingerprint string
}

// CheckSSH proves the holder of an SSH key, whose possession the SSH handshake has proved, connecting from remote.
func (r *Registry) CheckSSH(ctx context.Context, key ssh.PublicKey, remote netip.Addr) (SSHLogin, error) {
	return SSHLogin{}, errNotYet
}

// PendingRequest is an SSH login that needs approval in the browser.
type PendingRequest struct {
	Person       string
	Serial       string // of the SSH certificate
	Source       netip.Addr
	Client       string
	Target       string
	SSHSessionID []byte
}

// Pending is a waiting SSH login; Code is shown in that person's terminal only.
type Pending struct {
	ID      string
	Code    string
	Expires time.Time
}

// PendingView is what the approving person sees.
type PendingView struct {
	ID      string
	Person  string
	Serial  string
	Source  netip.Addr
	Client  string
	Target  string
	Expires time.Time
}

// Pend files a login for approval: one per person, two minutes, three tries at the code.
func (r *Registry) Pend(ctx context.Context, q PendingRequest) (*Pending, error) { return nil, errNotYet }

// Wait blocks until the login is approved (nil), voided (ErrWrongCode, ErrRevoked), expired (ErrExpired) or ctx ends.
func (p *Pending) Wait(ctx context.Context) (MFA, error) { return MFA{}, errNotYet }

// PendingFor finds a person's pending login.
func (r *Registry) PendingFor(person string) (PendingView, bool) { return PendingView{}, false }

// CheckPendingCode says whether the code fits; a wrong one counts as a try.
func (r *Registry) CheckPendingCode(person, id, code string) error { return errNotYet }

// BeginApproval opens the WebAuthn assertion that approves one pending login. It checks the code first.
func (r *Registry) BeginApproval(ctx context.Context, c Credential, id, code string) (ceremonyID string, options []byte, err error) {
	return "", nil, errNotYet
}

// ApprovePending lets the login in. mfa must come from the ceremony that BeginApproval opened for this login; source is
// the browser's address and must be in the SSH client's network (IPv4 /24, IPv6 /64).
func (r *Registry) ApprovePending(ctx context.Context, c Credential, id, code string, mfa MFA, source netip.Addr) error {
	return errNotYet
}
