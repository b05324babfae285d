package identity

import (
	"net/netip"
	"time"
)

// Principal is a person as proved on one connection or web session: who, by which certificate, with which second factor.
// Only this package makes one with a Person set.
type Principal struct {
	Person   string
	Vendor   string
	Serial   string    // of the certificate that was verified, X.509 or SSH
	NotAfter time.Time // of that certificate
	MFA      MFA
	Source   netip.AddrPort
	Client   string // client software, as it names itself; untrusted
}

// MFA is a second factor as given: a zero At means none was.
type MFA struct {
	Method string    `json:"method"` // webauthn
	At     time.Time `json:"at"`
	UV     bool      `json:"uv"`
	AAGUID string    `json:"aaguid,omitempty"`
	// Purpose is what the person confirmed: web.login, or ssh.approve:ID for one pending SSH login.
	Purpose string `json:"purpose,omitempty"`
}
