package console_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// visit opens a session of a logged-in person on db1, as an SSH proxy would.
func (m *member) visit() *access.Session {
	t := m.g.t
	t.Helper()
	me := must(m.Me(t.Context()))(t)
	principal := identity.Principal{Person: me.Person, Vendor: me.Vendor, Serial: m.issued.Serial, NotAfter: m.issued.NotAfter,
		MFA: me.MFA, Source: netip.MustParseAddrPort("127.0.0.1:50000"), Client: "SSH-2.0-OpenSSH_9.2"}
	return must(m.g.door.Open(t.Context(), access.Request{Principal: principal, Target: "db1", Login: "app", Protocol: "ssh"}))(t)
}

// ask has the session run a command that needs approval (M-2: maintenance may write only when approved).
func askToWrite(t *testing.T, s *access.Session) *access.Refusal {
	t.Helper()
	_, err := s.Authorize(t.Context(), access.Operation{Kind: "ssh.exec", Command: "cp /tmp/new.conf /srv/app.conf"})
	var refusal *access.Refusal
	if !errors.As(err, &refusal) || refusal.Request == "" {
		t.Fatalf("got %v, want a request for approval", err)
	}
	return refusal
}

func TestAnApproverAnswersARequest(t *testing.T) {
	g := newGateway(t)
	hanako, approver := g.login("hanako"), g.login("mika")
	s := hanako.visit()
	refusal := askToWrite(t, s)
	own := collect(t, hanako.OwnRequests(t.Context()))
	if len(own) != 1 || own[0].ID != refusal.Request {
		t.Fatalf("hanako sees %+v", own)
	}
	for _, err := range hanako.Requests(t.Context(), "", 0) {
		wantProblem(t, err, http.StatusForbidden)
	}
	waiting := collect(t, approver.Requests(t.Context(), access.RequestPending, 0))
	if len(waiting) != 1 || waiting[0].Command == "" {
		t.Fatalf("the approver sees %+v", waiting)
	}
	shown := must(approver.Request(t.Context(), refusal.Request))(t)
	yes := console.RequestAnswer{Digest: shown.Digest, Minutes: 30}
	_, err := approver.ApproveRequest(t.Context(), refusal.Request, yes)
	wantProblem(t, err, http.StatusBadRequest, "reason")
	yes.Reason, yes.Minutes = "ticket 4711", 100_000
	_, err = approver.ApproveRequest(t.Context(), refusal.Request, yes)
	wantProblem(t, err, http.StatusBadRequest, "minutes")
	yes.Minutes = 30
	leases := must(approver.ApproveRequest(t.Context(), refusal.Request, yes))(t).Leases
	if len(leases) == 0 || leases[0].Person != "hanako" || leases[0].Right != policy.Write {
		t.Fatalf("leases %+v", leases)
	}
	if _, err := s.Authorize(t.Context(), access.Operation{Kind: "ssh.exec", Command: "cp /tmp/new.conf /srv/app.conf"}); err != nil {
		t.Errorf("after the approval: %v", err)
	}
	_, err = approver.ApproveRequest(t.Context(), refusal.Request, yes)
	wantProblem(t, err, http.StatusConflict, "now approved by mika")
	if live := collect(t, approver.Leases(t.Context())); len(live) != len(leases) {
		t.Errorf("live leases %+v", live)
	}
	if err := approver.RevokeLease(t.Context(), leases[0].ID, "done early"); err != nil {
		t.Fatal(err)
	}
}

func TestAnApproverDeniesARequest(t *testing.T) {
	g := newGateway(t)
	hanako, approver := g.login("hanako"), g.login("mika")
	refusal := askToWrite(t, hanako.visit())
	no := console.RequestAnswer{Digest: must(approver.Request(t.Context(), refusal.Request))(t).Digest}
	_, err := approver.DenyRequest(t.Context(), refusal.Request, no)
	wantProblem(t, err, http.StatusBadRequest, "reason")
	no.Reason = "not in the change plan"
	must(approver.DenyRequest(t.Context(), refusal.Request, no))(t)
	own := collect(t, hanako.OwnRequests(t.Context()))
	if own[0].Status != access.RequestDenied || own[0].Answer.Reason != "not in the change plan" || own[0].Answer.By != "mika" {
		t.Errorf("the request is %+v", own[0])
	}
}

