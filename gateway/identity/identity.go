// Package identity answers who is there and how that was proved. An Authority holds the gateway's keys: the X.509 root
// with one intermediate per vendor, the SSH user, host and upstream CAs, and the keys that sign evidence and identities.
// A Registry takes a person from an invite to a released enrolment, proves them on TLS and SSH connections, runs the
// WebAuthn ceremonies and revokes at once. Nothing in here decides what a person may do.
package identity

import "errors"

// Sentinel errors that callers branch on. The wrapping error's text says what to do.
var (
	// ErrNoCertificate: the TLS peer showed no verified client certificate, or the SSH key is not a certificate.
	ErrNoCertificate = errors.New("no certificate")
	// ErrForeign: the certificate is not one of ours (wrong CA, wrong kind, wrong names). An offered SSH key that is
	// foreign does not count as a failed login.
	ErrForeign = errors.New("certificate was not issued here")
	// ErrPrincipals: an SSH certificate that does not name exactly one person.
	ErrPrincipals = errors.New("certificate must name exactly one principal")
	// ErrExpired: a certificate, invite, ceremony, session or pending login is past its end, or not valid yet.
	ErrExpired = errors.New("expired")
	// ErrRevoked: the credential, its enrolment, its person or its vendor was revoked.
	ErrRevoked = errors.New("revoked")
	// ErrCertified: the enrolment has a certificate but no security key yet.
	ErrCertified = errors.New("a security key must be registered first")
	// ErrWaiting: the enrolment waits for a second person to release it.
	ErrWaiting = errors.New("waiting for release by a second person")
	// ErrState: the act does not fit the enrolment's state.
	ErrState = errors.New("not possible in this state of the enrolment")
	// ErrInvite: the invite is unknown, used or expired; which one is not told.
	ErrInvite = errors.New("the invite is unknown, used or expired; ask for a new one")
	// ErrRequest: a certificate request or public key that is malformed or too weak.
	ErrRequest = errors.New("not acceptable")
	// ErrCeremony: no such WebAuthn ceremony is open for this certificate: unknown, used or expired.
	ErrCeremony = errors.New("this confirmation is unknown, used or expired; start again")
	// ErrAssertion: the security key's answer does not verify.
	ErrAssertion = errors.New("the security key's answer was not accepted")
	// ErrCloned: the security key's counter went backwards.
	ErrCloned = errors.New("the security key's counter went backwards; it may have been copied")
	// ErrStale: a second factor is missing, too old, without user verification or was given for another purpose.
	ErrStale = errors.New("a fresh confirmation with the security key is needed")
	// ErrOwn: nobody releases themselves.
	ErrOwn = errors.New("nobody can release their own enrolment; ask a second person")
	// ErrWrongCode: the typed code is wrong; the third wrong one voids what it was for.
	ErrWrongCode = errors.New("wrong code")
	// ErrSource: the peer's network is not the one the credential or the request came from.
	ErrSource = errors.New("source address does not match")
	// ErrNotEnrolled: the SSH key is not enrolled, or belongs to somebody else.
	ErrNotEnrolled = errors.New("the SSH key is not enrolled")
	// ErrKeyTaken: the SSH key was enrolled before.
	ErrKeyTaken = errors.New("this SSH key was enrolled before; make a new one")
	// ErrPendingExists: the person already has a pending SSH login.
	ErrPendingExists = errors.New("another SSH login of this person is waiting for approval")
	// ErrNoPending: no such pending SSH login of this person.
	ErrNoPending = errors.New("no such pending login")
	// ErrNoSession: the cookie or handoff token opens no web session here.
	ErrNoSession = errors.New("not logged in")
	// ErrLimit: a limit on what one person may hold open was reached.
	ErrLimit = errors.New("too many at once")
)
