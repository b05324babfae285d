package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/demo"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
)

// doorway is a whole gateway with a target, an app and people of every type.
type doorway struct {
	*serving
	t      *testing.T
	home   string // of the target's logins
	short  string // for sockets, whose paths are short
	app    *app
	people map[string]*person
	mika   *console.Client // approves
	count  atomic.Int64
}

// person is somebody with the certificates that prove them.
type person struct {
	id      string
	dir     string // with ssh's files
	cert    tls.Certificate
	cookies map[string]string // by host
	http    *http.Client
	console *console.Client
}

func newDoorway(t *testing.T) *doorway {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("ssh is not installed")
		}
		t.Skip("ssh is not installed")
	}
	d := &doorway{t: t, app: &app{}, people: map[string]*person{}}
	var err error
	d.short, err = os.MkdirTemp("", "mx")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(d.short) })
	dir := initFolder(t)
	exceptTargets(t, filepath.Join(dir, "policy", "matrix.yaml"))
	d.fill(dir)
	d.serving = serve(t, dir)
	for _, p := range d.people {
		p.connect(d)
	}
	d.mika = d.people["mika"].console
	return d
}

// exceptTargets adds the variants' exceptions to the admin's copy of the policy.
func exceptTargets(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	list := "overrides:\n"
	for _, v := range variants {
		for _, target := range []string{v.target, v.target + "-web"} {
			list += fmt.Sprintf("  - {name: %s, target: %s, cells: %s}\n", target, target, v.exception)
		}
	}
	changed := strings.Replace(string(text), "\noverrides: []", "\n"+list, 1)
	if changed == string(text) {
		t.Fatal("matrix.yaml has no empty list of overrides any more")
	}
	must(t, os.WriteFile(file, []byte(changed), 0o600))
}

// fill puts directory and people into the folder before the gateway opens it.
func (d *doorway) fill(dir string) {
	t := d.t
	cfg := load(t, dir)
	authority, err := identity.OpenAuthority(dir, identity.KeySource{}, time.Now)
	must(t, err)
	db, err := store.Open(t.Context(), filepath.Join(dir, "state.db"))
	must(t, err)
	defer db.Close()
	registry, err := identity.NewRegistry(identity.RegistryConfig{Authority: authority, Store: db.Identity(), RPID: cfg.RPID,
		Origins: []string{"https://" + cfg.ConsoleHost}})
	must(t, err)
	text, vendors := d.directory(d.startTarget(authority), d.serveApp())
	shipped, err := policy.Load(rego.FS, 1)
	must(t, err)
	live, err := directory.NewLive(t.Context(), db.Directory(), directory.Options{Zone: time.UTC, HasWindow: shipped.HasWindow})
	must(t, err)
	_, _, err = live.Apply(t.Context(), []byte(text), "admin", "test", 0)
	must(t, err)
	for id, vendor := range vendors {
		d.people[id] = enrolled(t, registry, db.Identity(), id, vendor, filepath.Join(d.short, fmt.Sprint(len(d.people))))
	}
	hostCA := "@cert-authority * " + string(ssh.MarshalAuthorizedKey(authority.HostCA()))
	must(t, os.WriteFile(filepath.Join(d.short, "known_hosts"), []byte(hostCA), 0o600))
}

// startTarget starts the target that every SSH name stands for.
func (d *doorway) startTarget(authority *identity.Authority) *directorySSH {
	t := d.t
	d.home = filepath.Join(t.TempDir(), "db1")
	target, err := demo.NewTarget(demo.TargetConfig{Dir: d.home, HostKeyFile: filepath.Join(t.TempDir(), "key"),
		UserCA: authority.UpstreamCA(), Logins: []string{"app"}})
	must(t, err)
	mark := filepath.Join(d.home, "bin", "mark")
	must(t, os.MkdirAll(filepath.Dir(mark), 0o700))
	must(t, os.WriteFile(mark, []byte("#!/bin/sh\n: > \"$1\"\n"), 0o700))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- target.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return &directorySSH{l.Addr().String(), target.HostKey()}
}

type directorySSH struct{ address, hostKey string }

// serveApp starts the app that every HTTPS name stands for.
func (d *doorway) serveApp() string {
	server := httptest.NewServer(d.app)
	d.t.Cleanup(server.Close)
	return server.URL
}

