package recorder

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"filippo.io/age"
)

const (
	keySize        = 32
	commitmentSize = 32
	maxKeyFile     = 64 << 10
)

// newKey makes a recording key and wraps it for recipient. The wrapped key is what stands in the key file.
func newKey(recipient age.Recipient) (key, wrapped []byte, err error) {
	key = make([]byte, keySize)
	rand.Read(key)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, recipient)
	if err != nil {
		return nil, nil, err
	}
	if _, err := w.Write(key); err != nil {
		return nil, nil, err
	}
	if err := w.Close(); err != nil {
		return nil, nil, err
	}
	return key, b.Bytes(), nil
}

// readKey unwraps the key file at path.
func readKey(path string, id age.Identity) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (%s)", ErrShredded, path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := age.Decrypt(io.LimitReader(f, maxKeyFile), id)
	if err != nil {
		return nil, fmt.Errorf("unwrapping the key %s: %w", path, err)
	}
	key, err := io.ReadAll(io.LimitReader(r, keySize+1))
	if err != nil {
		return nil, fmt.Errorf("unwrapping the key %s: %w", path, err)
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("the key file %s does not hold a recording key", path)
	}
	return key, nil
}

// derive gives the cipher of a session's recording and the commitment to its key.
func derive(key []byte, session string) (cipher.AEAD, [commitmentSize]byte) {
	var commitment [commitmentSize]byte
	copy(commitment[:], expand(key, "sekisho recording v1 commitment "+session))
	block, err := aes.NewCipher(expand(key, "sekisho recording v1 encryption "+session))
	if err != nil {
		panic(err) // 32 bytes are a valid AES key
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size that GCM needs
	}
	return aead, commitment
}

func expand(key []byte, info string) []byte {
	out, err := hkdf.Key(sha256.New, key, nil, info, keySize)
	if err != nil {
		panic(err) // only a longer output can fail
	}
	return out
}

// openCipher is derive for a reader: the key must be the one that the preamble commits to.
func openCipher(key []byte, p preamble) (cipher.AEAD, error) {
	aead, commitment := derive(key, p.session)
	if subtle.ConstantTimeCompare(commitment[:], p.commitment[:]) != 1 {
		return nil, fmt.Errorf("the key file belongs to another recording than %s", p.session)
	}
	return aead, nil
}
