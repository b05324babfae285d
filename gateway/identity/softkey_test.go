package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// softKey is a security key in software: one ES256 credential for one relying party. Its fields let a test misbehave.
type softKey struct {
	t       *testing.T
	origin  string
	rpID    string
	private *ecdsa.PrivateKey
	id      []byte
	handle  string // user handle given at registration, base64url
	counter uint32
	flags   byte // of the next answer
	aaguid  [16]byte

	attachment, transport string // as the browser tells
}

// WebAuthn authenticator data flags (WebAuthn level 3, section 6.1).
const (
	flagUP = 1 << 0
	flagUV = 1 << 2
	flagBE = 1 << 3
	flagBS = 1 << 4
	flagAT = 1 << 6
)

func newSoftKey(t *testing.T) *softKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	rand.Read(id)
	return &softKey{t: t, origin: testOrigin, rpID: testRPID, private: private, id: id, flags: flagUP | flagUV,
		attachment: "cross-platform", transport: "usb"}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (k *softKey) clientData(kind, challenge string) []byte {
	text, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": k.origin, "crossOrigin": false})
	if err != nil {
		k.t.Fatal(err)
	}
	return text
}

func (k *softKey) authData(flags byte) []byte {
	rp := sha256.Sum256([]byte(k.rpID))
	k.counter++
	return binary.BigEndian.AppendUint32(append(rp[:], flags), k.counter)
}

// create answers PublicKeyCredentialCreationOptionsJSON with a RegistrationResponseJSON.
func (k *softKey) create(options []byte) []byte {
	k.t.Helper()
	var o struct {
		Challenge string `json:"challenge"`
		User      struct {
			ID string `json:"id"`
		} `json:"user"`
		RP struct {
			ID string `json:"id"`
		} `json:"rp"`
		Selection struct {
			UserVerification string `json:"userVerification"`
		} `json:"authenticatorSelection"`
	}
	if err := json.Unmarshal(options, &o); err != nil {
		k.t.Fatal(err)
	}
	if o.Selection.UserVerification != "required" || o.RP.ID != testRPID {
		k.t.Fatalf("registration options ask for %+v", o)
	}
	k.handle = o.User.ID
	public, err := k.private.PublicKey.ECDH()
	if err != nil {
		k.t.Fatal(err)
	}
	point := public.Bytes()
	cose, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:65]})
	if err != nil {
		k.t.Fatal(err)
	}
	data := append(k.authData(k.flags|flagAT), k.aaguid[:]...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(k.id)))
	data = append(append(data, k.id...), cose...)
	attestation, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	if err != nil {
		k.t.Fatal(err)
	}
	return k.answer(map[string]any{
		"clientDataJSON":    b64(k.clientData("webauthn.create", o.Challenge)),
		"attestationObject": b64(attestation),
		"transports":        []string{k.transport},
	})
}

// get answers PublicKeyCredentialRequestOptionsJSON with an AuthenticationResponseJSON.
func (k *softKey) get(options []byte) []byte {
	k.t.Helper()
	var o struct {
		Challenge string `json:"challenge"`
	}
	if err := json.Unmarshal(options, &o); err != nil {
		k.t.Fatal(err)
	}
	data, client := k.authData(k.flags), k.clientData("webauthn.get", o.Challenge)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.private, digest[:])
	if err != nil {
		k.t.Fatal(err)
	}
	return k.answer(map[string]any{
		"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature), "userHandle": k.handle,
	})
}

func (k *softKey) answer(response map[string]any) []byte {
	text, err := json.Marshal(map[string]any{
		"id": b64(k.id), "rawId": b64(k.id), "type": "public-key", "response": response,
		"clientExtensionResults": map[string]any{}, "authenticatorAttachment": k.attachment,
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return text
}
