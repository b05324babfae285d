package sshproxy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/sshproxy"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// Hanako maintains (M-2), Ken consults (M-4), Sora develops (M-1).
const (
	hanako = "hanako"
	ken    = "ken"
	sora   = "sora"
)

// clock is the gateway's time, which tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// gateway is a whole door with an SSH proxy before it, on loopback.
type gateway struct {
	t         *testing.T
	clock     *clock
	authority *identity.Authority
	registry  *identity.Registry
	directory *directory.Live
	db        *store.DB
	audit     *audit.Log
	door      *access.Door
	proxy     *sshproxy.Proxy
	addr      string
	document  string // the directory
	dir       string
	stopThen  func(look func()) // stops everything and looks before the books are closed; once
}

// setup changes what a test needs different.
type setup struct {
	limits    sshproxy.Limits
	perPerson int      // sessions of one person; the door's default when 0
	targets   []string // YAML of more targets, "name: {…}", beside db1 and strict, which are the real sshd
	now       func() time.Time
	log       *zap.Logger
	files     string // recording.files
	// overrides are exceptions to the shipped matrix, YAML
	overrides string
}

// policy is the shipped one with the overrides.
func (s setup) policy(t *testing.T) *policy.Revision {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, rego.FS))
	file := filepath.Join(dir, "matrix.yaml")
	text, err := os.ReadFile(file)
	must(t, err)
	if s.overrides != "" {
		text = []byte(strings.Replace(string(text), "\noverrides: []", "\noverrides:\n"+s.overrides, 1))
	}
	must(t, os.WriteFile(file, text, 0o600))
	rev, err := policy.Load(os.DirFS(dir), 1)
	must(t, err)
	return rev
}

// authority makes the gateway's keys once: every test uses the same, as every test uses the same sshd.
var authorityDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sekisho-authority-")
	if err != nil {
		return "", err
	}
	return dir, identity.CreateAuthority(dir, identity.KeySource{}, time.Now)
})

