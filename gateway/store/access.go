package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
)

type accessStore struct{ db *DB }

const requestColumns = `id, status, person, vendor, target, login, session, operation, command, needs, asked, scopes, minutes,
	reason, ticket, from_at, every, times, decision, created_at, expires, escalated_at, answers, answer_status, answer_by,
	answer_at, answer_minutes, answer_scopes, answer_reason`

func scanRequest(columns scan) (r access.ApprovalRequest, err error) {
	a := &r.Answer
	err = columns(&r.ID, &r.Status, &r.Person, &r.Vendor, &r.Target, &r.Login, &r.Session, &r.Operation, &r.Command,
		jsonText{&r.Needs}, jsonText{&r.Asked}, jsonText{&r.Scopes}, &r.Minutes, &r.Reason, &r.Ticket, readAt(&r.From), &r.Every,
		&r.Times, &r.Decision, readAt(&r.CreatedAt), readAt(&r.Expires), readAt(&r.Escalated), jsonText{&r.Answers}, &a.Status,
		&a.By, readAt(&a.At), &a.Minutes, jsonText{&a.Scopes}, &a.Reason)
	return r, err
}

// requestRow is a request in the order of requestColumns.
func requestRow(r access.ApprovalRequest) ([]any, error) {
	texts := make([]string, 5)
	for i, v := range []any{r.Needs, r.Asked, r.Scopes, r.Answers, r.Answer.Scopes} {
		var err error
		if texts[i], err = encode(v); err != nil {
			return nil, err
		}
	}
	a := r.Answer
	return []any{r.ID, string(r.Status), r.Person, r.Vendor, r.Target, r.Login, r.Session, r.Operation, r.Command, texts[0],
		texts[1], texts[2], r.Minutes, r.Reason, r.Ticket, nanos(r.From), r.Every, r.Times, r.Decision, nanos(r.CreatedAt),
		nanos(r.Expires), nanos(r.Escalated), texts[3], string(a.Status), a.By, nanos(a.At), a.Minutes, texts[4], a.Reason}, nil
}

// PutRequest files a request.
func (s accessStore) PutRequest(ctx context.Context, r access.ApprovalRequest) error {
	row, err := requestRow(r)
	if err != nil {
		return err
	}
	return s.db.change(ctx, nil, `INSERT INTO requests (`+requestColumns+`) VALUES (`+places(len(row))+`)`, row...)
}

// places are $1 to $n.
func places(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	return b.String()
}

const requestByID = `SELECT ` + requestColumns + ` FROM requests WHERE id = $1`

func (s accessStore) Request(ctx context.Context, id string) (access.ApprovalRequest, error) {
	return one(s.db.read.QueryRowContext(ctx, requestByID, id), scanRequest, access.ErrNotFound)
}

// Requests lists newest first.
func (s accessStore) Requests(ctx context.Context, q access.RequestQuery) ([]access.ApprovalRequest, error) {
	query, args := `SELECT `+requestColumns+` FROM requests WHERE 1 = 1`, []any{}
	for _, filter := range []struct{ column, value string }{{"status", string(q.Status)}, {"person", q.Person}} {
		if filter.value != "" {
			args = append(args, filter.value)
			query += fmt.Sprintf(` AND %s = $%d`, filter.column, len(args))
		}
	}
	args = append(args, atMost(q.Limit))
	return all(ctx, s.db, scanRequest, query+fmt.Sprintf(` ORDER BY seq DESC LIMIT $%d`, len(args)), args...)
}

// atMost turns a limit of which 0 means none into one for SQL.
func atMost(limit int) int64 {
	if limit <= 0 {
		return math.MaxInt64
	}
	return int64(limit)
}

// ChangeRequest holds the write lock from reading the request to storing it.
func (s accessStore) ChangeRequest(
	ctx context.Context, id string, change func(*access.ApprovalRequest) ([]access.Lease, error),
) error {
	return s.db.inside(ctx, func(tx *sql.Tx) error {
		r, err := one(tx.QueryRowContext(ctx, requestByID, id), scanRequest, access.ErrNotFound)
		if err != nil {
			return err
		}
		leases, err := change(&r)
		if err != nil {
			return err
		}
		r.ID = id
		row, err := requestRow(r)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE requests SET (`+requestColumns+`) = (`+places(len(row))+`) WHERE id = $1`, row...)
		if err != nil {
			return err
		}
		return putLeases(ctx, tx, id, leases)
	})
}

const leaseColumns = `id, request, person, vendor, target, login, "right", pattern, from_at, until, granted_by, granted_at,
	revoked_by, revoked_at, revoke_reason`

func putLeases(ctx context.Context, tx *sql.Tx, request string, leases []access.Lease) error {
	for _, l := range leases {
		by, err := encode(l.GrantedBy)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO leases (`+leaseColumns+`) VALUES (`+places(15)+`)`, l.ID, request, l.Person,
			l.Vendor, l.Target, l.Login, string(l.Right), l.Pattern, nanos(l.From), nanos(l.Until), by, nanos(l.GrantedAt),
			l.Revoked.By, nanos(l.Revoked.At), l.Revoked.Reason)
		if err != nil {
			return fmt.Errorf("storing lease %s: %w", l.ID, err)
		}
	}
	return nil
}

