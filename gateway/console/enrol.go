package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// Enrolled is a client certificate as the enrolment hands it out.
type Enrolled struct {
	Person      string    `json:"person"`
	Vendor      string    `json:"vendor"`
	Serial      string    `json:"serial"`
	NotAfter    time.Time `json:"not_after"`
	Certificate string    `json:"certificate"` // PEM
	Chain       string    `json:"chain"`       // PEM: the certificate, then its issuers
	ConsoleURL  string    `json:"console_url"`
}

// EnrolHandler serves the one host that asks for no client certificate: it trades an invitation and a certificate request
// for a certificate, and publishes what everybody may know. The invitation arrives in the address's fragment, which
// browsers keep to themselves.
func (c *Console) EnrolHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+staticPath, serveStatic())
	mux.HandleFunc("GET /.well-known/jwks.json", c.serveJWKS)
	mux.HandleFunc("GET /ca.pem", c.serveRoot)
	mux.HandleFunc("GET /{$}", c.showEnrol)
	mux.HandleFunc("POST /api/v1/enrol", c.stranger(c.limited(c.apiEnrol)))
	mux.HandleFunc("/", c.stranger(func(http.ResponseWriter, *http.Request, *visitor) error { return errNoRoute }))
	return guarded(sameOrigin(c.cfg.EnrolURL, mux))
}

// serveRoot publishes the root certificate for those who make their own clients.
func (c *Console) serveRoot(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Write(c.cfg.Authority.RootPEM())
}

// stranger wraps a handler for people of whom nothing is known but where they come from.
func (c *Console) stranger(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := newStranger(r)
		err := wantJSON(r)
		if err == nil {
			err = h(w, r, v)
		}
		if err != nil {
			answerProblem(w, c.problemOf(v.lang, err))
		}
	}
}

func newStranger(r *http.Request) *visitor {
	v := &visitor{lang: language(r), client: r.UserAgent()}
	v.source, _ = netip.ParseAddrPort(r.RemoteAddr)
	return v
}

func (c *Console) showEnrol(w http.ResponseWriter, r *http.Request) {
	rememberLanguage(w, r)
	p := c.newPage(r, newStranger(r), "enrol.title", struct{ Console string }{c.cfg.BaseURL})
	p.Narrow, p.Scripts = true, []string{"enrol.js", "copy.js"}
	c.render(w, http.StatusOK, "enrol", p)
}

func (c *Console) apiEnrol(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Token string `json:"token"`
		CSR   string `json:"csr"` // PEM
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	issued, err := c.cfg.Registry.Enrol(r.Context(), body.Token, []byte(body.CSR))
	if err != nil {
		return c.notEnrolled(r.Context(), v, err)
	}
	by := v.principal()
	by.Person, by.Vendor, by.Serial, by.NotAfter = issued.Person, issued.Vendor, issued.Serial, issued.NotAfter
	attempt := access.Attempt{Kind: "enrol.certificate", Outcome: recorder.OK, Principal: by, Method: "invitation"}
	if err := c.cfg.Door.Login(r.Context(), attempt); err != nil {
		return err
	}
	return answer(w, http.StatusCreated, Enrolled{Person: issued.Person, Vendor: issued.Vendor, Serial: issued.Serial,
		NotAfter: issued.NotAfter.UTC(), Certificate: string(issued.CertPEM),
		Chain: string(issued.CertPEM) + string(issued.ChainPEM), ConsoleURL: c.cfg.BaseURL})
}

// notEnrolled puts a failed enrolment on record.
func (c *Console) notEnrolled(ctx context.Context, v *visitor, cause error) error {
	attempt := access.Attempt{Kind: "enrol.certificate", Outcome: recorder.Failed, Principal: v.principal(),
		Method: "invitation", Reason: cause.Error()}
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		c.cfg.Log.Error("a failed enrolment is not on record", zap.Error(err))
	}
	return cause
}

