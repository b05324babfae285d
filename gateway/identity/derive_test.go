package identity_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

func TestDerivedKeysAreLastingAndTheirOwn(t *testing.T) {
	dir := t.TempDir()
	derive := func(dir, purpose string) []byte {
		t.Helper()
		a, err := identity.OpenAuthority(dir, identity.KeySource{}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		key, err := a.DeriveKey(purpose)
		if err != nil || len(key) != 32 {
			t.Fatalf("%d bytes, %v", len(key), err)
		}
		if bytes.Contains(key, a.EvidenceSigner().Seed()[:8]) {
			t.Error("the key shows the one it is made of")
		}
		return key
	}
	other := t.TempDir()
	for _, d := range []string{dir, other} {
		if err := identity.CreateAuthority(d, identity.KeySource{}, time.Now); err != nil {
			t.Fatal(err)
		}
	}
	links := derive(dir, "links")
	if !bytes.Equal(links, derive(dir, "links")) {
		t.Error("another key after a restart")
	}
	if bytes.Equal(links, derive(dir, "others")) || bytes.Equal(links, derive(other, "links")) {
		t.Error("two purposes or two gateways share a key")
	}
}
