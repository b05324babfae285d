package console

import (
	"net/http/httptest"
	"testing"
)

func TestTheLanguageIsTheOneTheBrowserPrefers(t *testing.T) {
	for header, want := range map[string]string{
		"":                               "en",
		"ja":                             "ja",
		"ja-JP,ja;q=0.9,en;q=0.8":        "ja",
		"en-US,en;q=0.9,ja;q=0.8":        "en",
		"fr, ja;q=0.3":                   "ja",
		"en;q=0.2, ja ; q=0.3":           "ja",
		"de":                             "en",
		"ja;q=abc":                       "ja",
		";;;,,q=1":                       "en",
		"en-GB;q=0.5,*;q=0.1,ja-JP;q=.4": "en",
	} {
		if got := preferred(header); got != want {
			t.Errorf("Accept-Language %q: %s, want %s", header, got, want)
		}
	}
}

func TestAChosenLanguageIsRememberedAndBeatsTheBrowser(t *testing.T) {
	r := httptest.NewRequest("GET", "https://console.test/?lang=ja", nil)
	r.Header.Set("Accept-Language", "en")
	w := httptest.NewRecorder()
	rememberLanguage(w, r)
	cookies := w.Result().Cookies()
	if language(r) != "ja" || len(cookies) != 1 || !cookies[0].Secure || !cookies[0].HttpOnly || cookies[0].Path != "/" {
		t.Fatalf("language %s, cookies %v", language(r), cookies)
	}
	later := httptest.NewRequest("GET", "https://console.test/", nil)
	later.AddCookie(cookies[0])
	if got := language(later); got != "ja" {
		t.Errorf("the next page is in %s", got)
	}
}

func TestAnUnknownLanguageIsNeitherUsedNorRemembered(t *testing.T) {
	r := httptest.NewRequest("GET", "https://console.test/?lang=%3Cscript%3E", nil)
	w := httptest.NewRecorder()
	rememberLanguage(w, r)
	if language(r) != "en" || len(w.Result().Cookies()) != 0 {
		t.Errorf("language %s, cookies %v", language(r), w.Result().Cookies())
	}
}

func FuzzPreferredLanguage(f *testing.F) {
	f.Add("ja-JP,ja;q=0.9,en;q=0.8")
	f.Add(";q=,,;")
	f.Fuzz(func(t *testing.T, header string) {
		if got := preferred(header); got != "en" && got != "ja" {
			t.Errorf("%q: language %q", header, got)
		}
	})
}
