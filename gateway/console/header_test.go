package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const origin = "https://console.test:8443"

func TestOnlyTheGatewaysOwnPagesChangeAnything(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, site, from, cookie string
		passes                           bool
	}{
		"a page is opened from anywhere":                   {"GET", "/targets", "cross-site", "", "c", true},
		"a form of this origin":                            {"POST", "/logout", "same-origin", origin, "c", true},
		"a form of another site":                           {"POST", "/logout", "cross-site", "https://evil.test", "c", false},
		"a form of an app under the same domain":           {"POST", "/logout", "same-site", "https://orders.test:8443", "c", false},
		"a form whose origin is hidden":                    {"POST", "/logout", "", "null", "c", false},
		"a form typed from nowhere":                        {"POST", "/logout", "none", "", "c", false},
		"an old browser that only says the origin":         {"POST", "/logout", "", origin, "c", true},
		"a cookie without a word on where it comes from":   {"POST", "/api/v1/logout", "", "", "c", false},
		"a program without cookies":                        {"POST", "/api/v1/logout", "", "", "", true},
		"a download that another site links to":            {"GET", "/api/v1/sessions/s-1/recording", "cross-site", "", "c", false},
		"a download that an app links to":                  {"GET", "/api/v1/audit", "same-site", "", "c", false},
		"a download whose address is typed":                {"GET", "/api/v1/audit", "none", "", "c", true},
		"a read by this origin's script":                   {"GET", "/api/v1/me", "same-origin", "", "c", true},
		"an origin that lies about its port":               {"POST", "/logout", "same-origin", "https://console.test", "c", false},
		"a program that reads":                             {"GET", "/api/v1/me", "", "", "", true},
		"a method nobody uses counts as one that changes":  {"PATCH", "/targets", "cross-site", "", "c", false},
		"an origin from elsewhere although the site is ok": {"GET", "/api/v1/me", "same-origin", "https://evil.test", "c", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, origin+c.path, nil)
			for header, value := range map[string]string{"Sec-Fetch-Site": c.site, "Origin": c.from, "Cookie": c.cookie} {
				if value != "" {
					r.Header.Set(header, value)
				}
			}
			w := httptest.NewRecorder()
			passed := false
			sameOrigin(origin, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).ServeHTTP(w, r)
			if passed != c.passes {
				t.Errorf("passed is %v, answer %d", passed, w.Code)
			}
			if !passed && w.Code != http.StatusForbidden {
				t.Errorf("refused with %d", w.Code)
			}
		})
	}
}

func TestEveryAnswerCarriesAStrictPolicy(t *testing.T) {
	w := httptest.NewRecorder()
	guarded(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	csp := w.Header().Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'",
		"frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp+";", part+";") {
			t.Errorf("%q is not in %q", part, csp)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("the policy has holes: %q", csp)
	}
	for header, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Cross-Origin-Resource-Policy": "same-origin"} {
		if got := w.Header().Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

func TestPagesHaveNoInlineScriptOrStyle(t *testing.T) {
	entries, err := pageFiles.ReadDir("pages")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		source, err := pageFiles.ReadFile("pages/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"<style", "style=", "onclick", "onload", "onsubmit", "javascript:", "<script>"} {
			if strings.Contains(string(source), bad) {
				t.Errorf("%s says %q", e.Name(), bad)
			}
		}
	}
}

func TestALoginLeadsToAPathOfThisHostOnly(t *testing.T) {
	for path, want := range map[string]string{
		"":                        "/",
		"/targets":                "/targets",
		"/sessions/s-1?from=300":  "/sessions/s-1?from=300",
		"//evil.test/":            "/",
		"/\\evil.test":            "/",
		"https://evil.test/":      "/",
		"javascript:alert(1)":     "/",
		"targets":                 "/",
		"/%2f/evil.test":          "/",
		"/a\r\nSet-Cookie: x":     "/",
		"http:///targets":         "/",
		"/targets#//evil.test":    "/targets",
		"https:/evil.test":        "/",
		"/?next=https://evil.com": "/?next=https://evil.com",
	} {
		if got := local(path); got != want {
			t.Errorf("%q leads to %q, want %q", path, got, want)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	f.Add("//evil.test")
	f.Add("/a/../..//b?c#d")
	f.Fuzz(func(t *testing.T, path string) {
		got := local(path)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.HasPrefix(got, "/\\") {
			t.Errorf("%q leads to %q", path, got)
		}
	})
}
