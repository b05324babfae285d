package identity

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Limits of pending SSH logins.
const (
	pendingLifetime = 2 * time.Minute
	maxPendings     = 1024
)

// PendingRequest is an SSH login whose certificate carries no fresh WebAuthn. The SSH handshake has proved Person.
type PendingRequest struct {
	Person       string
	Serial       string // of the SSH certificate
	Source       netip.Addr
	Client       string
	Target       string
	SSHSessionID []byte // ties the approval to this one connection
}

// Pending is a waiting SSH login. Show Code in that person's terminal and nowhere else.
type Pending struct {
	ID      string
	Code    string // XXXX-XXXX
	Expires time.Time

	registry *Registry
	login    *pendingLogin
}

// PendingView is what the approving person sees before they confirm.
type PendingView struct {
	ID      string
	Person  string
	Serial  string
	Source  netip.Addr
	Client  string
	Target  string
	Expires time.Time
}

// pendingLogin ends once: by approval, by an error, or by its time. Its fields after view are guarded by pendings.mu;
// mfa and err may be read once done is closed.
type pendingLogin struct {
	view  PendingView
	bind  []byte
	code  string
	wrong int
	done  chan struct{}
	mfa   MFA
	err   error
}

// pendings are the logins that wait, at most one per person.
type pendings struct {
	mu       sync.Mutex
	byPerson map[string]*pendingLogin
}

// put files a login unless the person has one that still waits.
func (p *pendings) put(l *pendingLogin, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byPerson == nil {
		p.byPerson = map[string]*pendingLogin{}
	}
	for _, old := range p.byPerson {
		if !now.Before(old.view.Expires) {
			p.settle(old, MFA{}, ErrExpired)
		}
	}
	if _, ok := p.byPerson[l.view.Person]; ok {
		return ErrPendingExists
	}
	if len(p.byPerson) >= maxPendings {
		return fmt.Errorf("pending logins: %w; try again in two minutes", ErrLimit)
	}
	p.byPerson[l.view.Person] = l
	return nil
}

// settle ends a login; the first outcome stands. The caller holds mu.
func (p *pendings) settle(l *pendingLogin, mfa MFA, err error) {
	if p.byPerson[l.view.Person] != l {
		return
	}
	delete(p.byPerson, l.view.Person)
	l.mfa, l.err = mfa, err
	close(l.done)
}

// end is settle for callers without the lock.
func (p *pendings) end(l *pendingLogin, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(l, MFA{}, err)
}

// find returns the person's login with this id. The caller holds mu.
func (p *pendings) find(person, id string, now time.Time) (*pendingLogin, error) {
	l, ok := p.byPerson[person]
	if !ok || l.view.ID != id {
		return nil, ErrNoPending
	}
	if !now.Before(l.view.Expires) {
		p.settle(l, MFA{}, ErrExpired)
		return nil, ErrNoPending
	}
	return l, nil
}

// checkCode finds a login and compares the typed code; the third wrong one voids the login. The caller holds mu.
func (p *pendings) checkCode(person, id, code string, now time.Time) (*pendingLogin, error) {
	l, err := p.find(person, id, now)
	if err != nil {
		return nil, err
	}
	if sameCode(code, l.code) {
		return l, nil
	}
	if l.wrong++; l.wrong < maxWrongCodes {
		return nil, ErrWrongCode
	}
	err = fmt.Errorf("%w three times; connect again", ErrWrongCode)
	p.settle(l, MFA{}, err)
	return nil, err
}

func (p *pendings) cancel(person string, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l, ok := p.byPerson[person]; ok {
		p.settle(l, MFA{}, cause)
	}
}

func (p *pendings) cancelSerial(serial string, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.byPerson {
		if l.view.Serial == serial {
			p.settle(l, MFA{}, cause)
		}
	}
}

