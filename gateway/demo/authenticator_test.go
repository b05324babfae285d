package demo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/sekisho/sekisho/gateway/demo"
)

const consoleOrigin = "https://console.localhost:8443"

// party is a relying party made of go-webauthn as a gateway uses it: user verification required.
type party struct {
	t    *testing.T
	web  *webauthn.WebAuthn
	keys []webauthn.Credential
}

func (p *party) WebAuthnID() []byte                         { return []byte("hanako's handle") }
func (p *party) WebAuthnName() string                       { return "hanako" }
func (p *party) WebAuthnDisplayName() string                { return "佐藤 花子" }
func (p *party) WebAuthnCredentials() []webauthn.Credential { return p.keys }

func newParty(t *testing.T) *party {
	t.Helper()
	web, err := webauthn.New(&webauthn.Config{
		RPID: "console.localhost", RPDisplayName: "sekisho", RPOrigins: []string{consoleOrigin},
		AuthenticatorSelection: protocol.AuthenticatorSelection{UserVerification: protocol.VerificationRequired},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &party{t: t, web: web}
}

func (p *party) register(a *demo.Authenticator, options ...webauthn.RegistrationOption) error {
	p.t.Helper()
	creation, session, err := p.web.BeginRegistration(p, options...)
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := a.Create(consoleOrigin, marshal(p.t, creation))
	if err != nil {
		return err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return err
	}
	key, err := p.web.CreateCredential(p, *session, parsed)
	if err != nil {
		return err
	}
	p.keys = append(p.keys, *key)
	return nil
}

func (p *party) login(a *demo.Authenticator, origin string) (*webauthn.Credential, error) {
	p.t.Helper()
	request, session, err := p.web.BeginLogin(p, webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := a.Get(origin, marshal(p.t, request))
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, err
	}
	return p.check(*session, parsed)
}

// check takes a login as a gateway does: what it remembers of the key afterwards shows the next clone.
func (p *party) check(session webauthn.SessionData, parsed *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
	key, err := p.web.ValidateLogin(p, session, parsed)
	if err != nil {
		return nil, err
	}
	if key.Authenticator.CloneWarning {
		return key, errClone
	}
	for i := range p.keys {
		if bytes.Equal(p.keys[i].ID, key.ID) {
			p.keys[i] = *key
		}
	}
	return key, nil
}

var errClone = errors.New("the counter went back: this looks like a clone")

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newAuthenticator(t *testing.T, path string) *demo.Authenticator {
	t.Helper()
	a, err := demo.NewAuthenticator(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTheSoftwareAuthenticatorSatisfiesARelyingParty(t *testing.T) {
	for _, c := range []struct {
		conveyance protocol.ConveyancePreference
		format     string
	}{
		{protocol.PreferNoAttestation, "none"},
		{protocol.PreferDirectAttestation, "packed"},
	} {
		t.Run("attestation "+c.format, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "profile", "authenticator.json")
			p := newParty(t)
			if err := p.register(newAuthenticator(t, path), webauthn.WithConveyancePreference(c.conveyance)); err != nil {
				t.Fatal(err)
			}
			key := p.keys[0]
			if key.AttestationFormat != c.format || !key.Flags.UserVerified || !key.Flags.UserPresent || key.Flags.BackupEligible {
				t.Errorf("registered %s with %+v", key.AttestationFormat, key.Flags)
			}
			// The file, not the process, is the authenticator.
			last := uint32(0)
			for range 3 {
				got, err := p.login(newAuthenticator(t, path), consoleOrigin)
				if err != nil {
					t.Fatal(err)
				}
				if got.Authenticator.SignCount <= last || !got.Flags.UserVerified {
					t.Errorf("after %d: %+v %+v", last, got.Authenticator, got.Flags)
				}
				last = got.Authenticator.SignCount
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("keys stand in a file of mode %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestAnAuthenticatorFindsItsKeyWithoutBeingToldWhich(t *testing.T) {
	p, a := newParty(t), newAuthenticator(t, filepath.Join(t.TempDir(), "a.json"))
	if err := p.register(a); err != nil {
		t.Fatal(err)
	}
	request, session, err := p.web.BeginDiscoverableLogin()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := a.Get(consoleOrigin, marshal(t, request))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		t.Fatal(err)
	}
	find := func(_, handle []byte) (webauthn.User, error) {
		if string(handle) != "hanako's handle" {
			t.Errorf("user handle is %q", handle)
		}
		return p, nil
	}
	if _, err := p.web.ValidateDiscoverableLogin(find, *session, parsed); err != nil {
		t.Error(err)
	}
}

func TestAnAuthenticatorRegistersOnceWhereThePartySaysSo(t *testing.T) {
	p, a := newParty(t), newAuthenticator(t, filepath.Join(t.TempDir(), "a.json"))
	if err := p.register(a); err != nil {
		t.Fatal(err)
	}
	err := p.register(a, webauthn.WithExclusions(webauthn.Credentials(p.keys).CredentialDescriptors()))
	if err == nil || !strings.Contains(err.Error(), "already registered") {
		t.Errorf("second registration: %v", err)
	}
}

func TestAnAuthenticatorAnswersOnlyPagesOfTheParty(t *testing.T) {
	p, a := newParty(t), newAuthenticator(t, filepath.Join(t.TempDir(), "a.json"))
	if err := p.register(a); err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{
		"https://evil.example", "https://localhost", "https://orders.localhost", "http://console.example",
		"https://xconsole.localhost", "console.localhost", "https://console.localhost/path", "",
	} {
		if _, err := p.login(a, origin); err == nil {
			t.Errorf("a page of %q got an answer", origin)
		}
	}
	if _, err := p.login(a, "https://sub.console.localhost"); err == nil {
		t.Error("the party took an answer made for another origin")
	}
}

func TestAnAuthenticatorWithoutAKeyForThePartySaysSo(t *testing.T) {
	dir := t.TempDir()
	p := newParty(t)
	if err := p.register(newAuthenticator(t, filepath.Join(dir, "hanako.json"))); err != nil {
		t.Fatal(err)
	}
	_, err := p.login(newAuthenticator(t, filepath.Join(dir, "ken.json")), consoleOrigin)
	if !errors.Is(err, demo.ErrNoCredential) {
		t.Errorf("somebody else's authenticator: %v", err)
	}
}

func TestNoCounterIsGivenOutTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	p := newParty(t)
	if err := p.register(newAuthenticator(t, path)); err != nil {
		t.Fatal(err)
	}
	request, _, err := p.web.BeginLogin(p)
	if err != nil {
		t.Fatal(err)
	}
	options := marshal(t, request)
	const many = 16
	var all sync.WaitGroup
	counts := make([]uint32, many)
	for i := range many {
		all.Go(func() {
			a, err := demo.NewAuthenticator(path)
			if err != nil {
				t.Error(err)
				return
			}
			answer, err := a.Get(consoleOrigin, options)
			if err != nil {
				t.Error(err)
				return
			}
			parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
			if err != nil {
				t.Error(err)
				return
			}
			counts[i] = parsed.Response.AuthenticatorData.Counter
		})
	}
	all.Wait()
	seen := map[uint32]bool{}
	for _, n := range counts {
		if n == 0 || seen[n] {
			t.Fatalf("counters %v", counts)
		}
		seen[n] = true
	}
}

func TestOptionsThatNoBrowserWouldTakeAreRefused(t *testing.T) {
	a := newAuthenticator(t, filepath.Join(t.TempDir(), "a.json"))
	for _, c := range []struct{ name, options, want string }{
		{"no JSON", "<html>", "invalid character"},
		{"short challenge", `{"rp":{},"user":{"id":"YQ"},"challenge":"YWJj","pubKeyCredParams":[{"type":"public-key","alg":-7}]}`,
			"challenge has 3 bytes"},
		{"no user", `{"rp":{},"user":{},"challenge":"YWJjZGVmZ2hpamtsbW5vcA","pubKeyCredParams":[{"type":"public-key","alg":-7}]}`,
			"user id has 0 bytes"},
		{"RSA only", `{"rp":{},"user":{"id":"YQ"},"challenge":"YWJjZGVmZ2hpamtsbW5vcA",` +
			`"pubKeyCredParams":[{"type":"public-key","alg":-257}]}`, "ES256"},
		{"too long", strings.Repeat(" ", 70000), "too many"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := a.Create(consoleOrigin, []byte(c.options)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Create: %v, want %q", err, c.want)
			}
		})
	}
	if _, err := a.Get(consoleOrigin, []byte(`{"publicKey":{"challenge":"YWJj"}}`)); err == nil {
		t.Error("a login with a short challenge was answered")
	}
}

func TestADamagedAuthenticatorFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	for _, text := range []string{"{", `{"version":2}`, `{"version":1,"credentials":[{"id":"***"}]}`, `{"version":1,"extra":1}`} {
		write(t, path, text, 0o600)
		if _, err := demo.NewAuthenticator(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("a file holding %s: %v", text, err)
		}
	}
}

func FuzzAuthenticatorOptions(f *testing.F) {
	f.Add([]byte(`{"publicKey":{"rp":{"id":"console.localhost"},"user":{"id":"YQ","name":"a"},"challenge":"YWJjZGVmZ2hpamtsbW5vcA",` +
		`"pubKeyCredParams":[{"type":"public-key","alg":-7}],"attestation":"direct"}}`))
	f.Add([]byte(`{"challenge":"YWJjZGVmZ2hpamtsbW5vcA","rpId":"console.localhost","allowCredentials":[{"type":"public-key","id":"YQ"}]}`))
	a, err := demo.NewAuthenticator(filepath.Join(f.TempDir(), "a.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, options []byte) {
		if answer, err := a.Create(consoleOrigin, options); err == nil {
			if _, err := protocol.ParseCredentialCreationResponseBytes(answer); err != nil {
				t.Errorf("the answer to %s does not parse: %v", options, err)
			}
		}
		a.Get(consoleOrigin, options)
	})
}
