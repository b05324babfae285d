package recorder

import (
	"net/http"
	"time"
)

// Exchange is the Data of a KindExchange entry: one HTTP request and what came back. Secrets are redacted before it is
// written. The bodies it refers to are KindBody entries of the same recording, written before it. An exchange whose
// response streams is written twice on its channel: Open before anything of it is shown, and complete at its end.
type Exchange struct {
	Method         string      `json:"method"`
	URL            string      `json:"url"` // as the client asked for it, on the app's host
	Proto          string      `json:"proto,omitempty"`
	Status         int         `json:"status,omitempty"` // absent when no response came
	Started        time.Time   `json:"started"`
	DurationMS     int64       `json:"duration_ms"`
	RequestHeader  http.Header `json:"request_header,omitempty"`
	ResponseHeader http.Header `json:"response_header,omitempty"`
	RequestBody    BodyRef     `json:"request_body,omitzero"`
	ResponseBody   BodyRef     `json:"response_body,omitzero"`
	Decision       string      `json:"decision,omitempty"`
	Open           bool        `json:"open,omitempty"`  // the response's body is still to come
	Error          string      `json:"error,omitempty"` // why no response, or not the whole of it, came
}

// BodyRef names a body by its content. The zero value stands for no body.
type BodyRef struct {
	SHA256 string `json:"sha256,omitempty"` // hex, of what the KindBody entry holds
	Bytes  int64  `json:"bytes"`            // as it passed
	Type   string `json:"type,omitempty"`   // media type
	// Streamed: the body is the KindBody entries between the two exchanges of this channel, in order; SHA256 is that of
	// the whole body as it passed.
	Streamed bool   `json:"streamed,omitempty"`
	Omitted  string `json:"omitted,omitempty"` // why the recording holds less than passed, or nothing: "too large", "redacted"
}
