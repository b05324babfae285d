package webproxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/webproxy"
	"github.com/sekisho/sekisho/recorder"
)

func TestTheMatrixDecidesByMethodAndRule(t *testing.T) {
	g := newGate(t, hello, nil)
	hanako, chie := g.enrol("hanako", "acme").login(appHost), g.enrol("chie", "advice").login(appHost)
	for name, c := range map[string]struct {
		who            *visitor
		method, target string
		right, table   string // "" when allowed
		waits          bool
	}{
		"consulting reads":                        {who: chie, method: "GET", target: "/orders"},
		"consulting looks with HEAD":              {who: chie, method: "HEAD", target: "/orders"},
		"consulting never deletes":                {who: chie, method: "DELETE", target: "/orders/1", right: "delete", table: "M-4"},
		"consulting never writes":                 {who: chie, method: "PUT", target: "/orders/1", right: "write", table: "M-4"},
		"consulting never executes":               {who: chie, method: "POST", target: "/orders", right: "execute", table: "M-4"},
		"consulting searches, as a rule says":     {who: chie, method: "POST", target: "/search"},
		"maintenance executes":                    {who: hanako, method: "POST", target: "/orders"},
		"maintenance writes with approval":        {who: hanako, method: "PATCH", target: "/orders/1", right: "write", table: "M-2", waits: true},
		"maintenance never deletes":               {who: hanako, method: "DELETE", target: "/orders/1", right: "delete", table: "M-2"},
		"a rule raises the right":                 {who: hanako, method: "GET", target: "/secret/a", right: "delete", table: "M-2"},
		"encoding does not get around a rule":     {who: hanako, method: "GET", target: "/s%65cret/a", right: "delete", table: "M-2"},
		"HEAD does not get around a rule for GET": {who: hanako, method: "GET", target: "/secret", right: "delete", table: "M-2"},
	} {
		before := len(g.app.requests())
		res := c.who.do(c.who.request(c.method, appHost, c.target, nil))
		reached := len(g.app.requests()) > before
		if c.right == "" {
			if res.StatusCode != http.StatusOK || !reached {
				t.Errorf("%s: %s: %s", name, res.Status, res.text)
			}
			continue
		}
		p := res.problem(t)
		if reached || p.Status != http.StatusForbidden || p.Right != c.right || len(p.Tables) != 1 || p.Tables[0] != c.table || !strings.HasPrefix(p.Decision, "d-") {
			t.Errorf("%s: %+v", name, p)
		}
		if strings.HasPrefix(p.Request, "r-") != c.waits || (p.Type == "urn:sekisho:approval-needed") != c.waits {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if refused := g.events("command.refused"); len(refused) != 8 {
		t.Errorf("%d refusals on record", len(refused))
	}
}

func TestARefusalPageNamesRightTableAndDecisionInTheReadersLanguage(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("chie", "advice").login(appHost)
	page := func(language string) answer {
		r := v.request(http.MethodDelete, appHost, "/orders/%3Cscript%3E", nil)
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Accept-Language", language)
		return v.do(r)
	}
	for language, wants := range map[string][]string{
		"en-GB, ja;q=0.5": {`lang="en"`, "Refused", "M-4", "delete", "d-", "Decision"},
		"ja, en;q=0.8":    {`lang="ja"`, "許可されていません", "M-4", "削除", "d-", "判定"},
	} {
		res := page(language)
		for _, want := range wants {
			if !strings.Contains(res.text, want) {
				t.Errorf("%s: %q is not on the page: %s", language, want, res.text)
			}
		}
		if res.StatusCode != http.StatusForbidden || strings.Contains(res.text, "<script>") ||
			!strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s, %v", language, res.Status, res.Header)
		}
	}
}

func TestAnApprovedRequestPassesAndOnlyThat(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	mika := g.staff("mika")
	p := v.send(http.MethodPut, "/orders/1", "application/json", `{"a":1}`).problem(t)
	if p.Request == "" {
		t.Fatalf("%+v", p)
	}
	if again := v.send(http.MethodPut, "/orders/1", "application/json", `{"a":1}`).problem(t); again.Request != p.Request {
		t.Errorf("asking again filed another request: %+v", again)
	}
	r := v.request(http.MethodPut, appHost, "/orders/1", strings.NewReader(`{"a":1}`))
	r.Header.Set("Accept", "text/html")
	if page := v.do(r); !strings.Contains(page.text, `href="`+consoleURL+`/requests/`+p.Request+`"`) {
		t.Errorf("the page does not lead to the request: %s", page.text)
	}
	_, err := g.door.Approve(t.Context(), mika, p.Request, access.Consent{Minutes: 10, Reason: "ticket 1"})
	must(t, err)
	if res := v.send(http.MethodPut, "/orders/1", "application/json", `{"a":1}`); res.text != "hello" {
		t.Errorf("after approval: %s: %s", res.Status, res.text)
	}
	if p := v.send(http.MethodPut, "/orders/2", "application/json", `{"a":1}`).problem(t); p.Request == "" {
		t.Errorf("another path passed on the same approval: %+v", p)
	}
}

func TestAnAppThatIsNotYoursAnswersLikeOneThatIsNotThere(t *testing.T) {
	g := newGate(t, hello, nil)
	chie := g.enrol("chie", "advice")
	answers := map[string]problem{}
	for _, host := range []string{otherHost, "nothing.apps.example.com", "orders"} {
		chie.login(host)
		p := chie.do(chie.request(http.MethodGet, host, "/", nil)).problem(t)
		if p.Decision == "" {
			t.Errorf("%s: %+v", host, p)
		}
		p.Decision = ""
		answers[host] = p
	}
	for host, p := range answers {
		if p.Detail != answers[otherHost].Detail || p.Status != http.StatusForbidden || len(p.Tables) != 1 || p.Tables[0] != "C-5" {
			t.Errorf("%s: %+v", host, p)
		}
	}
}

func TestOneSessionServesOnePersonAtOneApp(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	for range 3 {
		v.get("/")
	}
	v.client = g.client(&v.cert, false) // another connection of the same browser
	v.get("/")
	if opened := g.events("session.open"); len(opened) != 1 {
		t.Errorf("%d sessions were opened", len(opened))
	}
	v.login(otherHost)
	v.do(v.request(http.MethodGet, otherHost, "/", nil))
	if opened := g.events("session.open"); len(opened) != 2 || opened[1].Target != "wiki" {
		t.Errorf("sessions: %+v", opened)
	}
}

func TestASessionStaffEndedDoesNotOpenAgainWithTheNextClick(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	v.get("/")
	must(t, g.door.EndSession(t.Context(), g.staff("tom"), g.live(), "maintenance window over"))
	if res := v.get("/"); res.StatusCode == http.StatusOK {
		t.Errorf("the next click: %s", res.Status)
	}
	g.await("the person to be logged out", func() bool { return v.get("/").StatusCode == http.StatusUnauthorized })
	if opened := g.events("session.open"); len(opened) != 1 {
		t.Errorf("%d sessions were opened", len(opened))
	}
	v.login(appHost)
	if res := v.get("/"); res.text != "hello" {
		t.Errorf("after a new login: %s", res.Status)
	}
}

func TestAnIdleSessionEnds(t *testing.T) {
	g := newGate(t, hello, func(c *webproxy.Config) { c.Idle = 1 })
	v := g.enrol("hanako", "acme").login(appHost)
	v.get("/")
	g.await("the idle session's end", func() bool { return len(g.events("session.end")) == 1 })
	if e := g.events("session.end")[0]; e.Detail["reason"] != "idle" || e.Outcome != recorder.OK {
		t.Errorf("%+v", e)
	}
	if res := v.get("/"); res.text != "hello" {
		t.Errorf("the next request: %s: %s", res.Status, res.text)
	}
	if opened := g.events("session.open"); len(opened) != 2 {
		t.Errorf("%d sessions were opened", len(opened))
	}
}

func TestACutOffEndsARequestInFlight(t *testing.T) {
	started, released := make(chan struct{}), make(chan struct{})
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		close(started)
		select {
		case <-r.Context().Done():
		case <-released:
		}
	}, nil)
	defer close(released)
	v := g.enrol("hanako", "acme").login(appHost)
	tom := g.staff("tom")
	got := make(chan *http.Response, 1)
	slow := v.request(http.MethodGet, appHost, "/slow", nil)
	go func() {
		res, err := v.client.Do(slow)
		if err != nil {
			t.Error(err)
			close(got)
			return
		}
		got <- res
	}()
	<-started
	_, err := g.door.CutOff(t.Context(), tom, "acme", "incident 7")
	must(t, err)
	raw, ok := <-got
	if !ok {
		t.FailNow()
	}
	defer raw.Body.Close()
	text, err := io.ReadAll(raw.Body)
	must(t, err)
	if p := (answer{raw, string(text)}).problem(t); p.Type != "urn:sekisho:session-ended" || !strings.Contains(p.Detail, "incident 7") {
		t.Errorf("%s: %s", raw.Status, text)
	}
	if e := g.run(1); e.Outcome == recorder.OK {
		t.Errorf("%+v", e)
	}
	if res := v.get("/"); res.StatusCode == http.StatusOK {
		t.Error("a request passed after the cut-off (I-1)")
	}
}

