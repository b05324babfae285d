package identity_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

func pendingRequest(person string) identity.PendingRequest {
	return identity.PendingRequest{Person: person, Serial: "4711", Source: home, Client: "SSH-2.0-OpenSSH_9.2",
		Target: "db1", SSHSessionID: []byte("session " + person)}
}

// approve goes through code, WebAuthn and approval as the console does.
func (h *holder) approve(id, code string, source netip.Addr) error {
	h.gate.t.Helper()
	c, r := h.credential(), h.gate.registry
	ceremony, options, err := r.BeginApproval(h.gate.ctx, c, id, code)
	if err != nil {
		return err
	}
	mfa, err := r.FinishLogin(h.gate.ctx, c, ceremony, h.soft.get(options))
	must(h.gate.t, err)
	return r.ApprovePending(h.gate.ctx, c, id, code, mfa, source)
}

func TestAPendingLoginIsApprovedByItsPersonWithTheTypedCode(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	p, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	if len(p.Code) != 9 || p.Code[4] != '-' {
		t.Fatalf("code %q", p.Code)
	}
	view, ok := g.registry.PendingFor("hanako")
	if !ok || view.ID != p.ID || view.Target != "db1" || view.Source != home || view.Client == "" {
		t.Fatalf("view %+v, %t", view, ok)
	}
	must(t, g.registry.CheckPendingCode("hanako", p.ID, p.Code))
	must(t, h.approve(p.ID, p.Code, homeToo))
	mfa, err := p.Wait(g.ctx)
	must(t, err)
	if !mfa.UV || mfa.Purpose != "ssh.approve:"+p.ID {
		t.Fatalf("mfa %+v", mfa)
	}
	wantErr(t, g.registry.CheckPendingCode("hanako", p.ID, p.Code), identity.ErrNoPending)
	if _, ok := g.registry.PendingFor("hanako"); ok {
		t.Fatal("still pending after approval")
	}
}

func TestASecondPendingLoginOfAPersonIsRefused(t *testing.T) {
	g := newGate(t)
	_, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	_, err = g.registry.Pend(g.ctx, pendingRequest("hanako"))
	wantErr(t, err, identity.ErrPendingExists)
	_, err = g.registry.Pend(g.ctx, pendingRequest("taro"))
	must(t, err)
	g.clock.pass(2 * time.Minute)
	_, err = g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
}

func TestAPendingLoginEndsAfterTwoMinutes(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	p, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	g.clock.pass(2 * time.Minute)
	wantErr(t, h.approve(p.ID, p.Code, home), identity.ErrNoPending)
	_, err = p.Wait(g.ctx)
	wantErr(t, err, identity.ErrExpired)
}

func TestAWaitingTerminalIsToldWhenTheTimeIsOver(t *testing.T) {
	g := newGate(t)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		g.clock.pass(began.Sub(g.clock.now()))
		p, err := g.registry.Pend(t.Context(), pendingRequest("hanako"))
		must(t, err)
		_, err = p.Wait(t.Context())
		wantErr(t, err, identity.ErrExpired)
		if waited := time.Since(began); waited != 2*time.Minute {
			t.Fatalf("waited %s", waited)
		}
	})
}

func TestHangingUpWithdrawsThePendingLogin(t *testing.T) {
	g := newGate(t)
	p, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	gone := errors.New("connection closed")
	ctx, cancel := context.WithCancelCause(g.ctx)
	cancel(gone)
	_, err = p.Wait(ctx)
	wantErr(t, err, gone)
	_, err = g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
}

func TestTheThirdWrongCodeVoidsAPendingLogin(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	p, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	wantErr(t, g.registry.CheckPendingCode("hanako", p.ID, "2222-2222"), identity.ErrWrongCode)
	_, _, err = g.registry.BeginApproval(g.ctx, h.credential(), p.ID, "")
	wantErr(t, err, identity.ErrWrongCode)
	wantErr(t, g.registry.ApprovePending(g.ctx, h.credential(), p.ID, "333", identity.MFA{}, home), identity.ErrWrongCode)
	wantErr(t, h.approve(p.ID, p.Code, home), identity.ErrNoPending)
	_, err = p.Wait(g.ctx)
	wantErr(t, err, identity.ErrWrongCode)
}

