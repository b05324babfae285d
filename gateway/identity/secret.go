package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

const tokenSize = 32

// newToken makes 256 random bits as base64url: an invite, a cookie, a handoff.
func newToken() string {
	b := make([]byte, tokenSize)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashToken returns the hex SHA-256 under which a token is kept; ok is false for anything newToken cannot have made.
func hashToken(token string) (hash string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != tokenSize || base64.RawURLEncoding.EncodeToString(b) != token {
		return "", false
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:]), true
}

// codeAlphabet has 32 characters and none that is mistaken for another when read aloud or typed off a screen.
const (
	codeAlphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
	codeLength   = 8
)

// newCode makes 40 random bits for people to compare, as XXXX-XXXX.
func newCode() string {
	b := make([]byte, codeLength)
	rand.Read(b)
	for i := range b {
		b[i] = codeAlphabet[int(b[i])%len(codeAlphabet)]
	}
	return string(b[:codeLength/2]) + "-" + string(b[codeLength/2:])
}

// sameCode compares a typed code, in any case and with any dashes and spaces, in constant time.
func sameCode(typed, code string) bool {
	if code == "" || len(typed) > 64 {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(plainCode(typed)), []byte(plainCode(code))) == 1
}

func plainCode(code string) string {
	return strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(strings.TrimSpace(code)))
}
