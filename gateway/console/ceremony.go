package console

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

// What a person can confirm with their authenticator.
const (
	PurposeLogin       = "login"           // open a web session
	PurposeAddKey      = "ssh.key"         // enrol the SSH key in PublicKey
	PurposeCertificate = "ssh.certificate" // issue an SSH certificate for Fingerprint
	PurposeApproveSSH  = "ssh.approve"     // let the waiting SSH login ID in; Code is what its terminal shows
	PurposeApproveCLI  = "cli.approve"     // let the waiting command-line login ID in; Code likewise
	PurposeAnswer      = "request.answer"  // give Answer to the approval request ID
)

// Confirmation names what is to be confirmed. The WebAuthn challenge is bound to all of it.
type Confirmation struct {
	Purpose     string         `json:"purpose"`
	ID          string         `json:"id,omitempty"`
	Code        string         `json:"code,omitempty"`
	Fingerprint string         `json:"fingerprint,omitempty"`
	PublicKey   string         `json:"public_key,omitempty"`
	Answer      *RequestAnswer `json:"answer,omitempty"`
}

// Ceremony is an open WebAuthn ceremony. Options is the JSON argument of PublicKeyCredential.parseCreationOptionsFromJSON or
// parseRequestOptionsFromJSON.
type Ceremony struct {
	ID      string          `json:"ceremony"`
	Options json.RawMessage `json:"options"`
}

// Proof answers a ceremony: Response is the credential's toJSON.
type Proof struct {
	Ceremony string          `json:"ceremony"`
	Response json.RawMessage `json:"response"`
}

const (
	ceremonyTTL   = 2 * time.Minute
	maxCeremonies = 10_000
)

// ceremonies remembers what each open ceremony is to confirm, so that the answer to one question is never taken for the
// answer to another.
type ceremonies struct {
	now func() time.Time

	mu   sync.Mutex // guards open
	open map[string]question
}

type question struct {
	about   [sha256.Size]byte
	expires time.Time
}

func newCeremonies(now func() time.Time) *ceremonies {
	return &ceremonies{now: now, open: map[string]question{}}
}

// about condenses a confirmation. The encoding of a struct of strings and numbers is unambiguous.
func about(what Confirmation) [sha256.Size]byte {
	encoded, err := json.Marshal(what)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return sha256.Sum256(encoded)
}

func (c *ceremonies) add(id string, what Confirmation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if len(c.open) >= maxCeremonies {
		for old, q := range c.open {
			if !now.Before(q.expires) {
				delete(c.open, old)
			}
		}
	}
	if len(c.open) >= maxCeremonies {
		return fmt.Errorf("opening a confirmation: %w", identity.ErrLimit)
	}
	c.open[id] = question{about: about(what), expires: now.Add(ceremonyTTL)}
	return nil
}

// take forgets a ceremony and tells whether it asked exactly this.
func (c *ceremonies) take(id string, what Confirmation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, ok := c.open[id]
	delete(c.open, id)
	return ok && c.now().Before(q.expires) && q.about == about(what)
}

// begin opens the ceremony of a confirmation.
func (c *Console) begin(ctx context.Context, v *visitor, what Confirmation) (Ceremony, error) {
	id, options, err := c.challenge(ctx, v, what)
	if err != nil {
		return Ceremony{}, err
	}
	if err := c.ceremonies.add(id, what); err != nil {
		return Ceremony{}, err
	}
	return Ceremony{ID: id, Options: options}, nil
}

func (c *Console) challenge(ctx context.Context, v *visitor, what Confirmation) (id string, options []byte, err error) {
	if what.Purpose == PurposeApproveSSH {
		return c.cfg.Registry.BeginApproval(ctx, v.credential, what.ID, what.Code)
	}
	bind := about(what)
	switch what.Purpose {
	case PurposeLogin, PurposeCertificate:
	case PurposeAddKey:
		return c.cfg.Registry.BeginLogin(ctx, v.credential, PurposeAddKey, bind[:])
	case PurposeAnswer:
		if err := c.checkAnswer(ctx, v, what.ID, what.Answer); err != nil {
			return "", nil, err
		}
		return c.cfg.Registry.BeginLogin(ctx, v.credential, PurposeAnswer, bind[:])
	case PurposeApproveCLI:
		if _, err := c.cliLogins.check(v.credential.Person, what.ID, what.Code); err != nil {
			return "", nil, err
		}
	default:
		return "", nil, badRequest("purpose %q: want %s, %s, %s, %s, %s or %s", what.Purpose, PurposeLogin, PurposeAddKey,
			PurposeCertificate, PurposeApproveSSH, PurposeApproveCLI, PurposeAnswer)
	}
	return c.cfg.Registry.BeginLogin(ctx, v.credential, identity.PurposeLogin, bind[:])
}

// finish takes the answer to the ceremony that asked exactly this. A wrong answer is a failed login on record.
func (c *Console) finish(ctx context.Context, v *visitor, proof Proof, what Confirmation) (identity.MFA, error) {
	if !c.ceremonies.take(proof.Ceremony, what) {
		return identity.MFA{}, c.failed(ctx, v, "certificate+webauthn", identity.ErrCeremony)
	}
	mfa, err := c.cfg.Registry.FinishLogin(ctx, v.credential, proof.Ceremony, proof.Response)
	if err != nil {
		return identity.MFA{}, c.failed(ctx, v, "certificate+webauthn", err)
	}
	return mfa, nil
}
