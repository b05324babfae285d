package webproxy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// redacted stands in the record where a secret stood.
const redacted = "[redacted]"

// secretParts are parts of header names, in the spelling of bareName, whose values never enter a recording.
var secretParts = []string{"authorization", "cookie", "token", "secret", "passw", "apikey", "signature", "credential",
	"assertion", "sessionid", "xauth", "privatekey", "authenticate", "authenticationinfo", "otp"}

// secretNames are names of query and form parameters, in the spelling of bareName, that carry secrets.
var secretNames = []string{"password", "passwd", "pwd", "pass", "passphrase", "token", "accesstoken", "refreshtoken",
	"idtoken", "idtokenhint", "authtoken", "jwt", "secret", "clientsecret", "clientassertion", "assertion", "code",
	"codeverifier", "devicecode", "key", "apikey", "accesskey", "auth", "authorization", "credential", "credentials",
	"otp", "totp", "pin", "sig", "signature", "sessionid", "session", "sid", "jsessionid", "phpsessid", "samlresponse",
	"samlrequest", "samlart", "ticket", "privatekey", "invite"}

// secretMembers are names of JSON members, in the spelling of bareName, that carry secrets in every app. They are fewer
// than secretNames, because code, key and pin are ordinary words in data.
var secretMembers = []string{"password", "passwd", "pwd", "passphrase", "token", "accesstoken", "refreshtoken", "idtoken",
	"authtoken", "jwt", "secret", "clientsecret", "apikey", "authorization", "privatekey", "otp", "totp"}

// secretEndings mark names such as new_password or x-amz-security-token.
var secretEndings = []string{"password", "passwd", "passphrase", "secret", "token", "apikey", "secretkey", "privatekey",
	"accesskeyid", "signature", "credential"}

// bareName keeps the letters and digits of a name, in lower case, so that access_token, access-token and accessToken are
// one.
func bareName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return -1
	}, name)
}

func isSecretName(name string, names []string) bool {
	bare := bareName(name)
	if slices.Contains(names, bare) {
		return true
	}
	return slices.ContainsFunc(secretEndings, func(end string) bool { return strings.HasSuffix(bare, end) })
}

// redactHeader returns a copy for the record: values of secret headers are struck out whole, and secrets in the URLs that
// other values hold as well.
func redactHeader(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		bare := bareName(name)
		secret := slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(bare, part) })
		kept := make([]string, len(values))
		for i, value := range values {
			if kept[i] = redacted; !secret {
				kept[i] = redactText(value)
			}
		}
		out[name] = kept
	}
	return out
}

// redactText strikes the secrets of URLs out of a text: user information and secret parameters of query, fragment or path.
func redactText(s string) string { return redactNested(s, 3) }

// redactNested is redactText for a text that may hold texts encoded depth times.
func redactNested(s string, depth int) string {
	if !strings.ContainsAny(s, "=@") {
		return s
	}
	var b strings.Builder
	for s != "" {
		end := strings.IndexAny(s, wordEnds)
		if end < 0 {
			end = len(s)
		}
		b.WriteString(redactPairs(redactUserinfo(s[:end]), pairEnds, depth))
		next := min(end+1, len(s))
		b.WriteString(s[end:next])
		s = s[next:]
	}
	return b.String()
}

const (
	wordEnds = " \t\r\n<>\"" // what ends a URL in a text
	pairEnds = "&?#;"        // what ends a parameter, from what every app agrees on to what some do
)

// redactQuery strikes secret parameters out of a raw query or form body.
func redactQuery(query string) string { return redactPairs(query, pairEnds, 3) }

// redactPairs replaces the value of every secret name=value pair. A secret's value runs to the end that every app agrees
// on; inside other values it looks for pairs that only some apps would see.
func redactPairs(s, ends string, depth int) string {
	if !strings.Contains(s, "=") || ends == "" {
		return s
	}
	pieces := strings.Split(s, ends[:1])
	for i, piece := range pieces {
		name, value, ok := strings.Cut(piece, "=")
		switch {
		case !ok:
		case value == "":
		case isSecretName(unescaped(name), secretNames), len(ends) == 1 && hidesSecret(value, depth):
			pieces[i] = name + "=" + redacted
		default:
			pieces[i] = redactPairs(piece, ends[1:], depth)
		}
	}
	return strings.Join(pieces, ends[:1])
}

// hidesSecret tells whether a value is itself an encoded URL or query with a secret in it.
func hidesSecret(value string, depth int) bool {
	for ; depth > 0 && strings.Contains(value, "%"); depth-- {
		plain := unescaped(value)
		if plain == value {
			return false
		}
		if redactNested(plain, depth-1) != plain {
			return true
		}
		value = plain
	}
	return false
}

// unescaped decodes a parameter name as an app would; what does not decode is taken as it stands.
func unescaped(name string) string {
	if plain, err := url.QueryUnescape(name); err == nil {
		return plain
	}
	return name
}

// redactUserinfo strikes out user:password@ in absolute URLs.
func redactUserinfo(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "://")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i+3])
		s = s[i+3:]
		end := strings.IndexAny(s, "/?# \t\",;<>")
		if end < 0 {
			end = len(s)
		}
		if at := strings.LastIndexByte(s[:end], '@'); at >= 0 {
			b.WriteString(redacted)
			s = s[at:]
		}
	}
}
