// Package recorder keeps what happened: the recording of a session (FORMAT.md) and the event of the audit log. A Writer
// accepts entries and puts them on disk compressed, encrypted and hash-chained; a Reader gives them back; Verify needs
// neither key nor trust in the gateway that wrote them.
package recorder

import (
	"errors"
	"path/filepath"
	"strings"
)

// Errors that callers branch on.
var (
	ErrClosed   = errors.New("the recording is closed")
	ErrTooLarge = errors.New("an entry holds more than 8 MiB")
	// ErrCut: the recording stops without its end: it is still being written, its writer died, or the tail was cut off.
	ErrCut = errors.New("the recording stops without its end")
	// ErrShredded: the key file is gone, so nobody can read the recording any more. It can still be verified.
	ErrShredded = errors.New("the key of the recording is gone")
)

// MaxData is how many bytes of Data one Entry may hold.
const MaxData = 8 << 20

const (
	recExt = ".rec"
	keyExt = ".key"
)

// Path is where the recording of a session stands below dir. Its key stands beside it.
func Path(dir, session string) string {
	return filepath.Join(dir, filepath.Base(session)+recExt)
}

// KeyPath is where the wrapped key of the recording at path stands. Removing that file shreds the recording.
func KeyPath(path string) string {
	return strings.TrimSuffix(path, recExt) + keyExt
}