// inviteURL carries the token in the fragment: it reaches no server, log or referrer.
func (c *Console) inviteURL(token string) string {
	return c.cfg.EnrolURL + "/#" + url.PathEscape(token)
}

// Status is how far somebody's enrolment has come.
type Status struct {
	Person     string         `json:"person"`
	Vendor     string         `json:"vendor"`
	State      identity.State `json:"state"`
	Serial     string         `json:"serial"`
	NotAfter   time.Time      `json:"not_after"`
	Code       string         `json:"code,omitempty"` // to read to the second person, while waiting
	LoggedIn   bool           `json:"logged_in"`
	MFAAt      time.Time      `json:"mfa_at,omitzero"`
	Expires    time.Time      `json:"expires,omitzero"` // of the session
	ConsoleURL string         `json:"console_url"`
}

func (c *Console) apiStatus(w http.ResponseWriter, r *http.Request, v *visitor) error {
	status := Status{Person: v.credential.Person, Vendor: v.credential.Vendor, State: v.credential.State,
		Serial: v.credential.Serial, NotAfter: v.credential.NotAfter.UTC(), LoggedIn: v.loggedIn, ConsoleURL: c.cfg.BaseURL}
	if v.loggedIn {
		status.MFAAt, status.Expires = v.web.MFA.At.UTC(), v.web.Expires.UTC()
	}
	code, err := c.code(r.Context(), v)
	if err != nil {
		return err
	}
	status.Code = code
	return answer(w, http.StatusOK, status)
}

// code is the release code of a waiting enrolment, shown to its own person only.
func (c *Console) code(ctx context.Context, v *visitor) (string, error) {
	if v.credential.State != identity.StateWaiting {
		return "", nil
	}
	enrolment, err := c.cfg.Registry.Code(ctx, v.credential.Person)
	if err != nil {
		return "", err
	}
	if enrolment.CertSerial != v.credential.Serial {
		return "", nil
	}
	return enrolment.Code, nil
}

// welcomeView is the second half of an enrolment, on the console's host.
type welcomeView struct {
	Vendor     string
	NotAfter   time.Time
	Registered bool
	Keys       []string
	Code       string
}

func (c *Console) showWelcome(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if v.credential.State == identity.StateActive {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return nil
	}
	vendor, _ := c.cfg.Directory.Current().Vendor(v.person.Vendor)
	data := welcomeView{Vendor: vendorName(vendor, v.lang), NotAfter: v.credential.NotAfter,
		Registered: v.credential.State == identity.StateWaiting}
	code, err := c.code(r.Context(), v)
	if err != nil {
		return err
	}
	data.Code = code
	if data.Registered {
		keys, err := c.cfg.Registry.SSHKeys(r.Context(), v.person.ID)
		if err != nil && !errors.Is(err, identity.ErrNotFound) {
			return err
		}
		for _, k := range keys {
			data.Keys = append(data.Keys, k.Fingerprint)
		}
	}
	p := c.newPage(r, v, "welcome.title", data)
	p.Narrow, p.Scripts = true, []string{"welcome.js"}
	c.render(w, http.StatusOK, "welcome", p)
	return nil
}

func (c *Console) apiBeginRegistration(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id, options, err := c.cfg.Registry.BeginRegistration(r.Context(), v.credential)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, Ceremony{ID: id, Options: options})
}

func (c *Console) apiFinishRegistration(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var proof Proof
	if err := decode(w, r, bodyLimit, &proof); err != nil {
		return err
	}
	attempt := access.Attempt{Kind: "enrol.authenticator", Outcome: recorder.OK, Principal: v.principal(), Method: "webauthn"}
	err := c.cfg.Registry.FinishRegistration(r.Context(), v.credential, proof.Ceremony, proof.Response)
	if err != nil {
		attempt.Outcome, attempt.Reason = recorder.Failed, err.Error()
	}
	if recordErr := c.cfg.Door.Login(r.Context(), attempt); recordErr != nil {
		return errors.Join(err, recordErr)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
