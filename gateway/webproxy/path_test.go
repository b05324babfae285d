package webproxy

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAPathWithOneMeaningIsDecodedOnce(t *testing.T) {
	for name, c := range map[string]struct{ target, path, query string }{
		"the root":                        {"/", "/", ""},
		"a plain path":                    {"/orders/42", "/orders/42", ""},
		"a trailing slash":                {"/orders/", "/orders/", ""},
		"a query stays raw":               {"/orders?a=%2F..&b=//", "/orders", "a=%2F..&b=//"},
		"a second question mark":          {"/a?b?c", "/a", "b?c"},
		"encoded letters":                 {"/%61b%63", "/abc", ""},
		"a space":                         {"/a%20b", "/a b", ""},
		"Japanese":                        {"/%E6%B3%A8%E6%96%87", "/注文", ""},
		"a lone percent sign":             {"/100%25", "/100%", ""},
		"a percent sign before a space":   {"/100%25%20off", "/100% off", ""},
		"an encoded question mark":        {"/a%3Fb", "/a?b", ""},
		"an encoded number sign":          {"/a%23b", "/a#b", ""},
		"dots inside a name":              {"/a..b/.c/d.", "/a..b/.c/d.", ""},
		"three dots":                      {"/...", "/...", ""},
		"reserved characters as they are": {"/a:b@c,d+e=f&g!'()*~", "/a:b@c,d+e=f&g!'()*~", ""},
	} {
		path, query, err := parseTarget(c.target)
		if err != nil || path != c.path || query != c.query {
			t.Errorf("%s: parseTarget(%q) = %q, %q, %v", name, c.target, path, query, err)
		}
	}
}

func TestAPathWithTwoMeaningsIsRefused(t *testing.T) {
	for name, target := range map[string]string{
		"nothing":                       "",
		"an asterisk":                   "*",
		"absolute form":                 "http://orders.apps.test/",
		"a dot segment":                 "/a/./b",
		"a parent segment":              "/a/../b",
		"a parent at the end":           "/a/..",
		"an encoded parent":             "/a/%2e%2e/b",
		"a half-encoded parent":         "/a/.%2E/b",
		"an encoded slash":              "/a%2fb",
		"an encoded slash, upper case":  "/a%2Fb",
		"a backslash":                   `/a\b`,
		"an encoded backslash":          "/a%5cb",
		"two slashes":                   "//a",
		"two slashes inside":            "/a//b",
		"a parameter":                   "/a;b=c/d",
		"a parent with a parameter":     "/a/..;/b",
		"an encoded semicolon":          "/a%3Bb",
		"encoded twice":                 "/a%252fb",
		"encoded twice, the digits too": "/a%25%32%66b",
		"a NUL":                         "/a%00b",
		"a newline":                     "/a%0d%0aSet-Cookie:x",
		"delete":                        "/a%7f",
		"a C1 control":                  "/a%c2%85",
		"invalid UTF-8":                 "/a%ff",
		"an overlong slash":             "/a%c0%afb",
		"raw bytes":                     "/\xe6\xb3\xa8",
		"a raw space":                   "/a b",
		"a fragment":                    "/a#b",
		"a bad escape":                  "/a%zz",
		"a cut escape":                  "/a%4",
		"a raw space in the query":      "/a?b c",
		"too long":                      "/" + strings.Repeat("a", maxTarget),
	} {
		if path, _, err := parseTarget(target); !errors.Is(err, errTarget) {
			t.Errorf("%s: parseTarget(%q) = %q, %v", name, target, path, err)
		}
	}
}

// What is decided must be what the app's own parser sees: the forwarded URL goes through net/http and back.
func FuzzTheDecidedPathIsTheForwardedPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/b?c=d", "/%61", "/a%20b", "/100%25", "/%E6%B3%A8", "/a%3Fb", "/a:b@c", "/a%2fb", "/%2e%2e/", "//x", "/a;b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, query, err := parseTarget(target)
		if err != nil {
			return
		}
		if !utf8.ValidString(path) || !strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.ContainsAny(path, "\\;\x00\r\n") {
			t.Fatalf("%q was let through as %q", target, path)
		}
		out := url.URL{Scheme: "http", Host: "app", Path: path, RawQuery: query}
		req := httptest.NewRequest(http.MethodGet, out.RequestURI(), nil)
		if req.URL.Path != path || req.URL.RawQuery != query {
			t.Fatalf("%q decided as %q, forwarded as %q, read as %q?%q", target, path, out.RequestURI(), req.URL.Path, req.URL.RawQuery)
		}
		again, _, err := parseTarget(out.RequestURI())
		if err != nil || again != path {
			t.Fatalf("%q forwarded as %q means %q, %v", target, out.RequestURI(), again, err)
		}
	})
}
