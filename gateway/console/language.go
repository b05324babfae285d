package console

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const languageCookie = "__Host-sekisho-lang"

// language is "ja" or "en": what ?lang= says, else what it said before, else what the browser prefers.
func language(r *http.Request) string {
	if lang := r.URL.Query().Get("lang"); lang == "ja" || lang == "en" {
		return lang
	}
	if c, err := r.Cookie(languageCookie); err == nil && (c.Value == "ja" || c.Value == "en") {
		return c.Value
	}
	return preferred(r.Header.Get("Accept-Language"))
}

// rememberLanguage keeps a choice made with ?lang= for a year.
func rememberLanguage(w http.ResponseWriter, r *http.Request) {
	if lang := r.URL.Query().Get("lang"); lang == "ja" || lang == "en" {
		http.SetCookie(w, &http.Cookie{Name: languageCookie, Value: lang, Path: "/", MaxAge: 365 * 24 * 3600,
			Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
}

// preferred reads an Accept-Language header (RFC 9110 section 12.5.4): Japanese when it is wanted more than English.
func preferred(header string) string {
	weight := map[string]float64{}
	for _, item := range strings.Split(header[:min(len(header), 256)], ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(item), ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		q := 1.0
		if value, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
			if parsed, err := strconv.ParseFloat(value, 64); err == nil {
				q = parsed
			}
		}
		weight[primary] = max(weight[primary], q)
	}
	if weight["ja"] > weight["en"] {
		return "ja"
	}
	return "en"
}

// say returns a text in a language. A key that does not exist is shown as it is; a test looks for those.
func say(lang, key string, args ...any) string {
	t, ok := words[key]
	if !ok {
		return key
	}
	in := t.en
	if lang == "ja" {
		in = t.ja
	}
	if len(args) == 0 {
		return in
	}
	return fmt.Sprintf(in, args...)
}
