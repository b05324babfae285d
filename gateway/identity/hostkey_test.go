package identity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/identity"
)

func TestANewHostKeyIsShownOnceItIsReloaded(t *testing.T) {
	dir := t.TempDir()
	if err := identity.CreateAuthority(dir, identity.KeySource{}, time.Now); err != nil {
		t.Fatal(err)
	}
	a, err := identity.OpenAuthority(dir, identity.KeySource{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		signers, err := a.HostSigners("gateway")
		if err != nil {
			t.Fatal(err)
		}
		cert := signers[0].PublicKey().(*ssh.Certificate)
		plain := ssh.FingerprintSHA256(signers[1].PublicKey())
		if inside := ssh.FingerprintSHA256(cert.Key); inside != plain {
			t.Errorf("the certificate is for %s, the key is %s", inside, plain)
		}
		if string(cert.SignatureKey.Marshal()) != string(a.HostCA().Marshal()) {
			t.Error("another authority signed")
		}
		return plain
	}
	old := shown()
	made, err := identity.RotateHostKey(dir, identity.KeySource{})
	if err != nil || made == old {
		t.Fatalf("made %s after %s: %v", made, old, err)
	}
	if got := shown(); got != old {
		t.Errorf("%s is shown before anybody said so", got)
	}
	before, after, err := a.ReloadHostKey()
	if err != nil || before != old || after != made || shown() != made {
		t.Errorf("reloaded %s after %s, %v; %s is shown", after, before, err, shown())
	}
	line, err := os.ReadFile(filepath.Join(dir, "keys", "ssh-host.pub"))
	if key, _, _, _, parse := ssh.ParseAuthorizedKey(line); err != nil || parse != nil || ssh.FingerprintSHA256(key) != made {
		t.Errorf("ssh-host.pub: %s", line)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys", "ssh-host.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.ReloadHostKey(); err == nil || !strings.Contains(err.Error(), "ssh-host.key") || shown() != made {
		t.Errorf("a damaged key: %v; %s is shown", err, shown())
	}
}
