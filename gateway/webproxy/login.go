package webproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// maxReturn is the longest path and query that a login leads back to.
const maxReturn = 2 << 10

// webSession finds the session of the request's cookie. Two cookies of that name are none: one of them is not ours.
func (p *Proxy) webSession(r *http.Request, host string, cred identity.Credential) (identity.WebSession, bool) {
	cookies := r.CookiesNamed(cookieName)
	if len(cookies) != 1 || cookies[0].Value == "" {
		return identity.WebSession{}, false
	}
	session, err := p.cfg.Registry.WebSession(r.Context(), cookies[0].Value, host, cred)
	if err != nil && !errors.Is(err, identity.ErrNoSession) {
		p.cfg.Log.Error("looking for a web session failed", zap.Error(err))
	}
	return session, err == nil
}

// refuseCertificate answers a peer whose certificate proves nobody, and puts that on record once a minute per peer.
func (p *Proxy) refuseCertificate(w http.ResponseWriter, r *http.Request, cause error) {
	n, reason := certificateNotice(cause)
	if n.name == broken.name {
		p.cfg.Log.Error("checking a certificate failed", zap.Error(cause))
	}
	source := sourceOf(r)
	claimed := ""
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		claimed = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	attempt := access.Attempt{Kind: "login.failed", Outcome: recorder.Failed, Claimed: claimed, Method: "certificate",
		Reason: reason, Principal: identity.Principal{Source: source, Client: clientOf(r)}}
	if err := p.fail(r, attempt); err != nil {
		p.refuse(w, r, err)
		return
	}
	p.show(w, r, n)
}

// fail puts a failed login on record, unless the same peer failed the same way within the last minute.
func (p *Proxy) fail(r *http.Request, a access.Attempt) error {
	ok, skipped := p.failed.pass(sourceNet(a.Principal.Source.Addr()) + " " + clip(a.Claimed, 64) + " " + a.Reason)
	if !ok {
		return nil
	}
	a.Detail = map[string]any{"host": strings.ToLower(r.TLS.ServerName)}
	if skipped > 0 {
		a.Detail["not_shown_before"] = skipped
	}
	return p.cfg.Door.Login(r.Context(), a)
}

// sourceNet is the network one peer can easily take addresses of: the address itself, or its IPv6 /64.
func sourceNet(a netip.Addr) string {
	if prefix, err := a.Prefix(64); a.Is6() && err == nil {
		return prefix.String()
	}
	return a.String()
}

func certificateNotice(err error) (notice, string) {
	switch {
	case errors.Is(err, identity.ErrNoCertificate):
		return noCertificate, "no certificate"
	case errors.Is(err, identity.ErrExpired):
		return expiredCertificate, "certificate expired"
	case errors.Is(err, identity.ErrRevoked):
		return revokedCertificate, "certificate revoked"
	case errors.Is(err, identity.ErrCertified), errors.Is(err, identity.ErrWaiting):
		return unreleased, "enrolment not released"
	case errors.Is(err, identity.ErrForeign):
		return foreignCertificate, "foreign certificate"
	}
	return broken, "certificate could not be checked"
}

// askLogin sends a browser to the console's login, from where it comes back with a handoff token, and tells a program
// that it must log in.
func (p *Proxy) askLogin(w http.ResponseWriter, r *http.Request, path, query string) {
	login := p.loginURL(r.Host, path, query)
	if r.Method == http.MethodGet && wantsHTML(r) && isNavigation(r) {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, login, http.StatusFound)
		return
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf("Sekisho login=%q", login))
	p.show(w, r, logIn.linked(login))
}

// isNavigation is false when a browser says that a script asks, which could not follow a redirect to the console.
func isNavigation(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode == "" || mode == "navigate"
}

// loginURL leads to the console and back to what was asked, without a query that is too long or holds secrets.
func (p *Proxy) loginURL(host, path, query string) string {
	back := (&url.URL{Scheme: "https", Host: host, Path: path}).String()
	if query != "" && redactQuery(query) == query {
		back += "?" + query
	}
	if len(back) > maxReturn {
		back = "https://" + host + "/"
	}
	return strings.TrimSuffix(p.cfg.Console, "/") + "/login?return=" + url.QueryEscape(back)
}

