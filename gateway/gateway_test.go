package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway"
	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/policy/rego"
)

const firstDirectory = `
people:
  ren: {vendor: "@staff", roles: [admin]}
`

// clock is a time that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func initFolder(t *testing.T) string {
	t.Helper()
	// Deeper than the 107 bytes that a socket's path may have.
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep", 30))
	must(t, gateway.Init(gateway.Config{Dir: dir, ListenSSH: "127.0.0.1:0", ListenHTTPS: "127.0.0.1:0"}, time.Now))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, dir string) gateway.Config {
	t.Helper()
	cfg, err := gateway.LoadConfig(filepath.Join(dir, gateway.ConfigFile))
	must(t, err)
	return cfg
}

// serving is a gateway that runs for one test.
type serving struct {
	*gateway.Gateway
	dir   string
	clock *clock
	roots *x509.CertPool
}

func serve(t *testing.T, dir string) *serving {
	t.Helper()
	s := &serving{dir: dir, clock: &clock{now: time.Now()}, roots: x509.NewCertPool()}
	var err error
	s.Gateway, err = gateway.New(t.Context(), load(t, dir), gateway.Options{Now: s.clock.Now})
	must(t, err)
	must(t, s.Listen())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		must(t, <-done)
	})
	root, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	must(t, err)
	s.roots.AppendCertsFromPEM(root)
	return s
}

// get asks one of the gateway's hosts for a path, showing the certificate if there is one; sni is the name the connection
// is made for.
func (s *serving) get(t *testing.T, sni, host, path string, cert *tls.Certificate) (int, string) {
	t.Helper()
	conf := &tls.Config{RootCAs: s.roots, ServerName: sni, Time: s.clock.Now}
	if cert != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", s.HTTPS.Addr().String())
		}}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+sni+path, nil)
	must(t, err)
	r.Host = host
	resp, err := client.Do(r)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(text)
}

// enrolFirst bootstraps the first admin as far as a client certificate.
func (s *serving) enrolFirst(t *testing.T) *tls.Certificate {
	t.Helper()
	folder := console.NewBootstrapClient(filepath.Join(s.dir, "sekisho.sock"))
	_, err := folder.ApplyDirectory(t.Context(), []byte(firstDirectory), "first")
	must(t, err)
	invitation, err := folder.Invite(t.Context(), "ren")
	must(t, err)
	_, token, err := console.ParseInvitation(invitation.URL)
	must(t, err)
	_, port, err := net.SplitHostPort(s.HTTPS.Addr().String())
	must(t, err)
	root, err := os.ReadFile(filepath.Join(s.dir, "ca.pem"))
	must(t, err)
	link := "https://" + net.JoinHostPort("enrol.localhost", port) + "/#" + token
	profile, err := console.Enrol(t.Context(), link, root, func(person string) string { return filepath.Join(s.dir, "people", person) })
	must(t, err)
	cert, err := tls.LoadX509KeyPair(profile.CertFile(), profile.KeyFile())
	must(t, err)
	if _, err := console.Enrol(t.Context(), link, root, func(string) string { return t.TempDir() }); err == nil {
		t.Error("an invite was redeemed twice")
	}
	return &cert
}

func TestAClientCertificateIsAskedForAndJudgedInWords(t *testing.T) {
	s := serve(t, initFolder(t))
	cert := s.enrolFirst(t)
	if code, text := s.get(t, "localhost", "localhost", "/welcome", cert); code != http.StatusOK {
		t.Errorf("with a good certificate: %d %s", code, text)
	}
	if code, text := s.get(t, "localhost", "localhost", "/", nil); code != http.StatusForbidden || !strings.Contains(text, "certificate") {
		t.Errorf("without one: %d %s", code, text)
	}
	if code, text := s.get(t, "localhost", "localhost", "/", foreign(t)); code != http.StatusForbidden || !strings.Contains(text, "not issued by this gateway") {
		t.Errorf("with a foreign one: %d %s", code, text)
	}
	leaf := *cert
	leaf.Certificate = cert.Certificate[:1]
	if code, text := s.get(t, "localhost", "localhost", "/welcome", &leaf); code != http.StatusOK {
		t.Errorf("without its intermediate: %d %s", code, text)
	}
	s.clock.set(time.Now().AddDate(0, 0, 91))
	if code, text := s.get(t, "localhost", "localhost", "/", cert); code != http.StatusForbidden || !strings.Contains(text, "valid until") {
		t.Errorf("with an expired one: %d %s", code, text)
	}
}

