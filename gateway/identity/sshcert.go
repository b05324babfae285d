package identity

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshCertLifetime is the longest a person's SSH certificate lives.
const sshCertLifetime = 12 * time.Hour

const (
	sourceAddress = "source-address"      // OpenSSH's critical option, here always exactly one prefix
	webauthnAt    = "webauthn-at@sekisho" // when the person gave WebAuthn for this certificate, RFC 3339 UTC, seconds
)

// IssueSSH makes a user certificate of at most 12 h, and no longer than the client certificate, for an enrolled key.
// It names exactly the person and works from source only. mfa must be a PurposeLogin of at most 15 minutes ago (a web
// session's MFA, or one just given), else ErrStale.
func (r *Registry) IssueSSH(
	ctx context.Context, c Credential, fingerprint string, mfa MFA, source netip.Addr,
) (*ssh.Certificate, error) {
	e, err := r.live(ctx, c, StateActive)
	if err != nil {
		return nil, err
	}
	if err := r.checkFresh(mfa, PurposeLogin, freshFor); err != nil {
		return nil, err
	}
	if !source.IsValid() {
		return nil, fmt.Errorf("issuing an SSH certificate: %w: unknown", ErrSource)
	}
	k, err := r.store.SSHKey(ctx, fingerprint)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("looking up an SSH key: %w", err)
	}
	if err != nil || k.Person != e.Person || k.Enrolment != e.ID || r.Revoked(kindSSHKey, fingerprint) {
		return nil, ErrNotEnrolled
	}
	key, err := parseSSHKey(k.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("stored SSH key %s: %w", fingerprint, err)
	}
	return r.signSSH(e, key, mfa, source)
}

func (r *Registry) signSSH(e Enrolment, key ssh.PublicKey, mfa MFA, source netip.Addr) (*ssh.Certificate, error) {
	now := r.now()
	end := now.Add(sshCertLifetime)
	if e.NotAfter.Before(end) {
		end = e.NotAfter
	}
	source = plainAddr(source)
	cert := &ssh.Certificate{
		Key:             key,
		Serial:          newSSHSerial(),
		CertType:        ssh.UserCert,
		KeyId:           fmt.Sprintf("sekisho:%s:%s:%s", e.Vendor, e.Person, e.ID),
		ValidPrincipals: []string{e.Person},
		ValidAfter:      uint64(now.Add(-backdate).Unix()),
		ValidBefore:     uint64(end.Unix()),
		Permissions: ssh.Permissions{
			CriticalOptions: map[string]string{sourceAddress: netip.PrefixFrom(source, source.BitLen()).String()},
			Extensions: map[string]string{
				"permit-pty": "", "permit-port-forwarding": "",
				webauthnAt: mfa.At.UTC().Format(time.RFC3339),
			},
		},
	}
	if err := cert.SignCert(rand.Reader, r.authority.userCA); err != nil {
		return nil, fmt.Errorf("signing an SSH certificate for %s: %w", e.Person, err)
	}
	r.noteSSH(cert, e)
	return cert, nil
}

// noteSSH lets Revoked answer for the certificate's serial when its key, enrolment or person is revoked.
func (r *Registry) noteSSH(cert *ssh.Certificate, e Enrolment) {
	r.revocations.note(serialOf(cert), sshCertGrant{
		person: e.Person, fingerprint: ssh.FingerprintSHA256(cert.Key), serial: e.CertSerial,
		expires: time.Unix(int64(cert.ValidBefore), 0),
	}, r.now())
}

func serialOf(cert *ssh.Certificate) string { return strconv.FormatUint(cert.Serial, 10) }

// plainAddr strips what makes one address look like two: the IPv4-in-IPv6 form and the zone.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// SSHLogin is a person as proved by an SSH certificate. The Principal's MFA is zero unless Fresh; its Source has no
// port, and Client is the caller's to fill.
type SSHLogin struct {
	Principal   Principal
	Fresh       bool   // the certificate carries a WebAuthn of at most 15 minutes ago
	Fingerprint string // of the enrolled key
}

// CheckSSH proves the holder of an SSH key connecting from remote; the SSH handshake must have proved possession of the
// key. ErrNoCertificate and ErrForeign mean that the key is not ours at all; every other error is a failed login:
// ErrPrincipals, ErrExpired, ErrSource, ErrRevoked, ErrNotEnrolled, ErrWaiting, ErrState.
func (r *Registry) CheckSSH(ctx context.Context, key ssh.PublicKey, remote netip.Addr) (SSHLogin, error) {
	facts, err := r.checkSSHCert(key)
	if err != nil {
		return SSHLogin{}, err
	}
	if !remote.IsValid() || !facts.source.Contains(plainAddr(remote)) {
		return SSHLogin{}, fmt.Errorf("SSH certificate for %s used from %s: %w", facts.source, remote, ErrSource)
	}
	if facts.emergency != "" {
		return r.passLogin(facts, remote)
	}
	e, err := r.holder(ctx, facts)
	if err != nil {
		return SSHLogin{}, err
	}
	r.noteSSH(facts.cert, e)
	login := SSHLogin{
		Principal: Principal{Person: e.Person, Vendor: e.Vendor, Serial: serialOf(facts.cert),
			NotAfter: time.Unix(int64(facts.cert.ValidBefore), 0).UTC(), Source: netip.AddrPortFrom(plainAddr(remote), 0)},
		Fingerprint: facts.fingerprint,
	}
	age := r.now().Sub(facts.webauthn)
	if login.Fresh = !facts.webauthn.IsZero() && age <= freshFor && age >= -clockSkew; login.Fresh {
		login.Principal.MFA = MFA{Method: "webauthn", At: facts.webauthn, UV: true, Purpose: PurposeLogin}
	}
	return login, nil
}

