package console

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

const sessionCookie = "__Host-sekisho"

// level is how much must be proved before a handler runs.
type level int

const (
	anyone    level = iota
	certified       // a certificate of ours, whatever the state of its enrolment
	active          // the certificate of a released enrolment
	loggedIn        // and WebAuthn: a web session of this certificate
)

// visitor is who sends a request, as far as it was proved.
type visitor struct {
	lang       string
	source     netip.AddrPort
	client     string
	credential identity.Credential // zero below certified
	person     directory.Person    // zero below certified
	web        identity.WebSession // zero below loggedIn
	value      string              // of that session: the cookie or the bearer token
	loggedIn   bool
	program    bool // the session came as a bearer token, which no browser sends
}

// principal is the visitor as the door knows people.
func (v *visitor) principal() identity.Principal {
	return v.credential.Principal(v.web.MFA, v.source, v.client)
}

// proved is the visitor with a second factor just given.
func (v *visitor) proved(mfa identity.MFA) identity.Principal {
	return v.credential.Principal(mfa, v.source, v.client)
}

// handler answers a request or says why not.
type handler func(w http.ResponseWriter, r *http.Request, v *visitor) error

// api wraps a handler of the JSON API.
func (c *Console) api(want level, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.meet(r, want)
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

// wantJSON refuses bodies that an HTML form of anybody's could send.
func wantJSON(r *http.Request) error {
	if r.Method != http.MethodPost {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &Problem{Status: http.StatusUnsupportedMediaType, Title: "Unsupported media type",
			Detail: "Send application/json."}
	}
	return nil
}

// page wraps a handler of a page: who is not far enough yet is shown the way.
func (c *Console) page(want level, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rememberLanguage(w, r)
		v, err := c.meet(r, want)
		get := r.Method == http.MethodGet
		switch {
		case err == nil:
			err = h(w, r, v)
		case get && (errors.Is(err, identity.ErrCertified) || errors.Is(err, identity.ErrWaiting)):
			http.Redirect(w, r, "/welcome", http.StatusSeeOther)
			return
		case get && errors.Is(err, identity.ErrNoSession):
			http.Redirect(w, r, "/login?return="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		if err != nil {
			c.showProblem(w, r, v, err)
		}
	})
}

func (c *Console) showProblem(w http.ResponseWriter, r *http.Request, v *visitor, err error) {
	problem := c.problemOf(v.lang, err)
	title := "problem.title"
	switch {
	case errors.Is(err, identity.ErrNoCertificate):
		title = "problem.certificate"
	case problem.Status == http.StatusForbidden:
		title = "problem.refused"
	case problem.Status == http.StatusNotFound:
		title = "problem.missing"
	}
	// C-4: the second factor is missing or too old.
	again := r.Method == http.MethodGet && slices.ContainsFunc(problem.Reasons, func(r policy.Reason) bool { return r.Table == "C-4" })
	view := problemView{Problem: problem, Again: again, Here: r.URL.RequestURI()}
	var outdated *outdatedLink
	if errors.As(err, &outdated) {
		view.Now = "/requests/" + url.PathEscape(outdated.request)
	}
	p := c.newPage(r, v, title, view)
	p.Narrow = true
	c.render(w, problem.Status, "problem", p)
}

// problemView is a page that says no.
type problemView struct {
	*Problem
	Again bool   // logging in again would help
	Here  string // where to come back to
	Now   string // the request of an outdated link as it stands
}

// newPage prepares a page for a visitor.
func (c *Console) newPage(r *http.Request, v *visitor, title string, data any) page {
	p := page{Title: title, Lang: v.lang, LoggedIn: v.loggedIn, Data: data, url: r.URL, zone: c.cfg.Zone}
	if v.person.ID != "" {
		p.Person = &v.person
	}
	if notice := "done." + r.URL.Query().Get("done"); v.loggedIn && notice != "done." {
		if _, ok := words[notice]; ok {
			p.Notice = notice
		}
	}
	if v.person.Staff() {
		p.Alarms = c.cfg.Door.OpenEmergencies()
	}
	if v.loggedIn {
		p.Nav = c.nav(r.Context(), v, r.URL.Path)
	}
	return p
}

// nav lists the pages this person has any use for.
func (c *Console) nav(ctx context.Context, v *visitor, here string) []navItem {
	items := []navItem{{Path: "/targets", Word: "nav.targets"}, {Path: "/requests", Word: "nav.own"},
		{Path: "/ssh", Word: "nav.ssh"}}
	if v.person.Staff() {
		items = nil
		for _, staff := range []struct{ path, word, operation string }{
			{"/requests", "nav.requests", "gateway.request.list"},
			{"/sessions", "nav.sessions", "gateway.session.list"},
			{"/audit", "nav.audit", "gateway.audit.search"},
			{"/policy", "nav.policy", "gateway.policy.show"},
			{"/people", "nav.people", "gateway.enrolment.list"},
			{"/emergencies", "nav.emergencies", "gateway.break-glass.list"},
		} {
			if c.may(ctx, v, staff.operation) {
				items = append(items, navItem{Path: staff.path, Word: staff.word})
			}
		}
	}
	for i := range items {
		items[i].Current = here == items[i].Path || strings.HasPrefix(here, items[i].Path+"/")
	}
	return items
}

// meet proves a visitor up to the wanted level. The visitor it returns is never nil.
func (c *Console) meet(r *http.Request, want level) (*visitor, error) {
	v := &visitor{lang: language(r), client: r.UserAgent()}
	v.source, _ = netip.ParseAddrPort(r.RemoteAddr)
	credential, err := c.cfg.Registry.Client(r.Context(), r.TLS)
	unfinished := errors.Is(err, identity.ErrCertified) || errors.Is(err, identity.ErrWaiting)
	if err != nil && !unfinished {
		if want == anyone {
			return v, nil
		}
		return v, c.refuseCertificate(r, v, err)
	}
	v.credential = credential
	person, known := c.cfg.Directory.Current().Person(credential.Person)
	if !known || person.Vendor != credential.Vendor {
		if want == anyone {
			return v, nil
		}
		return v, c.refuseCertificate(r, v, errNotListed)
	}
	v.person = person
	if unfinished {
		if want > certified {
			return v, err
		}
		return v, nil
	}
	err = c.findSession(r, v)
	if want == loggedIn {
		return v, err
	}
	if errors.Is(err, identity.ErrNoSession) {
		err = nil
	}
	return v, err
}

var errNotListed = &Problem{Status: http.StatusForbidden, Title: "Refused",
	Detail: "This certificate's person is no longer in the directory. / この証明書の利用者は登録されていません。"}

// findSession looks for the web session in the bearer token or the cookie.
func (c *Console) findSession(r *http.Request, v *visitor) error {
	value, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		cookie, err := r.Cookie(sessionCookie)
		if err != nil {
			return identity.ErrNoSession
		}
		value = cookie.Value
	}
	web, err := c.cfg.Registry.WebSession(r.Context(), value, c.cfg.Host, v.credential)
	if err != nil {
		return err
	}
	v.web, v.value, v.loggedIn, v.program = web, value, true, bearer
	return nil
}

