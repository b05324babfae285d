// Package console is the gateway's own face: the pages people see and the JSON API that the command line speaks. It proves
// who is there with the identity registry and has every act pass the door; it decides nothing itself. Handler serves the
// console's host behind client certificates, EnrolHandler the one host without, BootstrapHandler the folder's socket.
// Client speaks the API.
package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder/audit"
)

// Config is what a Console is made of. Every field without "optional" is required.
type Config struct {
	Door      *access.Door
	Registry  *identity.Registry
	Authority *identity.Authority
	Directory *directory.Live
	Policy    *revision.Live
	Engine    *policy.Engine
	Audit     *audit.Log

	Host      string // the console's host name, without port; sessions are bound to it
	EnrolHost string // the host name without client certificates, without port
	BaseURL   string // the console's origin as browsers see it, https://console.example.com:8443
	EnrolURL  string // the enrolment host's origin
	SSH       string // optional: host:port that contractors' ssh connects to, shown to them; Host when ""

	Zone *time.Location   // optional: in which times are shown, UTC when nil
	Now  func() time.Time // optional, time.Now when nil
	Log  *zap.Logger      // optional, silent when nil
}

// Console serves the pages and the API.
type Console struct {
	cfg        Config
	limits     *limiter // of attempts by people a certificate has proved
	strangers  *limiter // of attempts by anybody else: what fills this list does not lock those out
	noted      *limiter // of refused certificates put on record
	ceremonies *ceremonies
	cliLogins  *cliLogins
	simulating chan struct{} // bounds how many simulations run at once
	linkKey    []byte        // signs links to requests

	declaring          *declaring
	waitingEmergencies *waitingEmergencies
}

// New checks the configuration.
func New(cfg Config) (*Console, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	linkKey, err := cfg.Authority.DeriveKey(linkPurpose)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return &Console{cfg: cfg, limits: newLimiter(cfg.Now), strangers: newLimiter(cfg.Now), noted: newLimiter(cfg.Now),
		ceremonies: newCeremonies(cfg.Now), cliLogins: newCLILogins(cfg.Now), simulating: make(chan struct{}, 1), linkKey: linkKey,
		declaring: newDeclaring(cfg.Now), waitingEmergencies: newWaitingEmergencies(cfg.Now)}, nil
}

func (c *Config) complete() error {
	switch {
	case c.Door == nil, c.Registry == nil, c.Authority == nil, c.Directory == nil, c.Policy == nil, c.Engine == nil, c.Audit == nil:
		return errors.New("door, registry, authority, directory, policy, engine and audit log are all required")
	case c.Host == "" || c.EnrolHost == "" || c.Host == c.EnrolHost:
		return errors.New("the console and the enrolment need two different host names")
	}
	for name, origin := range map[string]string{"base URL": c.BaseURL, "enrolment URL": c.EnrolURL} {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" {
			return fmt.Errorf("the %s %q is not an origin like https://console.example.com:8443", name, origin)
		}
	}
	if c.SSH == "" {
		c.SSH = c.Host
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return nil
}

// Handler serves the console's host. The requests' TLS state must carry the verified chains of the client's certificate.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+staticPath, serveStatic())
	mux.HandleFunc("GET /.well-known/jwks.json", c.serveJWKS)
	c.routePages(mux)
	c.routeOwnAPI(mux)
	c.routeStaffAPI(mux)
	c.routeEmergencies(mux)
	c.routePolicyAPI(mux)
	mux.Handle("/api/", c.api(anyone, func(http.ResponseWriter, *http.Request, *visitor) error { return errNoRoute }))
	mux.Handle("/", c.page(anyone, func(http.ResponseWriter, *http.Request, *visitor) error { return errNoRoute }))
	return guarded(sameOrigin(c.cfg.BaseURL, mux))
}

