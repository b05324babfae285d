package directory

import (
	"context"
	"errors"
	"time"
)

// ErrConflict says that another version was applied since the one a change was based on.
var ErrConflict = errors.New("the directory was changed by somebody else in the meantime: look at the diff again and repeat")

// Store keeps the applied versions of the directory: whole documents, numbered from 1, never changed.
type Store interface {
	// SaveDirectory appends version v.Number; it fails with ErrConflict when that number exists, so that two applies
	// cannot both win.
	SaveDirectory(ctx context.Context, v Version) error
	// LatestDirectory returns the newest version, or Number 0 when none was applied.
	LatestDirectory(ctx context.Context) (Version, error)
}

// Version is one applied directory.yaml.
type Version struct {
	Number int
	YAML   []byte // as applied, byte for byte
	By     string
	Reason string
	At     time.Time
}
