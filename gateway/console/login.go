package console

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// Login is an open session. Session goes into Client or an Authorization header; browsers get a cookie instead.
type Login struct {
	Person  string    `json:"person"`
	Session string    `json:"session,omitempty"`
	Expires time.Time `json:"expires"`
}

const loginMethod = "certificate+webauthn"

func (c *Console) apiBeginLogin(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var what Confirmation
	if err := decode(w, r, bodyLimit, &what); err != nil {
		return err
	}
	ceremony, err := c.begin(r.Context(), v, what)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, ceremony)
}

func (c *Console) apiFinishLogin(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Proof
		Cookie bool `json:"cookie"` // keep the session in a cookie rather than in the answer
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	mfa, err := c.finish(r.Context(), v, body.Proof, Confirmation{Purpose: PurposeLogin})
	if err != nil {
		return err
	}
	kind := "login.api"
	if body.Cookie {
		kind = "login.web"
	}
	login, err := c.openSession(r, v, kind, mfa)
	if err != nil {
		return err
	}
	if body.Cookie {
		setSessionCookie(w, login.Session)
		login.Session = ""
	}
	return answer(w, http.StatusOK, login)
}

// openSession logs a visitor in, if policy lets them in here at all (C-1, C-3, C-4): on record first, then in force.
func (c *Console) openSession(r *http.Request, v *visitor, kind string, mfa identity.MFA) (Login, error) {
	ctx := r.Context()
	if err := c.cfg.Door.Act(ctx, v.proved(mfa), "gateway.self.login", ""); err != nil {
		return Login{}, c.failed(ctx, v, loginMethod, err)
	}
	attempt := access.Attempt{Kind: kind, Outcome: recorder.OK, Principal: v.proved(mfa), Method: loginMethod}
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		return Login{}, err
	}
	value, err := c.cfg.Registry.OpenWebSession(ctx, v.credential, c.cfg.Host, mfa)
	if err != nil {
		return Login{}, err
	}
	web, err := c.cfg.Registry.WebSession(ctx, value, c.cfg.Host, v.credential)
	if err != nil {
		return Login{}, fmt.Errorf("opening a session: %w", err)
	}
	return Login{Person: v.person.ID, Session: value, Expires: web.Expires}, nil
}

func setSessionCookie(w http.ResponseWriter, value string) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: value, Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode})
}

func dropSessionCookie(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode})
}

// loginView is the page that asks for the authenticator.
type loginView struct {
	App      string // the app's host that follows, "" for the console
	Vendor   string
	NotAfter time.Time
	Source   string
	Next     string
}

// showLogin asks for the authenticator, or passes on somebody who is logged in. ?return= is a path here or an address of
// an app behind the gateway; anything else leads to the start. ?again=1 asks even who is logged in.
func (c *Console) showLogin(w http.ResponseWriter, r *http.Request, v *visitor) error {
	wanted := r.URL.Query().Get("return")
	app, isApp := c.appReturn(wanted)
	again := r.URL.Query().Get("again") == "1"
	if v.loggedIn && !again {
		if !isApp {
			http.Redirect(w, r, local(wanted), http.StatusSeeOther)
			return nil
		}
		return c.showPassOn(w, r, v, app)
	}
	next := "/login?return=" + url.QueryEscape(wanted)
	vendor, _ := c.cfg.Directory.Current().Vendor(v.person.Vendor)
	data := loginView{Vendor: vendorName(vendor, v.lang), NotAfter: v.credential.NotAfter,
		Source: v.source.Addr().Unmap().String(), Next: next}
	if isApp {
		data.App = app.Hostname()
	}
	p := c.newPage(r, v, "login.title", data)
	p.Narrow, p.LoggedIn, p.Nav, p.Scripts = true, false, nil, []string{"login.js"}
	c.render(w, http.StatusOK, "login", p)
	return nil
}

// appReturn recognises the address of an app behind this gateway.
func (c *Console) appReturn(address string) (*url.URL, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil {
		return nil, false
	}
	target, ok := c.cfg.Directory.Current().TargetByHost(u.Hostname())
	if !ok || target.HTTPS == nil || u.Scheme+"://"+u.Host != c.appURL(target.HTTPS.Host) {
		return nil, false
	}
	return u, true
}

// onwardView is a form that is sent by itself, with a button for when it is not.
type onwardView struct {
	App    string
	Action string
	Fields []field
}

type field struct{ Name, Value string }

// showPassOn is the first half of the way to an app: the token is made only for a POST of this very page.
func (c *Console) showPassOn(w http.ResponseWriter, r *http.Request, v *visitor, app *url.URL) error {
	data := onwardView{App: app.Hostname(), Action: "/onward", Fields: []field{{"return", app.String()}}}
	p := c.newPage(r, v, "onward.title", data)
	p.Narrow, p.Scripts = true, []string{"submit.js"}
	c.render(w, http.StatusOK, "onward", p)
	return nil
}

// showOnward makes the one-time token and has the browser carry it to the app's host in a form, so that it stands in no
// address.
func (c *Console) showOnward(w http.ResponseWriter, r *http.Request, v *visitor) error {
	app, ok := c.appReturn(formValue(w, r, "return"))
	if !ok {
		return badRequest("return: not an app behind this gateway")
	}
	target, _ := c.cfg.Directory.Current().TargetByHost(app.Hostname())
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.self.handoff", target.Name); err != nil {
		return err
	}
	token, err := c.cfg.Registry.Handoff(r.Context(), v.web, target.HTTPS.Host)
	if err != nil {
		return err
	}
	origin := c.appURL(target.HTTPS.Host)
	data := onwardView{App: target.HTTPS.Host, Action: origin + "/.sekisho/session",
		Fields: []field{{"token", token}, {"return", app.RequestURI()}}}
	w.Header().Set("Content-Security-Policy", contentPolicy(origin))
	w.Header().Set("Referrer-Policy", "strict-origin") // the app's host checks where the form comes from
	p := c.newPage(r, v, "onward.title", data)
	p.Narrow, p.Scripts = true, []string{"submit.js"}
	c.render(w, http.StatusOK, "onward", p)
	return nil
}

func formValue(w http.ResponseWriter, r *http.Request, name string) string {
	r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
	return r.PostFormValue(name)
}

func (c *Console) logOut(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := c.closeSession(r, v); err != nil {
		return err
	}
	dropSessionCookie(w)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

func (c *Console) apiLogOut(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := c.closeSession(r, v); err != nil {
		return err
	}
	dropSessionCookie(w)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// closeSession ends all of a person's web sessions, those with apps included.
func (c *Console) closeSession(r *http.Request, v *visitor) error {
	if !v.loggedIn {
		return nil
	}
	if err := c.cfg.Registry.CloseWebSessions(r.Context(), v.person.ID); err != nil {
		return err
	}
	return c.cfg.Door.Login(r.Context(), access.Attempt{Kind: "logout", Outcome: recorder.OK, Principal: v.principal()})
}
