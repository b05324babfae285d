package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/sekisho/sekisho/gateway/demo"
)

// browser is one person's Chromium, in the profile that `sekisho demo browser` prepares.
type browser struct {
	t      *testing.T
	person string
	window context.Context

	mu     sync.Mutex
	errors []string // what scripts and content policies complained about
}

// needBrowser skips a test that lacks its programs, and fails it under CI.
func needBrowser(t *testing.T) {
	t.Helper()
	for _, program := range []string{"chromium", "certutil", "pk12util", "ssh"} {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed; make tools installs it", program)
		}
		t.Skipf("%s is not installed; make tools installs it", program)
	}
}

func (d *trial) browser(person, language string) *browser {
	d.t.Helper()
	dir := filepath.Join(d.Dir, "people", person)
	ctx, stop := context.WithCancel(context.Background())
	d.t.Cleanup(stop)
	prepared, err := demo.PrepareBrowser(ctx, demo.BrowserConfig{Dir: filepath.Join(d.Dir, "browsers", person),
		CertFile: filepath.Join(dir, "client.crt"), KeyFile: filepath.Join(dir, "client.key"), CAFile: d.CAFile,
		Hosts: []string{"localhost"}, Headless: true})
	if err != nil {
		d.t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.DisableGPU, chromedp.NoSandbox, chromedp.ExecPath(prepared.Path),
		chromedp.NoInheritEnv, chromedp.Env(prepared.Env...), chromedp.Flag("lang", language), chromedp.Flag("accept-lang", language),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	for _, arg := range prepared.Args {
		if profile, ok := strings.CutPrefix(arg, "--user-data-dir="); ok {
			options = append(options, chromedp.UserDataDir(profile))
		}
	}
	allocator, stopAllocator := chromedp.NewExecAllocator(ctx, options...)
	d.t.Cleanup(stopAllocator)
	b := &browser{t: d.t, person: person}
	var stopWindow context.CancelFunc
	b.window, stopWindow = chromedp.NewContext(allocator)
	d.t.Cleanup(stopWindow)
	// The first call takes a context without a deadline: the browser lives as long as it.
	if err := chromedp.Do(b.window, chromedp.EmulateViewport(1100, 850)); err != nil {
		d.t.Fatal(err)
	}
	if err := chromedp.Listen(b.window, b.complain); err != nil {
		d.t.Fatal(err)
	}
	b.lend(filepath.Join(dir, "authenticator.json"))
	return b
}

// lend gives the window a virtual authenticator that verifies its user and holds the person's credentials, where the demo
// has made them some.
func (b *browser) lend(file string) {
	b.t.Helper()
	var held struct {
		Kind        demo.Kind
		Credentials []struct {
			ID, RP, User, Name, Key string
			Count                   uint32
		}
	}
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &held)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	reached := webauthn.AuthenticatorTransport("internal")
	if held.Kind == demo.Hardware {
		reached = "usb"
	}
	must(chromedp.Call(b.window, webauthn.Enable, webauthn.EnableParams{}))(b.t)
	added := must(chromedp.Call(b.window, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{Protocol: "ctap2", Transport: reached, HasResidentKey: true,
			HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}}))(b.t)
	standard := func(text string) string {
		return base64.StdEncoding.EncodeToString(must(base64.RawURLEncoding.DecodeString(text))(b.t))
	}
	// The typed parameters have members that Chromium refuses.
	add := cdp.Command[map[string]any, cdp.Empty]{Method: webauthn.CommandAddCredential}
	for _, c := range held.Credentials {
		must(chromedp.Call(b.window, add, map[string]any{"authenticatorId": added.AuthenticatorID, "credential": map[string]any{
			"credentialId": standard(c.ID), "isResidentCredential": true, "rpId": c.RP, "privateKey": standard(c.Key),
			"userHandle": standard(c.User), "signCount": c.Count}}))(b.t)
	}
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// complain keeps what the developer console shows as an error, but for answers that say no.
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

