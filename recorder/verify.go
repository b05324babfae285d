package recorder

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
)

const maxFindings = 100 // after so many the rest is not looked at

// Verify checks the recording at path from front to back, offline and without the key to read it. What is wrong with the
// recording stands in the Report; an error means that the file could not be read.
func Verify(path string, trusted ed25519.PublicKey) (Report, error) {
	if len(trusted) != ed25519.PublicKeySize {
		return Report{}, errors.New("verifying: the trusted key is not an Ed25519 public key")
	}
	file, err := os.Open(path)
	if err != nil {
		return Report{}, fmt.Errorf("verifying: %w", err)
	}
	defer file.Close()
	report, err := verify(file, trusted)
	if err != nil {
		return report, fmt.Errorf("verifying %s: %w", path, err)
	}
	return report, nil
}

// verifier walks over the records of one file.
type verifier struct {
	src     io.ReaderAt
	trusted ed25519.PublicKey
	signer  ed25519.PublicKey // whose heads are checked: the preamble's
	report  Report

	offset   int64
	place    uint32 // which record belongs at offset
	previous uint32 // number of the record before
	chain    *chain
	lost     bool // the chain does not hold here; named already
	body     []byte
}

// verify is Verify over any bytes.
func verify(src io.ReaderAt, trusted ed25519.PublicKey) (Report, error) {
	v := &verifier{src: src, trusted: trusted}
	if err := v.preamble(); err != nil {
		return v.report, err
	}
	for v.chain != nil && len(v.report.Findings) < maxFindings {
		more, err := v.record()
		if err != nil {
			return v.report, err
		}
		if !more {
			break
		}
	}
	v.report.Bytes, v.report.Records = v.offset, int(v.place)
	return v.report, nil
}

// preamble checks the start; without a chain afterwards there is nothing more to check.
func (v *verifier) preamble() error {
	p, raw, err := readPreamble(v.src)
	var fault *preambleError
	switch {
	case errors.As(err, &fault):
		return v.badPreamble(fault)
	case err != nil:
		return err
	}
	v.report.Session, v.report.Signer = p.session, p.signer
	v.signer, v.chain, v.offset = p.signer, newChain(raw), int64(len(raw))
	if !p.signer.Equal(v.trusted) {
		v.find(FaultSigner, -1, 0, v.offset,
			"the recording is signed by key %x, not by the trusted key %x", []byte(p.signer), []byte(v.trusted))
	}
	return nil
}

// badPreamble names what is wrong with the start and, if records can be made out behind it, goes on with them.
func (v *verifier) badPreamble(e *preambleError) error {
	if e.short {
		v.find(FaultCut, -1, e.offset, 0, "%s, after %d bytes", e.what, e.offset)
		return nil
	}
	v.find(FaultDamaged, -1, e.offset, e.length, "%s", e.what)
	h, offset, err := findHeader(v.src, 0, 0, func(h recordHeader) bool { return h.number == 1 })
	if err != nil {
		return ignoreEOF(err)
	}
	v.signer, v.chain, v.lost = v.trusted, newChain(nil), true
	v.offset, v.place, v.previous = offset, h.number, 0
	return nil
}

// record checks the record at v.offset; false when it was the last.
func (v *verifier) record() (bool, error) {
	h, raw, ok, err := readHeaderAt(v.src, v.offset)
	switch {
	case err == io.EOF:
		return false, v.unclosed()
	case err == io.ErrUnexpectedEOF:
		return false, v.cut()
	case err != nil:
		return false, err
	case !ok:
		return v.badHeader()
	}
	body, check, err := v.read(h)
	if isEnd(err) {
		return false, v.cut()
	}
	if err != nil {
		return false, err
	}
	inPlace := v.number(h)
	v.content(h, raw[:], body, check, inPlace)
	v.place++
	v.offset += h.stored()
	if h.flags&flagFinal != 0 && h.kind == typeHead {
		return false, v.trailing()
	}
	return true, nil
}

func (v *verifier) read(h recordHeader) (body, check []byte, err error) {
	n := int(h.length) + checkSize
	if cap(v.body) < n {
		v.body = make([]byte, n)
	}
	b := v.body[:n]
	if _, err := v.src.ReadAt(b, v.offset+headerSize); err != nil {
		return nil, nil, err
	}
	return b[:h.length], b[h.length:], nil
}

