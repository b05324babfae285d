package sshproxy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/sshproxy"
	"github.com/sekisho/sekisho/recorder"
)

// attempt tries to log in and returns what the gateway said before it let nobody in; nil error means it let them in.
func (c *client) attempt(user string, auth ...ssh.AuthMethod) (banner string, err error) {
	var said strings.Builder
	cfg := c.config(user)
	if len(auth) > 0 {
		cfg.Auth = auth
	}
	cfg.BannerCallback = func(message string) error { said.WriteString(message); return nil }
	conn, err := ssh.Dial("tcp", c.g.addr, cfg)
	if err == nil {
		conn.Close()
	}
	return said.String(), err
}

func TestALoginIsOnRecord(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	if banner, err := c.attempt("app+db1"); err != nil || banner != "" {
		t.Fatalf("%v, %q", err, banner)
	}
	logins := g.events(recorder.ClassLogin, "login.ssh")
	if len(logins) != 1 {
		t.Fatalf("%d logins on record (R-1)", len(logins))
	}
	ev := logins[0]
	if ev.Outcome != recorder.OK || ev.Person != hanako || ev.Vendor != "acme-maintenance" || ev.Table != "R-1" ||
		ev.Source == nil || ev.Source.IP != netip.MustParseAddr("127.0.0.1") || ev.Source.Port == 0 || ev.Source.Client == "" ||
		ev.Detail["method"] != "ssh-certificate" || ev.Detail["webauthn"] == nil {
		t.Errorf("R-1 event %+v", ev)
	}
}

// TestNobodyGetsInWithoutAKey keeps gliderlabs/ssh from failing open: it allows `none` when its own handlers are unset.
func TestNobodyGetsInWithoutAKey(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for _, user := range []string{"", "hanako", "app+db1", "root+db1"} {
		cfg := c.config(user)
		cfg.Auth = nil // the library then tries none, and nothing else
		if conn, err := ssh.Dial("tcp", g.addr, cfg); err == nil {
			conn.Close()
			t.Errorf("%q got in without any key", user)
		}
	}
	got := c.ssh("-o", "PubkeyAuthentication=no", plus("app", "db1"), "echo in")
	if got.code != 255 || got.stdout != "" {
		t.Error(got)
	}
}

func TestPasswordsAreNotEvenAsked(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	asked := false
	_, err := c.attempt("app+db1", ssh.PasswordCallback(func() (string, error) { asked = true; return "x", nil }),
		ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) { asked = true; return nil, nil }))
	if err == nil || asked {
		t.Errorf("asked %v, %v", asked, err)
	}
}

// forged is a certificate for the client's key that another authority signed.
func (c *client) forged(change func(*ssh.Certificate), by ssh.Signer) ssh.AuthMethod {
	cert := *c.cert
	change(&cert)
	must(c.g.t, cert.SignCert(rand.Reader, by))
	signer, err := ssh.NewCertSigner(&cert, c.signer)
	must(c.g.t, err)
	return ssh.PublicKeys(signer)
}

func TestAKeyThatIsNotOursIsNoFailedLogin(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	stranger := newSigner(t)
	for name, auth := range map[string]ssh.AuthMethod{
		"a plain key":                      ssh.PublicKeys(stranger),
		"the enrolled key, uncertified":    ssh.PublicKeys(c.signer),
		"a certificate of another CA":      c.forged(func(*ssh.Certificate) {}, stranger),
		"a certificate of another CA, any": c.forged(func(cert *ssh.Certificate) { cert.ValidPrincipals = nil }, stranger),
	} {
		if banner, err := c.attempt("app+db1", auth); err == nil || banner != "" {
			t.Errorf("%s: %v, %q", name, err, banner)
		}
	}
	if failed := g.events(recorder.ClassLogin, "login.failed"); len(failed) != 0 {
		t.Errorf("on record as failed: %+v", failed)
	}
}

// TestWhatACertificateClaimsCountsOnlyWhenOurAuthoritySignedIt keeps strangers from filing failed logins under
// somebody's name with a certificate that merely names our authority.
func TestWhatACertificateClaimsCountsOnlyWhenOurAuthoritySignedIt(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	cert := *c.cert
	cert.ValidPrincipals = nil
	cert.ValidBefore = 1
	signer, err := ssh.NewCertSigner(&cert, c.signer)
	must(t, err)
	if banner, err := c.attempt("app+db1", ssh.PublicKeys(signer)); err == nil || banner != "" {
		t.Errorf("%v, %q", err, banner)
	}
	if failed := g.events(recorder.ClassLogin, "login.failed"); len(failed) != 0 {
		t.Errorf("on record as failed: %+v", failed)
	}
}

