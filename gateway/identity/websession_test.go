package identity_test

import (
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

func TestAWebSessionIsBoundToItsHostAndCertificate(t *testing.T) {
	g := newGate(t)
	h, other := g.active("hanako", "acme"), g.active("taro", "acme")
	cookie := h.cookie()
	s, err := g.registry.WebSession(g.ctx, cookie, testHost, h.credential())
	must(t, err)
	if s.Person != "hanako" || !s.MFA.UV || s.MFA.At.IsZero() {
		t.Fatalf("session %+v", s)
	}
	_, err = g.registry.WebSession(g.ctx, cookie, appHost, h.credential())
	wantErr(t, err, identity.ErrNoSession)
	_, err = g.registry.WebSession(g.ctx, cookie, testHost, other.credential())
	wantErr(t, err, identity.ErrNoSession)
	for _, c := range []string{"", "x", cookie + "A", cookie[1:]} {
		_, err = g.registry.WebSession(g.ctx, c, testHost, h.credential())
		wantErr(t, err, identity.ErrNoSession)
	}
	if _, err := g.store.WebSession(g.ctx, cookie); err == nil {
		t.Fatal("the store knows the cookie itself")
	}
}

func TestAWebSessionEndsWhenIdleAndAfterTwelveHours(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	cookie := h.cookie()
	see := func() error {
		_, err := g.registry.WebSession(g.ctx, cookie, testHost, h.credential())
		return err
	}
	for range 71 { // 11 h 50 min of use
		g.clock.pass(10 * time.Minute)
		must(t, see())
	}
	g.clock.pass(10 * time.Minute)
	wantErr(t, see(), identity.ErrNoSession)

	cookie = h.cookie()
	g.clock.pass(15 * time.Minute)
	wantErr(t, see(), identity.ErrNoSession)
}

func TestTheWebSessionsOfOnePersonAreBounded(t *testing.T) {
	g := newGate(t)
	h, other := g.active("hanako", "acme"), g.active("taro", "acme")
	first, theirs := h.cookie(), other.cookie()
	console, err := g.registry.WebSession(g.ctx, first, testHost, h.credential())
	must(t, err)
	var cookies []string
	for range 128 {
		console, err = g.registry.WebSession(g.ctx, first, testHost, h.credential())
		must(t, err)
		token, err := g.registry.Handoff(g.ctx, console, appHost)
		must(t, err)
		cookie, err := g.registry.TakeHandoff(g.ctx, token, appHost, h.credential())
		must(t, err)
		cookies = append(cookies, cookie)
		g.clock.pass(5 * time.Second)
	}
	_, err = g.registry.WebSession(g.ctx, cookies[127], appHost, h.credential())
	must(t, err)
	_, err = g.registry.WebSession(g.ctx, theirs, testHost, other.credential())
	must(t, err)
	_, err = g.registry.WebSession(g.ctx, cookies[0], appHost, h.credential())
	wantErr(t, err, identity.ErrNoSession)
}

func TestOnlyAFreshLoginOpensAWebSession(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	c := h.credential()
	good := h.login()
	without, other, future := good, good, good
	without.UV = false
	other.Purpose = "release taro"
	future.At = future.At.Add(time.Hour)
	for name, mfa := range map[string]identity.MFA{
		"none": {}, "without verification": without, "for another purpose": other, "from the future": future,
	} {
		_, err := g.registry.OpenWebSession(g.ctx, c, testHost, mfa)
		if err == nil {
			t.Errorf("opened with a second factor %s", name)
		}
	}
	g.clock.pass(3 * time.Minute)
	_, err := g.registry.OpenWebSession(g.ctx, c, testHost, good)
	wantErr(t, err, identity.ErrStale)
}

func TestLoggingOutClosesEveryHost(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	c, cookie := h.credential(), h.cookie()
	s, err := g.registry.WebSession(g.ctx, cookie, testHost, c)
	must(t, err)
	taken, err := g.registry.Handoff(g.ctx, s, appHost)
	must(t, err)
	app, err := g.registry.TakeHandoff(g.ctx, taken, appHost, c)
	must(t, err)
	open, err := g.registry.Handoff(g.ctx, s, appHost)
	must(t, err)

	must(t, g.registry.CloseWebSessions(g.ctx, "hanako"))
	_, err = g.registry.WebSession(g.ctx, cookie, testHost, c)
	wantErr(t, err, identity.ErrNoSession)
	_, err = g.registry.WebSession(g.ctx, app, appHost, c)
	wantErr(t, err, identity.ErrNoSession)
	_, err = g.registry.TakeHandoff(g.ctx, open, appHost, c)
	wantErr(t, err, identity.ErrNoSession)
}

func TestAHandoffWorksOnceForItsHostAndCertificate(t *testing.T) {
	g := newGate(t)
	h, other := g.active("hanako", "acme"), g.active("taro", "acme")
	c := h.credential()
	s, err := g.registry.WebSession(g.ctx, h.cookie(), testHost, c)
	must(t, err)
	hand := func() string {
		token, err := g.registry.Handoff(g.ctx, s, appHost)
		must(t, err)
		return token
	}
	token := hand()
	cookie, err := g.registry.TakeHandoff(g.ctx, token, appHost, c)
	must(t, err)
	app, err := g.registry.WebSession(g.ctx, cookie, appHost, c)
	must(t, err)
	if app.MFA != s.MFA || app.Expires.After(s.Expires) {
		t.Fatalf("the app's session %+v outlives or outranks %+v", app, s)
	}
	_, err = g.registry.TakeHandoff(g.ctx, token, appHost, c)
	wantErr(t, err, identity.ErrNoSession)
	_, err = g.registry.TakeHandoff(g.ctx, hand(), testHost, c)
	wantErr(t, err, identity.ErrNoSession)
	_, err = g.registry.TakeHandoff(g.ctx, hand(), appHost, other.credential())
	wantErr(t, err, identity.ErrNoSession)
	late := hand()
	g.clock.pass(30 * time.Second)
	_, err = g.registry.TakeHandoff(g.ctx, late, appHost, c)
	wantErr(t, err, identity.ErrNoSession)
}

func TestHandoffsOfOnePersonAreLimited(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	s, err := g.registry.WebSession(g.ctx, h.cookie(), testHost, h.credential())
	must(t, err)
	for range 16 {
		_, err := g.registry.Handoff(g.ctx, s, appHost)
		must(t, err)
	}
	_, err = g.registry.Handoff(g.ctx, s, appHost)
	wantErr(t, err, identity.ErrLimit)
}