func TestACutOffEndsStreamsAndUploadsWithinASecond(t *testing.T) {
	flowing := make(chan struct{}, 1)
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			io.Copy(w, &zeros{1 << 40})
			return
		}
		io.CopyN(io.Discard, r.Body, 2000)
		flowing <- struct{}{}
		io.Copy(io.Discard, r.Body)
	}, func(c *webproxy.Config) { c.MaxBody = 1000 })
	v := g.enrol("hanako", "acme").login(appHost)
	tom := g.staff("tom")

	// One client reads nothing of an endless response, another never finishes its upload.
	deaf, err := v.client.Do(v.request(http.MethodGet, appHost, "/endless", nil))
	must(t, err)
	defer deaf.Body.Close()
	half, more := io.Pipe()
	defer more.Close()
	got := make(chan *http.Response, 1)
	go func() {
		res, err := v.client.Do(v.request(http.MethodPost, appHost, "/upload", half))
		if err == nil {
			res.Body.Close()
		}
		got <- res
	}()
	go more.Write(make([]byte, 2000))
	<-flowing
	began := time.Now()
	_, err = g.door.CutOff(t.Context(), tom, "acme", "")
	must(t, err)
	if res := <-got; res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("the upload: %+v", res)
	}
	if _, err := io.Copy(io.Discard, deaf.Body); err == nil {
		t.Error("the endless response ended well")
	}
	g.await("both operations' end", func() bool { return len(g.events("command.run")) == 2 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
	for _, e := range g.events("command.run") {
		if e.Outcome == recorder.OK {
			t.Errorf("%+v", e)
		}
	}
}

func TestOnePersonsOldestIdleSessionGivesWayToANewOne(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme")
	for range 33 {
		v.login(appHost)
		if res := v.get("/"); res.text != "hello" {
			t.Fatalf("%s: %s", res.Status, res.text)
		}
	}
	opened, ended := g.events("session.open"), g.events("session.end")
	if len(opened) != 33 || len(ended) != 1 || ended[0].Session != opened[0].Session {
		t.Errorf("%d sessions opened, %d ended", len(opened), len(ended))
	}
}