// refuseCertificate puts a certificate that does not get in on record, though not every time for a source that
// keeps trying.
func (c *Console) refuseCertificate(r *http.Request, v *visitor, cause error) error {
	if errors.Is(cause, identity.ErrNoCertificate) || !c.noted.allow(v.source.Addr(), "") {
		return cause
	}
	attempt := v.failure("certificate", cause)
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		attempt.Claimed = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	return c.recordFailure(r.Context(), attempt, cause)
}

func (v *visitor) failure(method string, cause error) access.Attempt {
	return access.Attempt{Kind: "login.failed", Outcome: recorder.Failed, Principal: v.principal(), Method: method,
		Reason: cause.Error()}
}

// failed records a failed login and returns its cause.
func (c *Console) failed(ctx context.Context, v *visitor, method string, cause error) error {
	return c.recordFailure(ctx, v.failure(method, cause), cause)
}

func (c *Console) recordFailure(ctx context.Context, attempt access.Attempt, cause error) error {
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		c.cfg.Log.Error("a failed login is not on record", zap.Error(err))
	}
	return cause
}

// limited counts an attempt against the visitor's source before it is made.
func (c *Console) limited(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request, v *visitor) error {
		limits := c.limits
		if v.credential.Person == "" {
			limits = c.strangers
		}
		if !limits.allow(v.source.Addr(), v.credential.Person) {
			return errTooFast
		}
		return h(w, r, v)
	}
}

var errTooFast = &Problem{Status: http.StatusTooManyRequests, Title: "Too many attempts",
	Detail: "Too many attempts from this address; wait a minute. / 試行回数が多すぎます。しばらくお待ちください。"}
