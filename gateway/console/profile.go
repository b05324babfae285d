package console

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/sekisho/sekisho/gateway/identity"
)

// Names of what stands in a profile's folder.
const (
	profileFile       = "profile.json"
	profileCA         = "ca.pem"
	profileCert       = "client.crt"
	profileKey        = "client.key"
	profileSession    = "session"
	profileSSHKey     = "id_ed25519"
	profileSSHConfig  = "ssh_config"
	profileKnownHosts = "known_hosts"
	profileP12        = "client.p12"
)

// Authenticator answers WebAuthn ceremonies on the person's side: options are as a Ceremony carries them, the answer is
// what a browser's toJSON gives.
type Authenticator interface {
	Create(origin string, options []byte) ([]byte, error)
	Get(origin string, options []byte) ([]byte, error)
}

// Profile is a person's own side of a gateway: a folder with their keys, made there, and the certificates they were given.
type Profile struct {
	Dir        string `json:"-"`
	Person     string `json:"person"`
	Vendor     string `json:"vendor"`
	ConsoleURL string `json:"console_url"`
	EnrolURL   string `json:"enrol_url"`
}

// OpenProfile reads a profile's folder.
func OpenProfile(dir string) (*Profile, error) {
	data, err := os.ReadFile(filepath.Join(dir, profileFile))
	if err != nil {
		return nil, err
	}
	p := &Profile{Dir: dir}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("%s is damaged; enrol again to replace it: %w", filepath.Join(dir, profileFile), err)
	}
	return p, nil
}

// Path is a file of the profile.
func (p *Profile) Path(name string) string { return filepath.Join(p.Dir, name) }

// Paths of what other programs are pointed at.
func (p *Profile) CertFile() string    { return p.Path(profileCert) }
func (p *Profile) KeyFile() string     { return p.Path(profileKey) }
func (p *Profile) CAFile() string      { return p.Path(profileCA) }
func (p *Profile) PKCS12File() string  { return p.Path(profileP12) }
func (p *Profile) SSHKeyFile() string  { return p.Path(profileSSHKey) }
func (p *Profile) SSHCertFile() string { return p.Path(profileSSHKey + "-cert.pub") }

// save writes a file of the profile in one step, so that a program that reads it meanwhile sees the old one or the new.
func (p *Profile) save(name string, data []byte) error {
	temp, err := os.CreateTemp(p.Dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err := temp.Write(data); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), p.Path(name))
}

// Enrol redeems an invitation: the key pair is made here and only its public half leaves. folder names the profile's folder
// once the person is known; ca is the gateway's root in PEM.
func Enrol(ctx context.Context, invitation string, ca []byte, folder func(person string) string) (*Profile, error) {
	enrolURL, token, err := ParseInvitation(invitation)
	if err != nil {
		return nil, err
	}
	roots, err := parseRoots(ca)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := certificateRequest(key)
	if err != nil {
		return nil, err
	}
	client := NewClient(ClientConfig{EnrolURL: enrolURL, CAs: roots})
	defer client.Close()
	issued, err := client.Enrol(ctx, token, request)
	if err != nil {
		return nil, err
	}
	p := &Profile{Dir: folder(issued.Person), Person: issued.Person, Vendor: issued.Vendor, ConsoleURL: issued.ConsoleURL, EnrolURL: enrolURL}
	return p, p.write(key, issued, ca)
}

func certificateRequest(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "sekisho"}}, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

func parseRoots(ca []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the gateway's root certificate: no certificate in PEM found")
	}
	return roots, nil
}

// write lays the profile down, profile.json last: a folder without it is no profile.
func (p *Profile) write(key *ecdsa.PrivateKey, issued Enrolled, ca []byte) error {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return err
	}
	keyPEM, err := privateKeyPEM(key)
	if err != nil {
		return err
	}
	about, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := p.makeSSHKey(); err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{profileKey, keyPEM}, {profileCert, []byte(issued.Chain)}, {profileCA, ca}, {profileFile, append(about, '\n')}} {
		if err := p.save(file.name, file.data); err != nil {
			return err
		}
	}
	return nil
}

func privateKeyPEM(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// WritePKCS12 bundles the client certificate and its key for browsers, which import nothing else.
func (p *Profile) WritePKCS12(password string) error {
	pair, err := tls.LoadX509KeyPair(p.CertFile(), p.KeyFile())
	if err != nil {
		return err
	}
	chain := make([]*x509.Certificate, 0, len(pair.Certificate))
	for _, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, cert)
	}
	bundle, err := pkcs12.Modern2023.Encode(pair.PrivateKey, chain[0], chain[1:], password)
	if err != nil {
		return fmt.Errorf("making the PKCS#12 file: %w", err)
	}
	return p.save(profileP12, bundle)
}