func (c *Console) routePages(mux *http.ServeMux) {
	mux.Handle("GET /{$}", c.page(loggedIn, c.showStart))
	mux.Handle("GET /welcome", c.page(certified, c.showWelcome))
	mux.Handle("GET /login", c.page(active, c.showLogin))
	mux.Handle("POST /onward", c.page(loggedIn, c.showOnward))
	mux.Handle("POST /logout", c.page(active, c.logOut))
	mux.Handle("GET /ssh/{id}", c.page(active, c.showSSHLogin))
	mux.Handle("GET /cli/{id}", c.page(active, c.showCLILogin))
	mux.Handle("GET /targets", c.page(loggedIn, c.showTargets))
	mux.Handle("GET /ssh", c.page(loggedIn, c.showSSH))
	mux.Handle("GET /requests", c.page(loggedIn, c.showRequests))
	mux.Handle("GET /requests/new", c.page(loggedIn, c.showAsking))
	mux.Handle("POST /requests", c.page(loggedIn, c.limited(c.askOnPage)))
	mux.Handle("GET /requests/{id}", c.page(loggedIn, c.showRequest))
	mux.Handle("POST /requests/{id}/reason", c.page(loggedIn, c.addReasonOnPage))
	mux.Handle("POST /requests/{id}/cancel", c.page(loggedIn, c.cancelOnPage))
	mux.Handle("GET /r/{token}", c.page(loggedIn, c.followLink))
	mux.Handle("GET /sessions", c.page(loggedIn, c.showSessions))
	mux.Handle("GET /sessions/{id}", c.page(loggedIn, c.showSession))
	mux.Handle("GET /sessions/{id}/watch", c.page(loggedIn, c.showWatch))
	mux.Handle("POST /sessions/{id}/end", c.page(loggedIn, c.endSessionPage))
	mux.Handle("GET /decisions/{id}", c.page(loggedIn, c.showDecision))
	mux.Handle("GET /policy", c.page(loggedIn, c.showPolicyPage))
	mux.Handle("GET /policy/{number}", c.page(loggedIn, c.showRevision))
	mux.Handle("POST /policy/{number}", c.page(loggedIn, c.answerRevision))
	mux.Handle("POST /policy/{number}/simulation", c.page(loggedIn, c.limited(c.simulateRevision)))
	mux.Handle("GET /audit", c.page(loggedIn, c.showAudit))
	mux.Handle("GET /people", c.page(loggedIn, c.showPeople))
	mux.Handle("POST /people/{person}/release", c.page(loggedIn, c.limited(c.releasePage)))
}

// routeOwnAPI routes what people do for themselves.
func (c *Console) routeOwnAPI(mux *http.ServeMux) {
	mux.Handle("GET /api/v1/status", c.api(certified, c.apiStatus))
	mux.Handle("POST /api/v1/registration/begin", c.api(certified, c.limited(c.apiBeginRegistration)))
	mux.Handle("POST /api/v1/registration/finish", c.api(certified, c.limited(c.apiFinishRegistration)))
	mux.Handle("POST /api/v1/login/begin", c.api(active, c.limited(c.apiBeginLogin)))
	mux.Handle("POST /api/v1/login/finish", c.api(active, c.limited(c.apiFinishLogin)))
	mux.Handle("POST /api/v1/login/cli", c.api(active, c.limited(c.apiStartCLILogin)))
	mux.Handle("GET /api/v1/login/cli/{id}", c.api(active, c.apiPollCLILogin))
	mux.Handle("POST /api/v1/login/cli/{id}/approve", c.api(active, c.limited(c.apiApproveCLILogin)))
	mux.Handle("POST /api/v1/logout", c.api(active, c.apiLogOut))
	mux.Handle("GET /api/v1/me", c.api(loggedIn, c.apiMe))
	mux.Handle("GET /api/v1/me/requests", c.api(loggedIn, c.apiOwnRequests))
	mux.Handle("POST /api/v1/me/requests", c.api(loggedIn, c.limited(c.apiAsk)))
	mux.Handle("POST /api/v1/me/requests/{id}/reason", c.api(loggedIn, c.apiAddReason))
	mux.Handle("POST /api/v1/me/requests/{id}/cancel", c.api(loggedIn, c.apiCancelRequest))
	mux.Handle("GET /api/v1/me/leases", c.api(loggedIn, c.apiOwnLeases))
	mux.Handle("POST /api/v1/ssh/keys", c.api(certified, c.limited(c.apiAddSSHKey)))
	mux.Handle("POST /api/v1/ssh/certificates", c.api(loggedIn, c.limited(c.apiIssueSSH)))
	mux.Handle("GET /api/v1/ssh/pending", c.api(active, c.apiPendingSSH))
	mux.Handle("POST /api/v1/ssh/pending/{id}/approve", c.api(active, c.limited(c.apiApproveSSH)))
}

