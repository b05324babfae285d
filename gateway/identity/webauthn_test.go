package identity_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

func TestAnAssertionIsGoodOnce(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	c := h.credential()
	id, options, err := g.registry.BeginLogin(g.ctx, c, identity.PurposeLogin, nil)
	must(t, err)
	answer := h.soft.get(options)
	_, err = g.registry.FinishLogin(g.ctx, c, id, answer)
	must(t, err)
	_, err = g.registry.FinishLogin(g.ctx, c, id, answer)
	wantErr(t, err, identity.ErrCeremony)

	// Nor does it fit the next ceremony, whose challenge is another.
	id, _, err = g.registry.BeginLogin(g.ctx, c, identity.PurposeLogin, nil)
	must(t, err)
	_, err = g.registry.FinishLogin(g.ctx, c, id, answer)
	wantErr(t, err, identity.ErrAssertion)
	_, err = g.registry.FinishLogin(g.ctx, c, id, h.soft.get(options))
	wantErr(t, err, identity.ErrCeremony) // a failed one is gone as well
}

func TestAnAssertionIsGoodForItsOwnPersonOnly(t *testing.T) {
	g := newGate(t)
	hanako, taro := g.active("hanako", "acme"), g.active("taro", "acme")
	id, options, err := g.registry.BeginLogin(g.ctx, hanako.credential(), identity.PurposeLogin, nil)
	must(t, err)
	_, err = g.registry.FinishLogin(g.ctx, taro.credential(), id, hanako.soft.get(options))
	wantErr(t, err, identity.ErrCeremony) // hanako's ceremony under taro's certificate

	id, options, err = g.registry.BeginLogin(g.ctx, hanako.credential(), identity.PurposeLogin, nil)
	must(t, err)
	_, err = g.registry.FinishLogin(g.ctx, hanako.credential(), id, taro.soft.get(options))
	wantErr(t, err, identity.ErrAssertion) // taro's key in hanako's ceremony

	taro.soft.id, taro.soft.handle = hanako.soft.id, hanako.soft.handle
	id, options, err = g.registry.BeginLogin(g.ctx, hanako.credential(), identity.PurposeLogin, nil)
	must(t, err)
	_, err = g.registry.FinishLogin(g.ctx, hanako.credential(), id, taro.soft.get(options))
	wantErr(t, err, identity.ErrAssertion) // taro's key under hanako's credential id
}

func TestAKeyOfTheEarlierEnrolmentDoesNotCountInTheNewOne(t *testing.T) {
	g := newGate(t)
	old := g.active("hanako", "acme")
	fresh := g.active("hanako", "acme")
	id, options, err := g.registry.BeginLogin(g.ctx, fresh.credential(), identity.PurposeLogin, nil)
	must(t, err)
	_, err = g.registry.FinishLogin(g.ctx, fresh.credential(), id, old.soft.get(options))
	wantErr(t, err, identity.ErrAssertion)
}

func TestWhatAnAnswerMustProve(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*softKey)
		want  error
	}{
		"an honest answer":                {func(*softKey) {}, nil},
		"without user verification":       {func(k *softKey) { k.flags = flagUP }, identity.ErrAssertion},
		"without user presence":           {func(k *softKey) { k.flags = flagUV }, identity.ErrAssertion},
		"at another origin":               {func(k *softKey) { k.origin = "https://evil.example:8443" }, identity.ErrAssertion},
		"at an app below it":              {func(k *softKey) { k.origin = "https://orders." + testRPID }, identity.ErrAssertion},
		"at another port":                 {func(k *softKey) { k.origin = "https://console.example.com" }, identity.ErrAssertion},
		"for another relying party":       {func(k *softKey) { k.rpID = "example.net" }, identity.ErrAssertion},
		"now claiming to be synchronised": {func(k *softKey) { k.flags |= flagBE | flagBS }, identity.ErrAssertion},
		"with a counter that went back":   {func(k *softKey) { k.counter = 0 }, identity.ErrCloned},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			h := g.active("hanako", "acme")
			h.login()
			c.spoil(h.soft)
			cred := h.credential()
			id, options, err := g.registry.BeginLogin(g.ctx, cred, identity.PurposeLogin, nil)
			must(t, err)
			mfa, err := g.registry.FinishLogin(g.ctx, cred, id, h.soft.get(options))
			if !errors.Is(err, c.want) || err != nil && mfa != (identity.MFA{}) {
				t.Fatalf("got %+v, %v; want %v", mfa, err, c.want)
			}
		})
	}
}

func TestRegistrationNeedsVerificationAndAKeyThatStaysOnItsDevice(t *testing.T) {
	for name, spoil := range map[string]func(*softKey){
		"without user verification": func(k *softKey) { k.flags = flagUP },
		"a synchronised passkey":    func(k *softKey) { k.flags |= flagBE | flagBS },
		"at another origin":         func(k *softKey) { k.origin = "https://evil.example" },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			h := g.certified("hanako", "acme")
			honest := *h.soft
			spoil(h.soft)
			wantErr(t, h.register(), identity.ErrAssertion)
			_, err := h.client()
			wantErr(t, err, identity.ErrCertified) // and one can try again
			h.soft = &honest
			must(t, h.register())
		})
	}
}

