package identity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/identity"
)

// desk stands for the door: it knows which emergency is live.
type desk struct{ live map[string]identity.Pass }

func (d *desk) find(id string) (identity.Pass, bool) {
	p, ok := d.live[id]
	return p, ok
}

// emergencyGate is a gate with ren of the staff named for emergencies, whose store can be switched off.
type emergencyGate struct {
	*gate
	desk  *desk
	ren   *holder
	file  string
	fails *failingStore
}

// failingStore is a store that can be made to answer with errors only.
type failingStore struct {
	identity.Store
	down bool
}

var errDown = errors.New("the store is down")

func (s *failingStore) EnrolmentBySerial(ctx context.Context, serial string) (identity.Enrolment, error) {
	if s.down {
		return identity.Enrolment{}, errDown
	}
	return s.Store.EnrolmentBySerial(ctx, serial)
}

func (s *failingStore) Enrolments(ctx context.Context) ([]identity.Enrolment, error) {
	if s.down {
		return nil, errDown
	}
	return s.Store.Enrolments(ctx)
}

func (s *failingStore) SSHKey(ctx context.Context, fingerprint string) (identity.SSHKey, error) {
	if s.down {
		return identity.SSHKey{}, errDown
	}
	return s.Store.SSHKey(ctx, fingerprint)
}

func (s *failingStore) WebSession(ctx context.Context, hash string) (identity.WebSession, error) {
	if s.down {
		return identity.WebSession{}, errDown
	}
	return s.Store.WebSession(ctx, hash)
}

func newEmergencyGate(t *testing.T) *emergencyGate {
	t.Helper()
	g := &emergencyGate{gate: newGate(t), desk: &desk{live: map[string]identity.Pass{}}, file: filepath.Join(t.TempDir(), "break-glass.json")}
	g.fails = &failingStore{Store: g.store}
	g.begin()
	g.ren = g.active("ren", "@staff")
	must(t, g.registry.RefreshEmergencyHolders(g.ctx, []string{"ren"}))
	return g
}

// begin makes a new registry on the same store and file, as a new process would.
func (g *emergencyGate) begin() {
	g.t.Helper()
	r, err := identity.NewRegistry(identity.RegistryConfig{Authority: g.authority, Store: g.fails, RPID: testRPID,
		Origins: []string{testOrigin}, Now: g.clock.now, EmergencyFile: g.file})
	must(g.t, err)
	r.HonourEmergencies(g.desk.find, nil)
	g.registry = r
}

func (g *emergencyGate) credential(h *holder) (identity.Credential, error) {
	g.t.Helper()
	state, err := g.handshake(h.tlsCertificate())
	must(g.t, err)
	return g.registry.EmergencyClient(state)
}

// confirm gives the hardware key's answer to the declaration of an emergency.
func (g *emergencyGate) confirm(id string) (identity.MFA, error) {
	g.t.Helper()
	c, err := g.credential(g.ren)
	must(g.t, err)
	ceremony, options, err := g.registry.BeginEmergency(c, id, []byte("db1 is down"))
	if err != nil {
		return identity.MFA{}, err
	}
	return g.registry.FinishEmergency(c, ceremony, g.ren.soft.get(options))
}

// declare makes the emergency live with a certificate of so long.
func (g *emergencyGate) declare(id string, lasts time.Duration) (*ssh.Certificate, identity.MFA) {
	g.t.Helper()
	mfa, err := g.confirm(id)
	must(g.t, err)
	c, err := g.credential(g.ren)
	must(g.t, err)
	until := g.clock.now().Add(lasts)
	cert, err := g.registry.IssueEmergencySSH(c, g.ren.sshLine(), mfa, home, until)
	must(g.t, err)
	g.desk.live[id] = identity.Pass{ID: id, Person: "ren", Vendor: "@staff", Certificate: c.Serial, Serial: serial(cert),
		Fingerprint: g.ren.fingerprint(), ConfirmedAt: mfa.At, Until: until}
	return cert, mfa
}