// lastFailure is the newest failed login on record.
func (g *gateway) lastFailure() recorder.Event {
	g.t.Helper()
	failed := g.events(recorder.ClassLogin, "login.failed")
	if len(failed) == 0 {
		g.t.Fatal("no failed login is on record (R-1)")
	}
	last := failed[0]
	for _, ev := range failed {
		if ev.At.After(last.At) {
			last = ev
		}
	}
	return last
}

func TestACertificateThatNoLongerHoldsIsToldWhy(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(g *gateway)
		banner string
	}{
		{"expired", func(g *gateway) { g.clock.advance(13 * time.Hour) }, "expired"},
		{"person revoked", func(g *gateway) { must(g.t, g.registry.RevokePerson(g.t.Context(), hanako, "left", "admin")) }, "revoked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, setup{})
			client := g.client(hanako)
			c.spoil(g)
			banner, err := client.attempt("app+db1")
			if err == nil || !strings.Contains(banner, c.banner) || !hasJapanese(banner) {
				t.Errorf("%v, %q", err, banner)
			}
			ev := g.lastFailure()
			if ev.Outcome != recorder.Failed || ev.Detail["claimed"] != hanako || ev.Detail["reason"] == nil {
				t.Errorf("R-1 event %+v", ev)
			}
		})
	}
}

func hasJapanese(s string) bool { return regexp.MustCompile(`\p{Hiragana}`).MatchString(s) }

func TestASignatureThatDoesNotVerifyIsAFailedLogin(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	signer, err := ssh.NewCertSigner(c.cert, wrongSigner{c.signer, newSigner(t)})
	must(t, err)
	if _, err := c.attempt("app+db1", ssh.PublicKeys(signer)); err == nil {
		t.Fatal("a stolen certificate got in without its key")
	}
	eventually(t, "the failed login is on record", func() bool {
		return len(g.events(recorder.ClassLogin, "login.failed")) == 1
	})
	if ev := g.lastFailure(); ev.Detail["claimed"] != hanako {
		t.Errorf("R-1 event %+v", ev)
	}
}

// wrongSigner shows one key and signs with another.
type wrongSigner struct{ shows, signs ssh.Signer }

func (w wrongSigner) PublicKey() ssh.PublicKey { return w.shows.PublicKey() }
func (w wrongSigner) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return w.signs.Sign(r, data)
}

// TestAFailedAttemptLeavesNothingBehind: the library's context keeps the user and key of a failed attempt. First Ken's
// revoked certificate fails as root+db1, then Hanako's succeeds as app+db1, all on one connection.
func TestAFailedAttemptLeavesNothingBehind(t *testing.T) {
	g := newGateway(t, setup{})
	h, k := g.client(hanako), g.client(ken)
	must(t, g.registry.RevokePerson(t.Context(), ken, "left", "admin"))
	kens, err := ssh.NewCertSigner(k.cert, k.signer)
	must(t, err)
	hers, err := ssh.NewCertSigner(h.cert, h.signer)
	must(t, err)
	conn, err := h.dialWith(theLogin()+"+db1", kens, newSigner(t), hers)
	must(t, err)
	defer conn.Close()
	session, err := conn.NewSession()
	must(t, err)
	out, err := session.Output("echo in")
	if err != nil || string(out) != "in\n" {
		t.Fatalf("%q, %v", out, err)
	}
	opened := g.events(recorder.ClassCommand, "session.open")
	if len(opened) != 1 || opened[0].Person != hanako || opened[0].Login != theLogin() {
		t.Errorf("the session belongs to %+v", opened)
	}
}

func (c *client) dialWith(user string, signers ...ssh.Signer) (*ssh.Client, error) {
	cfg := c.config(user)
	cfg.Auth = []ssh.AuthMethod{ssh.PublicKeys(signers...)}
	return ssh.Dial("tcp", c.g.addr, cfg)
}

var (
	urlInBanner  = regexp.MustCompile(`https://console\.test:8443/ssh/(\S+)`)
	codeInBanner = regexp.MustCompile(`code there: (\S{8,})`)
)

// pendingLogin is a login that waits for its approval.
type pendingLogin struct {
	id, code string
	banner   func() string // all of it so far
	done     chan error
	client   *ssh.Client // set when done gave nil
}

// staleClient is a machine whose certificate was issued 20 minutes ago, which is too long since its WebAuthn.
func (g *gateway) staleClient(person string) *client {
	g.clock.advance(-20 * time.Minute)
	defer g.clock.advance(20 * time.Minute)
	return g.client(person)
}

