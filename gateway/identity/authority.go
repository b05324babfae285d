package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
)

var errNotYet = errors.New("not built yet")

// KeySource says where the master key that seals the private keys comes from.
type KeySource struct {
	// Kind is "file" (also when empty) or "systemd-credential".
	Kind string
	// Path is the master key's file, default <dir>/keys/master.key; for systemd-credential the credential's name,
	// default sekisho-master-key.
	Path string
}

// Authority holds the gateway's private keys.
type Authority struct{}

// CreateAuthority makes every key below dir/keys, sealed with the master key, and dir/evidence.pub. It makes the
// master key too when the source is a file that does not exist. It refuses a folder that has keys already.
func CreateAuthority(dir string, src KeySource, now func() time.Time) error { return errNotYet }

// OpenAuthority unseals the keys below dir/keys. An error names the file that is missing, damaged or readable by others
// and what to do about it.
func OpenAuthority(dir string, src KeySource, now func() time.Time) (*Authority, error) {
	return nil, errNotYet
}

// RootPEM is the X.509 root certificate.
func (a *Authority) RootPEM() []byte { return nil }

// ClientCAs is the pool for tls.Config.ClientCAs: the root alone, so that a peer sends its vendor's intermediate.
func (a *Authority) ClientCAs() *x509.CertPool { return nil }

// EnsureVendor makes the vendor's intermediate unless it exists.
func (a *Authority) EnsureVendor(vendor string) error { return errNotYet }

// ServerCertificate returns a certificate for a host name or IP address the gateway serves, from the cache or new.
func (a *Authority) ServerCertificate(host string) (*tls.Certificate, error) { return nil, errNotYet }

// HostSigners returns the gateway's SSH host key twice: as a certificate of the host CA for these names, then plain.
func (a *Authority) HostSigners(names ...string) ([]ssh.Signer, error) { return nil, errNotYet }

// HostCA is the public key for @cert-authority lines.
func (a *Authority) HostCA() ssh.PublicKey { return nil }

// UserCA is the public key that signs contractors' SSH certificates.
func (a *Authority) UserCA() ssh.PublicKey { return nil }

// UpstreamCA is the public key for a target's TrustedUserCAKeys.
func (a *Authority) UpstreamCA() ssh.PublicKey { return nil }

// UpstreamSigner makes an ephemeral ed25519 key with a certificate of two minutes for one login on a target.
func (a *Authority) UpstreamSigner(login, keyID string) (ssh.Signer, error) { return nil, errNotYet }

// SignTargetHostKey makes a host certificate for a target's host key.
func (a *Authority) SignTargetHostKey(pub ssh.PublicKey, names []string) (*ssh.Certificate, error) {
	return nil, errNotYet
}

// EvidenceSigner signs recordings and audit heads.
func (a *Authority) EvidenceSigner() ed25519.PrivateKey { return nil }

// EvidenceKey verifies what EvidenceSigner signs; it also stands in dir/evidence.pub.
func (a *Authority) EvidenceKey() ed25519.PublicKey { return nil }

// RecordingIdentity opens recordings; its Recipient seals them.
func (a *Authority) RecordingIdentity() *age.X25519Identity { return nil }

// SignIdentity makes an ES256 JWT of claims.
func (a *Authority) SignIdentity(claims map[string]any) (string, error) { return "", errNotYet }

// JWKS is the JSON Web Key Set that verifies SignIdentity's tokens.
func (a *Authority) JWKS() []byte { return nil }
