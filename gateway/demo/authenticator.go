package demo

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// ErrNoCredential is returned when the authenticator holds no key for the asking party.
var ErrNoCredential = errors.New("this authenticator holds no credential that the party asks for")

// What an authenticator says about itself and its user (WebAuthn section 6.1).
const (
	flagUserPresent  = 1 << 0
	flagUserVerified = 1 << 2
	flagBackupAble   = 1 << 3
	flagBackedUp     = 1 << 4
	flagAttested     = 1 << 6

	algES256     = -7
	minChallenge = 16
	maxOptions   = 64 << 10

	maxCredentials = 64

	// A browser that uses the same key counts by ones and tells it a moment later; steps this wide pass over what is on
	// its way.
	countStep = 16
)

// demoAAGUID names this authenticator's make where a party asks for attestation.
var demoAAGUID = [16]byte{'s', 'e', 'k', 'i', 's', 'h', 'o', ' ', 'd', 'e', 'm', 'o', ' ', ' ', '0', '1'}

// Authenticator is a WebAuthn authenticator made of software, with the checks a browser makes on the way to it. It
// verifies nobody: whoever may read its file is the user, present and verified. Its keys stand in that file, mode 0600,
// not encrypted. That is what a demo and a test need and what no real person should use.
type Authenticator struct{ path string }

// credential is one key of the file.
type credential struct {
	ID    urlBytes `json:"id"`
	RP    string   `json:"rp"`
	User  urlBytes `json:"user"`
	Name  string   `json:"name"`
	Key   urlBytes `json:"key"` // PKCS #8
	Count uint32   `json:"count"`
}

type credentialFile struct {
	Version     int          `json:"version"`
	Kind        Kind         `json:"kind,omitempty"`
	Credentials []credential `json:"credentials"`
}

// Kind is what an authenticator says it is.
type Kind string

// The kinds: built into the device, a key that is plugged in, a passkey that a platform copies to other devices.
const (
	BuiltIn  Kind = ""
	Hardware Kind = "hardware"
	Synced   Kind = "synced"
)

// flags are those of every answer.
func (k Kind) flags() byte {
	if k == Synced {
		return flagUserPresent | flagUserVerified | flagBackupAble | flagBackedUp
	}
	return flagUserPresent | flagUserVerified
}

// attachment and transport are how a browser says it reaches the authenticator.
func (k Kind) attachment() string {
	if k == Hardware {
		return "cross-platform"
	}
	return "platform"
}

func (k Kind) transport() string {
	if k == Hardware {
		return "usb"
	}
	return "internal"
}

// urlBytes is base64url without padding in JSON, as WebAuthn writes bytes.
type urlBytes []byte

func (b urlBytes) MarshalText() ([]byte, error) {
	return []byte(base64.RawURLEncoding.EncodeToString(b)), nil
}

func (b *urlBytes) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(string(text), "="))
	return err
}

// NewAuthenticator opens the authenticator whose keys are in path; a file that does not exist is an empty one.
func NewAuthenticator(path string) (*Authenticator, error) {
	a := &Authenticator{path}
	_, err := a.read()
	return a, err
}

// Become makes the authenticator one of this kind, for its next answers.
func (a *Authenticator) Become(kind Kind) error {
	return a.update(func(f *credentialFile) error {
		f.Kind = kind
		return nil
	})
}

// creation is the part of PublicKeyCredentialCreationOptionsJSON that matters here.
type creation struct {
	RP struct {
		ID string `json:"id"`
	} `json:"rp"`
	User struct {
		ID   urlBytes `json:"id"`
		Name string   `json:"name"`
	} `json:"user"`
	Challenge   urlBytes     `json:"challenge"`
	Parameters  []parameter  `json:"pubKeyCredParams"`
	Exclude     []descriptor `json:"excludeCredentials"`
	Attestation string       `json:"attestation"`
	Extensions  struct {
		CredProps bool `json:"credProps"`
	} `json:"extensions"`
}

type parameter struct {
	Type string `json:"type"`
	Alg  int    `json:"alg"`
}

type descriptor struct {
	Type string   `json:"type"`
	ID   urlBytes `json:"id"`
}

func named(list []descriptor, id []byte) bool {
	return slices.ContainsFunc(list, func(d descriptor) bool { return bytes.Equal(d.ID, id) })
}

// assertionRequest is the part of PublicKeyCredentialRequestOptionsJSON that matters here.
type assertionRequest struct {
	RP        string       `json:"rpId"`
	Challenge urlBytes     `json:"challenge"`
	Allow     []descriptor `json:"allowCredentials"`
}