// foreign is a certificate of somebody else's authority that claims to be ren's.
func foreign(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ren"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestAConnectionServesOnlyTheNameItWasMadeFor(t *testing.T) {
	s := serve(t, initFolder(t))
	if code, _ := s.get(t, "enrol.localhost", "localhost", "/", nil); code != http.StatusMisdirectedRequest {
		t.Errorf("the console through the enrolment's connection: %d", code)
	}
	if _, err := tls.Dial("tcp", s.HTTPS.Addr().String(), &tls.Config{RootCAs: s.roots, ServerName: "elsewhere.localhost"}); err == nil {
		t.Error("a host that is not ours got a certificate")
	}
}

func TestTheFoldersSocketOnlyBootstraps(t *testing.T) {
	s := serve(t, initFolder(t))
	folder := console.NewBootstrapClient(filepath.Join(s.dir, "sekisho.sock"))
	if _, err := folder.Invite(t.Context(), "ren"); err == nil {
		t.Error("somebody was invited who is not in the directory")
	}
	s.enrolFirst(t)
	if err := folder.Release(t.Context(), "ren", "AAAA-AAAA"); err == nil {
		t.Error("somebody was released who has registered nothing")
	}
	info, err := os.Stat(filepath.Join(s.dir, "sekisho.sock"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v", info.Mode())
	}
}

func TestDamagedFilesAreNamedAtStart(t *testing.T) {
	for name, damage := range map[string]func(dir string) (file string, err error){
		"the database": func(dir string) (string, error) {
			return "state.db", os.WriteFile(filepath.Join(dir, "state.db"), []byte(strings.Repeat("not a database ", 1000)), 0o600)
		},
		"a key": func(dir string) (string, error) {
			keys, err := filepath.Glob(filepath.Join(dir, "keys", "*.key"))
			if err != nil {
				return "", err
			}
			for _, key := range keys {
				if filepath.Base(key) != "master.key" {
					return filepath.Base(key), os.WriteFile(key, []byte("garbage"), 0o600)
				}
			}
			return "", errors.New("no keys")
		},
		"the policy": func(dir string) (string, error) {
			return "maintenance.rego", os.WriteFile(filepath.Join(dir, "policy", "maintenance.rego"), []byte("package sekisho.maintenance\nallow if {"), 0o600)
		},
		"the configuration": func(dir string) (string, error) {
			return "listen_shh", os.WriteFile(filepath.Join(dir, gateway.ConfigFile), []byte("listen_shh: 127.0.0.1:2222\n"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := initFolder(t)
			file, err := damage(dir)
			must(t, err)
			cfg, err := gateway.LoadConfig(filepath.Join(dir, gateway.ConfigFile))
			if err == nil {
				_, err = gateway.New(t.Context(), cfg, gateway.Options{})
			}
			if err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("want an error that names %s, got %v", file, err)
			}
		})
	}
}

func TestTwoGatewaysNeverShareAFolder(t *testing.T) {
	dir := initFolder(t)
	g, err := gateway.New(t.Context(), load(t, dir), gateway.Options{})
	must(t, err)
	defer g.Close()
	if _, err := gateway.New(t.Context(), load(t, dir), gateway.Options{}); err == nil || !strings.Contains(err.Error(), "another gateway") {
		t.Errorf("got %v", err)
	}
}

func TestInitKeepsWhatIsThere(t *testing.T) {
	dir := initFolder(t)
	if err := gateway.Init(gateway.Config{Dir: dir}, time.Now); err == nil {
		t.Fatal("a folder was made twice")
	}
}

func TestTheFolderIsPolicyAtTheFirstStartOnly(t *testing.T) {
	dir := initFolder(t)
	revision := func() int {
		g, err := gateway.New(t.Context(), load(t, dir), gateway.Options{})
		must(t, err)
		defer g.Close()
		return g.Revision()
	}
	if first := revision(); first != 1 {
		t.Errorf("the first start puts revision %d in force, want 1", first)
	}
	file := filepath.Join(dir, "policy", "operations.rego")
	must(t, os.WriteFile(file, []byte("package sekisho.operations\nallow if {"), 0o600))
	if again := revision(); again != 1 {
		t.Errorf("a folder somebody is working on became revision %d", again)
	}
	if f := finding(t, dir, "policy folder"); !strings.Contains(f.Problem, "sekisho policy check") {
		t.Errorf("of a folder that does not compile the doctor says %+v", f)
	}
	must(t, os.WriteFile(file, append(shipped(t, "operations.rego"), []byte("\n# mine\n")...), 0o600))
	if f := finding(t, dir, "policy folder"); f.Problem != "" || !strings.Contains(f.Detail, "sekisho policy diff") {
		t.Errorf("of a folder that differs the doctor says %+v", f)
	}
	if f := finding(t, dir, "policy"); f.Problem != "" || !strings.Contains(f.Detail, "revision 1") {
		t.Errorf("of the policy in force the doctor says %+v", f)
	}
}

func finding(t *testing.T, dir, what string) gateway.Finding {
	t.Helper()
	for _, f := range gateway.Examine(t.Context(), dir) {
		if f.What == what {
			return f
		}
	}
	t.Fatalf("the doctor does not look at the %s", what)
	return gateway.Finding{}
}

func shipped(t *testing.T, name string) []byte {
	t.Helper()
	text, err := rego.FS.ReadFile(name)
	must(t, err)
	return text
}

func TestAChangedDatabaseStopsTheGatewayAndIsNamed(t *testing.T) {
	for what, change := range map[string]string{
		"a file":   `UPDATE policy_files SET content = content || x'0a'`,
		"an entry": `UPDATE policy_entries SET record = replace(record, '@folder', '@folger') WHERE seq = 1`,
	} {
		t.Run(what, func(t *testing.T) {
			dir := initFolder(t)
			g, err := gateway.New(t.Context(), load(t, dir), gateway.Options{})
			must(t, err)
			must(t, g.Close())
			db, err := sql.Open("sqlite", filepath.Join(dir, "state.db"))
			must(t, err)
			_, err = db.Exec(change)
			must(t, errors.Join(err, db.Close()))
			if _, err := gateway.New(t.Context(), load(t, dir), gateway.Options{}); err == nil ||
				!strings.Contains(err.Error(), "policy revision 1") || !strings.Contains(err.Error(), "changed outside the gateway") {
				t.Errorf("got %v", err)
			}
			if !slices.ContainsFunc(verify(t, dir), func(found string) bool { return strings.Contains(found, "policy revision 1") }) {
				t.Errorf("verify finds %q", verify(t, dir))
			}
			if f := finding(t, dir, "policy"); !strings.Contains(f.Problem, "policy revision 1") {
				t.Errorf("the doctor says %+v", f)
			}
		})
	}
}

// verify lists all that verifying a folder finds wrong.
func verify(t *testing.T, dir string) (findings []string) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "evidence.pub"))
	must(t, err)
	checks, err := gateway.Verify(t.Context(), dir, key)
	must(t, err)
	for _, c := range checks {
		findings = append(findings, c.Findings...)
	}
	return findings
}

