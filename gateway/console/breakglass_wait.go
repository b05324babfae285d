package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

// WaitingEmergency is a declaration on a command line that waits for its person to confirm it at URL, by typing Code there.
type WaitingEmergency struct {
	ID      string    `json:"id"`
	Code    string    `json:"code"`
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// waitingEmergency is one that waits. Its fields but tries and declared never change; those are guarded by the list's mu.
type waitingEmergency struct {
	list       *waitingEmergencies
	id, code   string
	what       EmergencyDeclaration
	credential identity.Credential
	source     netip.Addr
	client     string
	expires    time.Time
	answered   chan struct{} // closed when declared or void

	tries    int
	declared *DeclaredEmergency
}

// waitingEmergencies are the ones that wait: one per person, in memory.
type waitingEmergencies struct {
	now func() time.Time

	mu      sync.Mutex // guards waiting
	waiting map[string]*waitingEmergency
}

func newWaitingEmergencies(now func() time.Time) *waitingEmergencies {
	return &waitingEmergencies{now: now, waiting: map[string]*waitingEmergency{}}
}

// start replaces whatever the person had waiting.
func (l *waitingEmergencies) start(v *visitor, what EmergencyDeclaration) (*waitingEmergency, error) {
	e := &waitingEmergency{list: l, id: rand.Text(), code: newCode(), what: what, credential: v.credential,
		source: v.source.Addr(), client: v.client, expires: l.now().Add(cliLoginTTL), answered: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, old := range l.waiting {
		if old.credential.Person == v.credential.Person || !l.now().Before(old.expires) {
			l.drop(old)
		}
	}
	if len(l.waiting) >= maxDeclaring {
		return nil, fmt.Errorf("declaring an emergency: %w", identity.ErrLimit)
	}
	l.waiting[e.id] = e
	return e, nil
}

// drop forgets one and wakes who polls it; mu is held.
func (l *waitingEmergencies) drop(e *waitingEmergency) {
	if l.waiting[e.id] != e {
		return
	}
	delete(l.waiting, e.id)
	if e.declared == nil {
		close(e.answered)
	}
}

func (l *waitingEmergencies) find(person, id string) (*waitingEmergency, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.waiting[id]
	if !ok || e.credential.Person != person {
		return nil, identity.ErrNoPending
	}
	if !l.now().Before(e.expires) {
		l.drop(e)
		return nil, identity.ErrExpired
	}
	return e, nil
}

// check compares the typed code; the third wrong one ends the wait.
func (l *waitingEmergencies) check(person, id, code string) (*waitingEmergency, error) {
	e, err := l.find(person, id)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.declared != nil || l.waiting[id] != e {
		return nil, identity.ErrNoPending
	}
	if subtle.ConstantTimeCompare([]byte(bareCode(code)), []byte(bareCode(e.code))) != 1 {
		if e.tries++; e.tries >= cliLoginTries {
			l.drop(e)
		}
		return nil, identity.ErrWrongCode
	}
	return e, nil
}

// answer hands the declared emergency to the command line, if it still waits.
func (e *waitingEmergency) answer(declared DeclaredEmergency) {
	e.list.mu.Lock()
	defer e.list.mu.Unlock()
	if e.list.waiting[e.id] == e && e.declared == nil {
		e.declared = &declared
		close(e.answered)
	}
}

// take hands it out, once.
func (l *waitingEmergencies) take(e *waitingEmergency) (DeclaredEmergency, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.declared == nil || l.waiting[e.id] != e {
		return DeclaredEmergency{}, identity.ErrNoPending
	}
	delete(l.waiting, e.id)
	return *e.declared, nil
}

func (c *Console) apiStartEmergency(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var what EmergencyDeclaration
	if err := decode(w, r, bodyLimit, &what); err != nil {
		return err
	}
	if _, err := c.cfg.Door.MayDeclare(r.Context(), v.principal(), declarationBegun{what: what}.declaration()); err != nil {
		return err
	}
	e, err := c.waitingEmergencies.start(v, what)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, WaitingEmergency{ID: e.id, Code: e.code,
		URL: c.cfg.BaseURL + "/break-glass/waiting/" + e.id, Expires: e.expires.UTC()})
}

// apiPollEmergency waits a while for the browser: 202 when nothing happened, 200 with the emergency when it was declared.
// Only the certificate that started the wait is answered.
func (c *Console) apiPollEmergency(w http.ResponseWriter, r *http.Request, v *visitor) error {
	e, err := c.waitingEmergencies.find(v.credential.Person, r.PathValue("id"))
	if err != nil {
		return err
	}
	if e.credential.SHA256 != v.credential.SHA256 {
		return identity.ErrNoPending
	}
	wait, cancel := context.WithTimeout(r.Context(), cliPollFor)
	defer cancel()
	select {
	case <-e.answered:
	case <-wait.Done():
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	declared, err := c.waitingEmergencies.take(e)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, declared)
}