// Create answers registration options, with or without the publicKey member around them, for a page of this origin. It
// makes an ES256 key and returns what a browser's PublicKeyCredential.toJSON gives: attestation none, or packed
// self-attestation where the options ask for any.
func (a *Authenticator) Create(origin string, options []byte) ([]byte, error) {
	var o creation
	if err := readOptions(options, &o); err != nil {
		return nil, fmt.Errorf("registration options: %w", err)
	}
	rp, err := relyingParty(origin, o.RP.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case len(o.Challenge) < minChallenge:
		return nil, fmt.Errorf("registration options: the challenge has %d bytes, want at least %d", len(o.Challenge), minChallenge)
	case len(o.User.ID) == 0 || len(o.User.ID) > 64:
		return nil, fmt.Errorf("registration options: user id has %d bytes, want 1 to 64", len(o.User.ID))
	case !slices.Contains(o.Parameters, parameter{"public-key", algES256}):
		return nil, errors.New("registration options: the party does not accept ES256, the only algorithm here")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c, err := newCredential(key, rp, o.User.ID, o.User.Name)
	if err != nil {
		return nil, err
	}
	var kind Kind
	err = a.update(func(f *credentialFile) error {
		kind = f.Kind
		for _, held := range f.Credentials {
			if held.RP == rp && named(o.Exclude, held.ID) {
				return errors.New("this authenticator is already registered with the party (excludeCredentials)")
			}
		}
		if len(f.Credentials) >= maxCredentials {
			return fmt.Errorf("authenticator %s is full; delete it and enrol again", a.path)
		}
		f.Credentials = append(f.Credentials, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return attestation(c, kind, key, origin, o)
}

// attestation builds the registration's answer.
func attestation(c credential, kind Kind, key *ecdsa.PrivateKey, origin string, o creation) ([]byte, error) {
	client := clientData("webauthn.create", origin, o.Challenge)
	aaguid, format := [16]byte{}, "none"
	if o.Attestation != "" && o.Attestation != "none" {
		aaguid, format = demoAAGUID, "packed"
	}
	cose, err := coseKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	auth := authenticatorData(c, kind.flags()|flagAttested)
	auth = append(auth, aaguid[:]...)
	auth = binary.BigEndian.AppendUint16(auth, uint16(len(c.ID)))
	auth = append(append(auth, c.ID...), cose...)
	statement := map[string]any{}
	if format == "packed" {
		signature, err := signCeremony(key, auth, client)
		if err != nil {
			return nil, err
		}
		statement = map[string]any{"alg": algES256, "sig": signature}
	}
	object, err := canonical(map[string]any{"fmt": format, "attStmt": statement, "authData": auth})
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	extensions := map[string]any{}
	if o.Extensions.CredProps {
		extensions["credProps"] = map[string]bool{"rk": true}
	}
	return publicKeyCredential(c.ID, kind, extensions, map[string]any{
		"clientDataJSON": urlBytes(client), "attestationObject": urlBytes(object), "authenticatorData": urlBytes(auth),
		"publicKey": urlBytes(public), "publicKeyAlgorithm": algES256, "transports": []string{kind.transport()},
	})
}

// Get answers assertion options, with or without the publicKey member around them, for a page of this origin. Empty
// allowCredentials means the newest key for the party. Each answer counts up; ErrNoCredential when no key fits.
func (a *Authenticator) Get(origin string, options []byte) ([]byte, error) {
	var o assertionRequest
	if err := readOptions(options, &o); err != nil {
		return nil, fmt.Errorf("login options: %w", err)
	}
	rp, err := relyingParty(origin, o.RP)
	if err != nil {
		return nil, err
	}
	if len(o.Challenge) < minChallenge {
		return nil, fmt.Errorf("login options: the challenge has %d bytes, want %d at least", len(o.Challenge), minChallenge)
	}
	var c credential
	var kind Kind
	err = a.update(func(f *credentialFile) error {
		kind = f.Kind
		for i := len(f.Credentials) - 1; i >= 0; i-- {
			held := &f.Credentials[i]
			if held.RP == rp && (len(o.Allow) == 0 || named(o.Allow, held.ID)) {
				held.Count += countStep
				c = *held
				return nil
			}
		}
		return fmt.Errorf("%w: %s", ErrNoCredential, rp)
	})
	if err != nil {
		return nil, err
	}
	return assertion(c, kind, origin, o)
}

func assertion(c credential, kind Kind, origin string, o assertionRequest) ([]byte, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	client := clientData("webauthn.get", origin, o.Challenge)
	auth := authenticatorData(c, kind.flags())
	signature, err := signCeremony(key, auth, client)
	if err != nil {
		return nil, err
	}
	return publicKeyCredential(c.ID, kind, map[string]any{}, map[string]any{
		"clientDataJSON": urlBytes(client), "authenticatorData": urlBytes(auth), "signature": urlBytes(signature),
		"userHandle": c.User,
	})
}

func newCredential(key *ecdsa.PrivateKey, rp string, user []byte, name string) (credential, error) {
	id := make([]byte, 32)
	rand.Read(id)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	return credential{ID: id, RP: rp, User: user, Name: name, Key: pkcs8}, err
}

func (c credential) key() (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(c.Key)
	if err != nil {
		return nil, fmt.Errorf("the authenticator's key for %s: %w", c.RP, err)
	}
	if key, ok := key.(*ecdsa.PrivateKey); ok && key.Curve == elliptic.P256() {
		return key, nil
	}
	return nil, fmt.Errorf("the authenticator's key for %s is no P-256 key", c.RP)
}

// readOptions accepts the options alone or inside publicKey, and ignores members that later editions of WebAuthn add.
func readOptions(text []byte, into any) error {
	if len(text) > maxOptions {
		return fmt.Errorf("%d bytes are too many", len(text))
	}
	var outer struct {
		PublicKey json.RawMessage `json:"publicKey"`
	}
	if err := json.Unmarshal(text, &outer); err != nil {
		return err
	}
	if len(outer.PublicKey) > 0 {
		text = outer.PublicKey
	}
	return json.Unmarshal(text, into)
}

// relyingParty makes a browser's check: a secure origin, and a party id that is its host or a domain the host is in.
func relyingParty(origin, id string) (string, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("origin %q: want scheme://host[:port]", origin)
	}
	host := u.Hostname()
	local := host == "localhost" || strings.HasSuffix(host, ".localhost")
	if u.Scheme != "https" && !(u.Scheme == "http" && local) {
		return "", fmt.Errorf("origin %q is not secure", origin)
	}
	if id == "" {
		return host, nil
	}
	if id != host && !(strings.Contains(id, ".") && strings.HasSuffix(host, "."+id)) {
		return "", fmt.Errorf("party %q may not be named by a page of %s", id, origin)
	}
	return id, nil
}

func clientData(ceremony, origin string, challenge []byte) []byte {
	text, err := json.Marshal(struct {
		Type        string   `json:"type"`
		Challenge   urlBytes `json:"challenge"`
		Origin      string   `json:"origin"`
		CrossOrigin bool     `json:"crossOrigin"`
	}{ceremony, challenge, origin, false})
	if err != nil {
		panic(err) // strings and bytes always marshal
	}
	return text
}

// authenticatorData is the fixed part: hash of the party, flags, counter.
func authenticatorData(c credential, flags byte) []byte {
	hash := sha256.Sum256([]byte(c.RP))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), c.Count)
}

func signCeremony(key *ecdsa.PrivateKey, auth, client []byte) ([]byte, error) {
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(slices.Concat(auth, hash[:]))
	return ecdsa.SignASN1(rand.Reader, key, digest[:])
}

// coseKey is the COSE form (RFC 9053 section 7.1) of a P-256 key.
func coseKey(public *ecdsa.PublicKey) ([]byte, error) {
	point, err := public.Bytes()
	if err != nil {
		return nil, err
	}
	return canonical(map[int]any{1: 2, 3: algES256, -1: 1, -2: point[1:33], -3: point[33:]})
}

func canonical(v any) ([]byte, error) {
	mode, err := cbor.CTAP2EncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(v)
}

func publicKeyCredential(id urlBytes, kind Kind, extensions, response map[string]any) ([]byte, error) {
	return json.Marshal(map[string]any{
		"id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": kind.attachment(),
		"clientExtensionResults": extensions, "response": response,
	})
}

func (a *Authenticator) read() (*credentialFile, error) {
	text, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return &credentialFile{Version: 1}, nil
	}
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var f credentialFile
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("authenticator %s is damaged (%w); delete it and enrol again", a.path, err)
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("authenticator %s has version %d, want 1", a.path, f.Version)
	}
	return &f, nil
}

// changed is when the file was last written, zero while there is none.
func (a *Authenticator) changed() time.Time {
	info, err := os.Stat(a.path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// keep takes over a credential that a browser used or made in this authenticator's place. A counter never goes back.
func (a *Authenticator) keep(c credential) error {
	return a.update(func(f *credentialFile) error {
		for i := range f.Credentials {
			if held := &f.Credentials[i]; bytes.Equal(held.ID, c.ID) {
				held.Count = max(held.Count, c.Count)
				return nil
			}
		}
		if len(f.Credentials) >= maxCredentials {
			return fmt.Errorf("authenticator %s is full; delete it and enrol again", a.path)
		}
		f.Credentials = append(f.Credentials, c)
		return nil
	})
}

// update changes the file under a lock that holds between processes, so that no counter is given out twice.
func (a *Authenticator) update(change func(*credentialFile) error) error {
	if err := os.MkdirAll(filepath.Dir(a.path), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(a.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	f, err := a.read()
	if err != nil {
		return err
	}
	if err := change(f); err != nil {
		return err
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(a.path, append(text, '\n'), 0o600)
}
