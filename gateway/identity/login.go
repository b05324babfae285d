package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// PurposeLogin is the purpose of the ceremony behind a web session or an SSH certificate.
const PurposeLogin = "web.login"

// purposeApproval begins the purpose of a ceremony that approves one pending SSH login: ssh.approve:ID.
const purposeApproval = "ssh.approve:"

// freshFor is how long a WebAuthn counts as just given, in certificates too.
const freshFor = 15 * time.Minute

// clockSkew is how far ahead of ours a time may be that another process of ours wrote.
const clockSkew = time.Minute

// BeginLogin opens a WebAuthn assertion for an active credential. purpose (at most 200 bytes) and bind enter the
// challenge and so what the person signs; purpose comes back in MFA.Purpose. options is a
// PublicKeyCredentialRequestOptionsJSON object, the argument of parseRequestOptionsFromJSON. For a pending SSH login
// use BeginApproval.
func (r *Registry) BeginLogin(ctx context.Context, c Credential, purpose string, bind []byte) (
	ceremonyID string, options []byte, err error,
) {
	if purpose == "" || len(purpose) > 200 || strings.HasPrefix(purpose, purposeApproval) {
		return "", nil, fmt.Errorf("purpose %q of a confirmation is empty, too long or reserved", purpose)
	}
	return r.beginAssertion(ctx, c, purpose, bind)
}

func (r *Registry) beginAssertion(ctx context.Context, c Credential, purpose string, bind []byte) (string, []byte, error) {
	e, err := r.live(ctx, c, StateActive)
	if err != nil {
		return "", nil, err
	}
	keys, err := r.keys(ctx, e)
	if err != nil {
		return "", nil, err
	}
	challenge := newChallenge(kindLogin, c.SHA256, purpose, string(bind))
	assertion, session, err := r.webauthn.BeginLogin(account{person: c.Person, keys: keys}, webauthn.WithChallenge(challenge))
	if err != nil {
		return "", nil, fmt.Errorf("beginning a confirmation of %s: %w", c.Person, err)
	}
	return r.begin(ceremony{kind: kindLogin, purpose: purpose, session: *session}, c, assertion.Response)
}

// keys are the security keys registered in this very enrolment.
func (r *Registry) keys(ctx context.Context, e Enrolment) ([]webauthn.Credential, error) {
	stored, err := r.store.Authenticators(ctx, e.Person)
	if err != nil {
		return nil, fmt.Errorf("loading the security keys of %s: %w", e.Person, err)
	}
	var keys []webauthn.Credential
	for _, a := range stored {
		if a.Enrolment != e.ID {
			continue
		}
		var key webauthn.Credential
		if err := json.Unmarshal(a.Credential, &key); err != nil {
			return nil, fmt.Errorf("stored security key %s: %w", a.ID, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// FinishLogin takes the AuthenticationResponseJSON. A ceremony works once, within two minutes, for the certificate that
// began it, and only with user verification in this very answer. ErrCeremony, ErrAssertion or ErrCloned otherwise.
func (r *Registry) FinishLogin(ctx context.Context, c Credential, ceremonyID string, response []byte) (MFA, error) {
	begun, err := r.ceremonies.take(ceremonyID, kindLogin, c, r.now())
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
	// Counter check and update must not interleave with another login by the same key.
	r.change.Lock()
	defer r.change.Unlock()
	e, err := r.live(ctx, c, StateActive)
	if err != nil {
		return MFA{}, err
	}
	key, err := r.verify(ctx, e, begun, parsed)
	if err != nil {
		return MFA{}, err
	}
	return MFA{Method: "webauthn", At: r.now().UTC(), UV: true, AAGUID: formatAAGUID(key.Authenticator.AAGUID),
		Purpose: begun.purpose}, nil
}

// verify checks an assertion and stores the key's new counter. What go-webauthn keeps in the credential about user
// verification is a latch and about clones a flag, so both are judged here from this answer.
func (r *Registry) verify(
	ctx context.Context, e Enrolment, begun ceremony, parsed *protocol.ParsedCredentialAssertionData,
) (*webauthn.Credential, error) {
	keys, err := r.keys(ctx, e)
	if err != nil {
		return nil, err
	}
	key, err := r.webauthn.ValidateLogin(account{person: e.Person, keys: keys}, begun.session, parsed)
	if err != nil {
		return nil, refusedAnswer(err)
	}
	if flags := parsed.Response.AuthenticatorData.Flags; !flags.HasUserPresent() || !flags.HasUserVerified() {
		return nil, fmt.Errorf("%w: it did not verify the user (PIN, fingerprint)", ErrAssertion)
	}
	if key.Authenticator.CloneWarning {
		return nil, fmt.Errorf("%w: %s must be enrolled anew", ErrCloned, e.Person)
	}
	return key, r.storeKey(ctx, e, key)
}

func (r *Registry) storeKey(ctx context.Context, e Enrolment, key *webauthn.Credential) error {
	stored, err := r.store.Authenticators(ctx, e.Person)
	if err != nil {
		return fmt.Errorf("loading the security keys of %s: %w", e.Person, err)
	}
	for _, a := range stored {
		if a.ID != authenticatorID(e.ID, key.ID) {
			continue
		}
		if a.Credential, err = json.Marshal(key); err != nil {
			return fmt.Errorf("encoding a security key: %w", err)
		}
		if err := r.store.PutAuthenticator(ctx, a); err != nil {
			return fmt.Errorf("storing the counter of a security key of %s: %w", e.Person, err)
		}
		r.emergencies.counted(e.ID, key)
		return nil
	}
	return errors.New("the security key is gone from the store")
}

// formatAAGUID writes the model id of an authenticator as a UUID, "" when it does not tell.
func formatAAGUID(b []byte) string {
	if len(b) != 16 || bytes.Equal(b, make([]byte, 16)) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// checkFresh accepts a WebAuthn with user verification, given for purpose within the last maxAge.
func (r *Registry) checkFresh(mfa MFA, purpose string, maxAge time.Duration) error {
	age := r.now().Sub(mfa.At)
	if mfa.Method != "webauthn" || !mfa.UV || mfa.Purpose != purpose || age > maxAge || age < -clockSkew {
		return ErrStale
	}
	return nil
}
