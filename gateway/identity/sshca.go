package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"
)

// Lifetimes of SSH certificates that are not a person's.
const (
	hostCertLifetime   = 90 * 24 * time.Hour
	targetCertLifetime = 365 * 24 * time.Hour
	upstreamLifetime   = 2 * time.Minute
	upstreamBackdate   = time.Minute // for targets whose clock is behind
)

// HostCA is the public key for @cert-authority lines.
func (a *Authority) HostCA() ssh.PublicKey { return a.hostCA.PublicKey() }

// UserCA is the public key that signs people's SSH certificates.
func (a *Authority) UserCA() ssh.PublicKey { return a.userCA.PublicKey() }

// UpstreamCA is the public key for a target's TrustedUserCAKeys.
func (a *Authority) UpstreamCA() ssh.PublicKey { return a.upstream.PublicKey() }

// HostSigners returns the gateway's SSH host key twice: with a certificate of the host CA for these names, then plain.
// The certificate lives 90 days and costs one ed25519 signature, so a server asks anew for each connection.
func (a *Authority) HostSigners(names ...string) ([]ssh.Signer, error) {
	hostKey := a.currentHostKey()
	cert, err := a.hostCertificate(hostKey.PublicKey(), names, hostCertLifetime)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewCertSigner(cert, hostKey)
	if err != nil {
		return nil, err
	}
	return []ssh.Signer{signer, hostKey}, nil
}

// SignTargetHostKey makes a host certificate of one year for a target's own host key.
func (a *Authority) SignTargetHostKey(pub ssh.PublicKey, names []string) (*ssh.Certificate, error) {
	return a.hostCertificate(pub, names, targetCertLifetime)
}

// hostCertificate refuses to sign for no name: such a certificate would stand for every host.
func (a *Authority) hostCertificate(pub ssh.PublicKey, names []string, lifetime time.Duration) (*ssh.Certificate, error) {
	if len(names) == 0 {
		return nil, errors.New("a host certificate needs at least one name")
	}
	for _, name := range names {
		if name == "" {
			return nil, errors.New("a host certificate cannot carry an empty name")
		}
	}
	if _, ok := pub.(*ssh.Certificate); ok {
		return nil, errors.New("want a plain host key, got a certificate")
	}
	now := a.now()
	cert := &ssh.Certificate{
		Key:             pub,
		Serial:          newSSHSerial(),
		CertType:        ssh.HostCert,
		KeyId:           "sekisho host " + names[0],
		ValidPrincipals: names,
		ValidAfter:      uint64(now.Add(-backdate).Unix()),
		ValidBefore:     uint64(now.Add(lifetime).Unix()),
	}
	if err := cert.SignCert(rand.Reader, a.hostCA); err != nil {
		return nil, fmt.Errorf("signing a host certificate for %s: %w", names[0], err)
	}
	return cert, nil
}

// UpstreamSigner makes an ephemeral ed25519 key with a certificate of two minutes for one login on a target.
func (a *Authority) UpstreamSigner(login, keyID string) (ssh.Signer, error) {
	if login == "" {
		return nil, errors.New("an upstream certificate needs a login")
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	now := a.now()
	cert := &ssh.Certificate{
		Key:             signer.PublicKey(),
		Serial:          newSSHSerial(),
		CertType:        ssh.UserCert,
		KeyId:           keyID,
		ValidPrincipals: []string{login},
		ValidAfter:      uint64(now.Add(-upstreamBackdate).Unix()),
		ValidBefore:     uint64(now.Add(upstreamLifetime).Unix()),
		Permissions:     ssh.Permissions{Extensions: map[string]string{"permit-pty": ""}},
	}
	if err := cert.SignCert(rand.Reader, a.upstream); err != nil {
		return nil, fmt.Errorf("signing an upstream certificate for %s: %w", login, err)
	}
	return ssh.NewCertSigner(cert, signer)
}

// newSSHSerial draws a random serial; zero means "none" to OpenSSH.
func newSSHSerial() uint64 {
	b := make([]byte, 8)
	rand.Read(b)
	return max(binary.BigEndian.Uint64(b), 1)
}
