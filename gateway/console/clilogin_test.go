package console

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

func startLogin(t *testing.T, l *cliLogins, person string) *cliLogin {
	t.Helper()
	login, err := l.start(&visitor{credential: identity.Credential{Person: person}, source: netip.MustParseAddrPort("203.0.113.9:5")})
	if err != nil {
		t.Fatal(err)
	}
	return login
}

func TestThreeWrongCodesEndACommandLineLogin(t *testing.T) {
	l := newCLILogins(time.Now)
	login := startLogin(t, l, "hanako")
	for range cliLoginTries {
		if _, err := l.check("hanako", login.id, "AAAA-AAAA"); !errors.Is(err, identity.ErrWrongCode) {
			t.Fatalf("a wrong code: %v", err)
		}
	}
	if _, err := l.check("hanako", login.id, login.code); !errors.Is(err, identity.ErrNoPending) {
		t.Errorf("the right code after three wrong ones: %v", err)
	}
	<-login.answered
	if _, err := l.take(login); err == nil {
		t.Error("a void login was handed out")
	}
}

func TestTheCodeIsReadHoweverItIsTyped(t *testing.T) {
	l := newCLILogins(time.Now)
	login := startLogin(t, l, "hanako")
	login.code = "K7QM-4XWD"
	for _, typed := range []string{"K7QM-4XWD", "k7qm4xwd", " K7QM 4XWD "} {
		if _, err := l.check("hanako", login.id, typed); err != nil {
			t.Errorf("%q: %v", typed, err)
		}
	}
}

func TestACommandLineLoginIsItsOwnPersonsOnly(t *testing.T) {
	l := newCLILogins(time.Now)
	login := startLogin(t, l, "hanako")
	if _, err := l.check("mallory", login.id, login.code); !errors.Is(err, identity.ErrNoPending) {
		t.Errorf("somebody else's login: %v", err)
	}
}

func TestACommandLineLoginIsHandedOutOnce(t *testing.T) {
	l := newCLILogins(time.Now)
	login := startLogin(t, l, "hanako")
	if _, err := l.take(login); err == nil {
		t.Fatal("handed out before it was approved")
	}
	mfa := identity.MFA{Method: "webauthn", At: time.Now()}
	if err := l.approve(login, mfa); err != nil {
		t.Fatal(err)
	}
	if err := l.approve(login, mfa); err == nil {
		t.Error("approved twice")
	}
	if _, err := l.take(login); err != nil {
		t.Fatal(err)
	}
	if _, err := l.take(login); err == nil {
		t.Error("handed out twice")
	}
}

func TestACommandLineLoginExpires(t *testing.T) {
	now := time.Now()
	l := newCLILogins(func() time.Time { return now })
	login := startLogin(t, l, "hanako")
	now = now.Add(cliLoginTTL)
	if _, err := l.check("hanako", login.id, login.code); !errors.Is(err, identity.ErrExpired) {
		t.Errorf("an old login: %v", err)
	}
	if err := l.approve(login, identity.MFA{At: now}); err == nil {
		t.Error("an old login was approved")
	}
}

func TestANewCommandLineLoginReplacesTheOldOne(t *testing.T) {
	l := newCLILogins(time.Now)
	old := startLogin(t, l, "hanako")
	startLogin(t, l, "hanako")
	if _, err := l.find("hanako", old.id); !errors.Is(err, identity.ErrNoPending) {
		t.Errorf("the old login is still there: %v", err)
	}
	<-old.answered
}

func TestACeremonyAnswersOnlyTheQuestionItAsked(t *testing.T) {
	now := time.Now()
	c := newCeremonies(func() time.Time { return now })
	asked := Confirmation{Purpose: PurposeCertificate, Fingerprint: "SHA256:a"}
	for name, other := range map[string]Confirmation{
		"another key":     {Purpose: PurposeCertificate, Fingerprint: "SHA256:b"},
		"another purpose": {Purpose: PurposeLogin},
		"another field":   {Purpose: PurposeCertificate, ID: "SHA256:a"},
	} {
		if err := c.add("1", asked); err != nil {
			t.Fatal(err)
		}
		if c.take("1", other) {
			t.Errorf("it was taken for %s", name)
		}
		if c.take("1", asked) {
			t.Errorf("it can be used again after it was tried for %s", name)
		}
	}
	if err := c.add("2", asked); err != nil || !c.take("2", asked) {
		t.Error("it was not taken for what it asked")
	}
	if err := c.add("3", asked); err != nil {
		t.Fatal(err)
	}
	now = now.Add(ceremonyTTL)
	if c.take("3", asked) {
		t.Error("it was taken after its time")
	}
}
