package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"math/big"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// How command-line logins wait for a browser.
const (
	cliLoginTTL   = 3 * time.Minute
	cliLoginTries = 3
	cliPollFor    = 20 * time.Second // how long one poll waits for the answer
	maxCLILogins  = 10_000
)

// CLILogin is a login on a command line that waits for its person to confirm it at URL, by typing Code there.
type CLILogin struct {
	ID      string    `json:"id"`
	Code    string    `json:"code"`
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// cliLogin is one that waits. Its fields but tries, mfa and taken never change; those are guarded by cliLogins.mu.
type cliLogin struct {
	id, code   string
	credential identity.Credential
	source     netip.Addr
	client     string
	expires    time.Time
	answered   chan struct{} // closed when approved or void

	tries int
	mfa   identity.MFA // set when approved
	taken bool
}

// cliLogins are the ones that wait: one per person, in memory.
type cliLogins struct {
	now func() time.Time

	mu      sync.Mutex // guards waiting
	waiting map[string]*cliLogin
}

func newCLILogins(now func() time.Time) *cliLogins {
	return &cliLogins{now: now, waiting: map[string]*cliLogin{}}
}

// start replaces whatever the person had waiting.
func (l *cliLogins) start(v *visitor) (*cliLogin, error) {
	login := &cliLogin{id: rand.Text(), code: newCode(), credential: v.credential, source: v.source.Addr(), client: v.client,
		expires: l.now().Add(cliLoginTTL), answered: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, old := range l.waiting {
		if old.credential.Person == v.credential.Person || !l.now().Before(old.expires) {
			l.drop(id)
		}
	}
	if len(l.waiting) >= maxCLILogins {
		return nil, fmt.Errorf("starting a login: %w", identity.ErrLimit)
	}
	l.waiting[login.id] = login
	return login, nil
}

// drop forgets a login and wakes who polls it; mu is held.
func (l *cliLogins) drop(id string) {
	if login, ok := l.waiting[id]; ok {
		delete(l.waiting, id)
		if login.mfa.At.IsZero() {
			close(login.answered)
		}
	}
}

// find returns a person's waiting login.
func (l *cliLogins) find(person, id string) (*cliLogin, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.findLocked(person, id)
}

func (l *cliLogins) findLocked(person, id string) (*cliLogin, error) {
	login, ok := l.waiting[id]
	if !ok || login.credential.Person != person {
		return nil, identity.ErrNoPending
	}
	if !l.now().Before(login.expires) {
		l.drop(id)
		return nil, identity.ErrExpired
	}
	return login, nil
}

// check compares the typed code; the third wrong one ends the login.
func (l *cliLogins) check(person, id, code string) (*cliLogin, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	login, err := l.findLocked(person, id)
	if err != nil {
		return nil, err
	}
	if !login.mfa.At.IsZero() {
		return nil, identity.ErrNoPending
	}
	if subtle.ConstantTimeCompare([]byte(bareCode(code)), []byte(bareCode(login.code))) != 1 {
		if login.tries++; login.tries >= cliLoginTries {
			l.drop(id)
		}
		return nil, identity.ErrWrongCode
	}
	return login, nil
}

// approve lets a login in.
func (l *cliLogins) approve(login *cliLogin, mfa identity.MFA) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting[login.id] != login || !login.mfa.At.IsZero() || !l.now().Before(login.expires) {
		return identity.ErrExpired
	}
	login.mfa = mfa
	close(login.answered)
	return nil
}

// take hands an approved login out, once.
func (l *cliLogins) take(login *cliLogin) (identity.MFA, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if login.mfa.At.IsZero() || login.taken {
		return identity.MFA{}, identity.ErrNoPending
	}
	login.taken = true
	delete(l.waiting, login.id)
	return login.mfa, nil
}

const codeAlphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

// newCode makes 8 characters without look-alikes, XXXX-XXXX.
func newCode() string {
	code := make([]byte, 0, 9)
	for i := range 8 {
		if i == 4 {
			code = append(code, '-')
		}
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(codeAlphabet))))
		if err != nil {
			panic(err) // crypto/rand never fails on the systems we run on
		}
		code = append(code, codeAlphabet[n.Int64()])
	}
	return string(code)
}

