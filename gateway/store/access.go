package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/policy"
)

type accessStore struct{ db *DB }

const requestColumns = `id, status, person, vendor, target, login, session, operation, command, needs, reason, decision,
	created_at, expires, answer_status, answer_by, answer_at, answer_minutes, answer_reason`

func scanRequest(columns scan) (r access.ApprovalRequest, err error) {
	err = columns(&r.ID, &r.Status, &r.Person, &r.Vendor, &r.Target, &r.Login, &r.Session, &r.Operation, &r.Command,
		jsonText{&r.Needs}, &r.Reason, &r.Decision, readAt(&r.CreatedAt), readAt(&r.Expires), &r.Answer.Status, &r.Answer.By,
		readAt(&r.Answer.At), &r.Answer.Minutes, &r.Answer.Reason)
	return r, err
}

// PutRequest files a request or replaces a pending one; ErrAnswered for one that is not pending any more.
func (s accessStore) PutRequest(ctx context.Context, r access.ApprovalRequest) error {
	needs, err := encode(r.Needs)
	if err != nil {
		return err
	}
	return s.db.change(ctx, access.ErrAnswered, `INSERT INTO requests (`+requestColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, needs = excluded.needs, reason = excluded.reason,
			command = excluded.command, decision = excluded.decision, expires = excluded.expires,
			answer_status = excluded.answer_status, answer_by = excluded.answer_by, answer_at = excluded.answer_at,
			answer_minutes = excluded.answer_minutes, answer_reason = excluded.answer_reason
		WHERE requests.status = 'pending' AND requests.person = excluded.person AND requests.target = excluded.target`,
		r.ID, string(r.Status), r.Person, r.Vendor, r.Target, r.Login, r.Session, r.Operation, r.Command, needs, r.Reason,
		r.Decision, nanos(r.CreatedAt), nanos(r.Expires), string(r.Answer.Status), r.Answer.By, nanos(r.Answer.At),
		r.Answer.Minutes, r.Answer.Reason)
}

func (s accessStore) Request(ctx context.Context, id string) (access.ApprovalRequest, error) {
	row := s.db.read.QueryRowContext(ctx, `SELECT `+requestColumns+` FROM requests WHERE id = $1`, id)
	return one(row, scanRequest, access.ErrNotFound)
}

func (s accessStore) Requests(
	ctx context.Context, status access.RequestStatus, limit int,
) ([]access.ApprovalRequest, error) {
	if status == "" {
		return all(ctx, s.db, scanRequest, `SELECT `+requestColumns+` FROM requests ORDER BY seq DESC LIMIT $1`, atMost(limit))
	}
	return all(ctx, s.db, scanRequest, `SELECT `+requestColumns+` FROM requests WHERE status = $1 ORDER BY seq DESC LIMIT $2`,
		string(status), atMost(limit))
}

// atMost turns a limit of which 0 means none into one for SQL.
func atMost(limit int) int64 {
	if limit <= 0 {
		return math.MaxInt64
	}
	return int64(limit)
}

func (s accessStore) AnswerRequest(ctx context.Context, id string, a access.Answer, leases []policy.Lease) error {
	if a.Status == access.RequestPending || a.Status == "" || len(leases) > 0 && a.Status != access.RequestApproved {
		return fmt.Errorf("%q with %d leases is not an answer", a.Status, len(leases))
	}
	return s.db.inside(ctx, func(tx *sql.Tx) error {
		err := touched(access.ErrAnswered)(tx.ExecContext(ctx, `UPDATE requests SET status = $1, answer_status = $1,
			answer_by = $2, answer_at = $3, answer_minutes = $4, answer_reason = $5 WHERE id = $6 AND status = 'pending'`,
			string(a.Status), a.By, nanos(a.At), a.Minutes, a.Reason, id))
		if errors.Is(err, access.ErrAnswered) {
			return answeredOrMissing(ctx, tx, id)
		}
		if err != nil {
			return err
		}
		return putLeases(ctx, tx, id, leases)
	})
}

// answeredOrMissing tells why a request could not be answered.
func answeredOrMissing(ctx context.Context, tx *sql.Tx, id string) error {
	var known string
	err := tx.QueryRowContext(ctx, `SELECT id FROM requests WHERE id = $1`, id).Scan(&known)
	if errors.Is(err, sql.ErrNoRows) {
		return access.ErrNotFound
	}
	return errors.Join(access.ErrAnswered, err)
}

func putLeases(ctx context.Context, tx *sql.Tx, request string, leases []policy.Lease) error {
	for _, l := range leases {
		_, err := tx.ExecContext(ctx, `INSERT INTO leases (id, request, person, target, "right", pattern, until)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, l.ID, request, l.Person, l.Target, string(l.Right), l.Pattern, nanos(l.Until))
		if err != nil {
			return fmt.Errorf("storing lease %s: %w", l.ID, err)
		}
	}
	return nil
}

func scanLease(columns scan) (l policy.Lease, err error) {
	err = columns(&l.ID, &l.Person, &l.Target, &l.Right, &l.Pattern, readAt(&l.Until))
	return l, err
}

// Leases lists them in the order in which they end.
func (s accessStore) Leases(ctx context.Context, person string, now time.Time) ([]policy.Lease, error) {
	return all(ctx, s.db, scanLease, `SELECT id, person, target, "right", pattern, until FROM leases
		WHERE until > $1 AND ($2 = '' OR person = $2) ORDER BY until, id`, nanos(now), person)
}

// RevokeLease lets a lease end now. One that has ended already stays as it is; an unknown one is ErrNotFound.
func (s accessStore) RevokeLease(ctx context.Context, id string, now time.Time) error {
	return s.db.change(ctx, access.ErrNotFound,
		`UPDATE leases SET until = CASE WHEN until > $1 THEN $1 ELSE until END WHERE id = $2`, nanos(now), id)
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
