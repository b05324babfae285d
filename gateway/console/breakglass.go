package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// Emergency access (break-glass). Declaring one needs no web session and nothing from the store: the client certificate and
// a hardware key prove the person from memory.

// EmergencyDeclaration is what somebody declares. PublicKey gets an SSH certificate; it need not be enrolled.
type EmergencyDeclaration struct {
	Reason    string   `json:"reason"`
	Incident  string   `json:"incident,omitempty"`
	Targets   []string `json:"targets,omitempty"` // none: all that the policy lists
	Minutes   int      `json:"minutes,omitempty"` // 0: as long as the policy allows
	PublicKey string   `json:"public_key,omitempty"`
}

// DeclaredEmergency is what its declarer gets.
type DeclaredEmergency struct {
	Emergency   access.Emergency  `json:"emergency"`
	Certificate *SSHCertificate   `json:"certificate,omitempty"`
	SSH         string            `json:"ssh"` // host:port of the gateway's SSH side
	Targets     []EmergencyTarget `json:"targets"`
}

// EmergencyTarget is a target that the emergency opens.
type EmergencyTarget struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Logins []string `json:"logins,omitempty"`
	URL    string   `json:"url,omitempty"`
}

// EmergencyFile is an emergency with what happened under it.
type EmergencyFile struct {
	access.Emergency
	State string           `json:"state"`
	Ran   []recorder.Event `json:"ran,omitempty"` // its commands, oldest first
}

const (
	emergencyMethod   = "certificate+hardware-key"
	maxDeclaring      = 1000
	maxEmergencyShown = 1000 // commands of one emergency
)

// declaring are the declarations whose confirmation has begun, by ceremony.
type declaring struct {
	now func() time.Time

	mu   sync.Mutex // guards open
	open map[string]declarationBegun
}

type declarationBegun struct {
	id      string // of the emergency
	what    EmergencyDeclaration
	source  netip.Addr        // where the SSH certificate is to work from
	waiting *waitingEmergency // the command line that waits for it, nil for none
	expires time.Time
}

func newDeclaring(now func() time.Time) *declaring {
	return &declaring{now: now, open: map[string]declarationBegun{}}
}

func (d *declaring) add(ceremony string, begun declarationBegun) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for id, old := range d.open {
		if !now.Before(old.expires) {
			delete(d.open, id)
		}
	}
	if len(d.open) >= maxDeclaring {
		return fmt.Errorf("declaring an emergency: %w", identity.ErrLimit)
	}
	begun.expires = now.Add(ceremonyTTL)
	d.open[ceremony] = begun
	return nil
}

func (d *declaring) take(ceremony string) (declarationBegun, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	begun, ok := d.open[ceremony]
	delete(d.open, ceremony)
	return begun, ok && d.now().Before(begun.expires)
}

// routeEmergencies routes what people named for emergencies do, and what others see of it and say about it.
func (c *Console) routeEmergencies(mux *http.ServeMux) {
	mux.Handle("POST /api/v1/break-glass/begin", c.namedAPI(c.limited(c.apiBeginEmergency)))
	mux.Handle("POST /api/v1/break-glass/declare", c.namedAPI(c.limited(c.apiDeclareEmergency)))
	mux.Handle("POST /api/v1/break-glass/waiting", c.namedAPI(c.limited(c.apiStartEmergency)))
	mux.Handle("GET /api/v1/break-glass/waiting/{id}", c.namedAPI(c.apiPollEmergency))
	mux.HandleFunc("POST /api/v1/break-glass/{id}/end", c.apiEndEmergency)
	mux.Handle("GET /api/v1/break-glass", c.api(loggedIn, c.apiEmergencies))
	mux.Handle("GET /api/v1/break-glass/{id}", c.api(loggedIn, c.apiEmergency))
	mux.Handle("POST /api/v1/break-glass/{id}/review", c.api(loggedIn, c.apiReviewEmergency))
	mux.Handle("GET /break-glass", c.namedPage(c.showDeclaring))
	mux.Handle("GET /break-glass/waiting/{id}", c.namedPage(c.showWaitingEmergency))
	mux.Handle("GET /emergencies", c.page(loggedIn, c.showEmergencies))
	mux.Handle("GET /emergencies/{id}", c.page(loggedIn, c.showEmergency))
	mux.Handle("POST /emergencies/{id}/review", c.page(loggedIn, c.reviewEmergencyPage))
	mux.Handle("POST /emergencies/{id}/end", c.page(loggedIn, c.endEmergencyPage))
}

// namedAPI wraps a handler of the API that works without the store, for people named for emergencies.
func (c *Console) namedAPI(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.meetNamed(r)
		if err == nil {
			err = wantJSON(r)
		}
		if err == nil {
			err = h(w, r, v)
		}
		if err != nil {
			answerProblem(w, c.problemOf(v.lang, err))
		}
	})
}

