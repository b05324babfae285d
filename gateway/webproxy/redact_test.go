package webproxy

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestSecretHeadersNeverEnterTheRecord(t *testing.T) {
	h := http.Header{"Accept": {"text/html"}, "Referer": {"https://u:SECRET@app.test/a?token=SECRET&page=2#access_token=SECRET"},
		"Location": {"/cb?code=SECRET&state=x"}, "Refresh": {"0; url=https://a.test/;jsessionid=SECRET?x=1"}}
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "X-Auth-Token",
		"X-Csrf-Token", "Private-Token", "X-Amz-Security-Token", "X_API_KEY", "Www-Authenticate", "X-Goog-Iap-Jwt-Assertion"} {
		h[name] = []string{"SECRET", "SECRET too"}
	}
	clean := redactHeader(h)
	for name, values := range clean {
		if strings.Contains(strings.Join(values, " "), "SECRET") {
			t.Errorf("%s: %q", name, values)
		}
	}
	if clean.Get("Accept") != "text/html" || !strings.Contains(clean.Get("Referer"), "page=2") || !strings.Contains(clean.Get("Location"), "state=x") {
		t.Errorf("too much is gone: %v", clean)
	}
	if len(h["Cookie"]) != 2 || h.Get("Cookie") != "SECRET" {
		t.Error("the header that is forwarded was changed")
	}
}

