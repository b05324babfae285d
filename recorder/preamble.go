package recorder

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	magic           = "SEKISHO"
	version         = 1
	maxSession      = 128
	preambleFixed   = len(magic) + 1 + 1
	preambleTail    = ed25519.PublicKeySize + commitmentSize + crcSize
	preambleMinimum = preambleFixed + 1 + preambleTail
	crcSize         = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// preamble opens the file: whose recording it is, who signs it and which key it will turn out to be encrypted with.
type preamble struct {
	session    string
	signer     ed25519.PublicKey
	commitment [commitmentSize]byte
}

func (p preamble) size() int64 { return int64(preambleFixed + len(p.session) + preambleTail) }

func (p preamble) encode() []byte {
	b := make([]byte, 0, p.size())
	b = append(b, magic...)
	b = append(b, version, byte(len(p.session)))
	b = append(b, p.session...)
	b = append(b, p.signer...)
	b = append(b, p.commitment[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// A preambleError says which bytes at the start of the file are wrong; a short one means that the file ends there.
type preambleError struct {
	offset, length int64
	short          bool
	what           string
}

func (e *preambleError) Error() string { return e.what }

// readPreamble parses the start of src and returns the stored bytes with it, because the chain begins with them.
func readPreamble(src io.ReaderAt) (preamble, []byte, error) {
	b := make([]byte, preambleFixed+maxSession+preambleTail)
	n, err := src.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return preamble{}, nil, err
	}
	b = b[:n]
	if n < preambleMinimum {
		return preamble{}, nil, shortPreamble(b)
	}
	if string(b[:len(magic)]) != magic {
		return preamble{}, nil, &preambleError{length: int64(len(magic)),
			what: "not a recording, or its first 7 bytes are damaged"}
	}
	if v := b[len(magic)]; v != version {
		return preamble{}, nil, &preambleError{offset: int64(len(magic)), length: 1,
			what: fmt.Sprintf("version %d of the recording format is not known here, or the byte at offset 7 is damaged", v)}
	}
	return parsePreamble(b)
}

func shortPreamble(b []byte) error {
	if !bytes.HasPrefix([]byte(magic), b[:min(len(b), len(magic))]) {
		return &preambleError{length: int64(len(b)), what: "not a recording"}
	}
	return &preambleError{offset: int64(len(b)), short: true, what: "the file ends inside its preamble"}
}

func parsePreamble(b []byte) (preamble, []byte, error) {
	size := int(b[preambleFixed-1])
	end := preambleFixed + size + preambleTail
	if size == 0 || size > maxSession {
		return preamble{}, nil, &preambleError{offset: int64(preambleFixed - 1), length: 1,
			what: fmt.Sprintf("the preamble gives the session id %d bytes; 1 to %d are possible", size, maxSession)}
	}
	if end > len(b) {
		return preamble{}, nil, &preambleError{offset: int64(len(b)), short: true, what: "the file ends inside its preamble"}
	}
	b = b[:end]
	body, sum := b[:end-crcSize], binary.BigEndian.Uint32(b[end-crcSize:])
	p := preamble{session: string(body[preambleFixed : preambleFixed+size])}
	rest := body[preambleFixed+size:]
	p.signer = bytes.Clone(rest[:ed25519.PublicKeySize])
	copy(p.commitment[:], rest[ed25519.PublicKeySize:])
	if crc32.Checksum(body, castagnoli) != sum || !validSession(p.session) {
		return preamble{}, nil, &preambleError{length: int64(end), what: "the preamble is damaged: its checksum does not hold"}
	}
	return p, b, nil
}

// validSession keeps session ids to what is safe in a file name and in a terminal.
func validSession(id string) bool {
	for i, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == '_' || c == '.'):
		default:
			return false
		}
	}
	return id != "" && len(id) <= maxSession
}