func scanLease(columns scan) (l access.Lease, err error) {
	err = columns(&l.ID, &l.Request, &l.Person, &l.Vendor, &l.Target, &l.Login, &l.Right, &l.Pattern, readAt(&l.From), readAt(&l.Until),
		jsonText{&l.GrantedBy}, readAt(&l.GrantedAt), &l.Revoked.By, readAt(&l.Revoked.At), &l.Revoked.Reason)
	return l, err
}

// Leases lists them in the order in which they end.
func (s accessStore) Leases(ctx context.Context, person string, now time.Time) ([]access.Lease, error) {
	return all(ctx, s.db, scanLease, `SELECT `+leaseColumns+` FROM leases
		WHERE until > $1 AND ($2 = '' OR person = $2) ORDER BY until, id`, nanos(now), person)
}

// RevokeLease lets a lease end at r.At, which was before its end.
func (s accessStore) RevokeLease(ctx context.Context, id string, r access.Revocation) (l access.Lease, err error) {
	err = s.db.inside(ctx, func(tx *sql.Tx) error {
		row := tx.QueryRowContext(ctx, `SELECT `+leaseColumns+` FROM leases WHERE id = $1 AND until > $2`, id, nanos(r.At))
		if l, err = one(row, scanLease, access.ErrNotFound); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE leases SET until = $1, revoked_at = $1, revoked_by = $2, revoke_reason = $3
			WHERE id = $4`, nanos(r.At), r.By, r.Reason, id)
		return err
	})
	return l, err
}

const sessionColumns = `id, person, vendor, target, login, protocol, source_ip, enforced, started_at, ended_at, end_reason,
	recording`

func scanSession(columns scan) (r access.SessionRecord, err error) {
	err = columns(&r.ID, &r.Person, &r.Vendor, &r.Target, &r.Login, &r.Protocol, &r.SourceIP, &r.Enforced, readAt(&r.StartedAt),
		readAt(&r.EndedAt), &r.EndReason, &r.Recording)
	return r, err
}

func (s accessStore) PutSession(ctx context.Context, r access.SessionRecord) error {
	return s.db.change(ctx, nil, `INSERT INTO sessions (`+sessionColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO UPDATE SET person = excluded.person, vendor = excluded.vendor, target = excluded.target,
			login = excluded.login, protocol = excluded.protocol, source_ip = excluded.source_ip, enforced = excluded.enforced,
			started_at = excluded.started_at, ended_at = excluded.ended_at, end_reason = excluded.end_reason,
			recording = excluded.recording`,
		r.ID, r.Person, r.Vendor, r.Target, r.Login, r.Protocol, r.SourceIP, r.Enforced, nanos(r.StartedAt), nanos(r.EndedAt),
		r.EndReason, r.Recording)
}

func (s accessStore) Session(ctx context.Context, id string) (access.SessionRecord, error) {
	row := s.db.read.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, id)
	return one(row, scanSession, access.ErrNotFound)
}

// Sessions lists newest first; Since narrows to those that began then or later.
func (s accessStore) Sessions(ctx context.Context, q access.SessionQuery) ([]access.SessionRecord, error) {
	query, args := `SELECT `+sessionColumns+` FROM sessions WHERE started_at >= $1`, []any{nanos(q.Since)}
	for _, filter := range []struct{ column, value string }{{"person", q.Person}, {"vendor", q.Vendor}, {"target", q.Target}} {
		if filter.value != "" {
			args = append(args, filter.value)
			query += fmt.Sprintf(` AND %s = $%d`, filter.column, len(args))
		}
	}
	if q.Live {
		query += ` AND ended_at = 0`
	}
	args = append(args, atMost(q.Limit))
	return all(ctx, s.db, scanSession, query+fmt.Sprintf(` ORDER BY seq DESC LIMIT $%d`, len(args)), args...)
}

func (s accessStore) PutCutOff(ctx context.Context, c access.CutOff) error {
	return s.db.change(ctx, nil, `INSERT INTO cut_offs (vendor, reason, by, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (vendor) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = excluded.at`,
		c.Vendor, c.Reason, c.By, nanos(c.At))
}

// DeleteCutOff returns ErrNotFound for a vendor that is not cut off.
func (s accessStore) DeleteCutOff(ctx context.Context, vendor string) error {
	return s.db.change(ctx, access.ErrNotFound, `DELETE FROM cut_offs WHERE vendor = $1`, vendor)
}

func scanCutOff(columns scan) (c access.CutOff, err error) {
	err = columns(&c.Vendor, &c.Reason, &c.By, readAt(&c.At))
	return c, err
}

// CutOffs lists them by vendor.
func (s accessStore) CutOffs(ctx context.Context) ([]access.CutOff, error) {
	return all(ctx, s.db, scanCutOff, `SELECT vendor, reason, by, at FROM cut_offs ORDER BY vendor`)
}
