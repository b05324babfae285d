package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	masterKeySize     = 32
	masterCredential  = "sekisho-master-key"
	masterKeyFile     = "master.key"
	maxMasterKeyBytes = 256
)

// KeySource says where the master key that seals the private keys comes from. The key itself is 64 hexadecimal digits
// (`openssl rand -hex 32`).
type KeySource struct {
	// Kind is "file" (also when empty) or "systemd-credential", which reads $CREDENTIALS_DIRECTORY/Path.
	Kind string
	// Path is the master key's file, default <dir>/keys/master.key, readable by its owner alone; for
	// systemd-credential the credential's name, default sekisho-master-key.
	Path string
}

// resolve returns the file that holds the master key and the permission bits that it must not have.
func (s KeySource) resolve(dir string) (path string, forbidden fs.FileMode, err error) {
	switch s.Kind {
	case "", "file":
		if s.Path == "" {
			return filepath.Join(dir, "keys", masterKeyFile), 0o077, nil
		}
		return s.Path, 0o077, nil
	case "systemd-credential":
		folder := os.Getenv("CREDENTIALS_DIRECTORY")
		if folder == "" {
			return "", 0, errors.New("key source systemd-credential: CREDENTIALS_DIRECTORY is not set; " +
				"start the gateway as a systemd service with LoadCredentialEncrypted=")
		}
		name := s.Path
		if name == "" {
			name = masterCredential
		}
		if name != filepath.Base(name) || name == "." || name == ".." {
			return "", 0, fmt.Errorf("key source systemd-credential: %q is not a credential's name", name)
		}
		// systemd may grant the service's user by a group-shaped ACL mask, so only the world is shut out.
		return filepath.Join(folder, name), 0o007, nil
	}
	return "", 0, fmt.Errorf("key source %q: want file or systemd-credential", s.Kind)
}

// load reads the master key.
func (s KeySource) load(dir string) (sealer, error) {
	path, forbidden, err := s.resolve(dir)
	if err != nil {
		return sealer{}, err
	}
	text, err := readPrivate(path, forbidden)
	if err != nil {
		return sealer{}, err
	}
	key := make([]byte, masterKeySize)
	text = bytes.TrimSuffix(text, []byte("\n"))
	if len(text) != 2*masterKeySize {
		return sealer{}, fmt.Errorf("master key %s: want 64 hexadecimal digits, got %d bytes; restore it from the backup",
			path, len(text))
	}
	if _, err := hex.Decode(key, text); err != nil {
		return sealer{}, fmt.Errorf("master key %s: want 64 hexadecimal digits; restore it from the backup", path)
	}
	return sealer{master: key, path: path}, nil
}

// create makes the master key when the source is a file that does not exist yet, then loads it.
func (s KeySource) create(dir string) (sealer, error) {
	path, _, err := s.resolve(dir)
	if err != nil {
		return sealer{}, err
	}
	if s.Kind == "" || s.Kind == "file" {
		if err := makeMasterKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return sealer{}, fmt.Errorf("making the master key: %w", err)
		}
	}
	return s.load(dir)
}

func makeMasterKey(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	key := make([]byte, masterKeySize)
	rand.Read(key)
	if _, err := fmt.Fprintf(f, "%x\n", key); err != nil {
		return err
	}
	return f.Sync()
}

// readPrivate reads a short file after checking on the open descriptor that it has none of the forbidden bits.
func readPrivate(path string, forbidden fs.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the master key: %w; restore it from the backup, no other key opens without it", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the master key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("master key %s is not a regular file", path)
	}
	if info.Mode().Perm()&forbidden != 0 {
		return nil, fmt.Errorf("master key %s can be read by others (mode %04o): run chmod 600 %s, and if others had access, "+
			"treat every key of this gateway as known", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxMasterKeyBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the master key: %w", err)
	}
	return text, nil
}