// Pend files a login for approval: one per person, two minutes, three tries at the code. ErrPendingExists when another
// one waits.
func (r *Registry) Pend(_ context.Context, q PendingRequest) (*Pending, error) {
	if err := checkID("person", q.Person); err != nil {
		return nil, err
	}
	if !q.Source.IsValid() || len(q.SSHSessionID) == 0 {
		return nil, fmt.Errorf("pending login of %s: its source address and SSH session are needed", q.Person)
	}
	now := r.now()
	l := &pendingLogin{
		view: PendingView{ID: "p-" + ulid.Make().String(), Person: q.Person, Serial: q.Serial, Source: plainAddr(q.Source),
			Client: q.Client, Target: q.Target, Expires: now.Add(pendingLifetime)},
		bind: newChallenge(string(q.SSHSessionID), q.Person, q.Serial, q.Source.String(), q.Target)[32:],
		code: newCode(),
		done: make(chan struct{}),
	}
	if err := r.pendings.put(l, now); err != nil {
		return nil, err
	}
	return &Pending{ID: l.view.ID, Code: l.code, Expires: l.view.Expires, registry: r, login: l}, nil
}

// Wait blocks until the login is approved (nil), voided (ErrWrongCode, ErrSource, ErrRevoked), expired (ErrExpired) or
// ctx ends, which withdraws it.
func (p *Pending) Wait(ctx context.Context) (MFA, error) {
	timer := time.NewTimer(p.Expires.Sub(p.registry.now()))
	defer timer.Stop()
	select {
	case <-p.login.done:
	case <-timer.C:
		p.registry.pendings.end(p.login, fmt.Errorf("pending login: %w", ErrExpired))
	case <-ctx.Done():
		p.registry.pendings.end(p.login, context.Cause(ctx))
	}
	<-p.login.done
	return p.login.mfa, p.login.err
}

// PendingFor finds a person's pending login.
func (r *Registry) PendingFor(person string) (PendingView, bool) {
	r.pendings.mu.Lock()
	defer r.pendings.mu.Unlock()
	l, ok := r.pendings.byPerson[person]
	if !ok || !r.now().Before(l.view.Expires) {
		return PendingView{}, false
	}
	return l.view, true
}

// CheckPendingCode says whether the code fits: nil, ErrWrongCode or ErrNoPending. A wrong one counts as a try.
func (r *Registry) CheckPendingCode(person, id, code string) error {
	r.pendings.mu.Lock()
	defer r.pendings.mu.Unlock()
	_, err := r.pendings.checkCode(person, id, code, r.now())
	return err
}

// BeginApproval checks the code and opens the WebAuthn assertion that approves this one pending login: the challenge
// covers its SSH session, certificate, source and target. Finish it with FinishLogin, then ApprovePending.
func (r *Registry) BeginApproval(ctx context.Context, c Credential, id, code string) (
	ceremonyID string, options []byte, err error,
) {
	r.pendings.mu.Lock()
	l, err := r.pendings.checkCode(c.Person, id, code, r.now())
	r.pendings.mu.Unlock()
	if err != nil {
		return "", nil, err
	}
	return r.beginAssertion(ctx, c, purposeApproval+id, l.bind)
}

// ApprovePending lets the login in. mfa must come from the ceremony that BeginApproval opened for this very login, else
// ErrStale. source is the browser's address: when it is not in the SSH client's network (IPv4 /24, IPv6 /64) the login
// is void, because somebody else may have sent the link. Another person's login is ErrNoPending.
func (r *Registry) ApprovePending(ctx context.Context, c Credential, id, code string, mfa MFA, source netip.Addr) error {
	if _, err := r.live(ctx, c, StateActive); err != nil {
		return err
	}
	r.pendings.mu.Lock()
	defer r.pendings.mu.Unlock()
	l, err := r.pendings.checkCode(c.Person, id, code, r.now())
	if err != nil {
		return err
	}
	if err := r.checkFresh(mfa, purposeApproval+id, ceremonyLifetime); err != nil {
		return err
	}
	if !sameNetwork(source, l.view.Source) {
		err := fmt.Errorf("browser at %s, ssh at %s: %w", source, l.view.Source, ErrSource)
		r.pendings.settle(l, MFA{}, err)
		return err
	}
	r.pendings.settle(l, mfa, nil)
	return nil
}

// sameNetwork compares two addresses by IPv4 /24 or IPv6 /64; loopback is one network in both families.
func sameNetwork(a, b netip.Addr) bool {
	if !a.IsValid() || !b.IsValid() {
		return false
	}
	a, b = plainAddr(a), plainAddr(b)
	if a.IsLoopback() && b.IsLoopback() {
		return true
	}
	if a.Is4() != b.Is4() {
		return false
	}
	bits := 64
	if a.Is4() {
		bits = 24
	}
	network, err := a.Prefix(bits)
	return err == nil && network.Contains(b)
}
