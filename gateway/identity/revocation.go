package identity

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Kinds of revocation as stored.
const (
	kindX509    = "x509"
	kindSSHKey  = "ssh-key"
	kindSSHCert = "ssh-cert"
	kindPerson  = "person"
)

// revocations answers from memory what the store keeps, so that live sessions can ask several times a second.
type revocations struct {
	mu      sync.RWMutex
	set     map[[2]string]bool      // kind, id
	persons map[string]bool         // revoked and not released again since
	certs   map[string]sshCertGrant // by serial; what a person's SSH certificate rests on
	prune   int                     // size of certs at which expired ones are dropped
	hooks   []func()
}

// sshCertGrant is what must stand for an SSH certificate to stand.
type sshCertGrant struct {
	person, fingerprint, serial string // serial of the enrolment's X.509 certificate
	expires                     time.Time
}

func (v *revocations) add(kind, id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if kind == kindPerson {
		v.persons[id] = true
		return
	}
	v.set[[2]string{kind, id}] = true
}

func (v *revocations) has(kind, id string) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	switch kind {
	case kindPerson:
		return v.persons[id]
	case kindX509, kindSSHCert:
		// The two kinds of serial never collide (newX509Serial), so one question answers for both.
		g, known := v.certs[id]
		return v.set[[2]string{kindX509, id}] || v.set[[2]string{kindSSHCert, id}] || known && v.lost(g)
	}
	return v.set[[2]string{kind, id}]
}

func (v *revocations) lost(g sshCertGrant) bool {
	return v.persons[g.person] || v.set[[2]string{kindSSHKey, g.fingerprint}] || v.set[[2]string{kindX509, g.serial}]
}

// note remembers what an SSH certificate rests on until it expires.
func (v *revocations) note(serial string, g sshCertGrant, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.certs) >= v.prune {
		for s, old := range v.certs {
			if !now.Before(old.expires) {
				delete(v.certs, s)
			}
		}
		v.prune = 2*len(v.certs) + 1024
	}
	v.certs[serial] = g
}

func (v *revocations) lift(person string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.persons, person)
}

func (v *revocations) announce() {
	v.mu.RLock()
	hooks := v.hooks[:len(v.hooks):len(v.hooks)]
	v.mu.RUnlock()
	for _, f := range hooks {
		f()
	}
}

// Revoked answers from memory. Kinds: x509 and ssh-cert (serial; either kind answers for both), ssh-key (fingerprint),
// person, vendor. An SSH certificate is revoked with its key, its enrolment and its person.
func (r *Registry) Revoked(kind, id string) bool { return r.revocations.has(kind, id) }

// OnRevoke has f called after every revocation; f must not block and must not call back into the registry's methods
// that change something.
func (r *Registry) OnRevoke(f func()) {
	r.revocations.mu.Lock()
	defer r.revocations.mu.Unlock()
	r.revocations.hooks = append(r.revocations.hooks, f)
}

// loadRevocations fills the memory. A person's revocation stands until an enrolment is released after it.
func (r *Registry) loadRevocations(ctx context.Context) error {
	r.revocations.set, r.revocations.persons = map[[2]string]bool{}, map[string]bool{}
	r.revocations.certs = map[string]sshCertGrant{}
	list, err := r.store.Revocations(ctx)
	if err != nil {
		return fmt.Errorf("loading revocations: %w", err)
	}
	enrolments, err := r.store.Enrolments(ctx)
	if err != nil {
		return fmt.Errorf("loading enrolments: %w", err)
	}
	released := map[string]time.Time{}
	for _, e := range enrolments {
		if e.State == StateActive {
			released[e.Person] = e.ReleasedAt
		}
	}
	for _, rev := range list {
		if at, active := released[rev.ID]; rev.Kind == kindPerson && active && !at.Before(rev.At) {
			continue
		}
		r.revocations.add(rev.Kind, rev.ID)
	}
	return nil
}

// revoke takes effect in memory before it is stored: a store that fails leaves access shut until the next start.
func (r *Registry) revoke(ctx context.Context, kind, id, reason, by string) error {
	r.revocations.add(kind, id)
	err := r.store.Revoke(ctx, Revocation{Kind: kind, ID: id, Reason: reason, By: by, At: r.now().UTC()})
	if err != nil {
		return fmt.Errorf("storing the revocation of %s %s (it holds until the next start; repeat it): %w", kind, id, err)
	}
	return nil
}

