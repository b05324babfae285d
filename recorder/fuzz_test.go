package recorder

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func golden(f *testing.F) []byte {
	f.Helper()
	b, err := os.ReadFile(Path(goldenDir, goldenHeader.Session))
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// FuzzVerify: whatever bytes stand in the file, Verify answers, and only the golden recording itself is whole.
func FuzzVerify(f *testing.F) {
	whole := golden(f)
	key, err := os.ReadFile(filepath.Join(goldenDir, "signer.pub"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(whole[:100])
	f.Add(bytes.Repeat(whole[200:], 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		report, err := verify(bytes.NewReader(b), ed25519.PublicKey(key))
		if err != nil {
			t.Fatal(err)
		}
		if report.OK() && !bytes.Equal(b, whole) {
			t.Fatal("changed bytes verify")
		}
	})
}

// FuzzReader: a file can be anything, and its writer may have held the key.
func FuzzReader(f *testing.F) {
	key := make([]byte, keySize)
	aead, commitment := derive(key, "s-1")
	p := preamble{session: "s-1", signer: make([]byte, ed25519.PublicKeySize), commitment: commitment}
	var frame packer
	frame.begin(true)
	var fr framer
	var b batch
	for _, e := range goldenEntries {
		fr.add(&b, e)
	}
	if err := frame.pack(b.buf, true); err != nil {
		f.Fatal(err)
	}
	f.Add(frame.out, []byte(nil), true)
	f.Add(frame.out[:20], frame.out[20:], false)
	f.Add(append(rawFrameHeader, 0xff, 0xff, 0xff), golden(f), true)
	f.Fuzz(func(t *testing.T, first, second []byte, fresh bool) {
		file := p.encode()
		file = sealed(file, recordHeader{kind: typeHeader}, []byte(`{}`))
		file = sealed(file, recordHeader{kind: typeData, flags: flagFrame, number: 1}, first)
		h := recordHeader{kind: typeData, number: 2}
		if fresh {
			h.flags = flagFrame
		}
		file = sealed(file, h, second)
		file = append(file, second...)
		r := &Reader{src: bytes.NewReader(file), aead: aead, zstd: newDecoder(), next: p.size()}
		defer r.Close()
		if err := r.readHeader(); err != nil {
			t.Fatal(err)
		}
		last := time.Duration(0)
		for range 10_000 { // every error but a damage ends it; damages are finite
			e, err := r.Next()
			if _, damaged := err.(*DamageError); err != nil && !damaged {
				return
			}
			if err == nil && (e.Kind == 0 || e.Offset < 0 || len(e.Data) > MaxData) {
				t.Fatalf("impossible entry %+v", e)
			}
			last = max(last, e.Offset)
		}
	})
}

// sealed appends a record that decrypts with the key of zeros.
func sealed(file []byte, h recordHeader, plain []byte) []byte {
	aead, _ := derive(make([]byte, keySize), "s-1")
	start := len(file)
	file = append(file, make([]byte, headerSize)...)
	file = h.seal(aead, append(file, plain...), start)
	return append(file, make([]byte, checkSize)...)
}

func FuzzEntry(f *testing.F) {
	for _, e := range goldenEntries {
		f.Add(appendEntry(nil, e, 0), int64(0))
	}
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0}, int64(maxOffset))
	f.Fuzz(func(t *testing.T, b []byte, before int64) {
		if before < 0 || time.Duration(before) > maxOffset {
			return
		}
		start := time.Duration(before).Truncate(time.Microsecond)
		e, n, err := parseEntry(b, start)
		if err != nil {
			return
		}
		again, _, err := parseEntry(appendEntry(nil, e, start), start)
		if err != nil || !sameEntry(e, again) || n > len(b) || e.Offset < start {
			t.Fatalf("%+v reads back as %+v, %v", e, again, err)
		}
	})
}
