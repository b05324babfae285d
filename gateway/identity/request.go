package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// Limits of RSA keys: shorter is weak, longer costs us more than the peer.
const (
	minRSABits     = 3072
	maxRSABits     = 8192
	maxRequestSize = 16 << 10 // bytes of PEM
)

// requestAlgorithms are the signatures accepted on a request; SHA-1 is not among them.
var requestAlgorithms = map[x509.SignatureAlgorithm]bool{
	x509.ECDSAWithSHA256: true, x509.ECDSAWithSHA384: true, x509.ECDSAWithSHA512: true, x509.PureEd25519: true,
	x509.SHA256WithRSA: true, x509.SHA384WithRSA: true, x509.SHA512WithRSA: true,
	x509.SHA256WithRSAPSS: true, x509.SHA384WithRSAPSS: true, x509.SHA512WithRSAPSS: true,
}

// parseRequest reads one PEM certificate request (PKCS #10, RFC 2986) and returns its public key, whose possession the
// request's own signature proves. Subject, attributes and requested extensions are ignored: the directory names people.
func parseRequest(text []byte) (crypto.PublicKey, error) {
	if len(text) > maxRequestSize {
		return nil, fmt.Errorf("certificate request of %d bytes: %w: at most %d", len(text), ErrRequest, maxRequestSize)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("certificate request: %w: want exactly one PEM block CERTIFICATE REQUEST", ErrRequest)
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w: %v", ErrRequest, err)
	}
	if err := checkPublicKey(request.PublicKey); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if !requestAlgorithms[request.SignatureAlgorithm] {
		return nil, fmt.Errorf("certificate request: %w: signature algorithm %s", ErrRequest, request.SignatureAlgorithm)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w: its signature does not verify", ErrRequest)
	}
	return request.PublicKey, nil
}

// checkPublicKey accepts ECDSA P-256 and P-384, Ed25519 and RSA of 3072 to 8192 bits.
func checkPublicKey(public crypto.PublicKey) error {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits >= minRSABits && bits <= maxRSABits {
			return nil
		}
	}
	return fmt.Errorf("%w: want a key of ECDSA P-256 or P-384, Ed25519 or RSA with %d to %d bits",
		ErrRequest, minRSABits, maxRSABits)
}