func (b *browser) wantNoComplaints() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.errors {
		b.t.Errorf("%s's browser complains: %s", b.person, text)
	}
}

const pageTimeout = time.Minute

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for _, step := range steps {
		ask(b, step)
	}
}

func ask[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.window, pageTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("%s on %s: %v\n%s", b.person, b.where(), err, b.text())
	}
	return value
}

func (b *browser) where() string {
	at, _ := chromedp.Run(b.window, chromedp.Location())
	return at
}

// text is what the page shows.
func (b *browser) text() string {
	text, _ := chromedp.Run(b.window, chromedp.Evaluate[string]("document.body.innerText"))
	return text
}

// sees waits until the page shows a text, and returns all that it shows then.
func (b *browser) sees(want string) string {
	b.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(pageTimeout); ; <-tick.C {
		text := b.text()
		if strings.Contains(text, want) {
			return text
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s never sees %q on %s:\n%s", b.person, want, b.where(), text)
		}
	}
}

func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

func shown(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector))
}

// shoot keeps a picture of the page where SEKISHO_SHOTS names a folder.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("SEKISHO_SHOTS")
	if dir == "" {
		return
	}
	picture := ask(b, chromedp.FullScreenshot(100))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// logIn goes through the console's login, wherever the browser was sent to it from.
func (b *browser) logIn() {
	b.t.Helper()
	b.do(shown("#login button"))
	b.shoot(b.person + "-login")
	b.do(click("#login button"), chromedp.WaitNotPresent(chromedp.ID("login")))
}

var (
	requestID  = regexp.MustCompile(`r-[0-9A-Z]{26}`)
	decisionID = regexp.MustCompile(`d-[0-9A-Z]{26}`)
)

// note changes the note of an order in the app's form and saves it.
func (b *browser) note(orders, order, text string) {
	b.t.Helper()
	form := `form[action="/orders/` + order + `"].order`
	b.do(chromedp.Navigate(orders+"orders"), click("#order-"+order+" a"), shown(form),
		chromedp.SetValue(chromedp.CSS(form+" [name=note]"), text), click(form+" button"))
}

func TestContractorsWorkInTheAppThroughTheirBrowsersAndAllOfItIsOnRecord(t *testing.T) {
	needBrowser(t)
	d := startTrial(t)
	request := d.hanakoEdits()
	decision := d.soraIsRefused()
	d.investigate(request, decision)
}

// hanakoEdits is a maintenance person's day (M-2: read ○, write △): she returns the id of the request that was approved.
func (d *trial) hanakoEdits() string {
	t := d.t
	t.Helper()
	b := d.browser("hanako", "en")
	b.do(chromedp.Navigate(d.ConsoleURL + "/"))
	b.logIn()
	b.do(shown("#target-orders"))
	b.shoot("hanako-targets")
	wantIn(t, "the list of targets", b.text(), "Hanako Sato", "db1", "build1", "orders")

	b.do(click(`a[href^="`+strings.TrimSuffix(d.OrdersURL, "/")+`"]`), shown("#order-1001"))
	b.shoot("hanako-orders")
	if at := b.where(); at != d.OrdersURL+"orders" {
		t.Errorf("the list of orders is at %s", at)
	}
	wantIn(t, "the list of orders", b.text(), "hanako (acme-maintenance)", "海風水産株式会社")

	b.note(d.OrdersURL, "1010", "call first")
	page := b.sees("Needs approval")
	b.shoot("hanako-approval")
	wantIn(t, "the page that asks for approval", page, "M-2", "write", "POST /orders/1010")
	request := requestID.FindString(page)
	if request == "" || decisionID.FindString(page) == "" {
		t.Fatalf("the page names no request or no decision:\n%s", page)
	}
	b.do(click(`a[href="`+d.ConsoleURL+"/requests/"+request+`"]`), shown("#reason"), chromedp.SendKeys(chromedp.ID("reason"), "customer asked"),
		click(`form[action$="/reason"] button`))
	b.sees("Saved.")
	b.shoot("hanako-waiting")
	wantIn(t, "the requests of her own", d.sekisho("request", "list", "--as", "hanako"), request, "POST /orders/1010", "0 of 1")
	d.mikaApproves(request)
	b.note(d.OrdersURL, "1010", "call first")
	b.do(shown("#order-1010"))
	b.shoot("hanako-saved")
	wantIn(t, "the saved order", ask(b, chromedp.Text(chromedp.CSS("#order-1010"))), "call first")

	b.note(d.OrdersURL, "1011", "another one")
	if again := requestID.FindString(b.sees("Needs approval")); again == "" || again == request {
		t.Errorf("the lease for one order is good for another: %s", again)
	}
	b.wantNoComplaints()
	return request
}

