package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Limits of WebAuthn ceremonies.
const (
	ceremonyLifetime    = 2 * time.Minute
	maxCeremonies       = 4096 // in all
	maxPersonCeremonies = 8    // beyond it a person's oldest is dropped
	maxResponse         = 64 << 10
)

// The kinds of ceremony.
const (
	kindRegister = "register"
	kindLogin    = "login"
)

// ceremony is what the server remembers between begin and finish. It is taken, not read, so it works once.
type ceremony struct {
	kind       string
	person     string
	certSHA256 string
	purpose    string
	session    webauthn.SessionData
	began      time.Time
}

// ceremonies are those begun and not finished, by random id.
type ceremonies struct {
	mu   sync.Mutex
	open map[string]ceremony
}

func (c *ceremonies) put(id string, begun ceremony) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[string]ceremony{}
	}
	oldest, own := "", 0
	for other, o := range c.open {
		if !begun.began.Before(o.began.Add(ceremonyLifetime)) {
			delete(c.open, other)
			continue
		}
		if o.person != begun.person {
			continue
		}
		own++
		if oldest == "" || o.began.Before(c.open[oldest].began) {
			oldest = other
		}
	}
	if own >= maxPersonCeremonies {
		delete(c.open, oldest)
	}
	if len(c.open) >= maxCeremonies {
		return fmt.Errorf("confirmations under way: %w; try again in two minutes", ErrLimit)
	}
	c.open[id] = begun
	return nil
}

// take removes a ceremony and checks that it is of this kind, under this certificate and in time.
func (c *ceremonies) take(id, kind string, by Credential, now time.Time) (ceremony, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	begun, ok := c.open[id]
	delete(c.open, id)
	if !ok || begun.kind != kind || begun.certSHA256 != by.SHA256 || begun.person != by.Person ||
		!now.Before(begun.began.Add(ceremonyLifetime)) {
		return ceremony{}, ErrCeremony
	}
	return begun, nil
}

func (c *ceremonies) drop(person string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, o := range c.open {
		if o.person == person {
			delete(c.open, id)
		}
	}
}

// relyingParty configures go-webauthn. Its own defaults are lax where ours are not: user verification is required, the
// timeouts are enforced, and passkeys that synchronise to other devices are refused.
func relyingParty(c RegistryConfig) (*webauthn.WebAuthn, error) {
	if c.RPName == "" {
		c.RPName = "sekisho"
	}
	if c.RPID == "" {
		return nil, errors.New("WebAuthn needs a relying party id: the console's host name")
	}
	for _, origin := range c.Origins {
		if err := checkOrigin(origin); err != nil {
			return nil, err
		}
	}
	timeout := webauthn.TimeoutConfig{Enforce: true, Timeout: ceremonyLifetime, TimeoutUVD: ceremonyLifetime}
	rp, err := webauthn.New(&webauthn.Config{
		RPID:          c.RPID,
		RPDisplayName: c.RPName,
		RPOrigins:     c.Origins,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			UserVerification: protocol.VerificationRequired,
			ResidentKey:      protocol.ResidentKeyRequirementDiscouraged,
		},
		AttestationPreference: protocol.PreferNoAttestation,
		Timeouts:              webauthn.TimeoutsConfig{Login: timeout, Registration: timeout},
		Filtering:             &webauthn.FilteringConfig{ProhibitBackupEligibility: !c.AllowSynced},
	})
	if err != nil {
		return nil, fmt.Errorf("configuring WebAuthn: %w", err)
	}
	return rp, nil
}

// newChallenge is 32 random bytes followed by the SHA-256 of what is being confirmed, each field with its length before
// it, so that a stored assertion says what it was given for.
func newChallenge(fields ...string) []byte {
	context := []byte("sekisho ceremony 1")
	for _, f := range fields {
		context = binary.BigEndian.AppendUint32(context, uint32(len(f)))
		context = append(context, f...)
	}
	sum := sha256.Sum256(context)
	challenge := make([]byte, 32, 64)
	rand.Read(challenge)
	return append(challenge, sum[:]...)
}

func newCeremonyID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// account shows one person's security keys to go-webauthn.
type account struct {
	person string
	keys   []webauthn.Credential
}