// makeSSHKey makes the person's SSH key pair.
func (p *Profile) makeSSHKey() error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	comment := "sekisho:" + p.Person
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " " + comment + "\n"
	if err := p.save(profileSSHKey, pem.EncodeToMemory(block)); err != nil {
		return err
	}
	return p.save(profileSSHKey+".pub", []byte(line))
}

// Client makes an API client with the profile's certificate and its last session.
func (p *Profile) Client() (*Client, error) {
	ca, err := os.ReadFile(p.CAFile())
	if err != nil {
		return nil, err
	}
	roots, err := parseRoots(ca)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.CAFile(), err)
	}
	cert, err := tls.LoadX509KeyPair(p.CertFile(), p.KeyFile())
	if err != nil {
		return nil, fmt.Errorf("the profile's certificate in %s: %w", p.Dir, err)
	}
	session, err := os.ReadFile(p.Path(profileSession))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return NewClient(ClientConfig{BaseURL: p.ConsoleURL, EnrolURL: p.EnrolURL, CAs: roots, Certificate: &cert,
		Session: strings.TrimSpace(string(session)), Language: localeLanguage(os.Getenv("LANG"))}), nil
}

// localeLanguage reads a POSIX locale such as ja_JP.UTF-8.
func localeLanguage(locale string) string {
	if strings.HasPrefix(locale, "ja") {
		return "ja"
	}
	return "en"
}

// Register registers an authenticator with the enrolment, enrols the profile's SSH key and returns the code that the person
// reads to whoever releases them.
func (p *Profile) Register(ctx context.Context, c *Client, a Authenticator) (code string, err error) {
	ceremony, err := c.BeginRegistration(ctx)
	if err != nil {
		return "", err
	}
	response, err := a.Create(p.ConsoleURL, ceremony.Options)
	if err != nil {
		return "", err
	}
	if err := c.FinishRegistration(ctx, Proof{Ceremony: ceremony.ID, Response: response}); err != nil {
		return "", err
	}
	return p.AddSSHKey(ctx, c)
}

// AddSSHKey enrols the profile's SSH key while the enrolment waits for its release, and returns the release code.
func (p *Profile) AddSSHKey(ctx context.Context, c *Client) (code string, err error) {
	public, err := os.ReadFile(p.SSHKeyFile() + ".pub")
	if err != nil {
		return "", err
	}
	if _, err := c.AddSSHKey(ctx, strings.TrimSpace(string(public)), nil); err != nil {
		return "", err
	}
	status, err := c.Status(ctx)
	return status.Code, err
}

// Login logs in with an authenticator and remembers the session.
func (p *Profile) Login(ctx context.Context, c *Client, a Authenticator) error {
	ceremony, err := c.Begin(ctx, Confirmation{Purpose: PurposeLogin})
	if err != nil {
		return err
	}
	response, err := a.Get(p.ConsoleURL, ceremony.Options)
	if err != nil {
		return err
	}
	if _, err := c.FinishLogin(ctx, Proof{Ceremony: ceremony.ID, Response: response}); err != nil {
		return err
	}
	return p.Remember(c)
}

// Remember keeps the client's session for the next command.
func (p *Profile) Remember(c *Client) error { return p.save(profileSession, []byte(c.Session()+"\n")) }

// RenewSSH has a certificate issued for the profile's SSH key. The session's login is at most 15 minutes old.
func (p *Profile) RenewSSH(ctx context.Context, c *Client) (time.Time, error) {
	public, err := os.ReadFile(p.SSHKeyFile() + ".pub")
	if err != nil {
		return time.Time{}, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s.pub: %w", p.SSHKeyFile(), err)
	}
	cert, err := c.IssueSSHCertificate(ctx, ssh.FingerprintSHA256(key), nil)
	if err != nil {
		return time.Time{}, err
	}
	return cert.ValidBefore, p.save(profileSSHKey+"-cert.pub", []byte(strings.TrimSpace(cert.Certificate)+"\n"))
}

// WriteSSHConfig writes ssh_config and known_hosts into the profile's folder and returns the path of the first, with which
// stock ssh reaches the gateway and its targets: ssh -F PATH db1.
func (p *Profile) WriteSSHConfig(ctx context.Context, c *Client) (string, error) {
	me, err := c.Me(ctx)
	if err != nil {
		return "", err
	}
	quoted := func(path string) string { return `"` + strings.ReplaceAll(path, "%", "%%") + `"` }
	config := me.SSH.Config(quoted(p.SSHKeyFile()), quoted(p.SSHCertFile()), quoted(p.Path(profileKnownHosts)))
	if err := p.save(profileKnownHosts, []byte(me.SSH.KnownHosts+"\n")); err != nil {
		return "", err
	}
	return p.Path(profileSSHConfig), p.save(profileSSHConfig, []byte(config))
}

// Waiting tells whether the profile's enrolment is not released yet.
func (s Status) Waiting() bool {
	return s.State == identity.StateWaiting || s.State == identity.StateCertified
}
