package identity

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A key file is one PEM block of type SEKISHO SEALED KEY with the headers Name and Version: 1. Its body is a 32-byte
// salt, then a 12-byte nonce and AES-256-GCM of the key, under HKDF-SHA256(master, salt, "sekisho key file 1 " + name)
// with the name as additional data. A file renamed to stand for another key therefore does not open.
const (
	sealedType    = "SEKISHO SEALED KEY"
	sealedVersion = "1"
	sealedSalt    = 32
	sealedInfo    = "sekisho key file 1 "
)

// sealer seals and opens key files with the master key that was read from path.
type sealer struct {
	master []byte
	path   string
}

func (s sealer) aead(name string, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, s.master, salt, sealedInfo+name, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (s sealer) seal(name string, secret []byte) ([]byte, error) {
	salt := make([]byte, sealedSalt)
	rand.Read(salt)
	aead, err := s.aead(name, salt)
	if err != nil {
		return nil, err
	}
	body := aead.Seal(salt, nil, secret, []byte(name))
	return pem.EncodeToMemory(&pem.Block{
		Type:    sealedType,
		Headers: map[string]string{"Name": name, "Version": sealedVersion},
		Bytes:   body,
	}), nil
}

func (s sealer) open(name string, text []byte) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != sealedType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is not a key file, or is cut off")
	}
	if v := block.Headers["Version"]; v != sealedVersion {
		return nil, fmt.Errorf("its version is %q; this program reads version %s", v, sealedVersion)
	}
	if len(block.Bytes) < sealedSalt {
		return nil, errors.New("it is cut off")
	}
	aead, err := s.aead(name, block.Bytes[:sealedSalt])
	if err != nil {
		return nil, err
	}
	secret, err := aead.Open(nil, nil, block.Bytes[sealedSalt:], []byte(name))
	if err != nil {
		return nil, fmt.Errorf("it is damaged, belongs to another place, or was sealed with another master key than %s", s.path)
	}
	return secret, nil
}

// keyring is the folder of key files and public files.
type keyring struct {
	dir string
	sealer
}

func (k keyring) keyPath(name string) string { return filepath.Join(k.dir, name+".key") }

// read opens the key file of name.
func (k keyring) read(name string) ([]byte, error) {
	text, err := os.ReadFile(k.keyPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("key file %s is missing; restore it from the backup of the gateway's folder", k.keyPath(name))
	}
	if err != nil {
		return nil, fmt.Errorf("opening a key file: %w", err)
	}
	secret, err := k.open(name, text)
	if err != nil {
		return nil, k.damaged(name, err)
	}
	return secret, nil
}

func (k keyring) damaged(name string, problem error) error {
	return fmt.Errorf("key file %s cannot be used: %w; restore it from the backup of the gateway's folder",
		k.keyPath(name), problem)
}

// write seals secret into the key file of name.
func (k keyring) write(name string, secret []byte) error {
	text, err := k.seal(name, secret)
	if err != nil {
		return fmt.Errorf("sealing key %s: %w", name, err)
	}
	return writeFile(k.keyPath(name), text, 0o600)
}

// writeFile replaces a file durably: a crash leaves the old one or the new one.
func writeFile(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