func TestAnEmergencyIsProvedWithoutTheStore(t *testing.T) {
	g := newEmergencyGate(t)
	g.fails.down = true
	cert, mfa := g.declare("g-1", time.Hour)
	if mfa.Emergency() != "g-1" || !mfa.UV || mfa.Method != "webauthn" {
		t.Fatalf("mfa %+v", mfa)
	}
	login, err := g.registry.CheckSSH(g.ctx, cert, home)
	must(t, err)
	p := login.Principal
	if p.Person != "ren" || p.Vendor != "@staff" || p.MFA.Emergency() != "g-1" || !login.Fresh || p.Serial != serial(cert) {
		t.Fatalf("login %+v", login)
	}
	if end := time.Unix(int64(cert.ValidBefore), 0); end.After(g.clock.now().Add(time.Hour)) {
		t.Fatalf("the certificate lives until %s", end)
	}

	c, err := g.credential(g.ren)
	must(t, err)
	cookie, err := g.registry.OpenEmergencySession(c, testHost, mfa)
	must(t, err)
	s, err := g.registry.WebSession(g.ctx, cookie, testHost, c)
	must(t, err)
	if s.MFA.Emergency() != "g-1" || s.Person != "ren" {
		t.Fatalf("session %+v", s)
	}
	_, err = g.registry.WebSession(g.ctx, cookie, appHost, c)
	wantErr(t, err, identity.ErrNoSession)
	state, err := g.handshake(g.ren.tlsCertificate())
	must(t, err)
	_, err = g.registry.Client(g.ctx, state) // who is in an emergency is known from memory everywhere
	must(t, err)
	token, err := g.registry.Handoff(g.ctx, s, appHost)
	must(t, err)
	there, err := g.registry.TakeHandoff(g.ctx, token, appHost, c)
	must(t, err)
	_, err = g.registry.WebSession(g.ctx, there, appHost, c)
	must(t, err)

	delete(g.desk.live, "g-1") // ended
	_, err = g.registry.CheckSSH(g.ctx, cert, home)
	wantErr(t, err, identity.ErrEmergencyOver)
	_, err = g.registry.WebSession(g.ctx, cookie, testHost, c)
	wantErr(t, err, errDown) // known to nobody but, perhaps, the store
	_, err = g.registry.WebSession(g.ctx, there, appHost, c)
	wantErr(t, err, errDown)
	_, err = g.registry.Client(g.ctx, state)
	wantErr(t, err, errDown)
}

func TestTheCertificateOfAnEmergencyOpensNothingElse(t *testing.T) {
	g := newEmergencyGate(t)
	cert, mfa := g.declare("g-1", time.Hour)
	pass := g.desk.live["g-1"]
	for name, change := range map[string]func(*identity.Pass){
		"of another serial": func(p *identity.Pass) { p.Serial = "1" },
		"of another key":    func(p *identity.Pass) { p.Fingerprint = "SHA256:other" },
		"of another person": func(p *identity.Pass) { p.Person = "mika" },
		"over":              func(p *identity.Pass) { p.Until = g.clock.now() },
		"of another id":     func(p *identity.Pass) { p.ID = "g-2" },
	} {
		t.Run(name, func(t *testing.T) {
			changed := pass
			change(&changed)
			g.desk.live["g-1"] = changed
			_, err := g.registry.CheckSSH(g.ctx, cert, home)
			wantErr(t, err, identity.ErrEmergencyOver)
		})
	}
	g.desk.live["g-1"] = pass
	_, err := g.registry.CheckSSH(g.ctx, cert, abroad)
	wantErr(t, err, identity.ErrSource)

	// Neither a longer certificate nor an ordinary session comes out of its confirmation.
	c := g.ren.credential()
	_, err = g.registry.IssueSSH(g.ctx, c, g.ren.fingerprint(), mfa, home)
	wantErr(t, err, identity.ErrStale)
	_, err = g.registry.OpenWebSession(g.ctx, c, testHost, mfa)
	wantErr(t, err, identity.ErrStale)
	// And an ordinary login declares nothing.
	_, err = g.registry.IssueEmergencySSH(c, g.ren.sshLine(), g.ren.login(), home, g.clock.now().Add(time.Hour))
	wantErr(t, err, identity.ErrStale)
	_, err = g.registry.OpenEmergencySession(c, testHost, g.ren.login())
	wantErr(t, err, identity.ErrEmergencyOver)
}

