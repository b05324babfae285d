package console_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/identity"
)

func sshPublicKey(t testing.TB) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(must(ssh.NewPublicKey(pub))(t)))
}

func TestAnSSHCertificateIsIssuedForAnEnrolledKey(t *testing.T) {
	g := newGateway(t)
	m := g.login("hanako")
	key := must(m.AddSSHKey(t.Context(), sshPublicKey(t), nil))(t)
	issued := must(m.IssueSSHCertificate(t.Context(), key.Fingerprint, nil))(t)
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(issued.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	cert, ok := parsed.(*ssh.Certificate)
	if !ok || len(cert.ValidPrincipals) != 1 || cert.ValidPrincipals[0] != "hanako" || issued.Source == "" {
		t.Errorf("certificate %+v, issued %+v", cert, issued)
	}
	if on := g.events("credential.ssh-certificate"); len(on) != 1 || on[0].Detail["fingerprint"] != key.Fingerprint {
		t.Errorf("on record: %+v", on)
	}
	_, err = m.IssueSSHCertificate(t.Context(), "SHA256:somebodyelses", nil)
	wantProblem(t, err, http.StatusForbidden)
}

func TestAnSSHCertificateComesAfterAProofForThatKey(t *testing.T) {
	g := newGateway(t)
	m := g.login("hanako")
	key := must(m.AddSSHKey(t.Context(), sshPublicKey(t), nil))(t)
	proof := must(m.prove(console.Confirmation{Purpose: console.PurposeCertificate, Fingerprint: key.Fingerprint}))(t)
	must(m.IssueSSHCertificate(t.Context(), key.Fingerprint, &proof))(t)
}

func TestAKeyMayBeAddedWhileTheEnrolmentWaits(t *testing.T) {
	g := newGateway(t)
	m := g.certify("hanako")
	_, err := m.AddSSHKey(t.Context(), sshPublicKey(t), nil)
	wantProblem(t, err, http.StatusForbidden, "security key")
	m.register()
	must(m.AddSSHKey(t.Context(), sshPublicKey(t), nil))(t)
}

// pend files an SSH login of hanako's.
func (g *gateway) pend(source string) *identity.Pending {
	g.t.Helper()
	return must(g.registry.Pend(g.t.Context(), identity.PendingRequest{Person: "hanako", Serial: "1", Target: "db1",
		Source: netip.MustParseAddr(source), Client: "SSH-2.0-OpenSSH_9.2", SSHSessionID: []byte("session")}))(g.t)
}

func TestAnSSHLoginIsApprovedWithItsCode(t *testing.T) {
	g := newGateway(t)
	m := g.enrol("hanako")
	pending := g.pend("127.0.0.1")
	shown := collect(t, m.PendingSSH(t.Context()))
	if len(shown) != 1 || shown[0].ID != pending.ID || shown[0].Target != "db1" {
		t.Fatalf("shown: %+v", shown)
	}
	_, err := m.prove(console.Confirmation{Purpose: console.PurposeApproveSSH, ID: pending.ID, Code: "AAAA-AAAA"})
	wantProblem(t, err, http.StatusForbidden, "code")
	proof := must(m.prove(console.Confirmation{Purpose: console.PurposeApproveSSH, ID: pending.ID, Code: pending.Code}))(t)
	if err := m.ApproveSSH(t.Context(), pending.ID, pending.Code, proof); err != nil {
		t.Fatal(err)
	}
	if mfa, err := pending.Wait(t.Context()); err != nil || !mfa.UV {
		t.Errorf("approved: %+v, %v", mfa, err)
	}
	if on := g.events("credential.confirmed"); len(on) != 1 || on[0].Detail["pending"] != pending.ID {
		t.Errorf("on record: %+v", on)
	}
}

func TestOnlyItsOwnPersonApprovesAnSSHLogin(t *testing.T) {
	g := newGateway(t)
	taro := g.enrol("taro")
	pending := g.pend("127.0.0.1")
	if shown := collect(t, taro.PendingSSH(t.Context())); len(shown) != 0 {
		t.Errorf("somebody else sees it: %+v", shown)
	}
	_, err := taro.prove(console.Confirmation{Purpose: console.PurposeApproveSSH, ID: pending.ID, Code: pending.Code})
	wantProblem(t, err, http.StatusNotFound)
}

func TestAnSSHLoginFromAnotherNetworkIsNotApproved(t *testing.T) {
	g := newGateway(t)
	m := g.enrol("hanako")
	pending := g.pend("198.51.100.7")
	proof := must(m.prove(console.Confirmation{Purpose: console.PurposeApproveSSH, ID: pending.ID, Code: pending.Code}))(t)
	wantProblem(t, m.ApproveSSH(t.Context(), pending.ID, pending.Code, proof), http.StatusForbidden)
	if _, err := pending.Wait(t.Context()); !errors.Is(err, identity.ErrSource) {
		t.Errorf("the terminal hears %v", err)
	}
}

func TestACommandLineLoginIsConfirmedElsewhere(t *testing.T) {
	g := newGateway(t)
	m := g.enrol("hanako")
	cli := g.client(&m.cert)
	started := must(cli.StartCLILogin(t.Context()))(t)
	if !strings.HasPrefix(started.URL, g.url(consoleHost)+"/cli/") || strings.Contains(started.URL, started.Code) {
		t.Fatalf("started: %+v", started)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waited := make(chan error, 1)
	go func() {
		_, err := cli.WaitCLILogin(ctx, started.ID)
		waited <- err
	}()
	proof := must(m.prove(console.Confirmation{Purpose: console.PurposeApproveCLI, ID: started.ID, Code: started.Code}))(t)
	if err := m.ApproveCLILogin(t.Context(), started.ID, started.Code, proof); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if me := must(cli.Me(t.Context()))(t); me.Person != "hanako" {
		t.Errorf("logged in as %+v", me)
	}
}

func TestACommandLineLoginEndsAfterThreeWrongCodes(t *testing.T) {
	g := newGateway(t)
	m := g.enrol("hanako")
	started := must(m.StartCLILogin(t.Context()))(t)
	for range 3 {
		_, err := m.prove(console.Confirmation{Purpose: console.PurposeApproveCLI, ID: started.ID, Code: "AAAA-AAAA"})
		wantProblem(t, err, http.StatusForbidden, "code")
	}
	_, err := m.WaitCLILogin(t.Context(), started.ID)
	wantProblem(t, err, http.StatusNotFound)
}
