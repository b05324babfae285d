package webproxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// cookieName is the gateway's own cookie. The app neither sees nor sets it.
const cookieName = "__Host-sekisho"

// identityHeader carries who is there to the app: an ES256 JWT that the console's JWKS verifies.
const identityHeader = "X-Sekisho-Identity"

// forged are the names by which apps and frameworks are told who or where a client is, in the spelling of plainName. Only
// the gateway may say that, so they never pass.
var forged = []string{
	"forwarded", "via", "proxy", "client-cert", "client-cert-chain", "client-ip", "true-client-ip", "cf-connecting-ip",
	"cf-connecting-ipv6", "fastly-client-ip", "fly-client-ip", "remote-addr", "remote-host", "remote-ip", "remote-user",
	"remote-name", "remote-email", "remote-groups", "auth-user", "authenticated-user", "x-real-ip", "x-client-ip",
	"x-cluster-client-ip", "x-originating-ip", "x-original-forwarded-for", "x-original-url", "x-original-uri",
	"x-original-method", "x-original-host", "x-rewrite-url", "x-host", "x-http-host-override", "x-proxyuser-ip",
	"x-proxyuser-host", "x-user", "x-user-id", "x-user-name", "x-username", "x-user-email", "x-user-groups",
	"x-user-role", "x-user-roles", "x-email", "x-groups", "x-roles", "x-wap-profile", "front-end-https", "x-url-scheme",
}

// forgedPrefixes are whole families of such names.
var forgedPrefixes = []string{
	"x-forwarded", "x-sekisho", "sekisho-", "x-remote-", "x-auth-request-", "x-authenticated-", "x-authentik-", "x-authelia-",
	"x-webauth-", "x-proxy-", "x-ssl-", "ssl-client-", "x-client-cert", "x-tls-", "x-goog-authenticated-user",
	"x-goog-iap-", "x-amzn-oidc-", "x-amzn-mtls-", "x-ms-client-principal", "x-ms-token-", "x-pomerium-", "x-vouch-",
	"x-envoy-", "x-arr-", "x-accel-", "x-sendfile", "cf-access-", "tailscale-", "x-token-user", "x-consumer-",
}

// methodOverrides are headers that ask a framework to take another method than the one that was decided.
var methodOverrides = []string{"x-http-method-override", "x-http-method", "x-method-override", "http-method-override", "x-method"}

// connectionTokens are the only options a Connection header may hold: any other would have a proxy drop that header on
// the way, also one the decision or the record relied on.
var connectionTokens = []string{"keep-alive", "close", "te"}

// plainName is a header name as a CGI-like environment sees it, where every separator becomes the same one.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return '-'
	}, name)
}

func isForged(name string) bool {
	name = plainName(name)
	if slices.Contains(forged, name) {
		return true
	}
	return slices.ContainsFunc(forgedPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// checkHeader refuses requests whose headers ask for something the gateway does not carry.
func checkHeader(h http.Header) error {
	for name := range h {
		if slices.Contains(methodOverrides, plainName(name)) {
			return fmt.Errorf("the header %s would change the method after it was decided; send the method itself", name)
		}
	}
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			token = strings.ToLower(strings.TrimSpace(token))
			if token != "" && !slices.Contains(connectionTokens, token) {
				return fmt.Errorf("the Connection header names %q; only keep-alive, close and TE are carried", token)
			}
		}
	}
	return nil
}

// stripRequest removes what the app must not believe or see: forged identity and forwarding headers in every spelling,
// the gateway's cookie, and what belongs to the connection.
func stripRequest(h http.Header) {
	for name := range h {
		if isForged(name) {
			delete(h, name)
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Expect", "Upgrade",
		"Http2-Settings", "Proxy-Authorization", "Proxy-Authenticate", "Accept-Encoding"} {
		delete(h, name)
	}
	hideCookie(h)
}

// hideCookie removes the gateway's cookie from the request. It cuts at every semicolon, as lenient apps do, so that no
// quoting by a neighbour can carry the cookie through.
func hideCookie(h http.Header) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return
	}
	var kept []string
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if pair = strings.TrimSpace(pair); pair != "" && !isOwnCookie(pair) {
				kept = append(kept, pair)
			}
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = []string{strings.Join(kept, "; ")}
}

// isOwnCookie tells whether a cookie pair is the gateway's, also as browsers may come to read it: ignoring case, white
// space, control characters and a missing name.
func isOwnCookie(pair string) bool {
	plain := strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == '=' || r == '"' {
			return -1
		}
		return r
	}, pair)
	return len(plain) >= len(cookieName) && strings.EqualFold(plain[:len(cookieName)], cookieName)
}

// stripResponse removes what an app could use to speak for the gateway, to lead around it or to take its cookie away.
func stripResponse(h http.Header) {
	for name := range h {
		if strings.HasPrefix(plainName(name), "x-sekisho") {
			delete(h, name)
		}
	}
	for _, name := range []string{"Alt-Svc", "Alternate-Protocol", "Trailer", "Proxy-Authenticate", "Proxy-Connection"} {
		delete(h, name)
	}
	if lines := slices.DeleteFunc(h["Set-Cookie"], isOwnCookie); len(lines) > 0 {
		for i := range lines {
			lines[i] = hostOnly(lines[i])
		}
		h["Set-Cookie"] = lines
	} else {
		delete(h, "Set-Cookie")
	}
	keepCookies(h)
}

// hostOnly takes the domain off a cookie. Apps share one domain behind the gateway: with it, one of them could give
// people a session of its choosing at another, or read theirs.
func hostOnly(cookie string) string {
	parts := strings.Split(cookie, ";")
	kept := parts[:1]
	for _, attribute := range parts[1:] {
		name, _, _ := strings.Cut(attribute, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "domain") {
			kept = append(kept, attribute)
		}
	}
	return strings.Join(kept, ";")
}

// leadHere turns addresses of the app itself, which only the gateway reaches, into those people have for it.
func leadHere(h http.Header, upstream *url.URL, host string) {
	for _, name := range []string{"Location", "Content-Location"} {
		for i, line := range h[name] {
			u, err := url.Parse(line)
			if err == nil && u.Host != "" && strings.EqualFold(u.Hostname(), upstream.Hostname()) && !strings.EqualFold(u.Host, host) {
				u.Scheme, u.User, u.Host = "https", nil, host
				h[name][i] = u.String()
			}
		}
	}
}

// keepCookies takes out of Clear-Site-Data what would also clear the gateway's cookies, here and at the console.
func keepCookies(h http.Header) {
	var kept []string
	for _, line := range h["Clear-Site-Data"] {
		for part := range strings.SplitSeq(line, ",") {
			part = strings.TrimSpace(part)
			if part != "" && part != `"*"` && !strings.EqualFold(part, `"cookies"`) {
				kept = append(kept, part)
			}
		}
	}
	delete(h, "Clear-Site-Data")
	if len(kept) > 0 {
		h["Clear-Site-Data"] = []string{strings.Join(kept, ", ")}
	}
}