func TestAnInvestigatorReadsAndEndsASession(t *testing.T) {
	g := newGateway(t)
	hanako, investigator, approver := g.login("hanako"), g.login("ken"), g.login("mika")
	s := hanako.visit()
	if err := s.Record(1, recorder.KindOutput, []byte("hello\r\n")); err != nil {
		t.Fatal(err)
	}
	live := collect(t, investigator.Sessions(t.Context(), access.SessionQuery{Live: true}))
	if len(live) != 1 || live[0].ID != s.ID() || live[0].Person != "hanako" {
		t.Fatalf("live sessions %+v", live)
	}
	if shown := must(approver.ShowSession(t.Context(), s.ID()))(t); shown.Target != "db1" {
		t.Errorf("shown: %+v", shown)
	}
	_, err := approver.Recording(t.Context(), s.ID(), console.FormatText)
	wantProblem(t, err, http.StatusForbidden)
	if err := investigator.EndSession(t.Context(), s.ID(), "suspicious"); err != nil {
		t.Fatal(err)
	}
	<-s.Context().Done()
	s.End("ended")
	entries := collect(t, investigator.Entries(t.Context(), s.ID()))
	if !slices.ContainsFunc(entries, func(e console.Entry) bool { return e.Kind == recorder.KindOutput && e.Text == "hello\r\n" }) ||
		entries[len(entries)-1].Kind != recorder.KindEnd {
		t.Errorf("entries %+v", entries)
	}
	for format, want := range map[string]string{console.FormatText: "hello", console.FormatCast: `"version":3`} {
		stream := must(investigator.Recording(t.Context(), s.ID(), format))(t)
		content := string(must(io.ReadAll(stream))(t))
		stream.Close()
		if !strings.Contains(strings.ReplaceAll(content, " ", ""), want) {
			t.Errorf("%s: %q has no %q", format, content, want)
		}
	}
	if reads := g.events("gateway.recording.read"); len(reads) < 4 {
		t.Errorf("%d readings on record, want each one of them (3 allowed, 1 refused)", len(reads))
	}
	wantProblem(t, investigator.EndSession(t.Context(), s.ID(), "again"), http.StatusNotFound)
	_, err = investigator.ShowSession(t.Context(), "s-none")
	wantProblem(t, err, http.StatusNotFound)
}

func TestASearchOfTheAuditLogIsItselfOnRecord(t *testing.T) {
	g := newGateway(t)
	investigator, hanako := g.login("ken"), g.login("hanako")
	logins := collect(t, investigator.SearchAudit(t.Context(), audit.Query{Kind: "login.api", Person: "hanako"}))
	if len(logins) != 1 || logins[0].Table != "R-1" {
		t.Errorf("found %+v", logins)
	}
	if searches := g.events("gateway.audit.search"); len(searches) != 1 || !strings.Contains(searches[0].Detail["what"].(string), "login.api") {
		t.Errorf("on record: %+v", searches)
	}
	for _, err := range hanako.SearchAudit(t.Context(), audit.Query{}) {
		wantProblem(t, err, http.StatusForbidden)
	}
	for _, err := range investigator.SearchAudit(t.Context(), audit.Query{Class: "nonsense"}) {
		wantProblem(t, err, http.StatusBadRequest, "class")
	}
}

func TestAVendorIsCutOffAndRestored(t *testing.T) {
	g := newGateway(t)
	admin, hanako := g.login("aya"), g.login("hanako")
	s := hanako.visit()
	ended := must(admin.CutOff(t.Context(), "acme", "incident 12 (I-1)"))(t)
	if len(ended) != 1 || ended[0] != s.ID() {
		t.Errorf("ended %v", ended)
	}
	<-s.Context().Done()
	if v := must(admin.Vendor(t.Context(), "acme"))(t); v.CutOff == nil || v.CutOff.By != "aya" || !slices.Contains(v.People, "hanako") {
		t.Errorf("the vendor is %+v", v)
	}
	_, err := hanako.Me(t.Context())
	wantProblem(t, err, http.StatusForbidden, "I-1")
	if err := admin.Restore(t.Context(), "acme", "over"); err != nil {
		t.Fatal(err)
	}
	must(hanako.Me(t.Context()))(t)
	_, err = admin.CutOff(t.Context(), "nobody", "x")
	wantProblem(t, err, http.StatusNotFound)
	if all := collect(t, admin.Vendors(t.Context())); len(all) != 2 {
		t.Errorf("vendors %+v", all)
	}
}

func TestADirectoryIsPlannedAndApplied(t *testing.T) {
	g := newGateway(t)
	admin := g.login("aya")
	now := must(admin.Directory(t.Context()))(t)
	if now.Number != 1 || now.YAML != directoryYAML {
		t.Fatalf("in force: %+v", now)
	}
	changed := strings.Replace(directoryYAML, "windows: [always]", "windows: [office-hours]", 1)
	plan := must(admin.PlanDirectory(t.Context(), []byte(changed)))(t)
	if plan.Base != 1 || len(plan.Changes) != 1 || plan.Changes[0].Path != "vendors.acme.windows" {
		t.Fatalf("plan %+v", plan)
	}
	_, err := admin.ApplyDirectory(t.Context(), []byte(changed), "", plan.Base)
	wantProblem(t, err, http.StatusBadRequest, "reason")
	must(admin.ApplyDirectory(t.Context(), []byte(changed), "ticket 4711", plan.Base))(t)
	_, err = admin.ApplyDirectory(t.Context(), []byte(directoryYAML), "from a stale plan", plan.Base)
	wantProblem(t, err, http.StatusConflict)
	_, err = admin.PlanDirectory(t.Context(), []byte("people:\n  x: {vendor: nowhere}\n"))
	wantProblem(t, err, http.StatusUnprocessableEntity, "directory.yaml:2:")
	if applied := g.events("directory.applied"); len(applied) != 1 || applied[0].Detail["reason"] != "ticket 4711" || applied[0].Table != "R-4" {
		t.Errorf("on record: %+v", applied)
	}
	_, err = g.login("mika").Directory(t.Context())
	wantProblem(t, err, http.StatusForbidden)
}

