package identity

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// DeriveKey makes the 32-byte key of one purpose out of the gateway's evidence key (HKDF-SHA256, RFC 5869). It is the same as
// long as that key is, tells nothing about it, and two purposes have nothing in common.
func (a *Authority) DeriveKey(purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, a.evidence.Seed(), nil, "sekisho derived key 1: "+purpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving the key for %s: %w", purpose, err)
	}
	return key, nil
}
