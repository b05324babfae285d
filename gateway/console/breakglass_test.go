package console_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/demo"
	"github.com/sekisho/sekisho/policy"
)

// naming is a gateway whose policy names this person, who has a hardware key.
func naming(t *testing.T, person string) (*gateway, *member) {
	t.Helper()
	g := newGateway(t)
	folder := filepath.Join(g.dir, "policy")
	named := "break_glass: {people: [" + person + "], minutes: 45, targets: [\"*\"]}\n"
	if err := os.WriteFile(filepath.Join(folder, "approvals.yaml"), []byte(named), 0o600); err != nil {
		t.Fatal(err)
	}
	g.engine.Swap(must(policy.Load(os.DirFS(folder), 2))(t))
	g.registry.HonourEmergencies(g.door.EmergencyPass, nil)
	m := g.certify(person)
	if err := m.auth.Become(demo.Hardware); err != nil {
		t.Fatal(err)
	}
	m.register()
	status := must(m.Status(t.Context()))(t)
	if err := g.registry.Release(t.Context(), person, status.Code, "test"); err != nil {
		t.Fatal(err)
	}
	if err := g.registry.RefreshEmergencyHolders(t.Context(), []string{person}); err != nil {
		t.Fatal(err)
	}
	return g, m
}

func (m *member) confirmEmergency(ceremony console.Ceremony) console.Proof {
	response := must(m.auth.Get(m.g.url(consoleHost), ceremony.Options))(m.g.t)
	return console.Proof{Ceremony: ceremony.ID, Response: response}
}

func TestAnEmergencyIsDeclaredWithoutALogin(t *testing.T) {
	g, rei := naming(t, "rei")
	what := console.EmergencyDeclaration{Reason: "db1 is down", PublicKey: sshPublicKey(t)}
	proof := rei.confirmEmergency(must(rei.BeginEmergency(t.Context(), what))(t))
	declared := must(rei.DeclareEmergency(t.Context(), proof))(t)
	e := declared.Emergency
	if e.Person != "rei" || e.Reason != "db1 is down" || e.Until.Sub(e.At).Minutes() > 45 || declared.Certificate == nil ||
		declared.Certificate.ValidBefore.After(e.Until) || declared.Certificate.Source != "127.0.0.1/32" || len(declared.Targets) == 0 {
		t.Fatalf("declared %+v", declared)
	}
	if on := g.events("break-glass.declared"); len(on) != 1 || on[0].Person != "rei" || on[0].Table != "R-4" {
		t.Errorf("on record: %+v", on)
	}
	_, err := rei.DeclareEmergency(t.Context(), proof)
	wantProblem(t, err, http.StatusConflict)
	_, err = rei.BeginEmergency(t.Context(), what)
	wantProblem(t, err, http.StatusBadRequest, "end it before")

	// Nobody else's list or end without a login, one's own end with the certificate alone.
	mika := g.enrol("mika")
	wantProblem(t, mika.EndEmergency(t.Context(), e.ID, "stop"), http.StatusUnauthorized)
	if err := rei.EndEmergency(t.Context(), e.ID, "db1 is up"); err != nil {
		t.Fatal(err)
	}
	if open := g.door.OpenEmergencies(); len(open) != 1 || open[0].EndedBy != "rei" {
		t.Errorf("open: %+v", open)
	}
}

func TestADeclarationOnTheCommandLineWaitsForItsCode(t *testing.T) {
	g, rei := naming(t, "rei")
	what := console.EmergencyDeclaration{Reason: "db1 is down", PublicKey: sshPublicKey(t)}
	waiting := must(rei.StartEmergency(t.Context(), what))(t)
	for range 3 {
		_, err := rei.BeginWaitingEmergency(t.Context(), waiting.ID, "AAAA-AAAA")
		wantProblem(t, err, http.StatusForbidden)
	}
	_, err := rei.BeginWaitingEmergency(t.Context(), waiting.ID, waiting.Code)
	wantProblem(t, err, http.StatusNotFound) // the third wrong code ended it
	_, err = rei.WaitEmergency(t.Context(), waiting.ID)
	wantProblem(t, err, http.StatusNotFound)

	waiting = must(rei.StartEmergency(t.Context(), what))(t)
	proof := rei.confirmEmergency(must(rei.BeginWaitingEmergency(t.Context(), waiting.ID, strings.ToLower(waiting.Code)))(t))
	inBrowser := must(rei.DeclareEmergency(t.Context(), proof))(t)
	if inBrowser.Certificate != nil {
		t.Error("the browser gets the command line's certificate")
	}
	declared := must(rei.WaitEmergency(t.Context(), waiting.ID))(t)
	if declared.Certificate == nil || declared.Emergency.ID != inBrowser.Emergency.ID {
		t.Errorf("declared %+v", declared)
	}
	_, err = rei.WaitEmergency(t.Context(), waiting.ID)
	wantProblem(t, err, http.StatusNotFound) // handed out once
	if on := g.events("login.failed"); len(on) != 4 {
		t.Errorf("%d wrong codes on record, want 4", len(on))
	}
}

func TestOthersCannotDeclareAnEmergency(t *testing.T) {
	g, rei := naming(t, "rei")
	what := console.EmergencyDeclaration{Reason: "db1 is down"}
	for _, person := range []string{"mika", "hanako"} {
		other := g.enrol(person)
		_, err := other.BeginEmergency(t.Context(), what)
		wantProblem(t, err, http.StatusForbidden, "not among the people")
		_, err = other.StartEmergency(t.Context(), what)
		wantProblem(t, err, http.StatusForbidden)
		// Not with rei's ceremony and rei's own answer either.
		proof := rei.confirmEmergency(must(rei.BeginEmergency(t.Context(), what))(t))
		_, err = other.DeclareEmergency(t.Context(), proof)
		wantProblem(t, err, http.StatusForbidden)
	}
	_, err := g.client(nil).BeginEmergency(t.Context(), what)
	wantProblem(t, err, http.StatusForbidden)
	if open := g.door.OpenEmergencies(); len(open) > 0 {
		t.Errorf("open: %+v", open)
	}
}

func TestASyncedPasskeyIsToldWhyItDoesNotDo(t *testing.T) {
	_, rei := naming(t, "rei")
	ceremony := must(rei.BeginEmergency(t.Context(), console.EmergencyDeclaration{Reason: "db1 is down"}))(t)
	if err := rei.auth.Become(demo.Synced); err != nil {
		t.Fatal(err)
	}
	_, err := rei.DeclareEmergency(t.Context(), rei.confirmEmergency(ceremony))
	wantProblem(t, err, http.StatusForbidden, "hardware security key", "copied between devices")
}
