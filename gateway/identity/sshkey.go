package identity

import (
	"bytes"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Limits of enrolled SSH keys.
const (
	maxSSHKeys       = 8 // per enrolment
	maxAuthorizedKey = 16 << 10
)

// plainKeyTypes are the accepted kinds of SSH key. A security key (sk-…) counts as possession only: its user
// verification is never taken for WebAuthn's.
var plainKeyTypes = map[string]bool{
	ssh.KeyAlgoED25519: true, ssh.KeyAlgoSKED25519: true, ssh.KeyAlgoSKECDSA256: true,
	ssh.KeyAlgoECDSA256: true, ssh.KeyAlgoECDSA384: true, ssh.KeyAlgoECDSA521: true, ssh.KeyAlgoRSA: true,
}

// parseSSHKey reads exactly one authorized_keys line without options.
func parseSSHKey(line string) (ssh.PublicKey, error) {
	if len(line) > maxAuthorizedKey {
		return nil, fmt.Errorf("SSH key of %d bytes: %w: at most %d", len(line), ErrRequest, maxAuthorizedKey)
	}
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("SSH key: %w: want one line as in id_ed25519.pub", ErrRequest)
	}
	return key, checkSSHKey(key)
}

func checkSSHKey(key ssh.PublicKey) error {
	if !plainKeyTypes[key.Type()] {
		return fmt.Errorf("SSH key of type %s: %w: want ed25519, ecdsa or rsa", key.Type(), ErrRequest)
	}
	if key.Type() != ssh.KeyAlgoRSA {
		return nil
	}
	public, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return fmt.Errorf("SSH key of type %s: %w", key.Type(), ErrRequest)
	}
	if k, ok := public.CryptoPublicKey().(*rsa.PublicKey); !ok || checkPublicKey(k) != nil {
		return fmt.Errorf("SSH key: %w: want RSA with %d to %d bits", ErrRequest, minRSABits, maxRSABits)
	}
	return nil
}

// AddSSHKey enrols a public key given as one authorized_keys line: while waiting, or when active after the caller
// checked a fresh second factor. ErrKeyTaken when it was enrolled before, by whomever: a key is never taken over.
func (r *Registry) AddSSHKey(ctx context.Context, c Credential, authorizedKey string) (SSHKey, error) {
	key, err := parseSSHKey(authorizedKey)
	if err != nil {
		return SSHKey{}, err
	}
	r.change.Lock()
	defer r.change.Unlock()
	e, err := r.live(ctx, c, StateWaiting, StateActive)
	if err != nil {
		return SSHKey{}, err
	}
	k := SSHKey{
		Fingerprint: ssh.FingerprintSHA256(key), Person: e.Person, Enrolment: e.ID,
		PublicKey: string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key))), CreatedAt: r.now().UTC(),
	}
	if err := r.checkRoom(ctx, k); err != nil {
		return SSHKey{}, err
	}
	if err := r.store.PutSSHKey(ctx, k); err != nil {
		return SSHKey{}, fmt.Errorf("storing an SSH key of %s: %w", e.Person, err)
	}
	return k, nil
}

func (r *Registry) checkRoom(ctx context.Context, k SSHKey) error {
	_, err := r.store.SSHKey(ctx, k.Fingerprint)
	if err == nil || r.Revoked(kindSSHKey, k.Fingerprint) {
		return fmt.Errorf("SSH key %s: %w", k.Fingerprint, ErrKeyTaken)
	}
	if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("looking up an SSH key: %w", err)
	}
	keys, err := r.SSHKeys(ctx, k.Person)
	if err != nil {
		return err
	}
	own := 0
	for _, other := range keys {
		if other.Enrolment == k.Enrolment {
			own++
		}
	}
	if own >= maxSSHKeys {
		return fmt.Errorf("SSH keys of %s: %w: at most %d", k.Person, ErrLimit, maxSSHKeys)
	}
	return nil
}

// SSHKeys lists a person's enrolled keys that are not revoked.
func (r *Registry) SSHKeys(ctx context.Context, person string) ([]SSHKey, error) {
	keys, err := r.store.SSHKeys(ctx, person)
	if err != nil {
		return nil, fmt.Errorf("listing the SSH keys of %s: %w", person, err)
	}
	var live []SSHKey
	for _, k := range keys {
		if !r.Revoked(kindSSHKey, k.Fingerprint) {
			live = append(live, k)
		}
	}
	return live, nil
}
