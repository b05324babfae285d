package console_test

import (
	"crypto/x509"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
)

// shootBoth keeps pictures of the page as a desk and as a telephone show it.
func (b *browser) shootBoth(name string) {
	b.t.Helper()
	for suffix, width := range map[string]int64{"": 1280, "-390": 390} {
		b.do(chromedp.EmulateViewport(width, 850))
		b.shoot(name + suffix)
		if over := ask(b, chromedp.Evaluate[int64]("document.documentElement.scrollWidth - window.innerWidth")); over > 0 {
			b.t.Errorf("%s is %d pixels wider than a screen of %d", name, over, width)
		}
	}
	b.do(chromedp.EmulateViewport(1280, 850))
}

// wantLabelled fails for every control that a screen reader could not name, and for headings that skip a level.
func (b *browser) wantLabelled() {
	b.t.Helper()
	problems := ask(b, chromedp.Evaluate[[]string](`(() => {
		const wrong = [];
		for (const e of document.querySelectorAll("main input:not([type=hidden]), main select, main textarea")) {
			if (!e.labels?.length && !e.ariaLabel) wrong.push("no label: " + e.outerHTML);
		}
		for (const e of document.querySelectorAll("button, a")) {
			if (!(e.textContent.trim() || e.ariaLabel)) wrong.push("no name: " + e.outerHTML);
		}
		let level = 0;
		for (const e of document.querySelectorAll("h1, h2, h3, h4")) {
			const now = Number(e.tagName[1]);
			if (now > level + 1) wrong.push("skips a level: " + e.outerHTML);
			level = now;
		}
		const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
		for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("two of id " + id);
		return wrong;
	})()`))
	for _, problem := range problems {
		b.t.Errorf("on %s: %s", b.where(), problem)
	}
}

// look opens a page in both languages, keeps pictures of it and checks what a screen reader needs.
func (b *browser) look(path, name string) {
	b.t.Helper()
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	for _, lang := range []string{"ja", "en"} {
		b.do(chromedp.Navigate(b.g.url(consoleHost)+path+join+"lang="+lang), chromedp.WaitVisible(chromedp.CSS("h1")))
		b.wantLabelled()
		b.shootBoth(name + "-" + lang)
	}
}

func TestARequestIsAskedNarrowedAndApprovedInChromium(t *testing.T) {
	g := newGateway(t)
	contractor, approver := enrolInBrowser(t, g, "hanako"), enrolInBrowser(t, g, "mika")
	contractor.logIn()
	contractor.look("/requests", "own-none")
	contractor.look("/requests/new", "new")
	contractor.do(chromedp.SetValue(chromedp.ID("kind"), "write"), chromedp.SendKeys(chromedp.ID("pattern"), "/srv/*"),
		chromedp.SendKeys(chromedp.ID("reason"), "Replace the disk and its configuration"),
		chromedp.SendKeys(chromedp.ID("ticket"), "CHG-42"), click("main form button"), chromedp.WaitVisible(chromedp.CSS(".say.good")))
	asked := contractor.where()
	at := strings.TrimSuffix(strings.TrimPrefix(asked, g.url(consoleHost)), "?done=asked")
	contractor.look(at, "own-request")

	approver.do(chromedp.Navigate(g.url(consoleHost)+at), chromedp.WaitVisible(chromedp.ID("login")), click("#login button"),
		chromedp.WaitVisible(chromedp.ID("answer")))
	approver.look("/requests", "requests")
	approver.look(at, "request")
	approver.do(chromedp.SetValue(chromedp.ID("pattern-0"), "/etc/*"), chromedp.SetValue(chromedp.ID("minutes"), "20"),
		chromedp.SendKeys(chromedp.ID("reason"), "as agreed"), click(`#answer button[value=approve]`),
		chromedp.WaitVisible(chromedp.CSS("#say.bad")))
	if body := approver.body(); !strings.Contains(body, "can only narrow") {
		t.Errorf("more than was asked for:\n%s", body)
	}
	approver.shoot("request-widened")
	approver.do(chromedp.SetValue(chromedp.ID("pattern-0"), "/srv/app/*"), click(`#answer button[value=approve]`),
		chromedp.WaitVisible(chromedp.CSS(".say.good[role=status]:not(#say)")))
	approver.shootBoth("request-approved")
	if body := approver.body(); !strings.Contains(body, "/srv/app/*") || !strings.Contains(body, "as agreed") {
		t.Errorf("the answer is not shown:\n%s", body)
	}
	contractor.look("/requests", "own")
	contractor.wantWrites()
	approver.wantNoComplaints()
	contractor.wantNoComplaints()
}

// wantWrites has hanako write within the lease that was narrowed, and beside it.
func (b *browser) wantWrites() {
	b.t.Helper()
	leaf := must(x509.ParseCertificate(b.cert.Certificate[0]))(b.t)
	principal := identity.Principal{Person: "hanako", Vendor: "acme", Serial: leaf.SerialNumber.Text(16), NotAfter: leaf.NotAfter,
		MFA: identity.MFA{Method: "webauthn", At: time.Now(), UV: true}, Source: netip.MustParseAddrPort("127.0.0.1:50000")}
	s := must(b.g.door.Open(b.t.Context(), access.Request{Principal: principal, Target: "db1", Login: "app", Protocol: "ssh"}))(b.t)
	if _, err := s.Authorize(b.t.Context(), access.Operation{Kind: "ssh.exec", Command: "cp /tmp/a /srv/app/a"}); err != nil {
		b.t.Errorf("within the lease: %v", err)
	}
	if _, err := s.Authorize(b.t.Context(), access.Operation{Kind: "ssh.exec", Command: "cp /tmp/a /srv/other/a"}); err == nil {
		b.t.Error("the lease covers what was cut out of it")
	}
}