// mikaApproves answers a request on its page, with her security key.
func (d *trial) mikaApproves(request string) {
	d.t.Helper()
	wantIn(d.t, "the queue", d.sekisho("request", "list", "--as", "mika"), request, "hanako", "POST /orders/1010")
	b := d.browser("mika", "ja")
	b.do(chromedp.Navigate(strings.TrimSpace(d.sekisho("request", "link", request, "--as", "mika"))))
	b.logIn()
	b.do(shown("#answer"))
	b.shoot("mika-request")
	wantIn(d.t, "the request's page", b.text(), "佐藤 花子", "customer asked", "POST /orders/1010", "書込", "M-2")
	b.do(chromedp.SetValue(chromedp.ID("minutes"), "10"), chromedp.SendKeys(chromedp.CSS("#answer #reason"), "電話で確認"),
		click("#answer button[value=approve]"))
	b.sees("承認しました")
	b.wantNoComplaints()
}

// soraIsRefused is a consultant who may only look (M-4), with a browser in Japanese.
func (d *trial) soraIsRefused() (decision string) {
	t := d.t
	t.Helper()
	b := d.browser("sora", "ja")
	b.do(chromedp.Navigate(d.OrdersURL))
	b.logIn()
	b.do(shown("#order-1001"))
	b.do(click(`[data-delete="1001"]`), shown("#message:not(:empty)"))
	b.shoot("sora-refused")
	message := ask(b, chromedp.Text(chromedp.ID("message")))
	wantIn(t, "the refusal", message, "403", "M-4", "delete", "許可されていません")
	if decision = decisionID.FindString(message); decision == "" {
		t.Errorf("the refusal names no decision: %s", message)
	}
	b.do(chromedp.Reload(), shown("#order-1001"))
	b.note(d.OrdersURL, "1001", "mine")
	wantIn(t, "the refused form", b.sees("許可されていません"), "M-4")
	b.shoot("sora-refused-page")
	b.do(chromedp.Navigate(d.ConsoleURL+"/targets"), shown("#target-orders"))
	b.shoot("sora-targets")
	b.wantNoComplaints()
	return decision
}

// investigate finds in the record what the two did, in the console and on the command line, and proves it.
func (d *trial) investigate(request, decision string) {
	t := d.t
	t.Helper()
	found := d.sekisho("audit", "search", "/orders/1010")
	wantIn(t, "the audit log on hanako's edit", found, "hanako", "pending", "ok", "POST /orders/1010")
	found = d.sekisho("audit", "search", decision)
	wantIn(t, "the audit log on sora's deletion", found, "sora", "refused", "DELETE /api/orders/1001", "M-4")
	wantIn(t, "the audit log on the approval", d.sekisho("audit", "search", request), "mika")

	sessions := map[string]string{}
	for person, want := range map[string][]string{
		"hanako": {"GET", "/orders", "POST", "/orders/1010", "call first", "303"},
		"sora":   {"GET", "/orders", "海風水産株式会社", "DELETE /api/orders/1001", "M-4"},
	} {
		var session struct{ ID, Protocol, Enforced string }
		list := d.sekisho("session", "list", "--person", person, "--target", "orders", "--json")
		if err := json.Unmarshal([]byte(list), &session); err != nil || session.Protocol != "https" || session.Enforced != "wire" {
			t.Fatalf("%s's sessions: %s %v", person, list, err)
		}
		d.until(want, "replay", session.ID, "--export", "txt") // it may be a second behind
		sessions[person] = session.ID
	}
	d.look(sessions)
	d.stop()
	wantIn(t, "the proof", d.sekisho("verify", d.Dir), "ok", "chains whole and signed")
}

