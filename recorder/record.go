package recorder

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"
)

const (
	headerSize = 22 // with its CRC
	signedSize = headerSize - crcSize
	checkSize  = 8
	tagSize    = 16
	maxBody    = 16 << 20
	maxFile    = 1 << 60 // more than any file holds
)

// The types and flags of records; wire values.
const (
	typeHeader = 'H'
	typeData   = 'D'
	typeHead   = 'S'

	flagFrame = 1 // D: a new zstd frame begins
	flagFinal = 2 // S: nothing follows
)

// recordHeader precedes every record's body.
type recordHeader struct {
	kind   byte
	flags  byte
	number uint32
	at     time.Duration // since the recording began, in whole µs
	length uint32        // of the body
}

// put writes h into b, which has room for headerSize bytes.
func (h recordHeader) put(b []byte) {
	b[0], b[1] = h.kind, h.flags
	binary.BigEndian.PutUint32(b[2:], h.number)
	binary.BigEndian.PutUint64(b[6:], uint64(h.at/time.Microsecond))
	binary.BigEndian.PutUint32(b[14:], h.length)
	binary.BigEndian.PutUint32(b[signedSize:], crc32.Checksum(b[:signedSize], castagnoli))
}

// parseRecordHeader is strict: false unless b holds a header that a version 1 writer could have written.
func parseRecordHeader(b []byte) (recordHeader, bool) {
	h := recordHeader{kind: b[0], flags: b[1], number: binary.BigEndian.Uint32(b[2:]), length: binary.BigEndian.Uint32(b[14:])}
	if !h.plausible() {
		return recordHeader{}, false
	}
	at := binary.BigEndian.Uint64(b[6:])
	if at > uint64(maxOffset/time.Microsecond) {
		return recordHeader{}, false
	}
	h.at = time.Duration(at) * time.Microsecond
	return h, crc32.Checksum(b[:signedSize], castagnoli) == binary.BigEndian.Uint32(b[signedSize:headerSize])
}

func (h recordHeader) plausible() bool {
	switch h.kind {
	case typeHeader:
		return h.flags == 0 && h.number == 0 && h.length > tagSize && h.length <= maxHeader+tagSize
	case typeData:
		return h.flags&^flagFrame == 0 && h.number > 0 && h.length > tagSize && h.length <= maxBody
	case typeHead:
		return h.flags&^flagFinal == 0 && h.number > 0 && h.length == headSize
	}
	return false
}

// begins reports whether the record begins a frame.
func (h recordHeader) begins() bool { return h.kind == typeData && h.flags&flagFrame != 0 }

// stored is how many bytes the whole record takes in the file.
func (h recordHeader) stored() int64 { return headerSize + int64(h.length) + checkSize }

func (h recordHeader) nonce() []byte {
	n := make([]byte, 12)
	binary.BigEndian.PutUint64(n[4:], uint64(h.number))
	return n
}

// seal turns the end of b from start on, room for a header and then the plaintext, into the header and its encrypted body.
func (h recordHeader) seal(aead cipher.AEAD, b []byte, start int) []byte {
	body := start + headerSize
	h.length = uint32(len(b) - body + tagSize)
	h.put(b[start:])
	return aead.Seal(b[:body], h.nonce(), b[body:], b[start:start+signedSize])
}

// chain is the running hash over everything stored so far.
type chain struct {
	sum  [sha256.Size]byte
	hash hash.Hash
}

func newChain(preamble []byte) *chain {
	return &chain{sum: sha256.Sum256(preamble), hash: sha256.New()}
}

// add takes a record without its check into the chain and returns the check that belongs to it.
func (c *chain) add(record ...[]byte) []byte {
	c.hash.Reset()
	c.hash.Write(c.sum[:])
	for _, part := range record {
		c.hash.Write(part)
	}
	c.hash.Sum(c.sum[:0])
	return c.sum[:checkSize]
}

// readHeaderAt reads the record header at offset. io.EOF when the file ends exactly there, io.ErrUnexpectedEOF when it
// ends inside; ok is false when the bytes are no header.
func readHeaderAt(src io.ReaderAt, offset int64) (h recordHeader, raw [headerSize]byte, ok bool, err error) {
	n, err := src.ReadAt(raw[:], offset)
	switch {
	case n == headerSize:
		h, ok = parseRecordHeader(raw[:])
		return h, raw, ok, nil
	case err == io.EOF && n > 0:
		return h, raw, false, io.ErrUnexpectedEOF
	}
	return h, raw, false, err
}

// findHeader looks from offset on for the next record header after record number after; accept narrows what will do.
func findHeader(src io.ReaderAt, offset int64, after uint32, accept func(recordHeader) bool) (recordHeader, int64, error) {
	for window := make([]byte, 1<<10); ; window = make([]byte, min(2*len(window), 64<<10)) {
		n, err := src.ReadAt(window, offset)
		if err != nil && err != io.EOF {
			return recordHeader{}, 0, fmt.Errorf("looking for the next record: %w", err)
		}
		for i := 0; i+headerSize <= n; i++ {
			h, ok := parseRecordHeader(window[i : i+headerSize])
			if ok && h.number > after && accept(h) {
				return h, offset + int64(i), nil
			}
		}
		if err == io.EOF {
			return recordHeader{}, 0, io.EOF
		}
		offset += int64(n - headerSize + 1)
	}
}