func TestRevocationEndsAnEmergencysProofs(t *testing.T) {
	for name, revoke := range map[string]func(g *emergencyGate, cert *ssh.Certificate) error{
		"of the person": func(g *emergencyGate, _ *ssh.Certificate) error {
			return g.registry.RevokePerson(g.ctx, "ren", "left", "mika")
		},
		"of the client certificate": func(g *emergencyGate, _ *ssh.Certificate) error {
			return g.registry.RevokeSerial(g.ctx, g.ren.credential().Serial, "lost", "mika")
		},
		"of the SSH certificate": func(g *emergencyGate, c *ssh.Certificate) error {
			return g.registry.RevokeSerial(g.ctx, serial(c), "lost", "mika")
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newEmergencyGate(t)
			cert, _ := g.declare("g-1", time.Hour)
			must(t, revoke(g, cert))
			_, err := g.registry.CheckSSH(g.ctx, cert, home)
			if err == nil {
				t.Error("it logs in")
			}

			g = newEmergencyGate(t)
			cert, _ = g.declare("g-1", time.Hour)
			_, err = g.registry.CheckSSH(g.ctx, cert, home)
			must(t, err)
			must(t, revoke(g, cert))
			if !g.registry.Revoked("ssh-cert", serial(cert)) {
				t.Error("the session's own certificate does not count as revoked")
			}
			if _, err = g.registry.CheckSSH(g.ctx, cert, home); err == nil {
				t.Error("it still logs in")
			}
		})
	}
	g := newEmergencyGate(t)
	must(t, g.registry.RevokePerson(g.ctx, "ren", "left", "mika"))
	_, err := g.credential(g.ren)
	wantErr(t, err, identity.ErrRevoked)
}

func TestOnlyThoseNamedDeclareAnEmergency(t *testing.T) {
	g := newEmergencyGate(t)
	for _, other := range []*holder{g.active("mika", "@staff"), g.active("hanako", "acme")} {
		c, err := g.credential(other)
		wantErr(t, err, identity.ErrNotNamed)
		if c.Person != "" {
			t.Errorf("a credential comes with the refusal: %+v", c)
		}
		_, _, err = g.registry.BeginEmergency(other.credential(), "g-1", nil)
		wantErr(t, err, identity.ErrNotNamed)
	}
	must(t, g.registry.RefreshEmergencyHolders(g.ctx, []string{"mika"}))
	_, err := g.credential(g.ren)
	wantErr(t, err, identity.ErrNotNamed)
	// While the store is down, nobody new is known, and whom the policy names no more is out all the same.
	g.fails.down = true
	wantErr(t, g.registry.RefreshEmergencyHolders(g.ctx, []string{"ren"}), errDown)
	_, err = g.credential(g.ren)
	wantErr(t, err, identity.ErrNotNamed)
}

func TestOnlyAHardwareKeyDeclaresAnEmergency(t *testing.T) {
	t.Run("a passkey that is copied between devices", func(t *testing.T) {
		g := newEmergencyGate(t)
		for _, flags := range []byte{flagBE, flagBE | flagBS} {
			g.ren.soft.flags = flagUP | flagUV | flags
			_, err := g.confirm("g-1")
			wantErr(t, err, identity.ErrHardware)
			if !strings.Contains(err.Error(), "copied between devices") {
				t.Errorf("it says %q", err)
			}
		}
	})
	t.Run("built into a device", func(t *testing.T) {
		g := newEmergencyGate(t)
		g.ren.soft.attachment = "platform"
		_, err := g.confirm("g-1")
		wantErr(t, err, identity.ErrHardware)
	})
	t.Run("registered as built in", func(t *testing.T) {
		g := newEmergencyGate(t)
		nao := g.certified("nao", "@staff")
		nao.soft.attachment, nao.soft.transport = "platform", "internal"
		must(t, nao.register())
		e, err := g.registry.Code(g.ctx, "nao")
		must(t, err)
		must(t, g.registry.Release(g.ctx, "nao", e.Code, "admin"))
		must(t, g.registry.RefreshEmergencyHolders(g.ctx, []string{"nao"}))
		c, err := g.credential(nao)
		must(t, err)
		_, _, err = g.registry.BeginEmergency(c, "g-1", nil)
		wantErr(t, err, identity.ErrHardware)
		if named := g.registry.EmergencyHolders([]string{"nao", "sora"}); named[0].Problem == "" || named[1].Problem == "" {
			t.Errorf("the doctor is told %+v", named)
		}
	})
	t.Run("without user verification", func(t *testing.T) {
		g := newEmergencyGate(t)
		g.ren.soft.flags = flagUP
		_, err := g.confirm("g-1")
		wantErr(t, err, identity.ErrAssertion)
	})
	t.Run("a copy whose counter goes back", func(t *testing.T) {
		g := newEmergencyGate(t)
		_, err := g.confirm("g-1")
		must(t, err)
		g.ren.soft.counter -= 2
		_, err = g.confirm("g-2")
		wantErr(t, err, identity.ErrCloned)
	})
}

