package webproxy_test

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// curl runs the real program with the visitor's certificate and cookie; it returns what curl printed.
func (v *visitor) curl(args ...string) string {
	g := v.gate
	g.t.Helper()
	program, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") != "" {
			g.t.Fatal("curl is missing")
		}
		g.t.Skip("curl is missing: make tools")
	}
	dir := g.t.TempDir()
	secret, err := x509.MarshalPKCS8PrivateKey(v.key)
	must(g.t, err)
	for name, content := range map[string][]byte{
		"cert.pem": append(v.issued.CertPEM, v.issued.ChainPEM...),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		"ca.pem":   g.authority.RootPEM(),
	} {
		must(g.t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	// --connect-to leads every host to the test's port, and the URLs stay as people write them.
	all := append([]string{"-sS", "--max-time", "20", "--cert", filepath.Join(dir, "cert.pem"), "--key", filepath.Join(dir, "key.pem"),
		"--cacert", filepath.Join(dir, "ca.pem"), "--connect-to", "::" + g.server.Listener.Addr().String(),
		"-H", "Cookie: __Host-sekisho=" + v.cookie[appHost]}, args...)
	out, err := exec.CommandContext(g.t.Context(), program, all...).CombinedOutput()
	if err != nil {
		g.t.Fatalf("curl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestCurlWithACertificateUsesAnAppOverBothVersionsOfHTTP(t *testing.T) {
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Method+" "+r.URL.Path+" "+string(body))
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	for _, version := range []string{"--http1.1", "--http2"} {
		if out := v.curl(version, "https://"+appHost+"/orders"); out != "GET /orders " {
			t.Errorf("%s: %q", version, out)
		}
		if out := v.curl(version, "-d", "a=1", "-H", "Expect: 100-continue", "https://"+appHost+"/orders"); out != "POST /orders a=1" {
			t.Errorf("%s with Expect: %q", version, out)
		}
		out := v.curl(version, "-X", "DELETE", "-w", " %{http_code} %{http_version}", "https://"+appHost+"/orders/1")
		if !strings.Contains(out, `"right":"delete"`) || !strings.Contains(out, `"tables":["M-2"]`) || !strings.Contains(out, " 403 ") {
			t.Errorf("%s: %q", version, out)
		}
		out = v.curl(version, "--path-as-is", "-w", " %{http_code}", "https://"+appHost+"/a/../secret/b")
		if !strings.HasSuffix(out, " 400") {
			t.Errorf("%s: %q", version, out)
		}
		out = v.curl(version, "-w", " %{http_code}", "-H", "X-HTTP-Method-Override: DELETE", "-d", "a=1", "https://"+appHost+"/orders/1")
		if !strings.HasSuffix(out, " 400") {
			t.Errorf("%s: %q", version, out)
		}
	}
}
