package console_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	cdplog "github.com/chromedp/cdproto/log"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/sekisho/sekisho/gateway/identity"
)

// browser is one person's Chromium: a home with their certificates, and a window that keeps its virtual authenticator.
type browser struct {
	t    *testing.T
	g    *gateway
	home string
	ctx  context.Context // of the window
	stop func()
	cert tls.Certificate // what the page made

	mu     sync.Mutex
	errors []string // what the page's scripts and its content policy complained about
}

// needBrowser names what is missing; under CI that is a failure.
func needBrowser(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"chromium", "certutil", "pk12util", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing; make tools installs it", tool)
			}
			t.Skipf("%s is missing; make tools installs it", tool)
		}
	}
}

func newBrowser(t *testing.T, g *gateway) *browser {
	t.Helper()
	needBrowser(t)
	b := &browser{t: t, g: g, home: t.TempDir()}
	nss := filepath.Join(b.home, ".pki", "nssdb")
	root := filepath.Join(b.home, "root.pem")
	profile := filepath.Join(b.home, "profile", "Default")
	for _, dir := range []string{nss, profile} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, root, g.authority.RootPEM())
	b.run("certutil", "-N", "--empty-password", "-d", "sql:"+nss)
	b.run("certutil", "-A", "-d", "sql:"+nss, "-n", "sekisho", "-t", "C,,", "-i", root)
	// Without this Chromium waits for somebody to choose a certificate.
	write(t, filepath.Join(profile, "Preferences"), []byte(`{"profile":{"content_settings":{"exceptions":{"auto_select_certificate":`+
		`{"https://[*.]localhost,*":{"setting":{"filters":[{}]}}}}}}}`))
	return b
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *browser) run(name string, args ...string) string {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "HOME="+b.home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// open starts Chromium with one window and a virtual authenticator that verifies its user.
func (b *browser) open() {
	b.t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Env("HOME="+b.home), chromedp.UserDataDir(filepath.Join(b.home, "profile")),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en"))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	window, stopWindow := chromedp.NewContext(allocator)
	b.ctx, b.stop = window, func() { stopWindow(); stopAllocator() }
	b.t.Cleanup(b.stop)
	// The first call takes a context without a deadline: the browser lives as long as it.
	if err := chromedp.Do(window, chromedp.EmulateViewport(1100, 850)); err != nil {
		b.t.Fatal(err)
	}
	if err := chromedp.Listen(window, b.complain); err != nil {
		b.t.Fatal(err)
	}
	must(chromedp.Call(window, webauthn.Enable, webauthn.EnableParams{}))(b.t)
	must(chromedp.Call(window, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{Protocol: "ctap2", Transport: "internal", HasResidentKey: true,
			HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}}))(b.t)
}

// complain keeps what the developer console shows as an error, but for answers of the API that say no.
func (b *browser) complain(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError && !strings.HasPrefix(e.Entry.Text, "Failed to load resource") {
			b.errors = append(b.errors, e.Entry.Text)
		}
	case *cdpruntime.EventExceptionThrown:
		b.errors = append(b.errors, e.ExceptionDetails.Text)
	}
}

// wantNoComplaints fails the test for every script error and every violation of the content policy.
func (b *browser) wantNoComplaints() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.errors {
		b.t.Errorf("the browser complains: %s", text)
	}
}

func (b *browser) close() {
	b.t.Helper()
	if err := chromedp.Cancel(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	b.stop()
}

const pageTimeout = 30 * time.Second

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, pageTimeout)
	defer cancel()
	for i, action := range actions {
		if err := chromedp.Do(ctx, action); err != nil {
			b.t.Fatalf("step %d on %s: %v\n%s", i+1, b.where(), err, b.body())
		}
	}
}

func ask[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, pageTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("on %s: %v\n%s", b.where(), err, b.body())
	}
	return value
}

func (b *browser) where() string {
	at, _ := chromedp.Run(b.ctx, chromedp.Location())
	return at
}

func (b *browser) body() string {
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	return text
}

// shoot keeps a picture of the page where SEKISHO_SHOTS names a folder.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("SEKISHO_SHOTS")
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	write(b.t, filepath.Join(dir, name+".png"), ask(b, chromedp.FullScreenshot(100)))
}

func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

