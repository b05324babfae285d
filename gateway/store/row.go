package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// scan reads the columns of one row into the given places.
type scan func(into ...any) error

// one reads the row that a query answers with, or returns missing when there is none.
func one[T any](row *sql.Row, read func(scan) (T, error), missing error) (T, error) {
	v, err := read(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return v, missing
	}
	return v, err
}

// all reads every row of a query.
func all[T any](ctx context.Context, db *DB, read func(scan) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := read(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// change runs one statement, a constant, and returns unchanged when it touched no row.
func (db *DB) change(ctx context.Context, unchanged error, statement string, args ...any) error {
	s, err := db.changes.of(ctx, db.write, statement)
	if err != nil {
		return err
	}
	return touched(unchanged)(s.ExecContext(ctx, args...))
}

// touched turns the result of a statement that touched no row into the error unchanged.
func touched(unchanged error) func(sql.Result, error) error {
	return func(result sql.Result, err error) error {
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return unchanged
	}
}

// inside runs f in one transaction that holds the write lock from its start.
func (db *DB) inside(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// nanos is how an instant is stored: nanoseconds since 1970, 0 for the zero time. What lies beyond the years that this can
// tell (1678 to 2262) becomes 0 or the last instant.
func nanos(t time.Time) int64 {
	switch {
	case t.IsZero() || t.Year() < 1679:
		return 0
	case t.Year() > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// instant reads what nanos wrote, in UTC.
type instant time.Time

// Scan is called by database/sql.
func (i *instant) Scan(column any) error {
	n, ok := column.(int64)
	if !ok {
		return fmt.Errorf("an instant is stored as a number, not as %T", column)
	}
	*i = instant{}
	if n != 0 {
		*i = instant(time.Unix(0, n).UTC())
	}
	return nil
}

func readAt(t *time.Time) *instant { return (*instant)(t) }

// jsonText reads a column of JSON into v.
type jsonText struct{ v any }

// Scan is called by database/sql.
func (j jsonText) Scan(column any) error {
	switch text := column.(type) {
	case string:
		return json.Unmarshal([]byte(text), j.v)
	case []byte:
		return json.Unmarshal(text, j.v)
	}
	return fmt.Errorf("JSON is stored as text, not as %T", column)
}

func encode(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}
