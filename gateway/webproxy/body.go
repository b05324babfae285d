package webproxy

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// Why the recording holds less of a body than passed (recorder.BodyRef.Omitted).
const (
	omittedLarge    = "too large"
	omittedRedacted = "redacted"
	omittedUnread   = "cannot be redacted"
	omittedCut      = "cut off"
)

// manner is how a body goes on record.
type manner uint8

const (
	digest manner = iota // its hash and size only
	whole                // held back until it is complete, redacted, recorded, then passed on
	pieces               // each piece recorded before it is passed on
)

// redactor decides how the bodies of one app go on record and strikes out what must not be stored.
type redactor struct {
	paths  []jsonPath
	strict bool // the app has paths: what cannot be read as JSON must not hold what they name
	broken bool // the paths cannot be read: nothing is stored
	limit  int64
}

func newRedactor(paths []string, limit int64) (redactor, error) {
	compiled, err := compileJSONPaths(paths)
	return redactor{paths: compiled, strict: len(paths) > 0, broken: err != nil, limit: limit}, err
}

// manner tells how a body of so many bytes (-1: unknown) goes on record and, where it is not stored, why.
func (r redactor) manner(h http.Header, length int64) (manner, string) {
	kind := mediaType(h)
	form := kind == "application/x-www-form-urlencoded" || strings.HasPrefix(kind, "multipart/")
	switch {
	case r.broken:
		return digest, omittedUnread
	case length > r.limit:
		return digest, omittedLarge
	case isEncoded(h) && (r.strict || isJSON(kind) || form), isJSONLines(kind), kind == "multipart/byteranges",
		r.strict && (kind == "text/event-stream" || isScript(kind) || h.Get("Content-Range") != ""):
		return digest, omittedUnread
	case kind == "text/event-stream":
		return pieces, ""
	case length >= 0 || isJSON(kind) || form:
		return whole, ""
	}
	return pieces, ""
}

// clean returns what of a complete body may be stored; keep is false when nothing may.
func (r redactor) clean(h http.Header, body []byte) (stored []byte, omitted string, keep bool) {
	kind := mediaType(h)
	switch {
	case isEncoded(h):
		return body, "", true // manner has let through only what needs no redaction
	case kind == "application/x-www-form-urlencoded":
		if clean := redactQuery(string(body)); clean != string(body) {
			return []byte(clean), omittedRedacted, true
		}
	case isJSON(kind) || looksJSON(body):
		clean, changed, err := redactJSON(body, r.paths)
		if err != nil && (r.strict || isJSON(kind)) {
			return nil, omittedUnread, false
		}
		if err == nil && changed {
			return clean, omittedRedacted, true
		}
	}
	return body, "", true
}

func mediaType(h http.Header) string {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind, _, _ = strings.Cut(h.Get("Content-Type"), ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	return clip(kind, 128)
}

func isEncoded(h http.Header) bool {
	encoding := strings.TrimSpace(strings.Join(h["Content-Encoding"], ","))
	return encoding != "" && !strings.EqualFold(encoding, "identity")
}

// isJSONLines names the types that hold many JSON values as they come, which nobody can redact in passing.
func isJSONLines(kind string) bool {
	switch kind {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-seq",
		"application/jsonlines", "application/stream+json", "application/x-json-stream":
		return true
	}
	return false
}

// isScript names the types in which an app may wrap JSON on request (JSONP).
func isScript(kind string) bool {
	return strings.HasSuffix(kind, "javascript") || strings.HasSuffix(kind, "ecmascript")
}

// looksJSON tells whether a body of whatever type begins like a JSON object or array.
func looksJSON(body []byte) bool {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// errTooLarge says that a request body is larger than what is carried.
var errTooLarge = fmt.Errorf("the request body is too large")
