package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
)

// Names of the key files below dir/keys. A vendor's intermediate is vendors/<id>.
const (
	keyRoot        = "x509-root"
	keyServer      = "x509-server"
	keySSHUser     = "ssh-user-ca"
	keySSHHost     = "ssh-host-ca"
	keySSHUpstream = "ssh-upstream-ca"
	keyHost        = "ssh-host"
	keyEvidence    = "evidence"
	keyRecording   = "recording"
	keyToken       = "identity-token"
	vendorFolder   = "vendors"
)

// Authority holds the gateway's private keys and issues what they sign. It is safe for concurrent use.
type Authority struct {
	now  func() time.Time
	ring keyring

	root     issuer
	server   issuer
	userCA   ssh.Signer
	hostCA   ssh.Signer
	upstream ssh.Signer

	evidence  ed25519.PrivateKey
	recording *age.X25519Identity
	token     tokenSigner

	mu      sync.Mutex
	hostKey ssh.Signer                  // guarded by mu
	vendors map[string]issuer           // guarded by mu
	servers map[string]*tls.Certificate // guarded by mu
}

// CreateAuthority makes every key below dir/keys, sealed with the master key, and dir/evidence.pub. It makes the
// master key too when the source is a file that does not exist. It refuses a folder that has keys already.
func CreateAuthority(dir string, src KeySource, now func() time.Time) error {
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(filepath.Join(keys, vendorFolder), 0o700); err != nil {
		return fmt.Errorf("making the key folder: %w", err)
	}
	ring := keyring{dir: keys}
	if _, err := os.Stat(ring.keyPath(keyRoot)); err == nil {
		return fmt.Errorf("%s has keys already; choose another folder, or move them away to start anew", keys)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for keys: %w", err)
	}
	var err error
	if ring.sealer, err = src.create(dir); err != nil {
		return err
	}
	// The root comes last: it marks the folder as complete, so that a creation cut short can be run again.
	for _, create := range []func() error{
		func() error { return createSigningKeys(ring) },
		func() error { return createRecordingKey(ring) },
		func() error { return createEvidenceKey(ring, dir) },
		func() error { return createRoots(ring, now()) },
	} {
		if err := create(); err != nil {
			return err
		}
	}
	return nil
}

func createSigningKeys(ring keyring) error {
	for _, name := range []string{keySSHUser, keySSHHost, keySSHUpstream, keyHost} {
		public, err := createEd25519(ring, name)
		if err != nil {
			return err
		}
		line, err := ssh.NewPublicKey(public)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(ring.dir, name+".pub"), ssh.MarshalAuthorizedKey(line), 0o644); err != nil {
			return err
		}
	}
	key, err := newP256()
	if err != nil {
		return err
	}
	return writePrivateKey(ring, keyToken, key)
}

func createRecordingKey(ring keyring) error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("making the recording key: %w", err)
	}
	return ring.write(keyRecording, []byte(id.String()))
}

func createEvidenceKey(ring keyring, dir string) error {
	public, err := createEd25519(ring, keyEvidence)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return writeFile(filepath.Join(dir, "evidence.pub"), text, 0o644)
}

func createEd25519(ring keyring, name string) (ed25519.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return public, writePrivateKey(ring, name, private)
}

func newP256() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func writePrivateKey(ring keyring, name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding key %s: %w", name, err)
	}
	return ring.write(name, der)
}

// readPrivateKey opens a key file that must hold a K.
func readPrivateKey[K crypto.Signer](ring keyring, name string) (K, error) {
	var none K
	der, err := ring.read(name)
	if err != nil {
		return none, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return none, ring.damaged(name, err)
	}
	key, ok := parsed.(K)
	if !ok {
		return none, ring.damaged(name, fmt.Errorf("it holds a %T where a %T belongs", parsed, none))
	}
	return key, nil
}

// OpenAuthority unseals the keys below dir/keys. An error names each file that is missing, damaged or readable by others
// and what to do about it.
func OpenAuthority(dir string, src KeySource, now func() time.Time) (*Authority, error) {
	ring := keyring{dir: filepath.Join(dir, "keys")}
	if _, err := os.Stat(ring.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: %s is not a gateway's folder; run sekisho init there first", ring.dir, dir)
	}
	var err error
	if ring.sealer, err = src.load(dir); err != nil {
		return nil, err
	}
	a := &Authority{now: now, ring: ring, vendors: map[string]issuer{}, servers: map[string]*tls.Certificate{}}
	if err := errors.Join(a.openIssuers(), a.openSSH(), a.openSigners()); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Authority) openSSH() error {
	var errs []error
	for name, signer := range map[string]*ssh.Signer{
		keySSHUser: &a.userCA, keySSHHost: &a.hostCA, keySSHUpstream: &a.upstream, keyHost: &a.hostKey,
	} {
		key, err := readPrivateKey[ed25519.PrivateKey](a.ring, name)
		if err == nil {
			*signer, err = ssh.NewSignerFromKey(key)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (a *Authority) openSigners() error {
	evidence, evidenceErr := readPrivateKey[ed25519.PrivateKey](a.ring, keyEvidence)
	a.evidence = evidence
	token, tokenErr := readPrivateKey[*ecdsa.PrivateKey](a.ring, keyToken)
	if tokenErr == nil {
		a.token, tokenErr = newTokenSigner(token)
	}
	secret, recordingErr := a.ring.read(keyRecording)
	if recordingErr == nil {
		if a.recording, recordingErr = age.ParseX25519Identity(string(secret)); recordingErr != nil {
			recordingErr = a.ring.damaged(keyRecording, recordingErr)
		}
	}
	return errors.Join(evidenceErr, tokenErr, recordingErr)
}

// openIssuers reads the X.509 root, the server intermediate and every vendor's.
func (a *Authority) openIssuers() error {
	var err error
	if a.root, err = readIssuer(a.ring, keyRoot, nil); err != nil {
		return err
	}
	if a.server, err = readIssuer(a.ring, keyServer, a.root.cert); err != nil {
		return err
	}
	files, err := os.ReadDir(filepath.Join(a.ring.dir, vendorFolder))
	if err != nil {
		return fmt.Errorf("reading the vendors' keys: %w", err)
	}
	var errs []error
	for _, f := range files {
		// A key without a certificate never signed anything: making the vendor was cut short and EnsureVendor begins anew.
		vendor, ok := strings.CutSuffix(f.Name(), ".crt")
		if !ok {
			continue
		}
		in, err := readIssuer(a.ring, filepath.Join(vendorFolder, vendor), a.root.cert)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		a.vendors[vendor] = in
	}
	return errors.Join(errs...)
}

// EvidenceSigner signs recordings and audit heads.
func (a *Authority) EvidenceSigner() ed25519.PrivateKey { return a.evidence }

// EvidenceKey verifies what EvidenceSigner signs; it also stands in dir/evidence.pub.
func (a *Authority) EvidenceKey() ed25519.PublicKey { return a.evidence.Public().(ed25519.PublicKey) }

// RecordingIdentity opens recordings; its Recipient seals them.
func (a *Authority) RecordingIdentity() *age.X25519Identity { return a.recording }
