package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"
)

// What tests need to forge or to look at alone: private halves and parsers that never leave the package.

func (a *Authority) UserCASigner() ssh.Signer { return a.userCA }

func (a *Authority) VendorIssuer(vendor string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	in, err := a.vendorIssuer(vendor)
	return in.cert, in.key, err
}

func (a *Authority) RootIssuer() (*x509.Certificate, *ecdsa.PrivateKey) {
	return a.root.cert, a.root.key
}

// ReadSSHCertificate checks a key as CheckSSH does before it asks the store.
func ReadSSHCertificate(a *Authority, key ssh.PublicKey) (netip.Prefix, time.Time, error) {
	facts, err := (&Registry{authority: a, now: a.now}).checkSSHCert(key)
	return facts.source, facts.webauthn, err
}

// OpenSealed opens a key file.
func OpenSealed(master []byte, name string, text []byte) ([]byte, error) {
	return sealer{master: master}.open(name, text)
}

var (
	ParseRequest = parseRequest
	HashToken    = hashToken
	ParseSSHKey  = parseSSHKey
	SameNetwork  = sameNetwork
)

const (
	MaxSSHKeys = maxSSHKeys
	WebAuthnAt = webauthnAt
)
