package webproxy_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

func hello(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }

func TestWithoutACertificateNobodyComesInAndItIsOnRecord(t *testing.T) {
	g := newGate(t, hello, nil)
	nobody := &visitor{gate: g, client: g.client(nil, true)}
	for range 3 { // a page with its pictures is one failure, not many
		res := nobody.get("/")
		if p := res.problem(t); res.StatusCode != http.StatusForbidden || p.Type != "urn:sekisho:no-certificate" || !strings.Contains(p.Detail, "C-1") {
			t.Fatalf("%s: %s", res.Status, res.text)
		}
	}
	failed := g.events("login.failed")
	if len(failed) != 1 || failed[0].Outcome != recorder.Failed || failed[0].Class != recorder.ClassLogin ||
		failed[0].Detail["reason"] != "no certificate" || failed[0].Source == nil {
		t.Fatalf("R-1 events: %+v", failed)
	}
	g.clock.pass(2 * time.Minute)
	nobody.get("/")
	if failed := g.events("login.failed"); len(failed) != 2 || number(failed[1].Detail["not_shown_before"]) != 2 {
		t.Fatalf("R-1 events: %+v", failed)
	}
	if len(g.app.requests()) != 0 {
		t.Fatal("a request reached the app")
	}
}

func TestACertificateThatIsNotReleasedOrRevokedIsExplained(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme")
	v.state(identity.StateWaiting)
	if p := v.get("/").problem(t); p.Type != "urn:sekisho:not-released" || p.Status != http.StatusForbidden {
		t.Errorf("waiting: %+v", p)
	}
	v.state(identity.StateActive)
	v.login(appHost)
	if res := v.get("/"); res.text != "hello" {
		t.Fatalf("active: %s: %s", res.Status, res.text)
	}
	must(t, g.registry.RevokePerson(t.Context(), "hanako", "left", "tom"))
	if p := v.get("/").problem(t); p.Type != "urn:sekisho:revoked-certificate" {
		t.Errorf("revoked: %+v", p)
	}
	g.await("the revoked person's session to end", func() bool { return len(g.events("session.end")) == 1 })
	if len(g.app.requests()) != 1 {
		t.Error("a request reached the app")
	}
}

func TestABrowserIsLedToTheConsoleAndAProgramIsTold(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme")
	browser := func(method, target string) answer {
		r := v.request(method, appHost, target, nil)
		r.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9")
		return v.do(r)
	}
	res := browser(http.MethodGet, "/orders/1?page=2")
	want := consoleURL + "/login?return=" + url.QueryEscape("https://"+appHost+"/orders/1?page=2")
	if res.StatusCode != http.StatusFound || res.Header.Get("Location") != want || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("browser: %s to %q", res.Status, res.Header.Get("Location"))
	}
	res = browser(http.MethodGet, "/cb?code=SECRET&state=x")
	if at := res.Header.Get("Location"); strings.Contains(at, "SECRET") || !strings.HasSuffix(at, url.QueryEscape("/cb")) {
		t.Errorf("a secret was sent along: %q", at)
	}
	res = browser(http.MethodPost, "/orders")
	if res.StatusCode != http.StatusUnauthorized || !strings.Contains(res.text, "<a href=\""+consoleURL+"/login?return=") {
		t.Errorf("a form: %s: %s", res.Status, res.text)
	}
	res = v.get("/orders")
	if p := res.problem(t); res.StatusCode != http.StatusUnauthorized || p.Type != "urn:sekisho:login-required" || p.Login == "" ||
		!strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Sekisho login=") {
		t.Errorf("a program: %s: %s", res.Status, res.text)
	}
	script := v.request(http.MethodGet, appHost, "/", nil)
	script.Header.Set("Accept", "text/html")
	script.Header.Set("Sec-Fetch-Mode", "cors")
	if res := v.do(script); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a script was redirected: %s", res.Status)
	}
	if len(g.app.requests()) != 0 {
		t.Error("a request reached the app")
	}
}

