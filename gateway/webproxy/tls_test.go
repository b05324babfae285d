package webproxy_test

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sekisho/sekisho/gateway/webproxy"
)

func TestAnAppBehindTLSMustShowACertificateThatIsTrusted(t *testing.T) {
	versions := make(chan string, 1)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		versions <- r.Proto
		io.WriteString(w, "hello over TLS")
	}))
	app.EnableHTTP2 = true
	app.StartTLS()
	defer app.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(app.Certificate())
	for name, pool := range map[string]*x509.CertPool{"trusted": trusted, "untrusted": x509.NewCertPool()} {
		t.Run(name, func(t *testing.T) {
			g := &gate{t: t, clock: &clock{}, app: &appServer{Server: app}}
			g.start(app.URL, func(c *webproxy.Config) { c.AppCAs = pool })
			v := g.enrol("hanako", "acme").login(appHost)
			res := v.get("/")
			if pool == trusted {
				if res.text != "hello over TLS" || <-versions != "HTTP/2.0" {
					t.Errorf("%s: %s", res.Status, res.text)
				}
				return
			}
			if p := res.problem(t); p.Type != "urn:sekisho:app-certificate" || p.Status != http.StatusBadGateway || p.Decision == "" {
				t.Errorf("%s: %s", res.Status, res.text)
			}
		})
	}
}
