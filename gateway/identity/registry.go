package identity

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
)

// RegistryConfig is what a Registry needs.
type RegistryConfig struct {
	Authority *Authority
	Store     Store
	RPID      string           // WebAuthn relying party: the console's host name without port, or localhost
	RPName    string           // shown by authenticators, default "sekisho"
	Origins   []string         // exact origins with port where ceremonies run: https://console.example.com:8443
	Now       func() time.Time // default time.Now
	// EmergencyFile keeps who may declare an emergency and with what, over a restart, signed; optional.
	EmergencyFile string
	// AllowSynced accepts passkeys that a platform may copy to other devices. Default: refused.
	AllowSynced bool
}

// Registry takes people from invite to release, proves them on connections and revokes. It is safe for concurrent use.
type Registry struct {
	authority *Authority
	store     Store
	webauthn  *webauthn.WebAuthn
	now       func() time.Time

	revocations revocations
	ceremonies  ceremonies
	pendings    pendings
	handoffs    handoffs
	emergencies emergencies

	// change is held over every read-modify-write of the store that one statement cannot do: enrolments' states,
	// authenticators' counters, web sessions' last use. It is taken before any other lock here.
	change sync.Mutex
	wrong  map[string]int // wrong release codes by enrolment, guarded by change
}

// NewRegistry checks the configuration and loads the revocations.
func NewRegistry(c RegistryConfig) (*Registry, error) {
	if c.Authority == nil || c.Store == nil {
		return nil, errors.New("a registry needs an authority and a store")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	rp, err := relyingParty(c)
	if err != nil {
		return nil, err
	}
	r := &Registry{authority: c.Authority, store: c.Store, webauthn: rp, now: c.Now, wrong: map[string]int{}}
	r.emergencies.file = c.EmergencyFile
	if err := r.loadRevocations(context.Background()); err != nil {
		return nil, err
	}
	if err := r.emergencies.load(c.Authority.EvidenceKey()); err != nil {
		return nil, err
	}
	return r, nil
}

// checkOrigin accepts scheme, host and optional port only: an origin is compared as a whole.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return fmt.Errorf("WebAuthn origin %q: want https://host or https://host:port and nothing after it", origin)
	}
	return nil
}

// Enrolments lists every enrolment, newest first, without codes and token hashes.
func (r *Registry) Enrolments(ctx context.Context) ([]Enrolment, error) {
	list, err := r.store.Enrolments(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing enrolments: %w", err)
	}
	for i := range list {
		list[i].Code, list[i].TokenHash = "", ""
	}
	return list, nil
}

// enrolment finds one by its id; the newest of the person is nearly always the one.
func (r *Registry) enrolment(ctx context.Context, person, id string) (Enrolment, error) {
	e, err := r.store.Enrolment(ctx, person)
	if err != nil || e.ID == id {
		return e, err
	}
	all, err := r.enrolmentsOf(ctx, person)
	if err != nil {
		return Enrolment{}, err
	}
	for _, e := range all {
		if e.ID == id {
			return e, nil
		}
	}
	return Enrolment{}, ErrNotFound
}

func (r *Registry) enrolmentsOf(ctx context.Context, person string) ([]Enrolment, error) {
	all, err := r.store.Enrolments(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing enrolments: %w", err)
	}
	var own []Enrolment
	for _, e := range all {
		if e.Person == person {
			own = append(own, e)
		}
	}
	return own, nil
}