// logInStale logs in with a certificate whose WebAuthn is too old and returns once the gateway has asked for approval.
func (c *client) logInStale(user string) *pendingLogin {
	c.g.t.Helper()
	var mu sync.Mutex
	var said bytes.Buffer
	asked := make(chan struct{}, 1)
	p := &pendingLogin{done: make(chan error, 1), banner: func() string { mu.Lock(); defer mu.Unlock(); return said.String() }}
	cfg := c.config(user)
	cfg.BannerCallback = func(message string) error {
		mu.Lock()
		said.WriteString(message)
		mu.Unlock()
		select {
		case asked <- struct{}{}:
		default:
		}
		return nil
	}
	go func() {
		conn, err := ssh.Dial("tcp", c.g.addr, cfg)
		p.client = conn
		p.done <- err
	}()
	select {
	case <-asked:
	case err := <-p.done:
		c.g.t.Fatalf("the gateway did not ask for approval: %v", err)
	}
	if m := urlInBanner.FindStringSubmatch(p.banner()); m != nil {
		p.id = m[1]
	}
	if m := codeInBanner.FindStringSubmatch(p.banner()); m != nil {
		p.code = m[1]
	}
	return p
}

// approve does what the console does after the WebAuthn ceremony.
func (g *gateway) approve(person, id, code string, source string) error {
	mfa := identity.MFA{Method: "webauthn", At: g.clock.Now(), UV: true, Purpose: "ssh.approve:" + id}
	return g.registry.ApprovePending(g.t.Context(), g.credential(person, vendorOf[person]), id, code, mfa, netip.MustParseAddr(source))
}

func TestALoginWithoutRecentWebAuthnWaitsForTheBrowser(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.staleClient(hanako)
	p := c.logInStale(theLogin() + "+db1")
	if p.id == "" || p.code == "" || !hasJapanese(p.banner()) {
		t.Fatalf("the banner has no address or code: %q", p.banner())
	}
	view, ok := g.registry.PendingFor(hanako)
	if !ok || view.ID != p.id || view.Target != theLogin()+"@db1" || view.Client == "" {
		t.Errorf("the console shows %+v", view)
	}
	if strings.Contains(urlInBanner.FindString(p.banner()), p.code) {
		t.Error("the code stands in the link, which invites relaying it")
	}
	must(t, g.approve(hanako, p.id, p.code, "127.0.0.1"))
	must(t, <-p.done)
	defer p.client.Close()
	session, err := p.client.NewSession()
	must(t, err)
	if out, err := session.Output("echo in"); err != nil || string(out) != "in\n" {
		t.Errorf("%q, %v", out, err)
	}
	logins := g.events(recorder.ClassLogin, "login.ssh")
	if len(logins) != 1 || logins[0].Detail["method"] != "ssh-certificate+approval" || logins[0].Detail["webauthn"] == nil {
		t.Errorf("R-1 event %+v", logins)
	}
}

// TestOpenSSHShowsTheAddressAndCode is the same with the real client in BatchMode, as ansible uses it.
func TestOpenSSHShowsTheAddressAndCode(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.staleClient(hanako)
	for name, way := range ways("db1") {
		t.Run(name, func(t *testing.T) {
			c.g.t = t
			s := c.screen(40, 200, "-o", "BatchMode=yes", way, "echo in; exit 3")
			id := strings.TrimPrefix(s.shows(`https://console\.test:8443/ssh/\S+`), "https://console.test:8443/ssh/")
			code := strings.TrimPrefix(s.shows(`code there: \S{8,}`), "code there: ")
			must(t, g.approve(hanako, id, code, "127.0.0.1"))
			s.shows(`in\r\n`)
			if code := s.ends(); code != 3 {
				t.Errorf("exit %d", code)
			}
		})
	}
}

func TestThreeWrongCodesEndTheLogin(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.staleClient(hanako)
	p := c.logInStale("app+db1")
	for range 3 {
		if err := g.approve(hanako, p.id, "XXXX-XXXX", "127.0.0.1"); err == nil {
			t.Fatal("a wrong code was taken")
		}
	}
	if err := <-p.done; err == nil {
		t.Fatal("let in after three wrong codes")
	}
	if !strings.Contains(p.banner(), "wrong code") {
		t.Errorf("banner %q", p.banner())
	}
	if ev := g.lastFailure(); ev.Detail["reason"] != "wrong code" || ev.Person != hanako {
		t.Errorf("R-1 event %+v", ev)
	}
}