func TestAPolicyThatWasInForceIsMissedWhenItsEntriesAreCutOff(t *testing.T) {
	dir := initFolder(t)
	g, err := gateway.New(t.Context(), load(t, dir), gateway.Options{})
	must(t, err)
	must(t, g.Close())
	if found := verify(t, dir); len(found) > 0 {
		t.Errorf("in a sound folder verify finds %q", found)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "state.db"))
	must(t, err)
	_, err = db.Exec(`DELETE FROM policy_entries`)
	must(t, errors.Join(err, db.Close()))
	if found := strings.Join(verify(t, dir), "\n"); !strings.Contains(found, "policy revision 1 is on record as in force and is not in the database") {
		t.Errorf("verify finds %q", found)
	}
}

func TestConfigurationMistakesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"zone: Mars/Olympus\n":                          "zone",
		"idle: 30s\n":                                   "idle",
		"idle: soon\n":                                  "idle",
		"listen_ssh: nowhere\n":                         "listen_ssh",
		"recording: {commit: sometimes}\n":              "recording.commit",
		"recording: {files: some}\n":                    "recording.files",
		"key_source: pocket\n":                          "key_source",
		"enrol_host: localhost\n":                       "enrol_host",
		"rp_id: example.com\n":                          "rp_id",
		"recording: {commit: interval, colour: blue}\n": "colour",
	} {
		file := filepath.Join(t.TempDir(), gateway.ConfigFile)
		must(t, os.WriteFile(file, []byte(text), 0o600))
		if _, err := gateway.LoadConfig(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error about %s", text, err, want)
		}
	}
	if _, err := gateway.LoadConfig(filepath.Join(t.TempDir(), gateway.ConfigFile)); err == nil || !strings.Contains(err.Error(), "sekisho init") {
		t.Errorf("in an empty folder: %v", err)
	}
}

func TestTheIdleLockIsOnUnlessSomebodyTurnsItOff(t *testing.T) {
	for text, want := range map[string]string{"zone: UTC\n": "15m", "idle: 30m\n": "30m", "idle: 0\n": "0"} {
		file := filepath.Join(t.TempDir(), gateway.ConfigFile)
		must(t, os.WriteFile(file, []byte(text), 0o600))
		if cfg, err := gateway.LoadConfig(file); err != nil || cfg.Idle != want {
			t.Errorf("%q: idle is %q, want %q (%v)", text, cfg.Idle, want, err)
		}
	}
}
