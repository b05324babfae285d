package webproxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkExchange is one small page through the whole gateway: certificate, session, decision, recording, event.
func BenchmarkExchange(b *testing.B) {
	page := strings.Repeat("<p>order</p>\n", 100)
	g := newGate(b, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, page) }, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	b.ReportAllocs()
	for b.Loop() {
		if res := v.get("/orders"); res.StatusCode != http.StatusOK {
			b.Fatal(res.Status)
		}
	}
}

// BenchmarkDownload is 16 MiB through the gateway, hashed on the way.
func BenchmarkDownload(b *testing.B) {
	const size = 16 << 20
	g := newGate(b, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "16777216")
		io.Copy(w, &zeros{size})
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	v.client = g.client(&v.cert, false)
	b.SetBytes(size)
	for b.Loop() {
		res, err := v.client.Do(v.request(http.MethodGet, appHost, "/file", nil))
		must(b, err)
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}