// enrolInBrowser goes through the whole enrolment of a person in Chromium and returns their browser, released.
func enrolInBrowser(t *testing.T, g *gateway, person string) *browser {
	t.Helper()
	listed, _ := g.directory.Current().Person(person)
	invitation := must(g.registry.Invite(t.Context(), person, listed.Vendor, "test"))(t)
	b := newBrowser(t, g)
	b.open()
	b.do(chromedp.Navigate(g.url(enrolHost)+"/#"+invitation.Token), chromedp.WaitVisible(chromedp.ID("enrol")))
	if at := b.where(); strings.Contains(at, invitation.Token) {
		t.Errorf("the token stays in the address bar: %s", at)
	}
	b.shoot("enrol")
	b.do(click("#enrol button"), chromedp.WaitVisible(chromedp.ID("result")))
	b.shoot("enrolled")
	passphrase := ask(b, chromedp.Text(chromedp.ID("passphrase")))
	file := b.download(click("#file"))
	b.wantKeyFile(file, passphrase, person)
	b.close()
	b.run("pk12util", "-i", file, "-d", "sql:"+filepath.Join(b.home, ".pki", "nssdb"), "-W", passphrase)

	b.open()
	b.do(chromedp.Navigate(g.url(consoleHost)+"/"), chromedp.WaitVisible(chromedp.ID("register")))
	b.shoot("welcome")
	b.do(click("#register button"), chromedp.WaitVisible(chromedp.ID("code")))
	b.do(chromedp.SendKeys(chromedp.ID("public_key"), strings.TrimSpace(sshPublicKey(t))), click("#key button"),
		chromedp.WaitVisible(chromedp.CSS("ol.steps code")))
	b.shoot("waiting")
	code := ask(b, chromedp.Text(chromedp.ID("code")))
	if err := g.registry.Release(t.Context(), person, code, "test"); err != nil {
		t.Fatal(err)
	}
	return b
}

// download does something that starts a download and returns the saved file.
func (b *browser) download(start chromedp.Action[chromedp.Void]) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, pageTimeout)
	defer cancel()
	dir, on := b.t.TempDir(), true
	must(chromedp.Call(ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllowAndName, DownloadPath: dir, EventsEnabled: &on}))(b.t)
	progress := chromedp.Events(ctx, cdpbrowser.DownloadProgress)
	b.do(start)
	for event, err := range progress {
		if err != nil {
			b.t.Fatalf("downloading: %v", err)
		}
		if event.State == cdpbrowser.DownloadProgressStateCompleted {
			return filepath.Join(dir, event.GUID)
		}
	}
	b.t.Fatal("nothing was downloaded")
	return ""
}

// wantKeyFile has Go and OpenSSL read the PKCS#12 file that the page made.
func (b *browser) wantKeyFile(path, passphrase, person string) {
	b.t.Helper()
	key, cert, chain, err := pkcs12.DecodeChain(must(os.ReadFile(path))(b.t), passphrase)
	if err != nil || key == nil || len(chain) == 0 {
		b.t.Fatalf("the key file: key %T, %d issuers, %v", key, len(chain), err)
	}
	b.cert = tls.Certificate{PrivateKey: key, Certificate: [][]byte{cert.Raw}}
	for _, issuer := range chain {
		b.cert.Certificate = append(b.cert.Certificate, issuer.Raw)
	}
	if !strings.Contains(cert.Subject.String()+fmt.Sprint(cert.URIs), person) {
		b.t.Errorf("the key file is for %v %v", cert.Subject, cert.URIs)
	}
	out := b.run("openssl", "pkcs12", "-in", path, "-passin", "pass:"+passphrase, "-nodes", "-info")
	for _, want := range []string{"MAC: sha256", "AES-256-CBC", "PRIVATE KEY", "BEGIN CERTIFICATE"} {
		if !strings.Contains(out, want) {
			b.t.Errorf("openssl does not see %q in the key file", want)
		}
	}
}

func (b *browser) logIn() {
	b.t.Helper()
	b.do(chromedp.Navigate(b.g.url(consoleHost)+"/"), chromedp.WaitVisible(chromedp.ID("login")))
	b.shoot("login")
	b.do(click("#login button"), chromedp.WaitVisible(chromedp.CSS(".bar nav")))
}