func (c *Console) namedPage(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rememberLanguage(w, r)
		v, err := c.meetNamed(r)
		if err == nil {
			err = h(w, r, v)
		}
		if err != nil {
			c.showProblem(w, r, v, err)
		}
	})
}

// meetNamed proves a visitor from memory: somebody named for emergencies, by their client certificate.
func (c *Console) meetNamed(r *http.Request) (*visitor, error) {
	v := &visitor{lang: language(r), client: r.UserAgent()}
	v.source, _ = netip.ParseAddrPort(r.RemoteAddr)
	credential, err := c.cfg.Registry.EmergencyClient(r.TLS)
	if errors.Is(err, identity.ErrNotNamed) {
		return c.refuseUnnamed(r, v, err)
	}
	if err != nil {
		return v, c.refuseCertificate(r, v, err)
	}
	v.credential = credential
	person, known := c.cfg.Directory.Current().Person(credential.Person)
	if !known || person.Vendor != credential.Vendor {
		return v, c.refuseCertificate(r, v, errNotListed)
	}
	v.person = person
	return v, nil
}

// refuseUnnamed puts on record who tried, as far as the store tells whose certificate it is.
func (c *Console) refuseUnnamed(r *http.Request, v *visitor, cause error) (*visitor, error) {
	patient, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	met, err := c.meet(r.WithContext(patient), active)
	if err != nil {
		return v, cause
	}
	if !c.noted.allow(met.source.Addr(), met.person.ID) {
		return met, errTooFast
	}
	if _, err := c.cfg.Door.MayDeclare(r.Context(), met.principal(), access.Declaration{}); err != nil {
		return met, err
	}
	return met, cause // named a moment ago
}