func TestALoginThatNobodyApprovesEnds(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{Approval: 50 * time.Millisecond}})
	c := g.staleClient(hanako)
	p := c.logInStale("app+db1")
	if err := <-p.done; err == nil || !strings.Contains(p.banner(), "not confirmed in time") {
		t.Errorf("%v, %q", err, p.banner())
	}
	if ev := g.lastFailure(); ev.Detail["reason"] != "expired" {
		t.Errorf("R-1 event %+v", ev)
	}
}

func TestOnePersonHasOnePendingLogin(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.staleClient(hanako)
	first := c.logInStale("app+db1")
	if banner, err := c.attempt("app+db1"); err == nil || !strings.Contains(banner, "another login") {
		t.Errorf("%v, %q", err, banner)
	}
	must(t, g.approve(hanako, first.id, first.code, "127.0.0.1"))
	must(t, <-first.done)
	first.client.Close()
}

func TestPendingLoginsAreBoundedInAll(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{Pending: 1}})
	h, k := g.staleClient(hanako), g.staleClient(ken)
	first := h.logInStale("app+db1")
	if banner, err := k.attempt("app+db1"); err == nil || !strings.Contains(banner, "too many logins") {
		t.Errorf("%v, %q", err, banner)
	}
	must(t, g.approve(hanako, first.id, first.code, "127.0.0.1"))
	must(t, <-first.done)
	first.client.Close()
}

// TestAClientThatGoesAwayFreesItsPendingLogin: otherwise Ctrl-C would lock the person out for two minutes.
func TestAClientThatGoesAwayFreesItsPendingLogin(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.staleClient(hanako)
	tcp, err := net.Dial("tcp", g.addr)
	must(t, err)
	cfg := c.config("app+db1")
	asked := make(chan struct{})
	cfg.BannerCallback = func(string) error { close(asked); return nil }
	go ssh.NewClientConn(tcp, "gateway", cfg)
	<-asked
	tcp.Close()
	eventually(t, "the pending login is gone", func() bool { _, waits := g.registry.PendingFor(hanako); return !waits })
	p := c.logInStale("app+db1")
	must(t, g.approve(hanako, p.id, p.code, "127.0.0.1"))
	must(t, <-p.done)
	p.client.Close()
}

func TestARevocationWhileTheLoginWaitsIsNotOvertakenByItsApproval(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.staleClient(hanako)
	p := c.logInStale("app+db1")
	must(t, g.registry.RevokePerson(t.Context(), hanako, "left", "admin"))
	if err := g.approve(hanako, p.id, p.code, "127.0.0.1"); err == nil {
		t.Error("the approval of a revoked person was taken")
	}
	if err := <-p.done; err == nil {
		t.Error("a revoked person got in")
	}
}

func TestALoginThatCannotBeRecordedIsRefused(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	must(t, g.audit.Close())
	if banner, err := c.attempt("app+db1"); err == nil || !strings.Contains(banner, "problem") {
		t.Errorf("%v, %q", err, banner)
	}
}

func TestLoginsHaveAGrace(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{Grace: 100 * time.Millisecond}})
	conn, err := net.Dial("tcp", g.addr)
	must(t, err)
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 256)
	for err == nil {
		_, err = conn.Read(buf) // its version, then the end
	}
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Error("a silent connection is kept")
	}
	// One that has logged in stays.
	c := g.client(hanako)
	in, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer in.Close()
	session, err := in.NewSession()
	must(t, err)
	if out, err := session.Output("sleep 0.5; echo still here"); err != nil || string(out) != "still here\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestConnectionsThatDoNotLogInAreBounded(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{StartupsPerIP: 3}})
	c := g.client(hanako)
	var idle []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", g.addr)
		must(t, err)
		idle = append(idle, conn)
		readVersion(t, conn)
	}
	conn, err := net.Dial("tcp", g.addr)
	must(t, err)
	defer conn.Close()
	said := readLine(t, conn)
	if !strings.Contains(said, "too many connections") {
		t.Errorf("the fourth was told %q", said)
	}
	for _, conn := range idle {
		conn.Close()
	}
	eventually(t, "a place is free again", func() bool { _, err := c.attempt("app+db1"); return err == nil })
	// Connections that have logged in do not count.
	for range 5 {
		in, err := c.dial("app+db1")
		must(t, err)
		defer in.Close()
	}
}

func TestConnectionsOfOnePersonAreBounded(t *testing.T) {
	g := newGateway(t, setup{limits: sshproxy.Limits{PerPerson: 2}})
	h, k := g.client(hanako), g.client(ken)
	first, err := h.dial("app+db1")
	must(t, err)
	second, err := h.dial("app+db1")
	must(t, err)
	defer second.Close()
	if banner, err := h.attempt("app+db1"); err == nil || !strings.Contains(banner, "too many connections") {
		t.Errorf("a third: %v, %q", err, banner)
	}
	if _, err := k.attempt("app+db1"); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	first.Close()
	eventually(t, "a place is free again", func() bool { _, err := h.attempt("app+db1"); return err == nil })
}