// WebAuthnID is the user handle: opaque to the authenticator, the same for every enrolment of a person.
func (a account) WebAuthnID() []byte {
	sum := sha256.Sum256([]byte("sekisho person " + a.person))
	return sum[:]
}

func (a account) WebAuthnName() string                       { return a.person }
func (a account) WebAuthnDisplayName() string                { return a.person }
func (a account) WebAuthnCredentials() []webauthn.Credential { return a.keys }

// BeginRegistration opens the WebAuthn registration of a certified enrolment. options is a
// PublicKeyCredentialCreationOptionsJSON object, the argument of parseCreationOptionsFromJSON.
func (r *Registry) BeginRegistration(ctx context.Context, c Credential) (ceremonyID string, options []byte, err error) {
	if _, err := r.live(ctx, c, StateCertified); err != nil {
		return "", nil, err
	}
	challenge := newChallenge(kindRegister, c.SHA256)
	creation, session, err := r.webauthn.BeginRegistration(account{person: c.Person},
		func(o *protocol.PublicKeyCredentialCreationOptions) error { o.Challenge = challenge; return nil })
	if err != nil {
		return "", nil, fmt.Errorf("beginning a registration: %w", err)
	}
	return r.begin(ceremony{kind: kindRegister, session: *session}, c, creation.Response)
}

// begin files a ceremony and encodes its options.
func (r *Registry) begin(begun ceremony, c Credential, options any) (string, []byte, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return "", nil, fmt.Errorf("encoding WebAuthn options: %w", err)
	}
	begun.person, begun.certSHA256, begun.began = c.Person, c.SHA256, r.now()
	id := newCeremonyID()
	return id, text, r.ceremonies.put(id, begun)
}

// FinishRegistration takes the RegistrationResponseJSON, stores the security key and moves the enrolment to
// StateWaiting with a code for the second person. ErrCeremony and ErrAssertion leave the enrolment certified.
func (r *Registry) FinishRegistration(ctx context.Context, c Credential, ceremonyID string, response []byte) error {
	begun, err := r.ceremonies.take(ceremonyID, kindRegister, c, r.now())
	if err != nil {
		return err
	}
	key, err := r.newKey(begun, response)
	if err != nil {
		return err
	}
	stored, err := json.Marshal(key)
	if err != nil {
		return fmt.Errorf("encoding a security key: %w", err)
	}
	r.change.Lock()
	defer r.change.Unlock()
	e, err := r.live(ctx, c, StateCertified)
	if err != nil {
		return err
	}
	err = r.store.PutAuthenticator(ctx, Authenticator{
		ID: authenticatorID(e.ID, key.ID), Person: e.Person, Enrolment: e.ID, Credential: stored, CreatedAt: r.now().UTC(),
	})
	if err != nil {
		return fmt.Errorf("storing a security key of %s: %w", e.Person, err)
	}
	e.State, e.Code = StateWaiting, newCode()
	if err := r.store.PutEnrolment(ctx, e); err != nil {
		return fmt.Errorf("storing the enrolment of %s: %w", e.Person, err)
	}
	return nil
}

func (r *Registry) newKey(begun ceremony, response []byte) (*webauthn.Credential, error) {
	if len(response) > maxResponse {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrAssertion, maxResponse)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, refusedAnswer(err)
	}
	key, err := r.webauthn.CreateCredential(account{person: begun.person}, begun.session, parsed)
	if err != nil {
		return nil, refusedAnswer(err)
	}
	if flags := parsed.Response.AttestationObject.AuthData.Flags; !flags.HasUserPresent() || !flags.HasUserVerified() {
		return nil, fmt.Errorf("%w: it did not verify the user (PIN, fingerprint)", ErrAssertion)
	}
	return key, nil
}

// authenticatorID puts the enrolment before the credential id, which the authenticator chose: a person who claims
// another's id cannot replace the other's row.
func authenticatorID(enrolment string, credentialID []byte) string {
	return enrolment + ":" + base64.RawURLEncoding.EncodeToString(credentialID)
}

// refusedAnswer keeps go-webauthn's reason for the log.
func refusedAnswer(err error) error {
	detail := err.Error()
	if e := new(protocol.Error); errors.As(err, &e) && e.DevInfo != "" {
		detail += ": " + e.DevInfo
	}
	return fmt.Errorf("%w: %s", ErrAssertion, strings.ToValidUTF8(detail, "?"))
}