func TestMain(m *testing.M) {
	code := m.Run()
	stopSSHD(code != 0)
	if dir, err := authorityDir(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func newGateway(t *testing.T, s setup) *gateway {
	t.Helper()
	g := &gateway{t: t, clock: &clock{}, dir: t.TempDir()}
	if s.now == nil {
		s.now = g.clock.Now
	}
	if s.log == nil {
		s.log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	}
	g.openIdentity(s.now)
	g.openDoor(s)
	proxy, err := sshproxy.New(sshproxy.Config{Door: g.door, Registry: g.registry, Authority: g.authority,
		Console: "https://console.test:8443", Limits: s.limits, Files: s.files, Now: s.now, Log: s.log})
	must(t, err)
	g.proxy = proxy
	g.serve()
	g.enrol(hanako, "acme-maintenance")
	g.enrol(ken, "kaizen")
	g.enrol(sora, "dev")
	return g
}

func (g *gateway) openIdentity(now func() time.Time) {
	t := g.t
	dir, err := authorityDir()
	must(t, err)
	g.authority, err = identity.OpenAuthority(dir, identity.KeySource{}, now)
	must(t, err)
	g.db, err = store.Open(t.Context(), filepath.Join(g.dir, "state.db"))
	must(t, err)
	g.registry, err = identity.NewRegistry(identity.RegistryConfig{Authority: g.authority, Store: g.db.Identity(),
		RPID: "console.test", Origins: []string{"https://console.test:8443"}, Now: now})
	must(t, err)
}

func (g *gateway) openDoor(s setup) {
	t := g.t
	rev := s.policy(t)
	var err error
	g.directory, err = directory.NewLive(t.Context(), g.db.Directory(), directory.Options{Zone: time.UTC, HasWindow: rev.HasWindow})
	must(t, err)
	d := realSSHD(t)
	targets := append(s.targets,
		fmt.Sprintf("db1: {ssh: {address: %q, host_key: %q}, logins: [%s], opaque: execute}", d.addr, d.fingerprint, d.login),
		fmt.Sprintf("strict: {ssh: {address: %q, host_key: %q}, logins: [%s, ops]}", d.addr, d.fingerprint, d.login),
		fmt.Sprintf("theirs: {ssh: {address: %q, host_key: %q}, logins: [%s]}", d.addr, d.fingerprint, d.login))
	var names []string
	for _, target := range targets {
		if name, _, _ := strings.Cut(target, ":"); name != "theirs" {
			names = append(names, name)
		}
	}
	document := fmt.Sprintf(directoryYAML, strings.Join(names, ", "), strings.Join(targets, "\n  "))
	g.document = document
	_, _, err = g.directory.Apply(t.Context(), []byte(document), "admin", "test", 0)
	must(t, err)
	g.audit, err = audit.Open(audit.Config{Dir: filepath.Join(g.dir, "audit"), Signer: g.authority.EvidenceSigner(), Now: s.now})
	must(t, err)
	recordings := filepath.Join(g.dir, "recordings")
	must(t, os.Mkdir(recordings, 0o700))
	g.door, err = access.New(access.Config{Engine: policy.NewEngine(rev, s.now), Directory: g.directory, Store: g.db.Access(),
		Audit: g.audit, Zone: time.UTC, Revoked: g.registry.Revoked, Now: s.now, Log: s.log, MaxPerPerson: s.perPerson,
		Recording: recorder.Config{Dir: recordings, Recipient: g.authority.RecordingIdentity().Recipient(),
			Signer: g.authority.EvidenceSigner(), Commit: recorder.Interval, Now: s.now}})
	must(t, err)
	g.registry.OnRevoke(g.door.Recheck)
}

const directoryYAML = `
vendors:
  acme-maintenance: {name: {en: ACME, ja: アクメ}, type: maintenance, contract: {from: 2020-01-01, until: 2099-12-31},
    networks: [127.0.0.0/8], windows: [always], targets: [%s]}
  kaizen: {name: {en: Kaizen, ja: 改善}, type: consulting, contract: {from: 2020-01-01, until: 2099-12-31},
    networks: [127.0.0.0/8], windows: [always], targets: [db1]}
  dev: {name: {en: Dev, ja: 開発}, type: development, contract: {from: 2020-01-01, until: 2099-12-31},
    networks: [127.0.0.0/8], windows: [always], targets: [db1]}
people:
  sora: {vendor: dev, name: {en: Sora, ja: 空}, email: sora@dev.example}
  hanako: {vendor: acme-maintenance, name: {en: Hanako, ja: 花子}, email: hanako@acme.example}
  ken: {vendor: kaizen, name: {en: Ken, ja: 健}, email: ken@kaizen.example}
  mika: {vendor: "@staff", roles: [approver], name: {en: Mika, ja: 美香}, email: mika@example.com}
  ren: {vendor: "@staff", roles: [investigator], name: {en: Ren, ja: 蓮}, email: ren@example.com}
  admin: {vendor: "@staff", roles: [admin], name: {en: Admin, ja: 管理者}, email: admin@example.com}
targets:
  %s
`

// serve runs the proxy and the door until the test ends or calls stop.
func (g *gateway) serve() {
	t := g.t
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	g.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := g.proxy.Serve(ctx, l); err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	running.Go(func() { g.door.Serve(ctx) })
	var once sync.Once
	g.stopThen = func(look func()) {
		once.Do(func() {
			cancel()
			running.Wait()
			look()
			g.audit.Close()
			g.db.Close()
		})
	}
	t.Cleanup(g.stop)
}

func (g *gateway) stop() { g.stopThen(func() {}) }

// enrol puts a released enrolment in place: the ceremonies have tests of their own.
func (g *gateway) enrol(person, vendor string) {
	now := g.clock.Now()
	must(g.t, g.db.Identity().PutEnrolment(g.t.Context(), identity.Enrolment{ID: "e-" + person, Person: person, Vendor: vendor,
		State: identity.StateActive, CertSerial: serialOf(person), CertSHA256: "sha-" + person, InvitedAt: now,
		NotAfter: now.Add(30 * 24 * time.Hour), TokenHash: "token-" + person, ReleasedBy: "admin", ReleasedAt: now}))
}

func serialOf(person string) string { return fmt.Sprint(1000 + len(person)) }

func (g *gateway) credential(person, vendor string) identity.Credential {
	return identity.Credential{Person: person, Vendor: vendor, Serial: serialOf(person), SHA256: "sha-" + person,
		NotAfter: g.clock.Now().Add(30 * 24 * time.Hour), State: identity.StateActive}
}

var vendorOf = map[string]string{hanako: "acme-maintenance", ken: "kaizen", sora: "dev"}

// client is a contractor's machine: keys, certificate and configuration for ssh.
type client struct {
	g      *gateway
	person string
	dir    string
	signer ssh.Signer       // the plain key
	cert   *ssh.Certificate // for it, with a fresh WebAuthn when it was made
}

// client makes a contractor's machine with an enrolled key and a certificate that carries a WebAuthn of just now.
func (g *gateway) client(person string) *client {
	t := g.t
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	c := &client{g: g, person: person, dir: t.TempDir(), signer: signer}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	cred := g.credential(person, vendorOf[person])
	mfa := identity.MFA{Method: "webauthn", At: g.clock.Now(), UV: true, Purpose: identity.PurposeLogin}
	key, err := g.registry.AddSSHKey(t.Context(), cred, line)
	must(t, err)
	c.cert, err = g.registry.IssueSSH(t.Context(), cred, key.Fingerprint, mfa, netip.MustParseAddr("127.0.0.1"))
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	c.write("id", string(pem.EncodeToMemory(block)))
	c.write("id-cert.pub", string(ssh.MarshalAuthorizedKey(c.cert)))
	c.write("known_hosts", "@cert-authority * "+string(ssh.MarshalAuthorizedKey(g.authority.HostCA())))
	host, port, err := net.SplitHostPort(g.addr)
	must(t, err)
	c.write("ssh_config", fmt.Sprintf(`
Host gateway
  HostName %s
  Port %s
  User somebody
Host db1 strict theirs nowhere other*
  ProxyJump gateway
Host *
  IdentityFile %[3]s/id
  CertificateFile %[3]s/id-cert.pub
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile %[3]s/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
`, host, port, c.dir))
	return c
}

func (c *client) write(name, text string) {
	must(c.g.t, os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600))
}

// result is how a program ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\nstdout: %q\nstderr: %s", r.code, clip(r.stdout), clip(r.stderr))
}