func TestSecretParametersAreStruckOut(t *testing.T) {
	for in, want := range map[string]string{
		"page=2&token=SECRET":                           "page=2&token=[redacted]",
		"access_token=SECRET&x=1":                       "access_token=[redacted]&x=1",
		"accessToken=SECRET":                            "accessToken=[redacted]",
		"new-password=SECRET&user%5Bpassword%5D=SECRET": "new-password=[redacted]&user%5Bpassword%5D=[redacted]",
		"to%6ben=SECRET":                                "to%6ben=[redacted]",
		"code=SECRET":                                   "code=[redacted]",
		"key=SECRET;SECRET=SECRET?SECRET":               "key=[redacted]",
		"a=1;token=SECRET":                              "a=1;token=[redacted]",
		"X-Amz-Signature=SECRET&X-Amz-Date=20261122":    "X-Amz-Signature=[redacted]&X-Amz-Date=20261122",
		"next=https%3A%2F%2Fapp%2F%3Ftoken%3DSECRET":    "next=[redacted]",
		"next=%252Fa%253Ftoken%253DSECRET":              "next=[redacted]",
		"token=":                                        "token=",
		"q=keyboard&country=jp":                         "q=keyboard&country=jp",
		"":                                              "",
	} {
		if got := redactQuery(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestConfiguredJSONPathsAreStruckOut(t *testing.T) {
	for name, c := range map[string]struct {
		paths    []string
		in, want string
	}{
		"a member":             {[]string{"$.card.number"}, `{"card": {"number": "SECRET", "name": "a"}}`, `{"card": {"number": "[redacted]", "name": "a"}}`},
		"a number":             {[]string{"$.pin"}, `{"pin":  1234 ,"x":1.50}`, `{"pin":  "[redacted]" ,"x":1.50}`},
		"a whole object":       {[]string{"$.card"}, `{"card":{"a":["SECRET",{"b":1}]},"x":1}`, `{"card":"[redacted]","x":1}`},
		"every element":        {[]string{"$.items[*].serial"}, `{"items":[{"serial":"SECRET"},{"serial":"SECRET"}]}`, `{"items":[{"serial":"[redacted]"},{"serial":"[redacted]"}]}`},
		"a list at the top":    {[]string{"$[*].serial"}, `[{"serial":"SECRET"}]`, `[{"serial":"[redacted]"}]`},
		"elements themselves":  {[]string{"$.codes[*]"}, `{"codes":["SECRET","SECRET"]}`, `{"codes":["[redacted]","[redacted]"]}`},
		"a member given twice": {[]string{"$.a"}, `{"a":"SECRET","a":"SECRET"}`, `{"a":"[redacted]","a":"[redacted]"}`},
		"an escaped name":      {[]string{"$.card"}, `{"c\u0061rd":"SECRET"}`, `{"c\u0061rd":"[redacted]"}`},
		"another case":         {[]string{"$.card"}, `{"CARD":"SECRET"}`, `{"CARD":"[redacted]"}`},
		"two values in a row":  {[]string{"$.a"}, "{\"a\":\"SECRET\"}\n{\"a\":\"SECRET\"}\n", "{\"a\":\"[redacted]\"}\n{\"a\":\"[redacted]\"}\n"},
		"null stays":           {[]string{"$.a"}, `{"a":null}`, `{"a":null}`},
		"passwords by name":    {nil, `{"user":{"Password":"SECRET","refresh_token":"SECRET"},"code":"JP","key":"k"}`, `{"user":{"Password":"[redacted]","refresh_token":"[redacted]"},"code":"JP","key":"k"}`},
		"nothing to find":      {[]string{"$.a.b"}, `{"b":1, "a":[1]}`, `{"b":1, "a":[1]}`},
		"a lone value":         {[]string{"$.a"}, `"text"`, `"text"`},
	} {
		paths, err := compileJSONPaths(c.paths)
		if err != nil {
			t.Fatal(err)
		}
		clean, _, err := redactJSON([]byte(c.in), paths)
		if err != nil || string(clean) != c.want {
			t.Errorf("%s: %s, %v; want %s", name, clean, err, c.want)
		}
	}
}

func TestWhatIsNotJSONCannotBeRedacted(t *testing.T) {
	for name, in := range map[string]string{
		"cut":           `{"a":"b`,
		"cut in a list": `[1,`,
		"bare words":    `{a:1}`,
		"trailing text": `{"a":1} and more`,
		"too deep":      strings.Repeat("[", maxDepth+2) + strings.Repeat("]", maxDepth+2),
		"a prefix":      `)]}',{"a":1}`,
	} {
		if _, _, err := redactJSON([]byte(in), nil); err == nil {
			t.Errorf("%s was taken for JSON", name)
		}
	}
	for _, path := range []string{"", "$", "card", "$..x", "$.a[?(@.b)]", "$.a[0]", "$.", "$.a..b", "$[*"} {
		if _, err := compileJSONPaths([]string{path}); err == nil {
			t.Errorf("path %q was taken", path)
		}
	}
}

func TestWhatCannotBeRedactedIsKeptAsHashAndSizeOnly(t *testing.T) {
	strict, err := newRedactor([]string{"$.card"}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := newRedactor(nil, 1<<20)
	typed := func(kind string, more ...string) http.Header {
		h := http.Header{"Content-Type": {kind}}
		if len(more) > 0 {
			h.Set("Content-Encoding", more[0])
		}
		return h
	}
	for name, c := range map[string]struct {
		r    redactor
		h    http.Header
		size int64
		want manner
	}{
		"JSON is held":                      {plain, typed("application/json"), -1, whole},
		"JSON by suffix is held":            {plain, typed("application/problem+json; charset=utf-8"), -1, whole},
		"a page of known size is held":      {plain, typed("text/html"), 100, whole},
		"a page of unknown size streams":    {plain, typed("text/html"), -1, pieces},
		"a large file":                      {plain, typed("application/pdf"), 1<<20 + 1, digest},
		"events stream":                     {plain, typed("text/event-stream"), -1, pieces},
		"events of an app with paths":       {strict, typed("text/event-stream"), -1, digest},
		"lines of JSON":                     {plain, typed("application/x-ndjson"), -1, digest},
		"compressed JSON":                   {plain, typed("application/json", "gzip"), 10, digest},
		"a compressed page":                 {plain, typed("text/html", "gzip"), 10, whole},
		"a compressed page, app with paths": {strict, typed("text/html", "br"), 10, digest},
		"ranges of JSON":                    {plain, typed("multipart/byteranges; boundary=x"), 100, digest},
		"a part of a page, app with paths":  {strict, http.Header{"Content-Type": {"text/plain"}, "Content-Range": {"bytes 1-9/20"}}, 9, digest},
		"a part of a file":                  {plain, http.Header{"Content-Type": {"application/pdf"}, "Content-Range": {"bytes 1-9/20"}}, 9, whole},
		"JSON as script, app with paths":    {strict, typed("application/javascript"), 9, digest},
		"JSON as script by another name":    {strict, typed("text/javascript; charset=utf-8"), -1, digest},
		"a script":                          {plain, typed("text/javascript"), 9, whole},
		"a form":                            {plain, typed("application/x-www-form-urlencoded"), -1, whole},
	} {
		if got, _ := c.r.manner(c.h, c.size); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if _, _, keep := strict.clean(typed("application/json"), []byte(`{"card":`)); keep {
		t.Error("broken JSON was kept")
	}
	if _, _, keep := strict.clean(typed("text/html"), []byte(` {"card":`)); keep {
		t.Error("JSON under a false flag was kept")
	}
	if stored, omitted, _ := plain.clean(typed("text/html"), []byte(`{"password":"SECRET"}`)); omitted != omittedRedacted || bytes.Contains(stored, []byte("SECRET")) {
		t.Errorf("JSON under a false flag: %s", stored)
	}
	if stored, _, keep := plain.clean(typed("application/x-www-form-urlencoded"), []byte("user=a&password=SECRET,SECRET")); !keep || string(stored) != "user=a&password=[redacted]" {
		t.Errorf("form: %s", stored)
	}
	if _, err := newRedactor([]string{"nonsense"}, 1); err == nil {
		t.Error("a path nobody can read was taken")
	}
}

func FuzzNoSecretParameterSurvives(f *testing.F) {
	f.Add("a=1&", "&b=2", "tok")
	f.Add("x;", "?y", "%41")
	f.Fuzz(func(t *testing.T, before, after, noise string) {
		const secret = "S3CR3T"
		if strings.Contains(before+after+noise, secret) {
			return
		}
		for _, query := range []string{
			before + "&password=" + secret + noise + "&" + after,
			"access_token=" + url.QueryEscape(noise) + secret + "&" + after,
			before + "&next=" + url.QueryEscape("https://h/?token="+secret),
		} {
			if clean := redactQuery(query); strings.Contains(clean, secret) && !strings.Contains(noise, "&") {
				t.Fatalf("%q became %q", query, clean)
			}
		}
		if h := redactHeader(http.Header{"X-" + noise: {"https://u:" + secret + "@h/"}}); strings.Contains(h["X-"+noise][0], secret) {
			t.Fatalf("userinfo: %q", h)
		}
	})
}

func FuzzRedactedJSONIsTheSameJSONWithoutTheSecret(f *testing.F) {
	for _, seed := range []string{`{"card":{"number":"1"}}`, `[{"card":1}]`, `{"a":{"card":[{}]},"card":null}`, `{"password":"x"} {"card":2}`, `{"c\u0061rd":3}`, "{", `"x"`} {
		f.Add([]byte(seed))
	}
	paths, err := compileJSONPaths([]string{"$.card", "$[*].card", "$.list[*].card.number"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		clean, changed, err := redactJSON(body, paths)
		if err != nil {
			return
		}
		if !changed && !bytes.Equal(clean, body) {
			t.Fatalf("changed %q to %q without saying so", body, clean)
		}
		if !json.Valid(body) {
			return // several values in a row
		}
		var v any
		if err := json.Unmarshal(clean, &v); err != nil {
			t.Fatalf("%q became %q: %v", body, clean, err)
		}
		if m, ok := v.(map[string]any); ok {
			switch card := m["card"].(type) {
			case nil, bool:
			case string:
				if card != "" && card != redacted {
					t.Fatalf("%q kept %q", body, card)
				}
			case map[string]any:
				if len(card) > 0 {
					t.Fatalf("%q kept %v", body, card)
				}
			case []any:
				if len(card) > 0 {
					t.Fatalf("%q kept %v", body, card)
				}
			default:
				t.Fatalf("%q kept %v", body, card)
			}
		}
	})
}
