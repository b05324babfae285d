package console_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/recorder"
)

// dialLocal reaches names below localhost, which not every resolver knows.
func dialLocal(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// browser is a plain HTTP client with the member's certificate and a cookie jar, for what needs no JavaScript.
func (m *member) browser() *http.Client {
	jar := must(cookiejar.New(nil))(m.g.t)
	if m.Session() != "" {
		at := must(url.Parse(m.g.url(consoleHost)))(m.g.t)
		jar.SetCookies(at, []*http.Cookie{{Name: "__Host-sekisho", Value: m.Session(), Path: "/", Secure: true}})
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = dialLocal
	transport.TLSClientConfig = &tls.Config{RootCAs: m.g.roots, Certificates: []tls.Certificate{m.cert}}
	m.g.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

// get reads a page and returns its status and text.
func get(t *testing.T, c *http.Client, address string) (int, string) {
	t.Helper()
	resp := must(c.Get(address))(t)
	defer resp.Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body))(t))
}

// submit sends a form as a page of this origin does.
func submit(t *testing.T, c *http.Client, address, origin string, form url.Values) (int, string) {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode())))(t)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", origin)
	resp := must(c.Do(r))(t)
	defer resp.Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body))(t))
}

func TestWhoIsNotLoggedInIsAskedToAndComesBack(t *testing.T) {
	g := newGateway(t)
	m := g.enrol("hanako")
	c := m.browser()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp := must(c.Get(g.url(consoleHost) + "/targets?x=1"))(t)
	resp.Body.Close()
	if at := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || at != "/login?return=%2Ftargets%3Fx%3D1" {
		t.Errorf("%d, to %q", resp.StatusCode, at)
	}
}

func TestWhoIsNotReleasedIsLedToTheirEnrolment(t *testing.T) {
	g := newGateway(t)
	m := g.certify("hanako")
	status, body := get(t, m.browser(), g.url(consoleHost)+"/targets")
	if status != http.StatusOK || !strings.Contains(body, `id="register"`) {
		t.Errorf("%d\n%s", status, body)
	}
}

func TestAnInvestigatorReadsATranscript(t *testing.T) {
	g := newGateway(t)
	hanako, investigator := g.login("hanako"), g.login("ken")
	s := hanako.visit()
	askToWrite(t, s)
	for _, e := range []struct {
		kind recorder.Kind
		data string
	}{
		{recorder.KindStart, `{"kind":"ssh.exec","command":"cat notes"}`},
		{recorder.KindOutput, "\x1b[31m<script>alert(1)</script>"},
		{recorder.KindOutput, "\x1b[0m\r\n"},
		{recorder.KindExit, `{"status":3}`},
		{recorder.KindNotice, "sekisho: refused"},
	} {
		if err := s.Record(1, e.kind, []byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	s.End("closed")
	c := investigator.browser()
	status, body := get(t, c, g.url(consoleHost)+"/sessions")
	if status != http.StatusOK || !strings.Contains(body, s.ID()) {
		t.Fatalf("the list: %d\n%s", status, body)
	}
	status, body = get(t, c, g.url(consoleHost)+"/sessions/"+s.ID())
	if status != http.StatusOK {
		t.Fatalf("%d\n%s", status, body)
	}
	for _, want := range []string{"cat notes", "&lt;script&gt;alert(1)&lt;/script&gt;", "sekisho: refused", "needs approval", "M-2"} {
		if !strings.Contains(body, want) {
			t.Errorf("the transcript does not show %q", want)
		}
	}
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "\x1b") {
		t.Error("what the target wrote reaches the page as it is")
	}
	status, body = get(t, c, g.url(consoleHost)+"/audit?session="+s.ID())
	if status != http.StatusOK || !strings.Contains(body, "command.refused") || !strings.Contains(body, "session.end") {
		t.Errorf("its events: %d\n%s", status, body)
	}
}

func TestASessionIsEndedOnItsPage(t *testing.T) {
	g := newGateway(t)
	hanako, investigator := g.login("hanako"), g.login("ken")
	s := hanako.visit()
	status, body := submit(t, investigator.browser(), g.url(consoleHost)+"/sessions/"+s.ID()+"/end", g.url(consoleHost),
		url.Values{"reason": {"suspicious"}})
	if status != http.StatusOK {
		t.Fatalf("%d\n%s", status, body)
	}
	<-s.Context().Done()
	s.End("ended")
	if rec := must(investigator.ShowSession(t.Context(), s.ID()))(t); !strings.Contains(rec.EndReason, "ken") {
		t.Errorf("on the list: %+v", rec)
	}
}

func TestAnAdminReleasesOnThePeoplePage(t *testing.T) {
	g := newGateway(t)
	admin := g.login("aya")
	m := g.certify("hanako")
	m.register()
	code := must(m.Status(t.Context()))(t).Code
	c := admin.browser()
	status, body := get(t, c, g.url(consoleHost)+"/people")
	if status != http.StatusOK || !strings.Contains(body, "hanako") || strings.Contains(body, code) {
		t.Fatalf("the page must list hanako and never the code: %d\n%s", status, body)
	}
	status, body = submit(t, c, g.url(consoleHost)+"/people/hanako/release", g.url(consoleHost), url.Values{"code": {code}})
	if status != http.StatusOK || !strings.Contains(body, "can log in now") {
		t.Errorf("%d\n%s", status, body)
	}
	m.logIn()
}

func TestALoginLeadsNowhereElse(t *testing.T) {
	g := newGateway(t)
	c := g.login("hanako").browser()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, back := range []string{"https://evil.example/", "//evil.example/", "https://orders.localhost:1/", "http://orders.localhost/",
		"https://hanako@orders.localhost:" + g.port + "/"} {
		resp := must(c.Get(g.url(consoleHost) + "/login?return=" + url.QueryEscape(back)))(t)
		resp.Body.Close()
		if at := resp.Header.Get("Location"); at != "/" {
			t.Errorf("return=%s leads to %q", back, at)
		}
	}
	status, body := submit(t, c, g.url(consoleHost)+"/onward", g.url(consoleHost), url.Values{"return": {"https://evil.example/"}})
	if status != http.StatusBadRequest || strings.Contains(body, "token") {
		t.Errorf("onward: %d\n%s", status, body)
	}
}

func TestTheKeysThatVerifyIdentitiesArePublic(t *testing.T) {
	g := newGateway(t)
	stranger := &member{g: g, Client: g.client(nil)}
	c := stranger.browser()
	c.Transport.(*http.Transport).TLSClientConfig.Certificates = nil
	status, body := get(t, c, g.url(enrolHost)+"/.well-known/jwks.json")
	if status != http.StatusOK || !strings.Contains(body, `"keys"`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestEveryPageIsInBothLanguages(t *testing.T) {
	g := newGateway(t)
	hanako, ken, aya, mika := g.login("hanako"), g.login("ken"), g.login("aya"), g.login("mika")
	s := hanako.visit()
	for path, m := range map[string]*member{"/targets": hanako, "/ssh": hanako, "/requests": mika, "/sessions": ken,
		"/sessions/" + s.ID(): ken, "/audit": ken, "/people": aya, "/nowhere": ken} {
		for lang, word := range map[string]string{"en": "on record", "ja": "記録されます"} {
			_, body := get(t, m.browser(), g.url(consoleHost)+path+"?lang="+lang)
			if !strings.Contains(body, `<html lang="`+lang+`"`) || !strings.Contains(body, word) {
				t.Errorf("%s in %s:\n%s", path, lang, body)
			}
		}
	}
}
