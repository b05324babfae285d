package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

const (
	headContext = "sekisho audit head v1\n"
	headVersion = 1
)

// Head says what the events of one class must hash to, up to number Seq. FORMAT.md gives the fields.
type Head struct {
	V       int            `json:"v,omitempty"`
	Class   recorder.Class `json:"class,omitempty"`
	Segment int            `json:"segment,omitempty"`
	Seq     uint64         `json:"seq"`
	Bytes   int64          `json:"bytes"`
	SHA256  string         `json:"sha256"`
	At      time.Time      `json:"at,omitzero"`
	Signer  string         `json:"signer,omitempty"`
	Closed  bool           `json:"closed,omitempty"`
}

// headLine is a line of a heads file: a mark, or a head with its signature.
type headLine struct {
	Head
	sum    chainSum
	object []byte // as stored, of a signed head
	sig    []byte // nil for a mark
	line   int    // number in the file, from 1
}

func appendHeadLine(b []byte, h Head, signer ed25519.PrivateKey) []byte {
	object, err := json.Marshal(h)
	if err != nil {
		panic(err) // numbers, strings and a time
	}
	b = append(b, object...)
	if signer != nil {
		sig := ed25519.Sign(signer, append([]byte(headContext), object...))
		b = append(b, ' ')
		b = base64.StdEncoding.AppendEncode(b, sig)
	}
	return append(b, '\n')
}

// parseHeadLine is strict about everything but the signature, which needs a key to check.
func parseHeadLine(line []byte) (headLine, error) {
	if h, ok := parseMark(line); ok {
		return h, nil
	}
	object, encoded, signed := bytes.Cut(line, []byte(" "))
	h := headLine{object: object}
	if !signed {
		return h, errors.New("it is neither a mark nor signed")
	}
	if err := json.Unmarshal(object, &h.Head); err != nil {
		return h, err
	}
	if again, err := json.Marshal(h.Head); err != nil || !bytes.Equal(again, object) {
		return h, errors.New("it is not written as the log writes heads")
	}
	if n, err := hex.Decode(h.sum[:], []byte(h.SHA256[:min(len(h.SHA256), 2*sha256.Size)])); err != nil || n != sha256.Size {
		return h, fmt.Errorf("sha256 %q is no hash", h.SHA256)
	}
	if h.Bytes < 0 || h.V != headVersion {
		return h, fmt.Errorf("version %d, bytes %d are not possible here", h.V, h.Bytes)
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(string(encoded))
	if err != nil || len(sig) != ed25519.SignatureSize {
		return h, errors.New("its signature is none")
	}
	h.sig = sig
	return h, nil
}

// parseMark parses a line that is exactly a mark; there is one after every commit, so it has to be quick.
func parseMark(line []byte) (h headLine, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	if !ok {
		return h, false
	}
	seq, rest, ok := cutNumber(rest, `,"bytes":`)
	if !ok {
		return h, false
	}
	size, rest, ok := cutNumber(rest, `,"sha256":"`)
	if !ok || len(rest) != 2*sha256.Size+2 || string(rest[2*sha256.Size:]) != `"}` {
		return h, false
	}
	h.SHA256 = string(rest[:2*sha256.Size])
	_, err := hex.Decode(h.sum[:], rest[:2*sha256.Size])
	h.Seq, h.Bytes = seq, int64(size)
	return h, err == nil && h.Bytes >= 0 && h.SHA256 == strings.ToLower(h.SHA256)
}

// cutNumber takes a number in its shortest form and then sep off b.
func cutNumber(b []byte, sep string) (n uint64, rest []byte, ok bool) {
	digits, rest, ok := bytes.Cut(b, []byte(sep))
	if !ok {
		return 0, nil, false
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	return n, rest, err == nil && strconv.FormatUint(n, 10) == string(digits)
}

func (h headLine) valid(key ed25519.PublicKey) bool {
	return h.sig != nil && ed25519.Verify(key, append([]byte(headContext), h.object...), h.sig)
}

// chainSum is the chain of a class up to some event.
type chainSum [sha256.Size]byte

func chainStart(class recorder.Class) chainSum {
	return sha256.Sum256([]byte("sekisho audit v1 " + string(class)))
}

// add goes on with a line, line feed included.
func (s *chainSum) add(line []byte) {
	h := sha256.New()
	h.Write(s[:])
	h.Write(line)
	h.Sum(s[:0])
}

func (s chainSum) String() string { return hex.EncodeToString(s[:]) }
