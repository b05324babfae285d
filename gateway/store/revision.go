package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/sekisho/sekisho/gateway/revision"
)

type revisionStore struct{ db *DB }

func scanEntry(columns scan) (e revision.Entry, err error) {
	err = columns(&e.Seq, &e.Number, &e.Record, &e.Signature)
	return e, err
}

func (s revisionStore) Entries(ctx context.Context, after int64) ([]revision.Entry, error) {
	return all(ctx, s.db, scanEntry, `SELECT seq, number, record, signature FROM policy_entries WHERE seq > $1 ORDER BY seq`, after)
}

func (s revisionStore) Append(ctx context.Context, entries []revision.Entry, files map[string][]byte) error {
	return s.db.inside(ctx, func(tx *sql.Tx) error {
		for _, e := range entries {
			if err := appendEntry(ctx, tx, e); err != nil {
				return err
			}
		}
		for _, sum := range slices.Sorted(maps.Keys(files)) {
			_, err := tx.ExecContext(ctx, `INSERT INTO policy_files (sha256, content) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
				sum, append([]byte{}, files[sum]...))
			if err != nil {
				return fmt.Errorf("storing a policy file: %w", err)
			}
		}
		return nil
	})
}

// appendEntry refuses repeats and gaps: e.Seq has to be one more than the latest.
func appendEntry(ctx context.Context, tx *sql.Tx, e revision.Entry) error {
	return touched(revision.ErrConflict)(tx.ExecContext(ctx, `INSERT INTO policy_entries (seq, number, record, signature)
		SELECT $1, $2, $3, $4 WHERE (SELECT COALESCE(MAX(seq), 0) FROM policy_entries) = $1 - 1
		ON CONFLICT DO NOTHING`, e.Seq, e.Number, e.Record, e.Signature))
}

func (s revisionStore) File(ctx context.Context, sha256 string) ([]byte, error) {
	row := s.db.read.QueryRowContext(ctx, `SELECT content FROM policy_files WHERE sha256 = $1`, sha256)
	return one(row, func(columns scan) (content []byte, err error) {
		err = columns(&content)
		return content, err
	}, revision.ErrNotFound)
}
