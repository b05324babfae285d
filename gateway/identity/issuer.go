package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Lifetimes of X.509 certificates. All CA keys stand on the same host, so an intermediate lives as long as the root.
const (
	rootLifetime   = 20 * 365 * 24 * time.Hour
	clientLifetime = 90 * 24 * time.Hour
	serverLifetime = 30 * 24 * time.Hour
	serverRenewal  = 10 * 24 * time.Hour // a cached certificate with less than this left is replaced
	backdate       = 5 * time.Minute     // for peers whose clock is behind
	maxServerCerts = 1024
)

// issuer is an X.509 CA with its key.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (in issuer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: in.cert.Raw})
}

// sign issues a certificate under in; template needs everything but the serial and, unless it is set, the start.
func (in issuer) sign(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	template.SerialNumber = newX509Serial()
	if template.NotAfter.After(in.cert.NotAfter) {
		template.NotAfter = in.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, in.cert, public, in.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate for %s: %w", template.Subject, err)
	}
	return x509.ParseCertificate(der)
}

// newX509Serial draws 127 random bits with the highest set, so that no X.509 serial is ever an SSH serial of 64 bits.
func newX509Serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// createRoots makes the root and the intermediate for the gateway's own servers.
func createRoots(ring keyring, now time.Time) error {
	key, err := newP256()
	if err != nil {
		return err
	}
	root := issuer{key: key, cert: &x509.Certificate{
		Subject:               pkix.Name{CommonName: "sekisho root " + hex.EncodeToString(newX509Serial().Bytes()[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLifetime),
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}}
	if root.cert, err = root.sign(root.cert, key.Public()); err != nil {
		return err
	}
	server := intermediate(root, pkix.Name{CommonName: "sekisho servers"}, x509.ExtKeyUsageServerAuth, now)
	if _, err := createIssuer(ring, keyServer, root, server); err != nil {
		return err
	}
	return writeIssuer(ring, keyRoot, root)
}

// intermediate is the template of a CA that signs end entities of one usage only.
func intermediate(root issuer, subject pkix.Name, usage x509.ExtKeyUsage, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               subject,
		NotBefore:             now.Add(-backdate),
		NotAfter:              root.cert.NotAfter,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
	}
}

// vendorIntermediate adds name constraints (RFC 5280, section 4.2.1.10), so that by any verifier's reading a certificate
// of this CA stands for this vendor's people and never for a host, an address or a mailbox.
func vendorIntermediate(root issuer, vendor string, now time.Time) *x509.Certificate {
	t := intermediate(root, pkix.Name{CommonName: "sekisho " + vendor, Organization: []string{vendor}},
		x509.ExtKeyUsageClientAuth, now)
	t.PermittedDNSDomainsCritical = true // speaks for all of them
	t.PermittedURIDomains = []string{vendorDomain(vendor)}
	t.ExcludedDNSDomains = []string{""}
	t.PermittedEmailAddresses = []string{vendorDomain(vendor)} // OpenSSL knows no way to exclude all
	t.ExcludedIPRanges = []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
	return t
}

func createIssuer(ring keyring, name string, root issuer, template *x509.Certificate) (issuer, error) {
	key, err := newP256()
	if err != nil {
		return issuer{}, err
	}
	cert, err := root.sign(template, key.Public())
	if err != nil {
		return issuer{}, err
	}
	in := issuer{cert: cert, key: key}
	return in, writeIssuer(ring, name, in)
}

// writeIssuer writes the key before the certificate, which marks the pair as complete; the root's order is the other
// way round, because its key marks the whole folder.
func writeIssuer(ring keyring, name string, in issuer) error {
	certificate := func() error { return writeFile(filepath.Join(ring.dir, name+".crt"), in.pem(), 0o644) }
	key := func() error { return writePrivateKey(ring, name, in.key) }
	first, second := key, certificate
	if name == keyRoot {
		first, second = certificate, key
	}
	if err := first(); err != nil {
		return err
	}
	return second()
}

// readIssuer opens a CA and checks that certificate and key belong together and that root signed it; a nil root means
// that it signs itself.
func readIssuer(ring keyring, name string, root *x509.Certificate) (issuer, error) {
	key, err := readPrivateKey[*ecdsa.PrivateKey](ring, name)
	if err != nil {
		return issuer{}, err
	}
	path := filepath.Join(ring.dir, name+".crt")
	cert, err := readCertificate(path)
	if err == nil && !key.PublicKey.Equal(cert.PublicKey) {
		err = fmt.Errorf("it does not belong to %s", ring.keyPath(name))
	}
	if err == nil {
		if root == nil {
			root = cert
		}
		err = cert.CheckSignatureFrom(root)
	}
	if err != nil {
		return issuer{}, fmt.Errorf("certificate %s cannot be used: %w; restore it from the backup of the gateway's folder",
			path, err)
	}
	return issuer{cert: cert, key: key}, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is not one PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// RootPEM is the X.509 root certificate.
func (a *Authority) RootPEM() []byte { return a.root.pem() }

// ClientCAs is the pool for tls.Config.ClientCAs: the root alone, so that a peer sends its vendor's intermediate.
func (a *Authority) ClientCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root.cert)
	return pool
}