// endEnrolment revokes the certificate and SSH keys of one enrolment. The caller holds change.
func (r *Registry) endEnrolment(ctx context.Context, e Enrolment, reason, by string) error {
	var errs []error
	if e.CertSerial != "" {
		errs = append(errs, r.revoke(ctx, kindX509, e.CertSerial, reason, by))
	}
	keys, err := r.store.SSHKeys(ctx, e.Person)
	errs = append(errs, err)
	for _, k := range keys {
		if k.Enrolment == e.ID {
			errs = append(errs, r.revoke(ctx, kindSSHKey, k.Fingerprint, reason, by))
		}
	}
	e.State, e.Code = StateRevoked, ""
	errs = append(errs, r.store.PutEnrolment(ctx, e))
	delete(r.wrong, e.ID)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("ending an enrolment of %s: %w", e.Person, err)
	}
	return nil
}

// logOut ends a person's web sessions, handoffs and pending login. The caller holds change.
func (r *Registry) logOut(ctx context.Context, person string, cause error) error {
	r.emergencies.forget(func(s WebSession) bool { return s.Person == person })
	r.handoffs.drop(person)
	r.ceremonies.drop(person)
	r.pendings.cancel(person, cause)
	if err := r.store.DeleteWebSessions(ctx, person); err != nil {
		return fmt.Errorf("closing the web sessions of %s: %w", person, err)
	}
	return nil
}

// RevokePerson ends all that a person holds, at once (V-7). A later invite and release lets them in again.
func (r *Registry) RevokePerson(ctx context.Context, person, reason, by string) error {
	if err := errors.Join(checkID("person", person), checkBy(by)); err != nil {
		return err
	}
	r.change.Lock()
	defer r.revocations.announce() // after the lock is free
	defer r.change.Unlock()
	errs := []error{r.revoke(ctx, kindPerson, person, reason, by), r.logOut(ctx, person, ErrRevoked)}
	all, err := r.enrolmentsOf(ctx, person)
	errs = append(errs, err)
	for _, e := range all {
		if e.State != StateRevoked {
			errs = append(errs, r.endEnrolment(ctx, e, reason, by))
		}
	}
	return errors.Join(errs...)
}

// RevokeSerial revokes an X.509 certificate with its whole enrolment, or one SSH certificate, by decimal serial.
func (r *Registry) RevokeSerial(ctx context.Context, serial, reason, by string) error {
	if err := checkBy(by); err != nil {
		return err
	}
	r.change.Lock()
	defer r.revocations.announce()
	defer r.change.Unlock()
	e, err := r.store.EnrolmentBySerial(ctx, serial)
	switch {
	case err == nil:
		return errors.Join(r.endEnrolment(ctx, e, reason, by), r.logOut(ctx, e.Person, ErrRevoked))
	case !errors.Is(err, ErrNotFound):
		return fmt.Errorf("looking up certificate %s: %w", serial, err)
	}
	if n, err := strconv.ParseUint(serial, 10, 64); err != nil || n == 0 || strconv.FormatUint(n, 10) != serial {
		return fmt.Errorf("certificate %q: %w: want the decimal serial of a client or SSH certificate", serial, ErrNotFound)
	}
	r.pendings.cancelSerial(serial, ErrRevoked)
	return r.revoke(ctx, kindSSHCert, serial, reason, by)
}

// RevokeSSHKey revokes an enrolled SSH key with every certificate made for it.
func (r *Registry) RevokeSSHKey(ctx context.Context, fingerprint, reason, by string) error {
	if err := checkBy(by); err != nil {
		return err
	}
	r.change.Lock()
	defer r.revocations.announce()
	defer r.change.Unlock()
	k, err := r.store.SSHKey(ctx, fingerprint)
	if err != nil {
		return fmt.Errorf("looking up SSH key %q: %w", fingerprint, err)
	}
	r.pendings.cancel(k.Person, ErrRevoked)
	return r.revoke(ctx, kindSSHKey, fingerprint, reason, by)
}

func checkBy(by string) error {
	if by == "" {
		return errors.New("this act needs to say who did it")
	}
	return nil
}