// directory names a vendor of each type, one of each type below each, their people, an approver, and a pair of targets per
// variant.
func (d *doorway) directory(target *directorySSH, upstream string) (text string, vendors map[string]string) {
	var names, targets, vendorLines, people []string
	for _, name := range append([]string{"plain"}, variantTargets()...) {
		names = append(names, name, name+"-web")
		targets = append(targets,
			fmt.Sprintf("  %s: {ssh: {address: %q, host_key: %q}, logins: [app], opaque: execute}", name, target.address, target.hostKey),
			fmt.Sprintf("  %s-web: {https: {upstream: %q, host: %s.localhost}, rules: [{match: '* /admin/**', right: admin}]}",
				name, upstream, name))
	}
	vendors = map[string]string{"mika": "@staff"}
	vendor := func(id, kind, parent string) {
		vendorLines = append(vendorLines, fmt.Sprintf(`  %s: {name: {en: V, ja: V}, type: %s,%s approvers: [mika],
    contract: {from: 2020-01-01, until: 2099-12-31}, networks: [127.0.0.0/8], windows: [always], targets: [%s]}`,
			id, kind, parent, strings.Join(names, ", ")))
		people = append(people, fmt.Sprintf("  %s: {vendor: %s}", id, id))
		vendors[id] = id
	}
	for _, row := range rows {
		vendor(row.kind, row.kind, "")
		for _, parent := range rows {
			vendor(row.kind+"-below-"+parent.kind, row.kind, " parent: "+parent.kind+",")
		}
	}
	return fmt.Sprintf("vendors:\n%s\npeople:\n  mika: {vendor: \"@staff\", roles: [approver]}\n%s\ntargets:\n%s\n",
		strings.Join(vendorLines, "\n"), strings.Join(people, "\n"), strings.Join(targets, "\n")), vendors
}

func variantTargets() []string {
	var names []string
	for _, v := range variants {
		names = append(names, v.target)
	}
	return names
}

// enrolled makes a released enrolment with keys, certificates and web sessions: the ceremonies have tests of their own.
func enrolled(t *testing.T, r *identity.Registry, db identity.Store, id, vendor, dir string) *person {
	t.Helper()
	p := &person{id: id, dir: dir, cookies: map[string]string{}}
	must(t, os.Mkdir(dir, 0o700))
	invitation, err := r.Invite(t.Context(), id, vendor, "admin")
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	issued, err := r.Enrol(t.Context(), invitation.Token, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}))
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	p.cert, err = tls.X509KeyPair(append(issued.CertPEM, issued.ChainPEM...), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	must(t, err)
	e, err := db.Enrolment(t.Context(), id)
	must(t, err)
	e.State, e.ReleasedBy, e.ReleasedAt = identity.StateActive, "admin", time.Now()
	must(t, db.PutEnrolment(t.Context(), e))
	credential := identity.Credential{Person: id, Vendor: vendor, Serial: e.CertSerial, SHA256: e.CertSHA256, NotAfter: e.NotAfter,
		State: e.State}
	mfa := identity.MFA{Method: "webauthn", At: time.Now(), UV: true, Purpose: identity.PurposeLogin}
	for _, name := range append([]string{"localhost", "plain.localhost"}, hosts()...) {
		p.cookies[name], err = r.OpenWebSession(t.Context(), credential, name, mfa)
		must(t, err)
	}
	p.makeSSH(t, r, credential, mfa)
	return p
}

func hosts() []string {
	names := variantTargets()
	for i := range names {
		names[i] += ".localhost"
	}
	return names
}

// makeSSH writes the person's SSH key and certificate.
func (p *person) makeSSH(t *testing.T, r *identity.Registry, c identity.Credential, mfa identity.MFA) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	key, err := r.AddSSHKey(t.Context(), c, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))))
	must(t, err)
	cert, err := r.IssueSSH(t.Context(), c, key.Fingerprint, mfa, netip.MustParseAddr("127.0.0.1"))
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(p.dir, "id"), pem.EncodeToMemory(block), 0o600))
	must(t, os.WriteFile(filepath.Join(p.dir, "id-cert.pub"), ssh.MarshalAuthorizedKey(cert), 0o600))
}

