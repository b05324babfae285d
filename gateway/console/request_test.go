package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/policy"
)

// confirm answers a request as its page does: with the security key.
func (m *member) confirm(id string, a console.RequestAnswer) (console.Answered, error) {
	proof, err := m.prove(console.Confirmation{Purpose: console.PurposeAnswer, ID: id, Answer: &a})
	if err != nil {
		return console.Answered{}, err
	}
	return m.AnswerRequest(m.g.t.Context(), id, a, proof)
}

// yes is an approval of a request as it stands.
func (m *member) yes(id string) console.RequestAnswer {
	m.g.t.Helper()
	shown := must(m.Request(m.g.t.Context(), id))(m.g.t)
	return console.RequestAnswer{Answer: console.AnswerApprove, Digest: shown.Digest, Minutes: 15, Reason: "ticket 4711"}
}

func TestAnAnswerIsConfirmedForExactlyWhatItSays(t *testing.T) {
	g := newGateway(t)
	hanako, mika := g.login("hanako"), g.login("mika")
	id := askToWrite(t, hanako.visit()).Request
	said := mika.yes(id)
	for name, change := range map[string]func(*console.RequestAnswer){
		"another answer":  func(a *console.RequestAnswer) { a.Answer = console.AnswerDeny },
		"more minutes":    func(a *console.RequestAnswer) { a.Minutes = 480 },
		"another reason":  func(a *console.RequestAnswer) { a.Reason = "no reason" },
		"another request": func(a *console.RequestAnswer) { a.Digest = "sha256:00" },
		"other scopes":    func(a *console.RequestAnswer) { a.Scopes = []access.Scope{{Right: policy.Write, Pattern: "*"}} },
	} {
		proof := must(mika.prove(console.Confirmation{Purpose: console.PurposeAnswer, ID: id, Answer: &said}))(t)
		changed := said
		change(&changed)
		if _, err := mika.AnswerRequest(t.Context(), id, changed, proof); err == nil {
			t.Fatalf("%s passes on the same confirmation", name)
		}
		_, err := mika.AnswerRequest(t.Context(), id, said, proof)
		wantProblem(t, err, http.StatusConflict)
	}
	login := must(mika.prove(console.Confirmation{Purpose: console.PurposeLogin}))(t)
	if _, err := mika.AnswerRequest(t.Context(), id, said, login); err == nil {
		t.Fatal("a login passes for an answer")
	}
	answered := must(mika.confirm(id, said))(t)
	if answered.Status != access.RequestApproved || len(answered.Leases) == 0 {
		t.Errorf("%+v", answered)
	}
	for _, e := range g.events("credential.confirmed") {
		if e.Person == "mika" && e.Detail["what"] == console.PurposeAnswer && e.Detail["request"] == id {
			return
		}
	}
	t.Error("the confirmation is not on record")
}

func TestABrowsersSessionAnswersWithTheSecurityKeyOnly(t *testing.T) {
	g := newGateway(t)
	hanako, mika := g.login("hanako"), g.login("mika")
	id := askToWrite(t, hanako.visit()).Request
	body := `{"answer":"approve","digest":"` + mika.yes(id).Digest + `","minutes":5,"reason":"x"}`
	for _, verb := range []string{"approve", "deny"} {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, g.url(consoleHost)+"/api/v1/requests/"+id+"/"+verb,
			strings.NewReader(body)))(t)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", g.url(consoleHost))
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		resp := must(mika.browser().Do(r))(t)
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", verb, resp.Status)
		}
	}
	if r := must(mika.Request(t.Context(), id))(t); r.Status != access.RequestPending {
		t.Errorf("it is %s", r.Status)
	}
}