// EnsureVendor makes the vendor's intermediate unless it exists.
func (a *Authority) EnsureVendor(vendor string) error {
	_, err := a.vendorIssuer(vendor)
	return err
}

func (a *Authority) vendorIssuer(vendor string) (issuer, error) {
	if err := checkID("vendor", vendor); err != nil {
		return issuer{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if in, ok := a.vendors[vendor]; ok {
		return in, nil
	}
	in, err := createIssuer(a.ring, filepath.Join(vendorFolder, vendor), a.root, vendorIntermediate(a.root, vendor, a.now()))
	if err != nil {
		return issuer{}, fmt.Errorf("making the intermediate of vendor %s: %w", vendor, err)
	}
	a.vendors[vendor] = in
	return in, nil
}

// issued reports whether cert is the intermediate of vendor.
func (a *Authority) issued(cert *x509.Certificate, vendor string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	in, ok := a.vendors[vendor]
	return ok && in.cert.Equal(cert)
}

// clientCertificate issues a client certificate; its subject is what the directory says, whatever the request asked for.
func (a *Authority) clientCertificate(person, vendor string, public crypto.PublicKey) (*x509.Certificate, issuer, error) {
	if err := checkID("person", person); err != nil {
		return nil, issuer{}, err
	}
	in, err := a.vendorIssuer(vendor)
	if err != nil {
		return nil, issuer{}, err
	}
	start := a.now().Add(-backdate)
	cert, err := in.sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: person, Organization: []string{vendor}},
		NotBefore:             start,
		NotAfter:              start.Add(clientLifetime),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{personURI(person, vendor)},
	}, public)
	return cert, in, err
}

// vendorDomain is a vendor as a host name for URIs and name constraints: acme.vendor.sekisho, or staff.sekisho for the
// reserved @staff. It resolves nowhere.
func vendorDomain(vendor string) string {
	if reserved, ok := strings.CutPrefix(vendor, "@"); ok {
		return reserved + ".sekisho"
	}
	return vendor + ".vendor.sekisho"
}

// personURI is the subject alternative name of a client certificate: sekisho://acme.vendor.sekisho/person/hanako. A name
// constraint can hold a URI only by its host, hence not sekisho:person:hanako.
func personURI(person, vendor string) *url.URL {
	return &url.URL{Scheme: "sekisho", Host: vendorDomain(vendor), Path: "/person/" + person}
}

// subject reads person and vendor from a certificate's names, which must be exactly the one that clientCertificate sets.
func subject(cert *x509.Certificate) (person, vendor string, err error) {
	if len(cert.DNSNames)+len(cert.EmailAddresses)+len(cert.IPAddresses) > 0 || len(cert.URIs) != 1 {
		return "", "", fmt.Errorf("%w: unexpected names", ErrForeign)
	}
	name := cert.URIs[0]
	person = strings.TrimPrefix(name.Path, "/person/")
	vendor, ok := strings.CutSuffix(name.Host, ".vendor.sekisho")
	if !ok {
		vendor = "@" + strings.TrimSuffix(name.Host, ".sekisho")
	}
	if checkID("person", person) != nil || checkID("vendor", vendor) != nil || *personURI(person, vendor) != *name {
		return "", "", fmt.Errorf("%w: unexpected names", ErrForeign)
	}
	return person, vendor, nil
}

// idForm is the directory's form of an id, which may stand in a file name, a host name and an SSH principal as it is.
// Only vendors have reserved ones, with an @.
var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func checkID(what, id string) error {
	plain := id
	if what == "vendor" {
		plain = strings.TrimPrefix(id, "@")
	}
	if !idForm.MatchString(plain) {
		return fmt.Errorf("%s id %q: want up to 63 lower-case letters, digits and dashes, first a letter or digit", what, id)
	}
	return nil
}

// fingerprint is the hex SHA-256 of a certificate's DER.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// hostForm is a DNS name in lower case.
var hostForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ServerCertificate returns a certificate for a DNS name or IP address, from the cache or new, valid for at least ten
// more days. The caller asks only for hosts that the gateway serves, never for any name a peer sends.
func (a *Authority) ServerCertificate(host string) (*tls.Certificate, error) {
	host = strings.ToLower(host)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if c, ok := a.servers[host]; ok && now.Before(c.Leaf.NotAfter.Add(-serverRenewal)) {
		return c, nil
	}
	c, err := a.newServerCertificate(host, now)
	if err != nil {
		return nil, err
	}
	if len(a.servers) >= maxServerCerts {
		clear(a.servers)
	}
	a.servers[host] = c
	return c, nil
}

func (a *Authority) newServerCertificate(host string, now time.Time) (*tls.Certificate, error) {
	template := &x509.Certificate{
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(serverLifetime),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = []net.IP{ip.AsSlice()}
	} else if len(host) <= 253 && hostForm.MatchString(host) {
		template.DNSNames = []string{host}
	} else {
		return nil, fmt.Errorf("host %q: want a DNS name or an IP address", host)
	}
	template.Subject = pkix.Name{Organization: []string{"sekisho"}}
	key, err := newP256()
	if err != nil {
		return nil, err
	}
	leaf, err := a.server.sign(template, key.Public())
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.server.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
