package recorder

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

const (
	headSigned  = sha256.Size + 8
	headSize    = headSigned + ed25519.SignatureSize
	headContext = "sekisho recording head v1\n"
)

// Head is a signed state of a recording: everything in its records up to and without number Records.
type Head struct {
	Records  int       `json:"records"`
	SHA256   string    `json:"sha256"` // hex of the chain over those records
	SignedAt time.Time `json:"signed_at"`
}

// appendHead appends the body of the head record h, which signs sum.
func appendHead(b []byte, h recordHeader, sum [sha256.Size]byte, at time.Time, signer ed25519.PrivateKey) []byte {
	start := len(b)
	b = append(b, sum[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixNano()))
	return append(b, ed25519.Sign(signer, headMessage(h, b[start:]))...)
}

// signedHead is the parsed body of a head record.
type signedHead struct {
	sum [sha256.Size]byte
	at  time.Time
	sig []byte
}

func parseHead(body []byte) signedHead {
	h := signedHead{sig: body[headSigned:]}
	copy(h.sum[:], body)
	h.at = time.Unix(0, int64(binary.BigEndian.Uint64(body[sha256.Size:]))).UTC()
	return h
}

func (s signedHead) head(records int) Head {
	return Head{Records: records, SHA256: hex.EncodeToString(s.sum[:]), SignedAt: s.at}
}

func validHead(h recordHeader, body []byte, signer ed25519.PublicKey) bool {
	return ed25519.Verify(signer, headMessage(h, body[:headSigned]), body[headSigned:])
}

func headMessage(h recordHeader, signed []byte) []byte {
	var header [headerSize]byte
	h.put(header[:])
	m := make([]byte, 0, len(headContext)+signedSize+headSigned)
	m = append(m, headContext...)
	m = append(m, header[:signedSize]...)
	return append(m, signed...)
}