// sshFacts is what a person's certificate says, after our signature on it was verified.
type sshFacts struct {
	cert        *ssh.Certificate
	person      string
	fingerprint string // of the plain key
	source      netip.Prefix
	webauthn    time.Time // zero when it carries none
	emergency   string    // the emergency it was made for, "" for none
}

// checkSSHCert verifies signature, kind, time, principal and options. x/crypto's CheckCert knows neither the kind nor
// the authority, takes an empty list of principals for everybody, and leaves source-address to its caller.
func (r *Registry) checkSSHCert(key ssh.PublicKey) (sshFacts, error) {
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return sshFacts{}, fmt.Errorf("SSH key: %w; get one from the console", ErrNoCertificate)
	}
	if cert.SignatureKey == nil || !bytes.Equal(cert.SignatureKey.Marshal(), r.authority.UserCA().Marshal()) {
		return sshFacts{}, fmt.Errorf("SSH certificate: %w: another CA", ErrForeign)
	}
	if cert.CertType != ssh.UserCert {
		return sshFacts{}, fmt.Errorf("SSH certificate: %w: not a user certificate", ErrForeign)
	}
	if len(cert.ValidPrincipals) != 1 || cert.ValidPrincipals[0] == "" {
		return sshFacts{}, fmt.Errorf("SSH certificate %d: %w, it names %d", cert.Serial, ErrPrincipals, len(cert.ValidPrincipals))
	}
	if err := r.checkSSHSpan(cert); err != nil {
		return sshFacts{}, err
	}
	// Its time and revocation errors have come above with their own sentinels; what is left is the signature.
	checker := ssh.CertChecker{SupportedCriticalOptions: []string{sourceAddress, emergencyOption}, Clock: r.now}
	if err := checker.CheckCert(cert.ValidPrincipals[0], cert); err != nil {
		return sshFacts{}, fmt.Errorf("SSH certificate: %w: %v", ErrForeign, err)
	}
	return readSSHFacts(cert)
}

func (r *Registry) checkSSHSpan(cert *ssh.Certificate) error {
	const longest = uint64((sshCertLifetime + backdate) / time.Second)
	if cert.ValidBefore <= cert.ValidAfter || cert.ValidBefore-cert.ValidAfter > longest {
		return fmt.Errorf("SSH certificate %d: %w: it lives longer than any of ours", cert.Serial, ErrForeign)
	}
	if now := uint64(r.now().Unix()); now < cert.ValidAfter || now >= cert.ValidBefore {
		return fmt.Errorf("SSH certificate %d: %w; get a new one from the console", cert.Serial, ErrExpired)
	}
	return nil
}

// readSSHFacts reads the option and extension that this gateway writes and refuses other forms of them.
func readSSHFacts(cert *ssh.Certificate) (sshFacts, error) {
	facts := sshFacts{cert: cert, person: cert.ValidPrincipals[0], fingerprint: ssh.FingerprintSHA256(cert.Key)}
	var err error
	if facts.source, err = parseSource(cert.CriticalOptions[sourceAddress]); err != nil {
		return sshFacts{}, err
	}
	if id, ok := cert.CriticalOptions[emergencyOption]; ok {
		if facts.emergency = id; id == "" {
			return sshFacts{}, fmt.Errorf("SSH certificate: %w: %s names no emergency", ErrForeign, emergencyOption)
		}
	}
	if at, ok := cert.Extensions[webauthnAt]; ok {
		if facts.webauthn, err = parseWebAuthnAt(at); err != nil {
			return sshFacts{}, err
		}
	}
	return facts, nil
}

func parseSource(value string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(value)
	if err != nil || prefix.Masked() != prefix || prefix.String() != value || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("SSH certificate: %w: %s %q is not one network", ErrForeign, sourceAddress, value)
	}
	return prefix, nil
}

func parseWebAuthnAt(value string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, value)
	if err != nil || at.UTC().Format(time.RFC3339) != value {
		return time.Time{}, fmt.Errorf("SSH certificate: %w: %s %q is not a time in UTC", ErrForeign, webauthnAt, value)
	}
	return at.UTC(), nil
}

// holder finds the active enrolment that the certificate's key belongs to.
func (r *Registry) holder(ctx context.Context, facts sshFacts) (Enrolment, error) {
	serial := serialOf(facts.cert)
	if r.Revoked(kindSSHCert, serial) || r.Revoked(kindSSHKey, facts.fingerprint) || r.Revoked(kindPerson, facts.person) {
		return Enrolment{}, fmt.Errorf("SSH certificate %s of %s: %w", serial, facts.person, ErrRevoked)
	}
	k, err := r.store.SSHKey(ctx, facts.fingerprint)
	if errors.Is(err, ErrNotFound) || err == nil && k.Person != facts.person {
		return Enrolment{}, fmt.Errorf("SSH key %s: %w for %s", facts.fingerprint, ErrNotEnrolled, facts.person)
	}
	if err != nil {
		return Enrolment{}, fmt.Errorf("looking up an SSH key: %w", err)
	}
	e, err := r.enrolment(ctx, k.Person, k.Enrolment)
	if err != nil {
		return Enrolment{}, fmt.Errorf("looking up the enrolment of %s: %w", k.Person, err)
	}
	if e.State == StateRevoked || r.Revoked(kindX509, e.CertSerial) || r.Revoked("vendor", e.Vendor) {
		return Enrolment{}, fmt.Errorf("enrolment of %s: %w", e.Person, ErrRevoked)
	}
	if e.State != StateActive {
		return Enrolment{}, fmt.Errorf("enrolment of %s is %s: %w", e.Person, e.State, stateError(e.State))
	}
	return e, nil
}