// connect points the person's programs at the gateway, once it listens.
func (p *person) connect(d *doorway) {
	address := d.HTTPS.Addr().String()
	_, port, err := net.SplitHostPort(address)
	must(d.t, err)
	p.console = console.NewClient(console.ClientConfig{BaseURL: "https://localhost:" + port, CAs: d.roots, Certificate: &p.cert,
		Session: p.cookies["localhost"]})
	p.http = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: d.roots, Certificates: []tls.Certificate{p.cert}},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", address)
		}}}
	d.t.Cleanup(p.console.Close)
	d.t.Cleanup(p.http.CloseIdleConnections)
}

// ssh runs a command with OpenSSH's ssh. Commands of one person on one target share a connection.
func (p *person) ssh(t *testing.T, d *doorway, target, line string) outcome {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := p.sshCommand(t, d, target, line)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	said := stderr.String()
	if cmd.ProcessState.ExitCode() != 126 {
		if said != "" {
			t.Errorf("%s: %s", line, said)
		}
		return outcome{allowed: true, text: stdout.String()}
	}
	return outcome{text: said, decision: decisionID.FindString(said), request: requestID.FindString(said)}
}

func (p *person) sshCommand(t *testing.T, d *doorway, target string, args ...string) *exec.Cmd {
	host, port, err := net.SplitHostPort(d.SSH.Addr().String())
	must(t, err)
	options := []string{"-F", "none", "-p", port, "-l", "app+" + target}
	for _, option := range []string{"IdentityFile=" + filepath.Join(p.dir, "id"), "CertificateFile=" + filepath.Join(p.dir, "id-cert.pub"),
		"IdentitiesOnly=yes", "IdentityAgent=none", "UserKnownHostsFile=" + filepath.Join(d.short, "known_hosts"),
		"GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes", "HostKeyAlias=localhost", "LogLevel=ERROR",
		"ControlMaster=auto", "ControlPersist=60", "ControlPath=" + filepath.Join(p.dir, target)} {
		options = append(options, "-o", option)
	}
	cmd := exec.CommandContext(t.Context(), "ssh", append(append(options, host), args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "LANG=C.UTF-8"}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// hangUp ends the SSH connections of everybody of a type.
func (d *doorway) hangUp(t *testing.T, kind string) {
	for id, p := range d.people {
		if id != kind && !strings.HasPrefix(id, kind+"-below-") {
			continue
		}
		for _, target := range append([]string{"plain"}, variantTargets()...) {
			if _, err := os.Stat(filepath.Join(p.dir, target)); err == nil {
				cmd := p.sshCommand(t, d, target)
				cmd.Args = slices.Insert(cmd.Args, 1, "-O", "exit")
				cmd.Run()
			}
		}
	}
}

// web sends the request whose method needs the right; admin is what a rule of the app says of /admin.
func (p *person) web(t *testing.T, target, right, name string) outcome {
	t.Helper()
	method := map[string]string{"read": "GET", "write": "PUT", "execute": "POST", "delete": "DELETE", "admin": "GET"}[right]
	folder := "/things/"
	if right == "admin" {
		folder = "/admin/"
	}
	host := target + ".localhost"
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+folder+name, nil)
	must(t, err)
	r.AddCookie(&http.Cookie{Name: "__Host-sekisho", Value: p.cookies[host]})
	resp, err := p.http.Do(r)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode == http.StatusOK {
		return outcome{allowed: true, text: string(text)}
	}
	var problem struct{ Decision, Request string }
	if err := json.Unmarshal(text, &problem); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Fatalf("%s %s: %s %s", method, folder+name, resp.Status, text)
	}
	return outcome{text: string(text), decision: problem.Decision, request: problem.Request}
}

// app remembers what reached it.
type app struct{ seen sync.Map } // host and the last element of the path

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ".")
	a.seen.Store(host+" "+path.Base(r.URL.Path), true)
	io.WriteString(w, "done")
}

func (a *app) forget(target, name string) { a.seen.Delete(target + " " + name) }

func (a *app) saw(target, name string) bool {
	_, ok := a.seen.Load(target + " " + name)
	return ok
}