// routeStaffAPI routes what the company's own people do.
func (c *Console) routeStaffAPI(mux *http.ServeMux) {
	mux.Handle("POST /api/v1/invitations", c.api(loggedIn, c.apiInvite))
	mux.Handle("GET /api/v1/enrolments", c.api(loggedIn, c.apiEnrolments))
	mux.Handle("POST /api/v1/people/{person}/release", c.api(loggedIn, c.limited(c.apiRelease)))
	mux.Handle("POST /api/v1/people/{person}/revoke", c.api(loggedIn, c.apiRevoke))
	mux.Handle("GET /api/v1/directory", c.api(loggedIn, c.apiDirectory))
	mux.Handle("POST /api/v1/directory/plan", c.api(loggedIn, c.apiPlan))
	mux.Handle("POST /api/v1/directory/apply", c.api(loggedIn, c.apiApply))
	mux.Handle("GET /api/v1/requests", c.api(loggedIn, c.apiRequests))
	mux.Handle("GET /api/v1/requests/{id}", c.api(loggedIn, c.apiRequest))
	mux.Handle("GET /api/v1/requests/{id}/link", c.api(loggedIn, c.apiRequestLink))
	mux.Handle("POST /api/v1/requests/{id}/answer", c.api(loggedIn, c.limited(c.apiAnswerRequest)))
	mux.Handle("POST /api/v1/requests/{id}/approve", c.api(loggedIn, c.apiApproveRequest))
	mux.Handle("POST /api/v1/requests/{id}/deny", c.api(loggedIn, c.apiDenyRequest))
	mux.Handle("GET /api/v1/leases", c.api(loggedIn, c.apiLeases))
	mux.Handle("POST /api/v1/leases/{id}/revoke", c.api(loggedIn, c.apiRevokeLease))
	mux.Handle("GET /api/v1/sessions", c.api(loggedIn, c.apiSessions))
	mux.Handle("GET /api/v1/sessions/{id}", c.api(loggedIn, c.apiSession))
	mux.Handle("POST /api/v1/sessions/{id}/end", c.api(loggedIn, c.apiEndSession))
	mux.Handle("GET /api/v1/sessions/{id}/recording", c.api(loggedIn, c.apiRecording))
	mux.Handle("GET /api/v1/sessions/{id}/watch", c.api(loggedIn, c.apiWatch))
	mux.Handle("GET /api/v1/audit", c.api(loggedIn, c.apiAudit))
	mux.Handle("POST /api/v1/targets/{target}/host-certificate", c.api(loggedIn, c.apiCertifyHost))
	mux.Handle("GET /api/v1/vendors", c.api(loggedIn, c.apiVendors))
	mux.Handle("GET /api/v1/vendors/{id}", c.api(loggedIn, c.apiVendor))
	mux.Handle("POST /api/v1/vendors/{id}/cut-off", c.api(loggedIn, c.apiCutOff))
	mux.Handle("POST /api/v1/vendors/{id}/restore", c.api(loggedIn, c.apiRestore))
}

// serveJWKS publishes the keys that apps verify the gateway's identity tokens with.
func (c *Console) serveJWKS(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Write(c.cfg.Authority.JWKS())
}

// appURL is an app's origin as browsers see it: its host on the console's port.
func (c *Console) appURL(host string) string {
	base, _ := url.Parse(c.cfg.BaseURL)
	if port := base.Port(); port != "" {
		host += ":" + port
	}
	return "https://" + host
}

// local cleans a path to go on to: one of this host, never another.
func local(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") ||
		strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") || strings.HasPrefix(u.Path, "//") {
		return "/"
	}
	return u.RequestURI()
}
