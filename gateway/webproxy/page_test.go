package webproxy

import (
	"html/template"
	"net/http"
	"strings"
	"testing"
)

func TestTheReadersLanguageIsTaken(t *testing.T) {
	for header, want := range map[string]string{
		"": "en", "ja": "ja", "ja-JP, en;q=0.9": "ja", "en, ja;q=0.9": "en", "fr, ja;q=0.2": "ja", "ja;q=0, en;q=0.1": "en", "ja;q=x": "en", "*": "en",
	} {
		if got := language(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestABrowserIsToldFromAProgram(t *testing.T) {
	for header, want := range map[string]bool{
		"text/html,*/*;q=0.8": true, "application/xhtml+xml, Text/HTML;q=0.5": true, "*/*": false, "": false, "application/json": false,
		"text/html;q=0": false, "text/html5": false,
	} {
		if got := wantsHTML(&http.Request{Header: http.Header{"Accept": {header}}}); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}

func TestEveryNoticeSpeaksBothLanguages(t *testing.T) {
	for _, n := range []notice{misdirected, badRequest, notCarried, tooLarge, noCertificate, expiredCertificate, revokedCertificate,
		foreignCertificate, unreleased, logIn, staleHandoff, logOut, loggedOut, notFound, refused, approvalNeeded, sessionEnded,
		crowded, broken, appDown, appUntrusted, appSlow, appBroke, slowUpload} {
		for _, lang := range []string{"en", "ja"} {
			var b strings.Builder
			content := n.decided("d-1").linked("https://console/login").page(lang)
			if err := pageTemplate.Execute(&b, content); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{template.HTMLEscapeString(content.Title), "d-1", "https://console/login", `lang="` + lang + `"`} {
				if want == "" || !strings.Contains(b.String(), want) {
					t.Errorf("%s in %s: %q is missing", n.name, lang, want)
				}
			}
		}
		if n.status == 0 || n.title.en == "" || n.title.en == n.title.ja || n.what.en == "" || n.what.ja == "" {
			t.Errorf("%+v", n)
		}
	}
}

func FuzzAcceptHeaders(f *testing.F) {
	f.Add("text/html;q=0.5, */*", "ja, en;q=0.1")
	f.Fuzz(func(t *testing.T, accept, lang string) {
		wantsHTML(&http.Request{Header: http.Header{"Accept": {accept}}})
		if got := language(lang); got != "en" && got != "ja" {
			t.Fatalf("%q: %q", lang, got)
		}
	})
}
