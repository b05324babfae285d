package store

import (
	"context"
	"errors"

	"github.com/sekisho/sekisho/gateway/directory"
)

type directoryStore struct{ db *DB }

// SaveDirectory refuses gaps as well: v.Number has to be one more than the latest.
func (s directoryStore) SaveDirectory(ctx context.Context, v directory.Version) error {
	return s.db.change(ctx, directory.ErrConflict, `INSERT INTO directory_versions (number, yaml, by, reason, at)
		SELECT $1, $2, $3, $4, $5 WHERE (SELECT COALESCE(MAX(number), 0) FROM directory_versions) = $1 - 1
		ON CONFLICT DO NOTHING`, v.Number, v.YAML, v.By, v.Reason, nanos(v.At))
}

func (s directoryStore) LatestDirectory(ctx context.Context) (directory.Version, error) {
	row := s.db.read.QueryRowContext(ctx,
		`SELECT number, yaml, by, reason, at FROM directory_versions ORDER BY number DESC LIMIT 1`)
	v, err := one(row, scanVersion, errNone)
	if errors.Is(err, errNone) {
		return directory.Version{}, nil
	}
	return v, err
}

var errNone = errors.New("none")

func scanVersion(columns scan) (v directory.Version, err error) {
	err = columns(&v.Number, &v.YAML, &v.By, &v.Reason, readAt(&v.At))
	return v, err
}
