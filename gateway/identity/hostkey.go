package identity

import (
	"crypto/ed25519"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// RotateHostKey makes a new SSH host key for the gateway in dir and returns its fingerprint. A gateway that runs shows the old
// one until ReloadHostKey. Clients that trust the host CA notice nothing; those that pinned the plain key have to be told.
func RotateHostKey(dir string, src KeySource) (fingerprint string, err error) {
	ring := keyring{dir: filepath.Join(dir, "keys")}
	if ring.sealer, err = src.load(dir); err != nil {
		return "", err
	}
	// Nothing is replaced that this master key could not have opened.
	if _, err := readPrivateKey[ed25519.PrivateKey](ring, keyHost); err != nil {
		return "", err
	}
	public, err := createEd25519(ring, keyHost)
	if err != nil {
		return "", err
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", err
	}
	return ssh.FingerprintSHA256(line), writeFile(filepath.Join(ring.dir, keyHost+".pub"), ssh.MarshalAuthorizedKey(line), 0o644)
}

// ReloadHostKey reads the gateway's host key again: connections to come are shown it, those that are open go on. It returns
// the fingerprints before and after. After an error the old key stays.
func (a *Authority) ReloadHostKey() (before, after string, err error) {
	key, err := readPrivateKey[ed25519.PrivateKey](a.ring, keyHost)
	if err != nil {
		return "", "", err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return "", "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before, after = ssh.FingerprintSHA256(a.hostKey.PublicKey()), ssh.FingerprintSHA256(signer.PublicKey())
	a.hostKey = signer
	return before, after, nil
}

func (a *Authority) currentHostKey() ssh.Signer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hostKey
}
