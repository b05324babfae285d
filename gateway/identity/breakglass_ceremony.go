package identity

import (
	"fmt"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

const kindEmergency = "emergency"

// BeginEmergency opens the WebAuthn assertion that declares the emergency id (g-ULID). about enters the challenge: the
// reason and all else that the person confirms. Only hardware keys are asked; ErrHardware when none is registered.
func (r *Registry) BeginEmergency(c Credential, id string, about []byte) (ceremonyID string, options []byte, err error) {
	if !strings.HasPrefix(id, "g-") || len(id) > 64 {
		return "", nil, fmt.Errorf("emergency %.64q: want an id g-…", id)
	}
	h, err := r.holderOf(c)
	if err != nil {
		return "", nil, err
	}
	keys := h.hardware()
	if len(keys) == 0 {
		return "", nil, fmt.Errorf("%w: the key that %s registered is not one (built into a device, or copied between devices)",
			ErrHardware, h.Person)
	}
	purpose := purposeEmergency + id
	challenge := newChallenge(kindEmergency, c.SHA256, purpose, string(about))
	assertion, session, err := r.webauthn.BeginLogin(account{person: h.Person, keys: keys}, webauthn.WithChallenge(challenge))
	if err != nil {
		return "", nil, fmt.Errorf("beginning a confirmation of %s: %w", h.Person, err)
	}
	return r.begin(ceremony{kind: kindEmergency, purpose: purpose, session: *session}, c, assertion.Response)
}

// FinishEmergency takes the AuthenticationResponseJSON under the rules of FinishLogin, of a hardware key and without the
// store. The MFA it returns names the emergency.
func (r *Registry) FinishEmergency(c Credential, ceremonyID string, response []byte) (MFA, error) {
	begun, err := r.ceremonies.take(ceremonyID, kindEmergency, c, r.now())
	if err != nil {
		return MFA{}, err
	}
	if len(response) > maxResponse {
		return MFA{}, fmt.Errorf("%w: longer than %d bytes", ErrAssertion, maxResponse)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return MFA{}, refusedAnswer(err)
	}
	// Before the signature is checked, because go-webauthn would say of a synced passkey only that something changed.
	flags := parsed.Response.AuthenticatorData.Flags
	synced := flags.HasBackupEligible() || flags.HasBackupState()
	if why := notHardware(synced, parsed.AuthenticatorAttachment, nil); why != "" {
		return MFA{}, fmt.Errorf("%w; this is none: %s", ErrHardware, why)
	}
	key, err := r.verifyEmergency(c, begun, parsed)
	if err != nil {
		return MFA{}, err
	}
	if r.emergencies.used != nil {
		r.emergencies.used()
	}
	return MFA{Method: "webauthn", At: r.now().UTC(), UV: true, AAGUID: formatAAGUID(key.Authenticator.AAGUID),
		Purpose: begun.purpose}, nil
}

// verifyEmergency checks an assertion against the keys in memory and counts it there; the lock keeps two answers of one
// key apart.
func (r *Registry) verifyEmergency(
	c Credential, begun ceremony, parsed *protocol.ParsedCredentialAssertionData,
) (*webauthn.Credential, error) {
	r.emergencies.asserting.Lock()
	defer r.emergencies.asserting.Unlock()
	h, err := r.holderOf(c)
	if err != nil {
		return nil, err
	}
	key, err := r.webauthn.ValidateLogin(account{person: h.Person, keys: h.hardware()}, begun.session, parsed)
	if err != nil {
		return nil, refusedAnswer(err)
	}
	if flags := parsed.Response.AuthenticatorData.Flags; !flags.HasUserPresent() || !flags.HasUserVerified() {
		return nil, fmt.Errorf("%w: it did not verify the user (PIN, fingerprint)", ErrAssertion)
	}
	if key.Authenticator.CloneWarning {
		return nil, fmt.Errorf("%w: %s must be enrolled anew", ErrCloned, h.Person)
	}
	r.emergencies.counted(h.Enrolment, key)
	return key, nil
}
