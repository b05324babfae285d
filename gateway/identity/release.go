package identity

import (
	"context"
	"errors"
	"fmt"
)

// maxWrongCodes is how many wrong codes void an enrolment or a pending login.
const maxWrongCodes = 3

// Code returns a person's waiting enrolment with the code that they read to the second person. Show it to its holder
// only, over their own certificate: a releaser who could read it would not compare it. ErrState when nothing waits.
func (r *Registry) Code(ctx context.Context, person string) (Enrolment, error) {
	e, err := r.waiting(ctx, person)
	if err != nil {
		return Enrolment{}, err
	}
	e.TokenHash = ""
	return e, nil
}

func (r *Registry) waiting(ctx context.Context, person string) (Enrolment, error) {
	e, err := r.store.Enrolment(ctx, person)
	if errors.Is(err, ErrNotFound) {
		return Enrolment{}, fmt.Errorf("%s was never invited: %w", person, ErrState)
	}
	if err != nil {
		return Enrolment{}, fmt.Errorf("looking up the enrolment of %s: %w", person, err)
	}
	if e.State != StateWaiting {
		return Enrolment{}, fmt.Errorf("enrolment of %s is %s, not waiting for release: %w", person, e.State, ErrState)
	}
	if !r.now().Before(e.NotAfter) {
		return Enrolment{}, fmt.Errorf("certificate of %s: %w; invite again", person, ErrExpired)
	}
	return e, nil
}

// Release activates a waiting enrolment when by, who is not the person, gives the code that the person reads to them.
// The person's earlier credentials are revoked first. The third wrong code voids the enrolment.
func (r *Registry) Release(ctx context.Context, person, code, by string) error {
	if err := checkBy(by); err != nil {
		return err
	}
	if by == person {
		return ErrOwn
	}
	r.change.Lock()
	defer r.revocations.announce() // after the lock is free
	defer r.change.Unlock()
	e, err := r.waiting(ctx, person)
	if err != nil {
		return err
	}
	if !sameCode(code, e.Code) {
		return r.wrongRelease(ctx, e, by)
	}
	return r.activate(ctx, e, by)
}

// wrongRelease counts in memory: a restart forgives at most two tries at 40 bits.
func (r *Registry) wrongRelease(ctx context.Context, e Enrolment, by string) error {
	r.wrong[e.ID]++
	if r.wrong[e.ID] < maxWrongCodes {
		return fmt.Errorf("releasing %s: %w", e.Person, ErrWrongCode)
	}
	void := fmt.Errorf("releasing %s: %w three times; the enrolment is void, invite again", e.Person, ErrWrongCode)
	return errors.Join(void, r.endEnrolment(ctx, e, "wrong release code three times", by))
}

// activate revokes what the person held before and then lets the new enrolment work; cut short in between, the person
// is out and the release can be repeated. The caller holds change.
func (r *Registry) activate(ctx context.Context, e Enrolment, by string) error {
	all, err := r.enrolmentsOf(ctx, e.Person)
	if err != nil {
		return err
	}
	for _, old := range all {
		if old.ID == e.ID || old.State == StateRevoked {
			continue
		}
		if err := r.endEnrolment(ctx, old, "replaced by a newly released enrolment", by); err != nil {
			return err
		}
	}
	if err := r.logOut(ctx, e.Person, ErrRevoked); err != nil {
		return err
	}
	e.State, e.Code, e.ReleasedBy, e.ReleasedAt = StateActive, "", by, r.now().UTC()
	if err := r.store.PutEnrolment(ctx, e); err != nil {
		return fmt.Errorf("storing the release of %s: %w", e.Person, err)
	}
	delete(r.wrong, e.ID)
	r.revocations.lift(e.Person)
	return nil
}