func TestAConfirmationIsForOneEmergencyAndWorksOnce(t *testing.T) {
	g := newEmergencyGate(t)
	c, err := g.credential(g.ren)
	must(t, err)
	ceremony, options, err := g.registry.BeginEmergency(c, "g-1", []byte("a"))
	must(t, err)
	other, _, err := g.registry.BeginEmergency(c, "g-2", []byte("b"))
	must(t, err)
	answer := g.ren.soft.get(options)
	_, err = g.registry.FinishEmergency(c, other, answer)
	wantErr(t, err, identity.ErrAssertion)
	mfa, err := g.registry.FinishEmergency(c, ceremony, answer)
	must(t, err)
	if mfa.Emergency() != "g-1" {
		t.Fatalf("mfa %+v", mfa)
	}
	_, err = g.registry.FinishEmergency(c, ceremony, answer)
	wantErr(t, err, identity.ErrCeremony)
	_, err = g.registry.FinishLogin(g.ctx, c, ceremony, answer)
	wantErr(t, err, identity.ErrCeremony)

	late, options, err := g.registry.BeginEmergency(c, "g-3", nil)
	must(t, err)
	g.clock.pass(2 * time.Minute)
	_, err = g.registry.FinishEmergency(c, late, g.ren.soft.get(options))
	wantErr(t, err, identity.ErrCeremony)
}

func TestWhoMayDeclareSurvivesARestartWithoutTheStore(t *testing.T) {
	g := newEmergencyGate(t)
	info, err := os.Stat(g.file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	_, err = g.confirm("g-1")
	must(t, err)
	used := g.ren.soft.counter
	g.fails.down = true
	wantErr(t, g.registry.RefreshEmergencyHolders(g.ctx, []string{"ren"}), errDown) // keeps the counter all the same

	g.fails.down = false // loading revocations takes the store
	g.begin()
	g.fails.down = true
	_, err = g.confirm("g-2")
	must(t, err)
	g.ren.soft.counter = used - 1
	_, err = g.confirm("g-3")
	wantErr(t, err, identity.ErrCloned)

	// The store learns the counter when it is back, so that a copy does not log in either.
	g.fails.down = false
	must(t, g.registry.RefreshEmergencyHolders(g.ctx, []string{"ren"}))
	g.ren.soft.counter = used - 1
	c := g.ren.credential()
	ceremony, options, err := g.registry.BeginLogin(g.ctx, c, identity.PurposeLogin, nil)
	must(t, err)
	_, err = g.registry.FinishLogin(g.ctx, c, ceremony, g.ren.soft.get(options))
	wantErr(t, err, identity.ErrCloned)
}

func TestAFileThatWasChangedNamesNobody(t *testing.T) {
	g := newEmergencyGate(t)
	good, err := os.ReadFile(g.file)
	must(t, err)
	var file struct {
		Body      json.RawMessage `json:"body"`
		Signature []byte          `json:"signature"`
	}
	must(t, json.Unmarshal(good, &file))
	resigned, err := json.Marshal(map[string]any{"body": json.RawMessage(bytes.Replace(file.Body, []byte(`"ren"`), []byte(`"eve"`), 1)), "signature": file.Signature})
	must(t, err)
	for name, text := range map[string][]byte{
		"another person": resigned, "no signature": []byte(`{"body":{}}`), "half of it": good[:len(good)/2], "nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(g.file, text, 0o600))
			_, err := identity.NewRegistry(identity.RegistryConfig{Authority: g.authority, Store: g.store, RPID: testRPID,
				Origins: []string{testOrigin}, Now: g.clock.now, EmergencyFile: g.file})
			if err == nil || !strings.Contains(err.Error(), "cannot be trusted") || !strings.Contains(err.Error(), g.file) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAnUnknownSourceGetsNoCertificate(t *testing.T) {
	g := newEmergencyGate(t)
	mfa, err := g.confirm("g-1")
	must(t, err)
	c, err := g.credential(g.ren)
	must(t, err)
	_, err = g.registry.IssueEmergencySSH(c, g.ren.sshLine(), mfa, netip.Addr{}, g.clock.now().Add(time.Hour))
	wantErr(t, err, identity.ErrSource)
	_, err = g.registry.IssueEmergencySSH(c, "not a key", mfa, home, g.clock.now().Add(time.Hour))
	wantErr(t, err, identity.ErrRequest)
	g.clock.pass(2*time.Minute + time.Second)
	_, err = g.registry.IssueEmergencySSH(c, g.ren.sshLine(), mfa, home, g.clock.now().Add(time.Hour))
	wantErr(t, err, identity.ErrStale)
}