func TestAnotherPersonCanNeitherApproveNorSpoilAPendingLogin(t *testing.T) {
	g := newGate(t)
	h, other := g.active("hanako", "acme"), g.active("taro", "acme")
	p, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	for range 4 {
		_, _, err := g.registry.BeginApproval(g.ctx, other.credential(), p.ID, "2222-2222")
		wantErr(t, err, identity.ErrNoPending)
	}
	wantErr(t, other.approve(p.ID, p.Code, home), identity.ErrNoPending)
	wantErr(t, g.registry.ApprovePending(g.ctx, other.credential(), p.ID, p.Code, h.login(), home), identity.ErrNoPending)
	must(t, h.approve(p.ID, p.Code, home))
}

func TestAnApprovalNeedsTheWebAuthnGivenForThisVeryLogin(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	earlier, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	ceremony, options, err := g.registry.BeginApproval(g.ctx, h.credential(), earlier.ID, earlier.Code)
	must(t, err)
	forEarlier, err := g.registry.FinishLogin(g.ctx, h.credential(), ceremony, h.soft.get(options))
	must(t, err)
	ctx, cancel := context.WithCancel(g.ctx)
	cancel()
	earlier.Wait(ctx)

	p, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	for name, mfa := range map[string]identity.MFA{"none": {}, "a web login": h.login(), "another approval": forEarlier} {
		err := g.registry.ApprovePending(g.ctx, h.credential(), p.ID, p.Code, mfa, home)
		if !errors.Is(err, identity.ErrStale) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	must(t, h.approve(p.ID, p.Code, home))
}

func TestAnApprovalFromAnotherNetworkVoidsTheLogin(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	p, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	wantErr(t, h.approve(p.ID, p.Code, abroad), identity.ErrSource)
	_, err = p.Wait(g.ctx)
	wantErr(t, err, identity.ErrSource)
	wantErr(t, h.approve(p.ID, p.Code, home), identity.ErrNoPending)
}

func TestWhichAddressesAreOneNetwork(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"203.0.113.1", "203.0.113.254", true},
		{"203.0.113.1", "::ffff:203.0.113.2", true},
		{"203.0.113.1", "203.0.114.1", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"127.0.0.1", "::1", true},
		{"127.0.0.1", "203.0.113.1", false},
		{"::1", "2001:db8::1", false},
	} {
		if got := identity.SameNetwork(netip.MustParseAddr(c.a), netip.MustParseAddr(c.b)); got != c.same {
			t.Errorf("%s and %s: %t", c.a, c.b, got)
		}
	}
	if identity.SameNetwork(netip.Addr{}, netip.Addr{}) {
		t.Error("two unknown addresses are one network")
	}
}

func TestAPendingLoginWithoutItsFactsIsRefused(t *testing.T) {
	g := newGate(t)
	for name, spoil := range map[string]func(*identity.PendingRequest){
		"person": func(q *identity.PendingRequest) { q.Person = "" },
		"source": func(q *identity.PendingRequest) { q.Source = netip.Addr{} },
		"ssh":    func(q *identity.PendingRequest) { q.SSHSessionID = nil },
	} {
		q := pendingRequest("hanako")
		spoil(&q)
		if _, err := g.registry.Pend(g.ctx, q); err == nil {
			t.Errorf("filed without %s", name)
		}
	}
}

func TestRevokingTheCertificateEndsItsPendingLogin(t *testing.T) {
	g := newGate(t)
	p, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
	must(t, err)
	must(t, g.registry.RevokeSerial(g.ctx, "4711", "lost", "mika"))
	_, err = p.Wait(g.ctx)
	wantErr(t, err, identity.ErrRevoked)
}
