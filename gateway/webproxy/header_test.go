package webproxy

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestForgedHeadersAreStrippedInEverySpelling(t *testing.T) {
	for _, name := range []string{
		"X-Forwarded-For", "x_forwarded_for", "X_Forwarded-For", "X-Forwarded-User", "x.forwarded.for", "X-FORWARDED-PROTO", "Forwarded",
		"X-Real-Ip", "X_Real_Ip", "X-Sekisho-Identity", "x_sekisho_identity", "X-Sekisho-Anything", "Sekisho-Identity",
		"X-Remote-User", "REMOTE_USER", "X-Remote-Groups", "X-Auth-Request-Email", "X-Original-Url", "X-Rewrite-Url", "Client-Cert",
		"X-Ssl-Client-Dn", "Ssl_client_verify", "Via", "Proxy", "X-User", "X-Accel-Redirect", "X-Client-Ip", "True-Client-Ip",
	} {
		h := http.Header{name: {"mika"}, "X-Requested-With": {"XMLHttpRequest"}}
		stripRequest(h)
		if len(h) != 1 || h.Get("X-Requested-With") == "" {
			t.Errorf("%s came through: %v", name, h)
		}
	}
}

func TestOrdinaryHeadersPass(t *testing.T) {
	h := http.Header{}
	for _, name := range []string{"Accept", "Accept-Language", "Authorization", "Content-Type", "If-None-Match", "Origin", "Range",
		"Referer", "User-Agent", "X-Csrf-Token", "X-Requested-With", "X-Request-Id", "Idempotency-Key", "Sec-Fetch-Mode"} {
		h.Set(name, "v")
	}
	before := len(h)
	stripRequest(h)
	if len(h) != before {
		t.Errorf("left: %v", h)
	}
}

func TestTheGatewaysCookieIsHiddenFromTheApp(t *testing.T) {
	for in, want := range map[string]string{
		"__Host-sekisho=SECRET":                                "",
		"a=b; __Host-sekisho=SECRET; c=d":                      "a=b; c=d",
		`a="x; __Host-sekisho=SECRET; y"; c=d`:                 `a="x; y"; c=d`,
		"a=b;__host-SEKISHO=SECRET":                            "a=b",
		"a=b; =__Host-sekisho=SECRET":                          "a=b",
		"a=b; __Host-sekisho =SECRET":                          "a=b",
		"__Host-sekisho-lang=ja; theme=dark":                   "theme=dark",
		"sekisho=mine; x__Host-sekisho=mine":                   "sekisho=mine; x__Host-sekisho=mine",
		strings.Repeat("=", 64) + "__Host-sekisho=SECRET; a=b": "a=b",
	} {
		h := http.Header{"Cookie": {in}}
		hideCookie(h)
		if got := h.Get("Cookie"); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestAnAppCannotSetTheGatewaysCookieNorSpeakForIt(t *testing.T) {
	h := http.Header{
		"Set-Cookie": {"__Host-sekisho=evil; Path=/", "theme=dark", " __host-SEKISHO=evil", "=__Host-sekisho=evil", "\t__Host-sekisho"},
		"Alt-Svc":    {`h3="elsewhere:443"`}, "X-Sekisho-Decision": {"d-forged"}, "Clear-Site-Data": {`"cache", "cookies"`, `"*"`},
		"Location": {"/next"},
	}
	stripResponse(h)
	if got := h["Set-Cookie"]; len(got) != 1 || got[0] != "theme=dark" {
		t.Errorf("Set-Cookie: %q", got)
	}
	if got := h["Clear-Site-Data"]; len(got) != 1 || got[0] != `"cache"` {
		t.Errorf("Clear-Site-Data: %q", got)
	}
	if len(h) != 3 || h.Get("Location") != "/next" {
		t.Errorf("left: %v", h)
	}
}

func TestACookieOfAnAppStaysWithItsHost(t *testing.T) {
	h := http.Header{"Set-Cookie": {
		"sid=1; Domain=example.com; Path=/", "sid=2;domain = .example.com;Secure", "sid=3; DOMAIN=a; Domain=b; HttpOnly",
		"sid=4; Path=/domain=x; SameSite=Lax", "domain=5; Path=/", "sid=6;\tDomain\t=example.com", "sid=7; Domain",
	}}
	stripResponse(h)
	want := []string{"sid=1; Path=/", "sid=2;Secure", "sid=3; HttpOnly", "sid=4; Path=/domain=x; SameSite=Lax", "domain=5; Path=/",
		"sid=6", "sid=7"}
	if got := h["Set-Cookie"]; !slices.Equal(got, want) {
		t.Errorf("Set-Cookie: %q, want %q", got, want)
	}
}

func TestMethodOverridesAndConnectionTricksAreRefused(t *testing.T) {
	for name, h := range map[string]http.Header{
		"an override":                   {"X-Http-Method-Override": {"DELETE"}},
		"an override with underscores":  {"X_HTTP_METHOD_OVERRIDE": {"DELETE"}},
		"another override":              {"X-Method-Override": {"DELETE"}},
		"a connection option":           {"Connection": {"close, X-Sekisho-Identity"}},
		"a connection option on line 2": {"Connection": {"keep-alive", "authorization"}},
	} {
		if checkHeader(h) == nil {
			t.Errorf("%s came through", name)
		}
	}
	if err := checkHeader(http.Header{"Connection": {"Keep-Alive, TE"}, "Te": {"trailers"}}); err != nil {
		t.Error(err)
	}
}

func FuzzNoForgedHeaderPasses(f *testing.F) {
	for _, seed := range []string{"X-Forwarded-For", "x_forwarded-host", "X-Sekisho-Identity", "Cookie", "Set-Cookie", "Forwarded"} {
		f.Add(seed, "a=b; __Host-sekisho=SECRET; c=\"")
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		h := http.Header{name: {value}, "Cookie": {value}, "Connection": {name}}
		stripRequest(h)
		for left, values := range h {
			// A CGI environment makes every byte that is no letter or digit an underscore.
			env := strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
					return r
				}
				return '_'
			}, strings.ToLower(left))
			if strings.HasPrefix(env, "x_forwarded") || strings.HasPrefix(env, "x_sekisho") || env == "forwarded" || env == "x_real_ip" {
				t.Fatalf("%q came through", left)
			}
			for _, v := range values {
				if left != "Cookie" {
					continue
				}
				for pair := range strings.SplitSeq(v, ";") {
					if strings.HasPrefix(strings.ToLower(strings.TrimSpace(pair)), "__host-sekisho") {
						t.Fatalf("the cookie came through: %q", v)
					}
				}
			}
		}
	})
}