func TestCeremoniesEndAfterTwoMinutes(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	id, options, err := g.registry.BeginLogin(g.ctx, h.credential(), identity.PurposeLogin, nil)
	must(t, err)
	g.clock.pass(2 * time.Minute)
	_, err = g.registry.FinishLogin(g.ctx, h.credential(), id, h.soft.get(options))
	wantErr(t, err, identity.ErrCeremony)
}

func TestARegistrationCannotBeFinishedAsALoginOrByAnotherCertificate(t *testing.T) {
	g := newGate(t)
	h, other := g.certified("hanako", "acme"), g.certified("taro", "acme")
	id, options, err := g.registry.BeginRegistration(g.ctx, h.credential())
	must(t, err)
	wantErr(t, g.registry.FinishRegistration(g.ctx, other.credential(), id, other.soft.create(options)), identity.ErrCeremony)

	id, options, err = g.registry.BeginRegistration(g.ctx, h.credential())
	must(t, err)
	answer := h.soft.create(options)
	_, err = g.registry.FinishLogin(g.ctx, h.credential(), id, answer)
	wantErr(t, err, identity.ErrCeremony)
	wantErr(t, g.registry.FinishRegistration(g.ctx, h.credential(), id, answer), identity.ErrCeremony)
}

func TestClaimingAnotherPersonsCredentialIDDoesNotReplaceTheirKey(t *testing.T) {
	g := newGate(t)
	hanako := g.active("hanako", "acme")
	taro := g.certified("taro", "acme")
	taro.soft.id = bytes.Clone(hanako.soft.id)
	must(t, taro.register())
	hanako.login()
}

func TestGarbageForAnswersIsRefused(t *testing.T) {
	g := newGate(t)
	h, n := g.active("hanako", "acme"), g.certified("taro", "acme")
	for _, garbage := range [][]byte{nil, []byte("{}"), []byte("null"), []byte("[1"), bytes.Repeat([]byte("x"), 1<<20)} {
		id, _, err := g.registry.BeginLogin(g.ctx, h.credential(), identity.PurposeLogin, nil)
		must(t, err)
		_, err = g.registry.FinishLogin(g.ctx, h.credential(), id, garbage)
		wantErr(t, err, identity.ErrAssertion)
		id, _, err = g.registry.BeginRegistration(g.ctx, n.credential())
		must(t, err)
		wantErr(t, g.registry.FinishRegistration(g.ctx, n.credential(), id, garbage), identity.ErrAssertion)
	}
}

func TestAPersonsOldestCeremonyGivesWayToTheNinth(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	c := h.credential()
	var ids []string
	var options [][]byte
	for range 9 {
		id, o, err := g.registry.BeginLogin(g.ctx, c, identity.PurposeLogin, nil)
		must(t, err)
		ids, options = append(ids, id), append(options, o)
		g.clock.pass(time.Second)
	}
	_, err := g.registry.FinishLogin(g.ctx, c, ids[0], h.soft.get(options[0]))
	wantErr(t, err, identity.ErrCeremony)
	_, err = g.registry.FinishLogin(g.ctx, c, ids[8], h.soft.get(options[8]))
	must(t, err)
}

func TestPurposesThatAreReservedOrEmptyAreRefused(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	for _, purpose := range []string{"", "ssh.approve:p-1", string(make([]byte, 201))} {
		if _, _, err := g.registry.BeginLogin(g.ctx, h.credential(), purpose, nil); err == nil {
			t.Errorf("began a ceremony for %q", purpose)
		}
	}
}

func TestAnAnswerNamesTheModelOfTheKey(t *testing.T) {
	g := newGate(t)
	h := g.certified("hanako", "acme")
	h.soft.aaguid = [16]byte{0xaa, 0xbb, 15: 0x01}
	must(t, h.register())
	e, err := g.registry.Code(g.ctx, "hanako")
	must(t, err)
	must(t, g.registry.Release(g.ctx, "hanako", e.Code, "mika"))
	if mfa := h.login(); mfa.AAGUID != "aabb0000-0000-0000-0000-000000000001" {
		t.Fatalf("model %q", mfa.AAGUID)
	}
}

func TestSynchronisedPasskeysAreAcceptedOnlyWhereAllowed(t *testing.T) {
	g := newGate(t)
	var err error
	g.registry, err = identity.NewRegistry(identity.RegistryConfig{Authority: g.authority, Store: g.store, RPID: testRPID,
		Origins: []string{testOrigin}, Now: g.clock.now, AllowSynced: true})
	must(t, err)
	h := g.certified("hanako", "acme")
	h.soft.flags |= flagBE | flagBS
	must(t, h.register())
}