func TestALinkOpensARequestInChromiumAndADenialNeedsTheKey(t *testing.T) {
	g := newGateway(t)
	hanako := g.login("hanako")
	s := hanako.visit()
	if _, err := s.Authorize(t.Context(), access.Operation{Kind: "ssh.exec", Command: "rm -rf '/srv/\u202egpj.exe' /srv/b"}); err == nil {
		t.Log("deleting is refused by the matrix")
	}
	id := askToWrite(t, s).Request
	link := must(hanako.RequestLink(t.Context(), id))(t)
	b := enrolInBrowser(t, g, "mika")
	b.do(chromedp.Navigate(link.URL), chromedp.WaitVisible(chromedp.ID("login")), click("#login button"),
		chromedp.WaitVisible(chromedp.ID("answer")))
	if at := b.where(); at != g.url(consoleHost)+"/requests/"+id {
		t.Errorf("the link leads to %s", at)
	}
	b.do(click(`#answer button[value=deny]`))
	if r := must(hanako.Request(t.Context(), id))(t); r.Status != access.RequestPending {
		t.Errorf("denied without a reason: %+v", r)
	}
	b.do(chromedp.SendKeys(chromedp.ID("reason"), "not today"), click(`#answer button[value=deny]`),
		chromedp.WaitVisible(chromedp.CSS(".say.good[role=status]:not(#say)")))
	b.shootBoth("request-denied")
	if r := must(hanako.Request(t.Context(), id))(t); r.Status != access.RequestDenied || r.Answer.Reason != "not today" {
		t.Errorf("%+v", r)
	}
	b.do(chromedp.Navigate(link.URL), chromedp.WaitVisible(chromedp.CSS(".say.bad")))
	b.look(strings.TrimPrefix(link.URL, g.url(consoleHost)), "link-outdated")
	b.wantNoComplaints()
}

func TestAnAdminReadsThePolicyInChromium(t *testing.T) {
	g := newGateway(t)
	hanako, rei := g.login("hanako"), g.login("rei")
	decision := askToWrite(t, hanako.visit()).Decision
	report := access.Operation{Kind: "ssh.exec", Command: "bin/report --all"}
	files := noReports(t, rei)
	must(rei.ApplyPolicy(t.Context(), revision.Change{Files: files, Base: 1, Reason: "reports are for operators", Ticket: "CHG-1"}))(t)
	if _, err := hanako.visit().Authorize(t.Context(), report); err == nil {
		t.Error("a report is allowed")
	}
	files = must(rei.PolicyRevision(t.Context(), 1))(t).Folder()
	must(rei.ApplyPolicy(t.Context(), revision.Change{Files: files, Base: 2, Reason: "not any more", Ticket: "CHG-2",
		ActivateAt: time.Now().Add(time.Hour)}))(t)
	b := enrolInBrowser(t, g, "aya")
	b.logIn()
	for _, page := range []struct {
		path, name string
		shows      []string
	}{
		{"/policy", "policy", []string{"Revision 3", "scheduled", "M-5", "reports are for operators", "@folder"}},
		{"/policy?vendor=acme&target=db1", "policy-show", []string{"matrix.yaml:9", "windows.yaml", "M-2"}},
		{"/policy/1", "revision-first", []string{"guardrail.rego", "@folder"}},
		{"/policy/2", "revision", []string{"+deny contains", "CHG-1", "maintenance.rego"}},
		{"/policy/3", "revision-open", []string{"-deny contains", "not any more"}},
		{"/decisions/" + decision, "decision", []string{"M-2", "write", "matrix.yaml:9", "maintenance.rego", "Revision 1"}},
	} {
		b.look(page.path, page.name)
		body := b.body()
		for _, want := range page.shows {
			if !strings.Contains(body, want) {
				t.Errorf("%s does not show %q:\n%s", page.path, want, body)
			}
		}
	}
	b.do(chromedp.Navigate(g.url(consoleHost)+"/policy/3"), click(`form[action$="/simulation"] button`),
		chromedp.WaitVisible(chromedp.CSS("p.say")))
	b.wantLabelled()
	b.shootBoth("simulation")
	if body := b.body(); !strings.Contains(body, "Would change: 1, in sessions: 1") || !strings.Contains(body, "bin/report") {
		t.Errorf("the simulation does not say what would change:\n%s", body)
	}
	b.do(chromedp.Navigate(g.url(consoleHost)+"/policy/3"), chromedp.SendKeys(chromedp.ID("reason"), "keep it"),
		click("main button.stop"), chromedp.WaitVisible(chromedp.CSS(".say.good")))
	if open := must(rei.Policy(t.Context()))(t).Open; len(open) != 0 {
		t.Errorf("it is still open: %+v", open)
	}
	b.wantNoComplaints()
}
