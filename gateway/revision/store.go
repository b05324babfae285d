package revision

import "context"

// Store keeps the book of revisions, which only ever grows, and the files it speaks of.
type Store interface {
	// Entries lists what follows after, in order.
	Entries(ctx context.Context, after int64) ([]Entry, error)
	// Append adds entries, and the files by the hex of their SHA-256 that are not there yet: all or nothing. ErrConflict
	// when the first entry is not the one after the last stored.
	Append(ctx context.Context, entries []Entry, files map[string][]byte) error
	// File returns a file's content; ErrNotFound when there is none.
	File(ctx context.Context, sha256 string) ([]byte, error)
}

// Entry is one line of the book: what became of a revision.
type Entry struct {
	Seq       int64  // from 1, without gaps
	Number    int    // of the revision
	Record    []byte // JSON, the very bytes that are signed
	Signature []byte // Ed25519
}
