package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/identity"
)

func TestEnrolmentGoesFromInvitationToRelease(t *testing.T) {
	g := newGateway(t)
	admin := g.login("aya")
	invitation := must(admin.Invite(t.Context(), "hanako"))(t)
	enrolURL, token, err := console.ParseInvitation(invitation.URL)
	if err != nil || enrolURL != g.url(enrolHost) {
		t.Fatalf("invitation %q: %v", invitation.URL, err)
	}
	if strings.Contains(strings.Split(invitation.URL, "#")[0], token) {
		t.Error("the token stands outside the fragment")
	}
	m := g.certify("hanako")
	if s := must(m.Status(t.Context()))(t); s.State != identity.StateCertified || s.Code != "" {
		t.Fatalf("after the certificate: %+v", s)
	}
	m.register()
	status := must(m.Status(t.Context()))(t)
	if status.State != identity.StateWaiting || status.Code == "" {
		t.Fatalf("after the authenticator: %+v", status)
	}
	_, err = m.Begin(t.Context(), console.Confirmation{Purpose: console.PurposeLogin})
	wantProblem(t, err, http.StatusForbidden, "second person")
	wantProblem(t, admin.Release(t.Context(), "hanako", "AAAA-AAAA"), http.StatusForbidden, "code")
	if err := admin.Release(t.Context(), "hanako", status.Code); err != nil {
		t.Fatal(err)
	}
	m.logIn()
	if me := must(m.Me(t.Context()))(t); me.Person != "hanako" || len(me.Targets) != 2 {
		t.Errorf("logged in: %+v", me)
	}
}

func TestAnInvitationWorksOnce(t *testing.T) {
	g := newGateway(t)
	m := g.certify("hanako")
	invitation := must(g.registry.Invite(t.Context(), "taro", "acme", "test"))(t)
	stranger := g.client(nil)
	must(stranger.Enrol(t.Context(), invitation.Token, csr(t, m.key)))(t)
	_, err := stranger.Enrol(t.Context(), invitation.Token, csr(t, m.key))
	wantProblem(t, err, http.StatusForbidden, "used")
	if failed := g.events("enrol.certificate"); len(failed) == 0 || failed[0].Outcome != "failed" {
		t.Errorf("the replay is not on record (R-1): %+v", failed)
	}
}

func TestOnlyAnAdminInvitesAndReleases(t *testing.T) {
	g := newGateway(t)
	approver, contractor := g.login("mika"), g.login("hanako")
	for _, m := range []*member{approver, contractor} {
		_, err := m.Invite(t.Context(), "taro")
		if p := wantProblem(t, err, http.StatusForbidden); p.Decision == "" {
			t.Errorf("%s is refused without a decision: %+v", m.name, p)
		}
		wantProblem(t, m.Release(t.Context(), "taro", "AAAA-AAAA"), http.StatusForbidden)
	}
}

func TestNobodyWithoutACertificateGetsAnything(t *testing.T) {
	g := newGateway(t)
	_, err := g.client(nil).Status(t.Context())
	wantProblem(t, err, http.StatusForbidden, "certificate")
}

func TestACertificateAloneReadsNothing(t *testing.T) {
	g := newGateway(t)
	m := g.enrol("hanako")
	_, err := m.Me(t.Context())
	if p := wantProblem(t, err, http.StatusUnauthorized); !p.NotLoggedIn() {
		t.Error("the client cannot tell that logging in would help")
	}
}

func TestASessionWorksOnlyUnderItsOwnCertificate(t *testing.T) {
	g := newGateway(t)
	hanako, taro := g.login("hanako"), g.login("taro")
	taro.SetSession(hanako.Session())
	_, err := taro.Me(t.Context())
	wantProblem(t, err, http.StatusUnauthorized)
}

func TestARevokedPersonIsOutAtOnce(t *testing.T) {
	g := newGateway(t)
	admin, m := g.login("aya"), g.login("hanako")
	if err := admin.RevokePerson(t.Context(), "hanako", "left the company (V-7)"); err != nil {
		t.Fatal(err)
	}
	_, err := m.Me(t.Context())
	wantProblem(t, err, http.StatusForbidden)
	if on := g.events("credential.revoked"); len(on) != 1 || on[0].Person != "aya" || on[0].Detail["revoked"] != "hanako" {
		t.Errorf("on record: %+v", on)
	}
}

func TestALoginAnswerIsNotTakenTwiceOrForAnother(t *testing.T) {
	g := newGateway(t)
	hanako, taro := g.enrol("hanako"), g.enrol("taro")
	proof := must(hanako.prove(console.Confirmation{Purpose: console.PurposeLogin}))(t)
	_, err := taro.FinishLogin(t.Context(), proof)
	wantProblem(t, err, http.StatusConflict)
	proof = must(hanako.prove(console.Confirmation{Purpose: console.PurposeLogin}))(t)
	must(hanako.FinishLogin(t.Context(), proof))(t)
	_, err = hanako.FinishLogin(t.Context(), proof)
	wantProblem(t, err, http.StatusConflict)
	if failed := g.events("login.failed"); len(failed) != 2 {
		t.Errorf("%d failed logins on record, want 2", len(failed))
	}
	if ok := g.events("login.api"); len(ok) != 1 || ok[0].Person != "hanako" || ok[0].Table != "R-1" {
		t.Errorf("logins on record: %+v", ok)
	}
}

func TestAnAnswerForOneActDoesNotDoAnother(t *testing.T) {
	g := newGateway(t)
	m := g.login("hanako")
	key := sshPublicKey(t)
	proof := must(m.prove(console.Confirmation{Purpose: console.PurposeLogin}))(t)
	_, err := m.AddSSHKey(t.Context(), key, &proof)
	wantProblem(t, err, http.StatusConflict)
	proof = must(m.prove(console.Confirmation{Purpose: console.PurposeAddKey, PublicKey: sshPublicKey(t)}))(t)
	_, err = m.AddSSHKey(t.Context(), key, &proof)
	wantProblem(t, err, http.StatusConflict)
	proof = must(m.prove(console.Confirmation{Purpose: console.PurposeAddKey, PublicKey: key}))(t)
	must(m.AddSSHKey(t.Context(), key, &proof))(t)
}

func TestNobodyReleasesThemselvesUnderAnotherId(t *testing.T) {
	g := newGateway(t)
	admin := g.login("aya")
	same := strings.Replace(directoryYAML, "chie:   {vendor: advice}", "chie:   {vendor: advice}\n  kai:    {vendor: acme, same_as: aya}", 1)
	if _, _, err := g.directory.Apply(t.Context(), []byte(same), "test", "another id", 1); err != nil {
		t.Fatal(err)
	}
	m := g.certify("kai")
	m.register()
	status := must(m.Status(t.Context()))(t)
	wantProblem(t, admin.Release(t.Context(), "kai", status.Code), http.StatusForbidden)
	if s := must(m.Status(t.Context()))(t); s.State != identity.StateWaiting {
		t.Errorf("afterwards: %+v", s)
	}
	if err := g.login("rei").Release(t.Context(), "kai", status.Code); err != nil {
		t.Error(err)
	}
}