// number checks that the record belongs where it stands. Of a row of moved records the first is named.
func (v *verifier) number(h recordHeader) (inPlace bool) {
	inPlace = h.number == v.place || v.place > 0 && h.number == v.previous+1
	if !inPlace {
		v.lost = true
		v.find(FaultSwapped, int(v.place), v.offset, h.stored(),
			"record %d stands in the place of record %d, at offset %d", h.number, v.place, v.offset)
	}
	v.previous = h.number
	return inPlace
}

// content checks a record's bytes against the chain, and a head against what it signs.
func (v *verifier) content(h recordHeader, raw, body, check []byte, inPlace bool) {
	v.report.Unsigned++
	before := v.chain.sum
	holds := string(v.chain.add(raw, body)) == string(check)
	if h.kind != typeHead {
		v.checked(h, holds)
		return
	}
	head := parseHead(body)
	valid := validHead(h, body, v.signer)
	if valid && v.lost && inPlace { // go on from what was signed
		before, v.chain.sum = head.sum, head.sum
		holds = string(v.chain.add(raw, body)) == string(check)
		v.lost = false
	}
	if v.checked(h, holds); v.lost {
		return
	}
	switch {
	case head.sum != before:
		v.find(FaultSignature, int(h.number), v.offset, h.stored(),
			"the head in record %d, at offset %d, is not over the records before it: between record %d and here something "+
				"was exchanged", h.number, v.offset, v.report.Head.Records)
	case !valid:
		v.find(FaultSignature, int(h.number), v.offset, h.stored(),
			"the signature of the head in record %d, at offset %d, is not by key %x", h.number, v.offset, []byte(v.signer))
	default:
		v.report.Head, v.report.Unsigned = head.head(int(h.number)), 0
		v.report.Closed = h.flags&flagFinal != 0
	}
}

// checked names a record whose check does not hold, and only the first of a row of them.
func (v *verifier) checked(h recordHeader, holds bool) {
	if holds {
		v.lost = false
		return
	}
	if !v.lost {
		v.find(FaultDamaged, int(h.number), v.offset, h.stored(),
			"record %d, %d bytes at offset %d, is damaged: its bytes are not those that were written",
			h.number, h.stored(), v.offset)
	}
	v.lost = true
}

// badHeader names a header that is none and goes on at the next one.
func (v *verifier) badHeader() (bool, error) {
	h, offset, err := findHeader(v.src, v.offset+1, v.place, func(recordHeader) bool { return true })
	if err != nil {
		v.find(FaultDamaged, int(v.place), v.offset, headerSize,
			"the header of record %d, at offset %d, is damaged, and no other record follows", v.place, v.offset)
		return false, ignoreEOF(err)
	}
	v.find(FaultDamaged, int(v.place), v.offset, offset-v.offset,
		"the header of record %d, at offset %d, is damaged", v.place, v.offset)
	v.lost = true
	v.report.Unsigned += int(h.number - v.place)
	v.offset, v.place, v.previous = offset, h.number, h.number-1
	return true, nil
}

func (v *verifier) cut() error {
	v.find(FaultCut, int(v.place), v.offset, 0,
		"the file stops inside record %d, which begins at offset %d: its tail is missing", v.place, v.offset)
	return nil
}

func (v *verifier) unclosed() error {
	v.find(FaultUnclosed, int(v.place), v.offset, 0,
		"the recording was never closed: it stops after %d records, %d bytes. It is still being written, its writer died, "+
			"or its tail was cut off", v.place, v.offset)
	return nil
}

// trailing checks that nothing follows the final head.
func (v *verifier) trailing() error {
	var b [1]byte
	_, err := v.src.ReadAt(b[:], v.offset)
	if err == nil {
		v.find(FaultTrailing, int(v.place), v.offset, 1, "something follows the final head, from offset %d on", v.offset)
	}
	return ignoreEOF(err)
}

func (v *verifier) find(fault Fault, record int, offset, length int64, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, Finding{Fault: fault, Record: record, Offset: offset, Length: length,
		What: fmt.Sprintf(format, args...)})
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
