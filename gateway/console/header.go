package console

import (
	"net/http"
	"strings"
)

// contentPolicy is the Content-Security-Policy of every page; formTargets are further places a form may go to.
func contentPolicy(formTargets ...string) string {
	return strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
		strings.Join(append([]string{"form-action 'self'"}, formTargets...), " "),
		"frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
	}, "; ")
}

// guarded adds what every answer carries: a strict content policy, no framing, no sniffing, no caching of anything about
// a person.
func guarded(next http.Handler) http.Handler {
	strict := contentPolicy()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", strict)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), "+
			"publickey-credentials-create=(self), publickey-credentials-get=(self)")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// sameOrigin lets through what a page of this very origin, a person's own navigation or a program that is no browser
// sends. Everything that changes something and the whole API refuse other origins, other hosts of the same site included:
// an app behind the gateway is not the gateway.
func sameOrigin(origin string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		safe := r.Method == http.MethodGet || r.Method == http.MethodHead
		if safe && !strings.HasPrefix(r.URL.Path, "/api/") || fromHere(r, origin, safe) {
			next.ServeHTTP(w, r)
			return
		}
		answerProblem(w, &Problem{Status: http.StatusForbidden, Title: "Cross-origin request refused",
			Detail: "This can only be done from the gateway's own pages."})
	})
}

// fromHere reads what browsers say about who made a request: Sec-Fetch-Site, and Origin where they do not say that. A
// browser's POST always has an Origin, so one with a cookie and without an Origin is refused.
func fromHere(r *http.Request, origin string, safe bool) bool {
	if from := r.Header.Get("Origin"); from != "" && from != origin {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin":
		return true
	case "none":
		return safe
	case "":
		return safe || r.Header.Get("Origin") != "" || r.Header.Get("Cookie") == ""
	}
	return false
}