func TestWhatChangedMeanwhileIsSaid(t *testing.T) {
	g := newGateway(t)
	hanako, mika := g.login("hanako"), g.login("mika")
	id := askToWrite(t, hanako.visit()).Request
	said := mika.yes(id)
	if err := hanako.AddReason(t.Context(), id, "another disk", "CHG-1"); err != nil {
		t.Fatal(err)
	}
	_, err := mika.confirm(id, said)
	wantProblem(t, err, http.StatusConflict, "its reason or ticket")
	if err := hanako.CancelRequest(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	_, err = mika.confirm(id, said)
	wantProblem(t, err, http.StatusConflict, "taken back")
}

func TestAnAnswerNarrows(t *testing.T) {
	g := newGateway(t)
	hanako, mika := g.login("hanako"), g.login("mika")
	asked := must(hanako.Ask(t.Context(), console.Asking{Target: "db1", Scopes: []access.Scope{{Right: policy.Write, Pattern: "/srv/*"}},
		Minutes: 60, Reason: "new disk"}))(t)
	said := mika.yes(asked.ID)
	said.Scopes = []access.Scope{}
	_, err := mika.confirm(asked.ID, said)
	wantProblem(t, err, http.StatusBadRequest, "nothing")
	said.Scopes = []access.Scope{{Right: policy.Write, Pattern: "/etc/*"}}
	_, err = mika.confirm(asked.ID, said)
	wantProblem(t, err, http.StatusBadRequest, "narrow")
	said.Scopes = []access.Scope{{Right: policy.Write, Pattern: "/srv/app/*"}}
	said.Minutes = 10
	answered := must(mika.confirm(asked.ID, said))(t)
	if len(answered.Leases) != 1 || answered.Leases[0].Pattern != "/srv/app/*" {
		t.Errorf("%+v", answered)
	}
}

func TestOfTwoWhoAnswerAtOnceTheSecondIsToldOfTheFirst(t *testing.T) {
	g := newGateway(t)
	hanako := g.login("hanako")
	people := map[string]*member{"mika": g.login("mika"), "rei": g.login("rei")}
	id := askToWrite(t, hanako.visit()).Request
	type said struct {
		who string
		err error
	}
	done := make(chan said)
	for name, m := range people {
		yes := m.yes(id)
		proof := must(m.prove(console.Confirmation{Purpose: console.PurposeAnswer, ID: id, Answer: &yes}))(t)
		go func() {
			_, err := m.AnswerRequest(t.Context(), id, yes, proof)
			done <- said{name, err}
		}()
	}
	first, second := <-done, <-done
	if first.err != nil {
		first, second = second, first
	}
	if first.err != nil {
		t.Fatalf("neither is taken: %v, %v", first.err, second.err)
	}
	wantProblem(t, second.err, http.StatusConflict)
	r := must(hanako.Request(t.Context(), id))(t)
	if len(r.Answers) != 1 || r.Answer.By != first.who || len(collect(t, hanako.OwnLeases(t.Context()))) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestALinkLeadsToItsRequestAndGrantsNothing(t *testing.T) {
	g := newGateway(t)
	hanako, mika := g.login("hanako"), g.login("mika")
	id := askToWrite(t, hanako.visit()).Request
	link := must(mika.RequestLink(t.Context(), id))(t)
	c := mika.browser()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp := must(c.Get(link.URL))(t)
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/requests/"+id ||
		resp.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	if own := must(hanako.RequestLink(t.Context(), id))(t); own.Expires.After(must(mika.Request(t.Context(), id))(t).Expires) {
		t.Errorf("the link outlives the request: %v", own)
	}
	for name, who := range map[string]*member{"another contractor": g.login("taro"), "an investigator": g.login("ken")} {
		if status, body := get(t, who.browser(), link.URL); status == http.StatusOK && name == "another contractor" || strings.Contains(body, `id="answer"`) {
			t.Errorf("%s: %d\n%s", name, status, body)
		}
	}
	stranger := g.certify("chie")
	if _, body := get(t, stranger.browser(), link.URL); strings.Contains(body, id) {
		t.Errorf("who is not released sees the request:\n%s", body)
	}
	at := strings.LastIndex(link.URL, "/") + 1
	tampered := link.URL[:at+20] + flipped(link.URL[at+20]) + link.URL[at+21:]
	status, body := get(t, mika.browser(), tampered)
	if status != http.StatusForbidden || !strings.Contains(body, "changed on its way") {
		t.Errorf("tampered with: %d\n%s", status, body)
	}
	if err := hanako.AddReason(t.Context(), id, "new disk", ""); err != nil {
		t.Fatal(err)
	}
	status, body = get(t, mika.browser(), link.URL)
	if status != http.StatusConflict || !strings.Contains(body, "has changed since the link was made") ||
		!strings.Contains(body, `href="/requests/`+id+`"`) {
		t.Errorf("outdated: %d\n%s", status, body)
	}
	for _, e := range g.events("") {
		if strings.Contains(fmt.Sprint(e), link.URL[at:]) {
			t.Errorf("the token is on record: %+v", e)
		}
	}
}

func flipped(b byte) string {
	if b == 'A' {
		return "B"
	}
	return "A"
}

func TestAContractorAsksAheadOnTheirPage(t *testing.T) {
	g := newGateway(t)
	hanako, mika := g.login("hanako"), g.login("mika")
	c, page := hanako.browser(), g.url(consoleHost)+"/requests"
	status, body := get(t, c, page+"/new")
	if status != http.StatusOK || !strings.Contains(body, "app@db1") || strings.Contains(body, "build1") {
		t.Fatalf("%d\n%s", status, body)
	}
	form := url.Values{"target": {"app@db1"}, "kind": {"write"}, "pattern": {"/srv/app/*"}, "reason": {""}, "minutes": {"45"},
		"when": {"now"}}
	status, body = submit(t, c, page, g.url(consoleHost), form)
	if status != http.StatusBadRequest || !strings.Contains(body, "/srv/app/*") || !strings.Contains(body, `role="alert"`) {
		t.Errorf("without a reason: %d\n%s", status, body)
	}
	form.Set("reason", "new disk <b>")
	form.Set("ticket", "CHG-7")
	form.Set("when", "week")
	form.Set("times", "4")
	form.Set("at", "2099-01-01T09:00")
	if status, body = submit(t, c, page, g.url(consoleHost), form); status != http.StatusBadRequest {
		t.Errorf("a century ahead: %d\n%s", status, body)
	}
	form.Set("at", g.later(48))
	status, body = submit(t, c, page, g.url(consoleHost), form)
	if status != http.StatusOK || !strings.Contains(body, "Your request is filed") || !strings.Contains(body, "4 times, 45 minutes each") ||
		strings.Contains(body, "disk <b>") {
		t.Fatalf("%d\n%s", status, body)
	}
	waiting := collect(t, mika.Requests(t.Context(), access.RequestPending, 0))
	if len(waiting) != 1 || waiting[0].Times != 4 || waiting[0].Ticket != "CHG-7" {
		t.Fatalf("mika sees %+v", waiting)
	}
	own := page + "/" + waiting[0].ID
	if status, body := submit(t, mika.browser(), own+"/cancel", g.url(consoleHost), nil); status == http.StatusOK {
		t.Errorf("somebody else takes it back: %d\n%s", status, body)
	}
	if status, body := submit(t, c, own+"/cancel", g.url(consoleHost), nil); status != http.StatusOK || !strings.Contains(body, "taken back") {
		t.Errorf("%d\n%s", status, body)
	}
	status, body = get(t, g.login("taro").browser(), own)
	if status != http.StatusNotFound || strings.Contains(body, "CHG-7") {
		t.Errorf("a colleague sees it: %d\n%s", status, body)
	}
}

func TestApproversSeeWhatWaitsForThemAndWhatItIs(t *testing.T) {
	g := newGateway(t)
	hanako, mika := g.login("hanako"), g.login("mika")
	s := hanako.visit()
	_, err := s.Authorize(t.Context(), access.Operation{Kind: "ssh.exec", Command: "cp /tmp/a '/srv/\u202efnoc.ppa'"})
	if err == nil {
		t.Fatal("it was allowed")
	}
	c := mika.browser()
	status, body := get(t, c, g.url(consoleHost)+"/requests")
	if status != http.StatusOK || !strings.Contains(body, "Waiting for your answer") {
		t.Fatalf("%d\n%s", status, body)
	}
	id := collect(t, mika.Requests(t.Context(), "", 0))[0].ID
	status, body = get(t, c, g.url(consoleHost)+"/requests/"+id)
	for _, want := range []string{`<mark class="odd">\u202e</mark>`, "ACME Maintenance", "Hanako Sato", "2099-12-31", s.ID(), "M-2",
		`id="answer"`, "0 of 1 approvals"} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%q is not on the page (%d)", want, status)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}