func TestAPersonEnrolsLogsInAndApprovesAnSSHLoginInChromium(t *testing.T) {
	g := newGateway(t)
	b := enrolInBrowser(t, g, "hanako")
	b.logIn()
	b.do(chromedp.WaitVisible(chromedp.ID("target-db1")))
	b.shoot("targets")
	if body := b.body(); !strings.Contains(body, "ssh -J ssh.localhost:2222 app@db1") {
		t.Errorf("no command line for db1:\n%s", body)
	}
	pending := g.pend("127.0.0.1")
	b.do(chromedp.Navigate(g.url(consoleHost)+"/ssh/"+pending.ID), chromedp.WaitVisible(chromedp.ID("approve")))
	if body := b.body(); strings.Contains(body, pending.Code) || !strings.Contains(body, "db1") || !strings.Contains(body, "127.0.0.1") {
		t.Errorf("the page must show target and source and never the code:\n%s", body)
	}
	b.shoot("approve")
	b.do(chromedp.SendKeys(chromedp.ID("code"), "AAAAAAAA"), click("#approve button"))
	b.do(chromedp.WaitVisible(chromedp.CSS("#say.bad")))
	b.do(chromedp.SetValue(chromedp.ID("code"), strings.ToLower(pending.Code)), click("#approve button"))
	b.do(chromedp.WaitVisible(chromedp.CSS("#say.good")))
	b.shoot("approved")
	if mfa, err := pending.Wait(t.Context()); err != nil || !mfa.UV {
		t.Errorf("the terminal hears %+v, %v", mfa, err)
	}
	b.do(chromedp.Navigate(g.url(consoleHost) + "/ssh"))
	file := b.download(click("form.issue button"))
	b.shoot("certificate")
	if cert := string(must(os.ReadFile(file))(t)); !strings.HasPrefix(cert, "ssh-ed25519-cert-v01@openssh.com ") {
		t.Errorf("issued: %q", cert)
	}
	b.do(chromedp.Navigate(g.url(consoleHost)+"/targets?lang=ja"), chromedp.WaitVisible(chromedp.ID("target-db1")))
	if body := b.body(); !strings.Contains(body, "接続できる対象") || !strings.Contains(body, "佐藤 花子") {
		t.Errorf("not in Japanese:\n%s", body)
	}
	b.shoot("targets-ja")
	b.approveCommandLine()
	b.do(click(".who form button"), chromedp.WaitVisible(chromedp.ID("login")))
	b.wantNoComplaints()
	if enrolment := must(g.registry.Enrolments(t.Context()))(t)[0]; enrolment.State != identity.StateActive {
		t.Errorf("the enrolment is %s", enrolment.State)
	}
}

// approveCommandLine lets a login on the command line in, with the keyboard alone.
func (b *browser) approveCommandLine() {
	b.t.Helper()
	cli := b.g.client(&b.cert)
	started := must(cli.StartCLILogin(b.t.Context()))(b.t)
	b.do(chromedp.Navigate(started.URL), chromedp.WaitVisible(chromedp.ID("approve")), chromedp.KeyEvent(started.Code+"\r"),
		chromedp.WaitVisible(chromedp.CSS("#say.good")))
	must(cli.WaitCLILogin(b.t.Context(), started.ID))(b.t)
	if me := must(cli.Me(b.t.Context()))(b.t); me.Person != "hanako" {
		b.t.Errorf("logged in as %+v", me)
	}
}

func TestALoginForAnAppIsHandedOverInAForm(t *testing.T) {
	g := newGateway(t)
	got := make(chan *http.Request, 1)
	g.app = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.ParseForm() == nil {
			got <- r
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<p id="app">orders</p>`)
	})
	b := enrolInBrowser(t, g, "hanako")
	b.do(chromedp.Navigate(g.url(consoleHost)+"/login?return="+g.url(appHost)+"/orders%3Fpage=2"), click("#login button"),
		chromedp.WaitVisible(chromedp.ID("app")))
	b.wantNoComplaints()
	r := <-got
	if r.URL.Path != "/.sekisho/session" || r.URL.RawQuery != "" || r.PostForm.Get("return") != "/orders?page=2" {
		t.Errorf("handed over: %s %v", r.URL, r.PostForm)
	}
	if origin := r.Header.Get("Origin"); origin != g.url(consoleHost) {
		t.Errorf("the form comes from %q", origin)
	}
	credential := must(g.registry.Client(t.Context(), r.TLS))(t)
	must(g.registry.TakeHandoff(t.Context(), r.PostForm.Get("token"), appHost, credential))(t)
	if _, err := g.registry.TakeHandoff(t.Context(), r.PostForm.Get("token"), appHost, credential); err == nil {
		t.Error("the token works twice")
	}
}