func TestTheHandoffMakesACookieThatOnlyThisHostAndCertificateCanUse(t *testing.T) {
	g := newGate(t, hello, nil)
	hanako, chie := g.enrol("hanako", "acme"), g.enrol("chie", "advice")
	token := hanako.handoff(appHost)
	form := url.Values{"token": {token}, "return": {"/orders?page=2"}}
	res := hanako.do(hanako.form(appHost, "/.sekisho/session", form))
	set := res.Header.Get("Set-Cookie")
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/orders?page=2" {
		t.Fatalf("%s to %q: %s", res.Status, res.Header.Get("Location"), res.text)
	}
	for _, want := range []string{"__Host-sekisho=", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"} {
		if !strings.Contains(set, want) {
			t.Errorf("cookie %q lacks %s", set, want)
		}
	}
	if strings.Contains(set, "Domain") {
		t.Errorf("cookie %q goes to other hosts", set)
	}
	if in := g.events("login.web"); len(in) != 1 || in[0].Person != "hanako" || in[0].Detail["webauthn"] == nil {
		t.Errorf("R-1 events: %+v", in)
	}

	if res := hanako.do(hanako.form(appHost, "/.sekisho/session", form)); res.StatusCode != http.StatusForbidden || res.Header.Get("Set-Cookie") != "" {
		t.Errorf("the token worked twice: %s", res.Status)
	}
	stolen := url.Values{"token": {hanako.handoff(appHost)}}
	if res := chie.do(chie.form(appHost, "/.sekisho/session", stolen)); res.StatusCode != http.StatusForbidden {
		t.Errorf("another person's token worked: %s", res.Status)
	}
	elsewhere := url.Values{"token": {hanako.handoff(appHost)}}
	if res := hanako.do(hanako.form(otherHost, "/.sekisho/session", elsewhere)); res.StatusCode != http.StatusForbidden {
		t.Errorf("another host's token worked: %s", res.Status)
	}
	late := url.Values{"token": {hanako.handoff(appHost)}}
	g.clock.pass(31 * time.Second)
	if res := hanako.do(hanako.form(appHost, "/.sekisho/session", late)); res.StatusCode != http.StatusForbidden {
		t.Errorf("a late token worked: %s", res.Status)
	}
	if failed := g.events("login.failed"); len(failed) == 0 {
		t.Error("failed handoffs are not on record")
	}

	cookie := res.Cookies()[0].Value
	hanako.cookie[appHost], hanako.cookie[otherHost], chie.cookie[appHost] = cookie, cookie, cookie
	if res := hanako.get("/"); res.text != "hello" {
		t.Errorf("the cookie does not work: %s", res.Status)
	}
	if res := chie.get("/"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the cookie worked under another certificate: %s", res.Status)
	}
	if res := hanako.do(hanako.request(http.MethodGet, otherHost, "/", nil)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the cookie worked on another host: %s", res.Status)
	}
	two := hanako.request(http.MethodGet, appHost, "/", nil)
	two.AddCookie(&http.Cookie{Name: "__Host-sekisho", Value: "x"})
	if res := hanako.do(two); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("two cookies were one too few: %s", res.Status)
	}
}

func TestAHandoffLeadsOnlyToAPathOfThisHost(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme")
	for _, back := range []string{"https://evil.test/", "//evil.test/", `/\evil.test`, `\\evil.test`, "/.sekisho/logout", "orders", "/a\r\nX: y",
		"javascript:alert(1)", "/%2f/evil.test", "/a/../b", "/.sekisho"} {
		token := v.handoff(appHost)
		res := v.do(v.form(appHost, "/.sekisho/session", url.Values{"token": {token}, "return": {back}}))
		if res.StatusCode != http.StatusBadRequest || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("return %q: %s to %q", back, res.Status, res.Header.Get("Location"))
		}
	}
	// A token in the URL would be in logs; only the form counts.
	r := v.form(appHost, "/.sekisho/session?token="+v.handoff(appHost), nil)
	if res := v.do(r); res.StatusCode != http.StatusForbidden {
		t.Errorf("a token in the URL worked: %s", res.Status)
	}
}

func TestTheGatewaysOwnPathsNeverReachTheApp(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	for _, target := range []string{"/.sekisho", "/.sekisho/", "/.sekisho/x", "/.sekisho/session", "/%2Esekisho/x", "/.sekish%6F/x"} {
		if res := v.get(target); res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", target, res.Status)
		}
	}
	if len(g.app.requests()) != 0 {
		t.Error("a request reached the app")
	}
}

func TestLoggingOutEndsTheSessionEverywhere(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost).login(otherHost)
	v.get("/")
	v.do(v.request(http.MethodGet, otherHost, "/", nil))
	asking := v.request(http.MethodGet, appHost, "/.sekisho/logout", nil)
	asking.Header.Set("Accept", "text/html")
	if res := v.do(asking); !strings.Contains(res.text, `<form method="post" action="/.sekisho/logout">`) {
		t.Errorf("%s: %s", res.Status, res.text)
	}
	crossed := v.form(appHost, "/.sekisho/logout", nil)
	crossed.Header.Set("Sec-Fetch-Site", "same-site")
	if res := v.do(crossed); res.StatusCode != http.StatusNotFound {
		t.Errorf("another app logged the person out: %s", res.Status)
	}
	res := v.do(v.form(appHost, "/.sekisho/logout", nil))
	if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("%s, cookie %q", res.Status, res.Header.Get("Set-Cookie"))
	}
	if out := g.events("logout"); len(out) != 1 || out[0].Person != "hanako" {
		t.Errorf("R-1 events: %+v", out)
	}
	ends := g.events("session.end")
	if len(ends) != 2 || ends[0].Detail["reason"] != "logged out" {
		t.Errorf("sessions ended: %+v", ends)
	}
	for _, host := range []string{appHost, otherHost} {
		if res := v.do(v.request(http.MethodGet, host, "/", nil)); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s after logging out: %s", host, res.Status)
		}
	}
}

func TestARequestForAnotherHostThanItsConnectionIsMisdirected(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	r := v.request(http.MethodGet, appHost, "/", nil)
	r.Host = otherHost
	if res := v.do(r); res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("%s: %s", res.Status, res.text)
	}
	r = v.request(http.MethodGet, appHost, "/", nil)
	r.Host = strings.ToUpper(appHost) + ":8443"
	if res := v.do(r); res.text != "hello" {
		t.Errorf("case and port: %s: %s", res.Status, res.text)
	}
}