// bareCode is a code as typed without its dashes, spaces and case.
func bareCode(code string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(code[:min(len(code), 64)]))
}

func (c *Console) apiStartCLILogin(w http.ResponseWriter, r *http.Request, v *visitor) error {
	login, err := c.cliLogins.start(v)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, CLILogin{ID: login.id, Code: login.code, URL: c.cfg.BaseURL + "/cli/" + login.id,
		Expires: login.expires.UTC()})
}

// apiPollCLILogin waits a while for the browser: 202 when nothing happened, 200 with the session when it was approved.
// Only the certificate that started the login is answered.
func (c *Console) apiPollCLILogin(w http.ResponseWriter, r *http.Request, v *visitor) error {
	login, err := c.cliLogins.find(v.credential.Person, r.PathValue("id"))
	if err != nil {
		return err
	}
	if login.credential.SHA256 != v.credential.SHA256 {
		return identity.ErrNoPending
	}
	wait, cancel := context.WithTimeout(r.Context(), cliPollFor)
	defer cancel()
	select {
	case <-login.answered:
	case <-wait.Done():
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	mfa, err := c.cliLogins.take(login)
	if err != nil {
		return err
	}
	opened, err := c.openSession(r, v, "login.api", mfa)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, opened)
}

func (c *Console) apiApproveCLILogin(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Proof
		Code string `json:"code"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	ctx, id := r.Context(), r.PathValue("id")
	mfa, err := c.finish(ctx, v, body.Proof, Confirmation{Purpose: PurposeApproveCLI, ID: id, Code: body.Code})
	if err != nil {
		return err
	}
	login, err := c.cliLogins.check(v.credential.Person, id, body.Code)
	if err != nil {
		return err
	}
	if !sameNetwork(login.source, v.source.Addr()) {
		return c.failed(ctx, v, loginMethod, identity.ErrSource)
	}
	attempt := access.Attempt{Kind: "credential.confirmed", Outcome: recorder.OK, Principal: v.proved(mfa), Method: loginMethod,
		Detail: map[string]any{"what": PurposeApproveCLI, "from": login.source.String()}}
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		return err
	}
	if err := c.cliLogins.approve(login, mfa); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// sameNetwork compares addresses as far as one household or office shares them: IPv4 /24, IPv6 /64, all of loopback.
func sameNetwork(a, b netip.Addr) bool {
	if !a.IsValid() || !b.IsValid() {
		return false
	}
	return a.Unmap().IsLoopback() && b.Unmap().IsLoopback() || network(a, 24) == network(b, 24)
}

// approveView is the page on which a login that waits elsewhere is approved.
type approveView struct {
	Purpose, ID, Path   string
	Lead, Warning, Done string // keys of words
	Facts               []fact
	OtherSource         bool // the login comes from another network than this browser
	Here                string
}

type fact struct {
	Word, Value string
	Code        bool
}

func (c *Console) showCLILogin(w http.ResponseWriter, r *http.Request, v *visitor) error {
	login, err := c.cliLogins.find(v.credential.Person, r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.showApproval(w, r, v, "approve.cli", approveView{
		Purpose: PurposeApproveCLI, ID: login.id, Path: "/api/v1/login/cli/" + login.id + "/approve",
		Facts: []fact{{"person", v.person.ID, false}, {"source", login.source.Unmap().String(), true},
			{"client", login.client, true}},
		OtherSource: !sameNetwork(login.source, v.source.Addr()),
	})
}

func (c *Console) showApproval(w http.ResponseWriter, r *http.Request, v *visitor, title string, data approveView) error {
	data.Lead, data.Done, data.Warning = title+".lead", title+".done", "approve.warning"
	data.Here = v.source.Addr().Unmap().String()
	p := c.newPage(r, v, title, data)
	p.Narrow, p.Scripts = true, []string{"approve.js"}
	c.render(w, http.StatusOK, "approve", p)
	return nil
}
