package store

import (
	"context"
	"database/sql"
	"sync"
)

// prepared keeps the statements of a pool that every login runs: parsing them costs more than they do.
type prepared struct {
	mu         sync.Mutex
	statements map[string]*sql.Stmt // by text; only constants come here
}

// of returns the statement with a text, preparing it the first time.
func (p *prepared) of(ctx context.Context, pool *sql.DB, text string) (*sql.Stmt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.statements[text]; s != nil {
		return s, nil
	}
	s, err := pool.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if p.statements == nil {
		p.statements = make(map[string]*sql.Stmt)
	}
	p.statements[text] = s
	return s, nil
}

// row reads the row that a constant query answers with.
func row[T any](ctx context.Context, db *DB, read func(scan) (T, error), missing error, query string, args ...any) (T, error) {
	s, err := db.queries.of(ctx, db.read, query)
	if err != nil {
		var none T
		return none, err
	}
	return one(s.QueryRowContext(ctx, args...), read, missing)
}