// TestNothingIsLeftRunning counts goroutines after connections of every kind have ended.
func TestNothingIsLeftRunning(t *testing.T) {
	g := newGateway(t, setup{log: silent})
	c := g.client(hanako)
	one := func() {
		c.ssh(plus(theLogin(), "db1"), "true")
		c.ssh(theLogin()+"@db1", "true")
		c.ssh(theLogin()+"@nowhere", "true")
		c.ssh("gateway")
		conn, err := c.dial(theLogin() + "+db1")
		must(t, err)
		session, err := conn.NewSession()
		must(t, err)
		out, err := session.StdoutPipe()
		must(t, err)
		must(t, session.Start("echo started; sleep 1000"))
		expect(t, out, "started\n")
		conn.Close()
	}
	one()
	ended := func(n int) func() bool {
		return func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == n }
	}
	eventually(t, "the first sessions have ended", ended(3))
	before := runtime.NumGoroutine()
	for range 3 {
		one()
	}
	eventually(t, "all sessions have ended", ended(12))
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func readVersion(t *testing.T, conn net.Conn) {
	t.Helper()
	if line := readLine(t, conn); !strings.HasPrefix(line, "SSH-2.0-") {
		t.Fatalf("read %q", line)
	}
}

func readLine(t *testing.T, conn net.Conn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := conn.Read(b); err != nil {
			t.Fatalf("read %q, then %v", line, err)
		}
		line = append(line, b[0])
		if b[0] == '\n' {
			return string(line)
		}
	}
}

func TestWeakAlgorithmsAreNotOffered(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	for name, weaken := range map[string]func(*ssh.ClientConfig){
		"SHA-1 key exchange": func(cfg *ssh.ClientConfig) { cfg.KeyExchanges = []string{"diffie-hellman-group14-sha1"} },
		"NIST key exchange":  func(cfg *ssh.ClientConfig) { cfg.KeyExchanges = []string{"ecdh-sha2-nistp256"} },
		"CBC":                func(cfg *ssh.ClientConfig) { cfg.Ciphers = []string{"aes128-cbc", "3des-cbc"} },
		"CTR with MAC-then-encrypt": func(cfg *ssh.ClientConfig) {
			cfg.Ciphers, cfg.MACs = []string{"aes128-ctr"}, []string{"hmac-sha1", "hmac-sha2-256"}
		},
	} {
		cfg := c.config("app+db1")
		weaken(cfg)
		if conn, err := ssh.Dial("tcp", g.addr, cfg); err == nil {
			conn.Close()
			t.Errorf("%s was negotiated", name)
		}
	}
	cfg := c.config("app+db1")
	cfg.KeyExchanges, cfg.Ciphers = []string{"mlkem768x25519-sha256"}, []string{"aes256-gcm@openssh.com"}
	conn, err := ssh.Dial("tcp", g.addr, cfg)
	if err != nil {
		t.Errorf("the strongest were not negotiated: %v", err)
	} else {
		conn.Close()
	}
}

func TestTheGatewayAloneSaysHowToGoOn(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	got := c.ssh("gateway")
	if got.code != 0 || !strings.Contains(got.stdout, hanako) || !strings.Contains(got.stdout, "ssh -J gateway") || !hasJapanese(got.stdout) {
		t.Error(got)
	}
	got = c.ssh("gateway", "ls")
	if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "ssh -J gateway") {
		t.Error(got)
	}
	s := c.screen(24, 100, "gateway")
	s.shows(`ssh -J gateway [a-z]+@db1[^\n]*\r\n`)
	if code := s.ends(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if opened := g.events(recorder.ClassCommand, "session.open"); len(opened) != 0 {
		t.Errorf("a session was opened: %+v", opened)
	}
}

func TestStoppingTheProxyEndsEverything(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	s := c.screen(24, 80, plus(theLogin(), "db1"), "echo started; sleep 1000")
	s.shows(`started\r\n`)
	idle, err := net.Dial("tcp", g.addr)
	must(t, err)
	defer idle.Close()
	start := time.Now()
	stopped := make(chan struct{})
	go func() { g.stop(); close(stopped) }()
	s.shows(`shutting down`)
	s.ends()
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Fatal("the proxy does not stop")
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if _, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", g.addr); err == nil {
		t.Error("it still listens")
	}
}