func clip(s string) string { return s[:min(len(s), 2000)] }

// command prepares OpenSSH's own ssh.
func (c *client) command(args ...string) *exec.Cmd {
	path, err := exec.LookPath("ssh")
	if err != nil {
		missing(c.g.t, "ssh")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	c.g.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, append([]string{"-F", filepath.Join(c.dir, "ssh_config")}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "TERM=xterm", "LANG=C.UTF-8"}
	return cmd
}

// ssh runs OpenSSH's ssh to its end.
func (c *client) ssh(args ...string) result { return c.sshWith(nil, args...) }

func (c *client) sshWith(stdin []byte, args ...string) result {
	c.g.t.Helper()
	cmd := c.command(args...)
	cmd.Stdin = bytes.NewReader(stdin)
	return run(c.g.t, cmd)
}

func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// plus is the address in the form login+target@gateway.
func plus(login, target string) string { return login + "+" + target + "@gateway" }

// dial logs in to the gateway with Go's client, for what ssh cannot be made to do.
func (c *client) dial(user string) (*ssh.Client, error) {
	return ssh.Dial("tcp", c.g.addr, c.config(user))
}

func (c *client) config(user string) *ssh.ClientConfig {
	signer, err := ssh.NewCertSigner(c.cert, c.signer)
	must(c.g.t, err)
	return &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, Timeout: 20 * time.Second,
		HostKeyCallback: ssh.FixedHostKey(c.g.hostKey()), HostKeyAlgorithms: []string{c.g.hostKey().Type()}}
}

// hostKey is the gateway's plain host key.
func (g *gateway) hostKey() ssh.PublicKey {
	signers, err := g.authority.HostSigners("gateway")
	must(g.t, err)
	return signers[len(signers)-1].PublicKey()
}

// events collects what is on record of a class.
func (g *gateway) events(class recorder.Class, kind string) []recorder.Event {
	g.t.Helper()
	var all []recorder.Event
	for ev, err := range g.audit.Search(context.Background(), audit.Query{Class: class, Kind: kind, Limit: 1000}) {
		must(g.t, err)
		all = append(all, ev)
	}
	return all
}

// eventually waits for something that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// missing skips a test whose tool is not installed, except under CI.
func missing(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed", tool)
	}
	t.Skipf("%s is not installed", tool)
}

// silent is for tests whose errors are expected.
var silent = zap.NewNop()

// calledFrom tells whether a function of the package under test with this name is on the caller's stack.
func calledFrom(name string) bool {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "."+name) {
			return true
		}
		if !more {
			return false
		}
	}
}
