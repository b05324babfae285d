package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/sekisho/sekisho/gateway/access"
)

const emergencyColumns = `id, person, reason, incident, targets, at, until, ended_at, ended_by, end_reason, source_ip, revision,
	proof, sessions`

func scanEmergency(columns scan) (e access.Emergency, err error) {
	err = columns(&e.ID, &e.Person, &e.Reason, &e.Incident, jsonText{&e.Targets}, readAt(&e.At), readAt(&e.Until),
		readAt(&e.EndedAt), &e.EndedBy, &e.EndReason, &e.SourceIP, &e.Revision, jsonText{&e.Proof}, jsonText{&e.Sessions})
	return e, err
}

// PutEmergency creates an emergency or brings it up to date. Its end, once there, stays, and so does every review.
func (s accessStore) PutEmergency(ctx context.Context, e access.Emergency) error {
	var texts [3]string
	for i, v := range []any{e.Targets, e.Proof, e.Sessions} {
		var err error
		if texts[i], err = encode(v); err != nil {
			return err
		}
	}
	return s.db.inside(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO break_glass (`+emergencyColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
			ON CONFLICT (id) DO UPDATE SET sessions = excluded.sessions,
				ended_at = CASE WHEN break_glass.ended_at = 0 THEN excluded.ended_at ELSE break_glass.ended_at END,
				ended_by = CASE WHEN break_glass.ended_at = 0 THEN excluded.ended_by ELSE break_glass.ended_by END,
				end_reason = CASE WHEN break_glass.ended_at = 0 THEN excluded.end_reason ELSE break_glass.end_reason END`,
			e.ID, e.Person, e.Reason, e.Incident, texts[0], nanos(e.At), nanos(e.Until), nanos(e.EndedAt), e.EndedBy, e.EndReason,
			e.SourceIP, e.Revision, texts[1], texts[2])
		if err != nil {
			return err
		}
		for _, r := range e.Reviews {
			_, err := tx.ExecContext(ctx, `INSERT INTO break_glass_reviews (emergency, by, at, verdict, reason)
				VALUES ($1, $2, $3, $4, $5) ON CONFLICT (emergency, by) DO NOTHING`, e.ID, r.By, nanos(r.At), r.Verdict, r.Reason)
			if err != nil {
				return fmt.Errorf("storing a review by %s: %w", r.By, err)
			}
		}
		return nil
	})
}

// Emergency returns ErrNotFound for one that does not exist.
func (s accessStore) Emergency(ctx context.Context, id string) (access.Emergency, error) {
	row := s.db.read.QueryRowContext(ctx, `SELECT `+emergencyColumns+` FROM break_glass WHERE id = $1`, id)
	e, err := one(row, scanEmergency, access.ErrNotFound)
	if err != nil {
		return e, err
	}
	e.Reviews, err = all(ctx, s.db, scanReview, `SELECT by, at, verdict, reason FROM break_glass_reviews
		WHERE emergency = $1 ORDER BY at, by`, id)
	return e, err
}

func (s accessStore) Emergencies(ctx context.Context, limit int) ([]access.Emergency, error) {
	list, err := all(ctx, s.db, scanEmergency, `SELECT `+emergencyColumns+` FROM break_glass ORDER BY at DESC, id DESC LIMIT $1`,
		atMost(limit))
	if err != nil {
		return nil, err
	}
	reviews, err := all(ctx, s.db, scanReviewOf, `SELECT emergency, by, at, verdict, reason FROM break_glass_reviews
		ORDER BY at, by`)
	if err != nil {
		return nil, err
	}
	for i := range list {
		for _, r := range reviews {
			if r.emergency == list[i].ID {
				list[i].Reviews = append(list[i].Reviews, r.EmergencyReview)
			}
		}
	}
	return list, nil
}

func scanReview(columns scan) (r access.EmergencyReview, err error) {
	err = columns(&r.By, readAt(&r.At), &r.Verdict, &r.Reason)
	return r, err
}

// reviewOf is a review with what it is of.
type reviewOf struct {
	emergency string
	access.EmergencyReview
}

func scanReviewOf(columns scan) (r reviewOf, err error) {
	err = columns(&r.emergency, &r.By, readAt(&r.At), &r.Verdict, &r.Reason)
	return r, err
}