// serveOwn answers the gateway's own paths on an app's host.
func (p *Proxy) serveOwn(w http.ResponseWriter, r *http.Request, host, path string, cred identity.Credential) {
	switch {
	case path == ownPath+"/session" && r.Method == http.MethodPost:
		p.takeHandoff(w, r, host, cred)
	case path == ownPath+"/logout" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		p.show(w, r, logOut)
	case path == ownPath+"/logout" && r.Method == http.MethodPost && fromHere(r):
		p.logout(w, r, host, cred)
	default:
		p.show(w, r, notFound)
	}
}

// fromHere is false when a browser says that another site or app sends the form.
func fromHere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none"
}

// takeHandoff trades the console's one-time token for this host's cookie.
func (p *Proxy) takeHandoff(w http.ResponseWriter, r *http.Request, host string, cred identity.Credential) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		p.show(w, r, badRequest.because(fmt.Errorf("the form cannot be read: %w", err)))
		return
	}
	back := r.PostForm.Get("return")
	if back == "" {
		back = "/"
	}
	if err := checkReturn(back); err != nil {
		p.show(w, r, badRequest.because(err))
		return
	}
	principal := cred.Principal(identity.MFA{}, sourceOf(r), clientOf(r))
	cookie, err := p.cfg.Registry.TakeHandoff(r.Context(), r.PostForm.Get("token"), host, cred)
	if err != nil {
		p.refuseHandoff(w, r, principal, err)
		return
	}
	session, err := p.cfg.Registry.WebSession(r.Context(), cookie, host, cred)
	if err != nil {
		p.refuseHandoff(w, r, principal, err)
		return
	}
	principal.MFA = session.MFA
	attempt := access.Attempt{Kind: "login.web", Outcome: recorder.OK, Principal: principal, Method: "certificate+handoff",
		Detail: map[string]any{"host": host}}
	if err := p.cfg.Door.Login(r.Context(), attempt); err != nil {
		p.refuse(w, r, err)
		return
	}
	http.SetCookie(w, ownCookie(cookie))
	ownHeader(w.Header())
	w.Header().Set("Location", back)
	w.WriteHeader(http.StatusSeeOther)
}

func (p *Proxy) refuseHandoff(w http.ResponseWriter, r *http.Request, who identity.Principal, cause error) {
	if !errors.Is(cause, identity.ErrNoSession) && !errors.Is(cause, identity.ErrExpired) {
		p.cfg.Log.Error("a handoff failed", zap.String("person", who.Person), zap.Error(cause))
	}
	attempt := access.Attempt{Kind: "login.failed", Outcome: recorder.Failed, Principal: who, Method: "certificate+handoff",
		Reason: "handoff token unknown, used or expired"}
	if err := p.fail(r, attempt); err != nil {
		p.refuse(w, r, err)
		return
	}
	p.show(w, r, staleHandoff.linked(p.loginURL(r.Host, "/", "")))
}

// checkReturn wants a path on this host: no scheme, no host, nothing a browser reads as one, and none of our own.
func checkReturn(back string) error {
	path, _, err := parseTarget(back)
	if err != nil {
		return fmt.Errorf("return: %w", err)
	}
	if path == ownPath || strings.HasPrefix(path, ownPath+"/") {
		return fmt.Errorf("return: %q is not a page of the app", clip(back, 128))
	}
	return nil
}

// ownCookie is the session cookie with a value, or the one that removes it.
func ownCookie(value string) *http.Cookie {
	c := &http.Cookie{Name: cookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// logout logs the person out of every app and the console.
func (p *Proxy) logout(w http.ResponseWriter, r *http.Request, host string, cred identity.Credential) {
	session, ok := p.webSession(r, host, cred)
	if ok {
		principal := cred.Principal(session.MFA, sourceOf(r), clientOf(r))
		if err := p.cfg.Registry.CloseWebSessions(r.Context(), cred.Person); err != nil {
			p.refuse(w, r, err)
			return
		}
		p.endVisits(cred.Person, "logged out")
		attempt := access.Attempt{Kind: "logout", Outcome: recorder.OK, Principal: principal, Detail: map[string]any{"host": host}}
		if err := p.cfg.Door.Login(r.Context(), attempt); err != nil {
			p.cfg.Log.Error("a logout is not on record", zap.Error(err))
		}
	}
	http.SetCookie(w, ownCookie(""))
	p.show(w, r, loggedOut.linked(p.loginURL(r.Host, "/", "")))
}
