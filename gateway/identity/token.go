package identity

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// tokenSigner signs the identity that goes upstream to an app.
type tokenSigner struct {
	signer jose.Signer
	jwks   []byte
}

func newTokenSigner(key *ecdsa.PrivateKey) (tokenSigner, error) {
	jwk := jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return tokenSigner{}, err
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}})
	if err != nil {
		return tokenSigner{}, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: jwk.KeyID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	return tokenSigner{signer: signer, jwks: jwks}, err
}

// SignIdentity makes a compact ES256 JWT of claims as they are; times are NumericDate numbers (RFC 7519).
func (a *Authority) SignIdentity(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding identity claims: %w", err)
	}
	signed, err := a.token.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing identity claims: %w", err)
	}
	return signed.CompactSerialize()
}

// JWKS is the JSON Web Key Set (RFC 7517) that verifies SignIdentity's tokens.
func (a *Authority) JWKS() []byte { return a.token.jwks }