func TestAPersonOutsideTheirNetworkIsNotLetIn(t *testing.T) {
	g := newGateway(t)
	chie := g.enrol("chie")
	proof := must(chie.prove(console.Confirmation{Purpose: console.PurposeLogin}))(t)
	_, err := chie.FinishLogin(t.Context(), proof)
	if p := wantProblem(t, err, http.StatusForbidden, "C-3"); p.Decision == "" || !p.Denied() {
		t.Errorf("refused without a decision: %+v", p)
	}
	if failed := g.events("login.failed"); len(failed) != 1 || failed[0].Person != "chie" {
		t.Errorf("on record: %+v", failed)
	}
}

func TestSomebodyWhoLeftTheDirectoryIsOut(t *testing.T) {
	g := newGateway(t)
	hanako := g.login("hanako")
	gone := strings.Replace(directoryYAML, "  hanako: {vendor: acme, name: {en: Hanako Sato, ja: 佐藤 花子}}\n", "", 1)
	if _, _, err := g.directory.Apply(t.Context(), []byte(gone), "test", "left (V-7)", 1); err != nil {
		t.Fatal(err)
	}
	_, err := hanako.Status(t.Context())
	wantProblem(t, err, http.StatusForbidden, "directory")
}

func TestTheFoldersSocketLetsTheFirstAdminInAndNobodyElse(t *testing.T) {
	g := newGateway(t)
	path := filepath.Join(t.TempDir(), "s.sock")
	listener := must(net.Listen("unix", path))(t)
	server := &http.Server{Handler: g.console.BootstrapHandler(), ReadHeaderTimeout: time.Second}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	folder := console.NewBootstrapClient(path)
	if s := must(folder.Status(t.Context()))(t); s.Bootstrapped || s.Directory != 1 || s.People != 7 {
		t.Fatalf("status %+v", s)
	}
	plan := must(folder.ApplyDirectory(t.Context(), []byte(directoryYAML+"# the first\n"), "setup"))(t)
	if plan.Number != 2 {
		t.Errorf("applied: %+v", plan)
	}
	for _, person := range []string{"hanako", "mika"} {
		_, err := folder.Invite(t.Context(), person)
		wantProblem(t, err, http.StatusForbidden, "admin")
	}
	_, err := folder.Invite(t.Context(), "nobody")
	wantProblem(t, err, http.StatusNotFound)
	invitation := must(folder.Invite(t.Context(), "aya"))(t)
	if !strings.HasPrefix(invitation.URL, g.url(enrolHost)+"/#") {
		t.Errorf("invitation %+v", invitation)
	}
	m := g.certify("aya")
	m.register()
	code := must(m.Status(t.Context()))(t).Code
	wantProblem(t, folder.Release(t.Context(), "aya", "AAAA-AAAA"), http.StatusForbidden)
	if err := folder.Release(t.Context(), "aya", code); err != nil {
		t.Fatal(err)
	}
	m.logIn()
	if s := must(folder.Status(t.Context()))(t); !s.Bootstrapped {
		t.Errorf("status %+v", s)
	}
	_, err = folder.Invite(t.Context(), "aya")
	wantProblem(t, err, http.StatusForbidden, "logged in")
	wantProblem(t, folder.Release(t.Context(), "aya", code), http.StatusForbidden)
	_, err = folder.ApplyDirectory(t.Context(), []byte(directoryYAML), "again")
	wantProblem(t, err, http.StatusForbidden, "logged in")
	if on := g.events("enrol.released"); len(on) != 2 || on[0].Detail["by"] != "@folder" {
		t.Errorf("on record: %+v", on)
	}
}

func TestBadBodiesAreRefused(t *testing.T) {
	g := newGateway(t)
	m := g.login("aya")
	send := func(kind, body string) *http.Response {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, g.url(consoleHost)+"/api/v1/invitations", strings.NewReader(body)))(t)
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		return must(m.browser().Do(r))(t)
	}
	for name, c := range map[string]struct {
		kind, body string
		status     int
	}{
		"a form":                {"application/x-www-form-urlencoded", "person=hanako", 415},
		"text that looks right": {"text/plain", `{"person":"hanako"}`, 415},
		"an unknown key":        {"application/json", `{"person":"hanako","admin":true}`, 400},
		"two values":            {"application/json", `{"person":"hanako"}{}`, 400},
		"a broken value":        {"application/json", `{"person":`, 400},
		"a huge value":          {"application/json", `{"person":"` + strings.Repeat("a", 1<<20) + `"}`, 413},
	} {
		t.Run(name, func(t *testing.T) {
			resp := send(c.kind, c.body)
			defer resp.Body.Close()
			var p console.Problem
			if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != c.status || p.Title == "" {
				t.Errorf("status %d, problem %+v, %v", resp.StatusCode, p, err)
			}
			if kind := resp.Header.Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("content type %q", kind)
			}
		})
	}
}