// look is the investigator's day: they open the sessions of these people in the console, and its other pages.
func (d *trial) look(sessions map[string]string) {
	d.t.Helper()
	b := d.browser("ren", "en")
	b.do(chromedp.Navigate(d.ConsoleURL + "/sessions"))
	b.logIn()
	for person, session := range sessions {
		b.do(chromedp.Navigate(d.ConsoleURL+"/sessions"), click(`a[href="/sessions/`+session+`"]`), shown("ol.transcript"))
		b.shoot("ren-session-of-" + person)
		wantIn(d.t, "the page of "+person+"'s session", b.text(), person, "wire", "/orders")
	}
	for _, page := range []string{"sessions", "audit", "requests", "people"} {
		b.do(chromedp.Navigate(d.ConsoleURL+"/"+page), shown("h1"))
		b.shoot("ren-" + page)
	}
	b.wantNoComplaints()
}

// TestAContractorEnrolsWithTheCommandLineAndABrowser is what everybody goes through who is not the demo's: the keys are made
// on the contractor's side, WebAuthn is given in a browser, and a second person releases them.
func TestAContractorEnrolsWithTheCommandLineAndABrowser(t *testing.T) {
	needBrowser(t)
	d := startTrial(t, "--authenticator=browser")
	i := slices.IndexFunc(d.Invites, func(invite string) bool { return strings.HasPrefix(invite, "hanako: ") })
	if i < 0 {
		t.Fatalf("nobody invited hanako: %q", d.Invites)
	}
	enrol := d.start("enrol", strings.TrimPrefix(d.Invites[i], "hanako: "))
	page := enrol.says(`open (https://\S+/welcome) there`)[0]
	b := d.browser("hanako", "en")
	b.do(chromedp.Navigate(page), click("#register button"), shown("#code"))
	code := enrol.says(`who releases you: (\S+)`)[0]
	enrol.ends()
	b.do(chromedp.Reload(), shown("#code"))
	b.shoot("hanako-welcome")
	if onPage := ask(b, chromedp.Text(chromedp.ID("code"))); onPage != code {
		t.Errorf("the page shows the code %s, the terminal %s", onPage, code)
	}
	d.sekisho("release", "hanako", "--code", code, "--as", "ren")

	login := d.start("login", "--as", "hanako")
	asked := login.says(`Open (https://\S+) in your browser and type this code there: (\S+)`)
	b.do(chromedp.Navigate(asked[0]), shown("#approve"))
	b.shoot("hanako-cli-login")
	b.do(chromedp.SendKeys(chromedp.ID("code"), asked[1]), click("#approve button"), shown("#say.good"))
	b.shoot("hanako-cli-login-done")
	login.says(`logged in as hanako of acme-maintenance; SSH certificate`)
	login.ends()
	b.wantNoComplaints()

	profile := filepath.Join(d.Dir, "people", "hanako")
	ssh := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-i", filepath.Join(profile, "id_ed25519"), "-o", "BatchMode=yes",
		"-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes", "-o", "HostKeyAlias=gateway", "-o", "GlobalKnownHostsFile=none",
		"-o", "UserKnownHostsFile="+filepath.Join(d.Dir, "known_hosts"), "-l", "app+db1", "ssh://"+d.SSHAddr, "echo hello")
	if out, err := ssh.CombinedOutput(); err != nil || string(out) != "hello\n" {
		t.Errorf("ssh with her own key: %q, %v", out, err)
	}
	wantIn(t, "the audit log", d.sekisho("audit", "search", "--class", "login", "--person", "hanako"), "login.ssh", "login.api")
}