func (c *Console) apiBeginEmergency(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		EmergencyDeclaration
		Waiting string `json:"waiting,omitempty"` // instead of a declaration: the command line's that waits
		Code    string `json:"code,omitempty"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	begun := declarationBegun{id: access.NewEmergencyID(), what: body.EmergencyDeclaration, source: v.source.Addr()}
	if body.Waiting != "" {
		waiting, err := c.waitingEmergencies.check(v.credential.Person, body.Waiting, body.Code)
		if err != nil {
			return c.failed(r.Context(), v, emergencyMethod, err)
		}
		if !sameNetwork(waiting.source, v.source.Addr()) {
			return c.failed(r.Context(), v, emergencyMethod, identity.ErrSource)
		}
		begun.what, begun.source, begun.waiting = waiting.what, waiting.source, waiting
	}
	if _, err := c.cfg.Door.MayDeclare(r.Context(), v.principal(), begun.declaration()); err != nil {
		return err
	}
	about, err := json.Marshal(begun.what)
	if err != nil {
		return err
	}
	id, options, err := c.cfg.Registry.BeginEmergency(v.credential, begun.id, about)
	if err != nil {
		return c.failed(r.Context(), v, emergencyMethod, err)
	}
	if err := c.declaring.add(id, begun); err != nil {
		return err
	}
	return answer(w, http.StatusOK, Ceremony{ID: id, Options: options})
}

func (b declarationBegun) declaration() access.Declaration {
	return access.Declaration{ID: b.id, Reason: b.what.Reason, Incident: b.what.Incident, Targets: b.what.Targets,
		Minutes: b.what.Minutes}
}

func (c *Console) apiDeclareEmergency(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Proof
		Cookie bool `json:"cookie"` // log the browser in for as long as it lasts
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	begun, ok := c.declaring.take(body.Ceremony)
	if !ok {
		return c.failed(r.Context(), v, emergencyMethod, identity.ErrCeremony)
	}
	mfa, err := c.cfg.Registry.FinishEmergency(v.credential, body.Ceremony, body.Response)
	if err != nil {
		return c.failed(r.Context(), v, emergencyMethod, err)
	}
	declared, err := c.declare(r.Context(), v, mfa, begun)
	if err != nil {
		return err
	}
	if body.Cookie {
		cookie, err := c.cfg.Registry.OpenEmergencySession(v.credential, c.cfg.Host, mfa)
		if err != nil {
			return err
		}
		setSessionCookie(w, cookie)
	}
	if begun.waiting != nil {
		begun.waiting.answer(declared)
		declared.Certificate = nil
	}
	return answer(w, http.StatusCreated, declared)
}

// declare makes the SSH certificate, which works only once the emergency is declared with it, and declares.
func (c *Console) declare(ctx context.Context, v *visitor, mfa identity.MFA, begun declarationBegun) (DeclaredEmergency, error) {
	by, declaration := v.proved(mfa), begun.declaration()
	declared := DeclaredEmergency{SSH: c.cfg.SSH}
	if begun.what.PublicKey != "" {
		until, err := c.cfg.Door.MayDeclare(ctx, by, declaration)
		if err != nil {
			return declared, err
		}
		cert, err := c.cfg.Registry.IssueEmergencySSH(v.credential, begun.what.PublicKey, mfa, begun.source, until)
		if err != nil {
			return declared, err
		}
		issued := sshCertificate(cert)
		declared.Certificate = &issued
		declaration.SSHSerial, declaration.Fingerprint = fmt.Sprint(cert.Serial), ssh.FingerprintSHA256(cert.Key)
	}
	attempt := access.Attempt{Kind: "credential.confirmed", Outcome: recorder.OK, Principal: by, Method: emergencyMethod,
		Detail: map[string]any{"what": "break-glass", "emergency": begun.id, "fingerprint": declaration.Fingerprint,
			"serial": declaration.SSHSerial}}
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		return declared, err
	}
	var err error
	if declared.Emergency, err = c.cfg.Door.Declare(ctx, by, declaration); err != nil {
		return declared, err
	}
	declared.Targets = c.emergencyTargets(declared.Emergency)
	return declared, nil
}

func sshCertificate(cert *ssh.Certificate) SSHCertificate {
	return SSHCertificate{Certificate: string(ssh.MarshalAuthorizedKey(cert)), Serial: cert.Serial,
		Principal: strings.Join(cert.ValidPrincipals, ","), Source: cert.CriticalOptions["source-address"],
		ValidBefore: time.Unix(int64(cert.ValidBefore), 0).UTC()}
}

// emergencyTargets lists what an emergency opens, for its declarer.
func (c *Console) emergencyTargets(e access.Emergency) []EmergencyTarget {
	var list []EmergencyTarget
	for _, t := range c.cfg.Directory.Current().Targets() {
		if !c.cfg.Door.EmergencyCovers(e, t.Name) {
			continue
		}
		shown := EmergencyTarget{Name: t.Name, Kind: t.Kind()}
		if t.SSH != nil {
			shown.Logins = append(append(shown.Logins, t.Logins...), t.AdminLogins...)
		}
		if t.HTTPS != nil {
			shown.URL = c.appURL(t.HTTPS.Host) + "/"
		}
		list = append(list, shown)
	}
	return list
}

// apiEndEmergency ends one's own by the certificate alone, which needs no store, or anybody's in a web session.
func (c *Console) apiEndEmergency(w http.ResponseWriter, r *http.Request) {
	v, err := c.meetNamed(r)
	if err != nil || !c.owns(v, r.PathValue("id")) {
		v, err = c.meet(r, loggedIn)
	}
	if err == nil {
		err = wantJSON(r)
	}
	if err == nil {
		err = c.endEmergency(w, r, v)
	}
	if err != nil {
		answerProblem(w, c.problemOf(v.lang, err))
	}
}

func (c *Console) owns(v *visitor, id string) bool {
	for _, e := range c.cfg.Door.OpenEmergencies() {
		if e.ID == id {
			return e.Person == v.person.ID
		}
	}
	return false
}

func (c *Console) endEmergency(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body reasoned
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	if err := c.cfg.Door.EndEmergency(r.Context(), v.principal(), r.PathValue("id"), body.Reason); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Console) apiEmergencies(w http.ResponseWriter, r *http.Request, v *visitor) error {
	list, err := c.cfg.Door.Emergencies(r.Context(), v.principal(), r.URL.Query().Get("open") == "1")
	if err != nil {
		return err
	}
	shown := make([]EmergencyFile, 0, len(list))
	for _, e := range list {
		shown = append(shown, EmergencyFile{Emergency: e, State: e.State()})
	}
	return answerLines(c, w, each(shown))
}

func (c *Console) apiEmergency(w http.ResponseWriter, r *http.Request, v *visitor) error {
	file, err := c.emergencyFile(r.Context(), v, r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, file)
}

// emergencyFile is an emergency with its commands.
func (c *Console) emergencyFile(ctx context.Context, v *visitor, id string) (EmergencyFile, error) {
	e, err := c.cfg.Door.Emergency(ctx, v.principal(), id)
	if err != nil {
		return EmergencyFile{}, err
	}
	ran, err := c.cfg.Door.EmergencyCommands(ctx, e, maxEmergencyShown)
	return EmergencyFile{Emergency: e, State: e.State(), Ran: ran}, err
}

func (c *Console) apiReviewEmergency(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Verdict string `json:"verdict"`
		Reason  string `json:"reason"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	e, err := c.cfg.Door.ReviewEmergency(r.Context(), v.principal(), r.PathValue("id"), body.Verdict, body.Reason)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, EmergencyFile{Emergency: e, State: e.State()})
}

// ownEmergency is the visitor's live one, for what is only shown.
func (c *Console) ownEmergency(person directory.Person) *policy.BreakGlass {
	for _, e := range c.cfg.Door.OpenEmergencies() {
		if e.Person == person.ID && e.State() == access.EmergencyLive {
			return &policy.BreakGlass{ID: e.ID, Until: e.Until}
		}
	}
	return nil
}
