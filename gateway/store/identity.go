package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

type identityStore struct{ db *DB }

// Refusals that guard what must never change hands, whatever the caller intended.
var (
	errEnrolmentRevoked = errors.New("the enrolment is revoked and never moves again")
	errNotYours         = errors.New("it is stored already for another person or enrolment and is never taken over")
)

const enrolmentColumns = `id, person, vendor, state, token_hash, invited_by, invited_at, expires, cert_serial, cert_sha256,
	not_after, code, released_by, released_at`

func scanEnrolment(columns scan) (e identity.Enrolment, err error) {
	err = columns(&e.ID, &e.Person, &e.Vendor, &e.State, &e.TokenHash, &e.InvitedBy, readAt(&e.InvitedAt), readAt(&e.Expires),
		&e.CertSerial, &e.CertSHA256, readAt(&e.NotAfter), &e.Code, &e.ReleasedBy, readAt(&e.ReleasedAt))
	return e, err
}

func (s identityStore) PutEnrolment(ctx context.Context, e identity.Enrolment) error {
	return s.db.change(ctx, errEnrolmentRevoked, `INSERT INTO enrolments (`+enrolmentColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (id) DO UPDATE SET person = excluded.person, vendor = excluded.vendor, state = excluded.state,
			token_hash = excluded.token_hash, invited_by = excluded.invited_by, invited_at = excluded.invited_at,
			expires = excluded.expires, cert_serial = excluded.cert_serial, cert_sha256 = excluded.cert_sha256,
			not_after = excluded.not_after, code = excluded.code, released_by = excluded.released_by,
			released_at = excluded.released_at
		WHERE enrolments.state <> 'revoked' OR excluded.state = 'revoked'`,
		e.ID, e.Person, e.Vendor, string(e.State), e.TokenHash, e.InvitedBy, nanos(e.InvitedAt), nanos(e.Expires),
		e.CertSerial, e.CertSHA256, nanos(e.NotAfter), e.Code, e.ReleasedBy, nanos(e.ReleasedAt))
}

func (s identityStore) TakeInvite(ctx context.Context, tokenHash string, now time.Time) (identity.Enrolment, error) {
	if tokenHash == "" {
		return identity.Enrolment{}, identity.ErrNotFound
	}
	row := s.db.write.QueryRowContext(ctx, `UPDATE enrolments SET state = 'certified'
		WHERE token_hash = $1 AND state = 'invited' AND expires > $2 RETURNING `+enrolmentColumns, tokenHash, nanos(now))
	return one(row, scanEnrolment, identity.ErrNotFound)
}

func (s identityStore) Enrolment(ctx context.Context, person string) (identity.Enrolment, error) {
	return row(ctx, s.db, scanEnrolment, identity.ErrNotFound,
		`SELECT `+enrolmentColumns+` FROM enrolments WHERE person = $1 ORDER BY seq DESC LIMIT 1`, person)
}

func (s identityStore) EnrolmentBySerial(ctx context.Context, serial string) (identity.Enrolment, error) {
	if serial == "" {
		return identity.Enrolment{}, identity.ErrNotFound
	}
	return row(ctx, s.db, scanEnrolment, identity.ErrNotFound,
		`SELECT `+enrolmentColumns+` FROM enrolments WHERE cert_serial = $1`, serial)
}

func (s identityStore) Enrolments(ctx context.Context) ([]identity.Enrolment, error) {
	return all(ctx, s.db, scanEnrolment, `SELECT `+enrolmentColumns+` FROM enrolments ORDER BY seq DESC`)
}

func scanAuthenticator(columns scan) (a identity.Authenticator, err error) {
	err = columns(&a.ID, &a.Person, &a.Enrolment, &a.Credential, readAt(&a.CreatedAt))
	return a, err
}

func (s identityStore) PutAuthenticator(ctx context.Context, a identity.Authenticator) error {
	return s.db.change(ctx, errNotYours, `INSERT INTO authenticators (id, person, enrolment, credential, created_at)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET credential = excluded.credential, created_at = excluded.created_at
		WHERE authenticators.person = excluded.person AND authenticators.enrolment = excluded.enrolment`,
		a.ID, a.Person, a.Enrolment, a.Credential, nanos(a.CreatedAt))
}

func (s identityStore) Authenticators(ctx context.Context, person string) ([]identity.Authenticator, error) {
	return all(ctx, s.db, scanAuthenticator,
		`SELECT id, person, enrolment, credential, created_at FROM authenticators WHERE person = $1 ORDER BY seq`, person)
}

const sshKeyColumns = `fingerprint, person, enrolment, public_key, created_at`

func scanSSHKey(columns scan) (k identity.SSHKey, err error) {
	err = columns(&k.Fingerprint, &k.Person, &k.Enrolment, &k.PublicKey, readAt(&k.CreatedAt))
	return k, err
}

func (s identityStore) PutSSHKey(ctx context.Context, k identity.SSHKey) error {
	return s.db.change(ctx, errNotYours, `INSERT INTO ssh_keys (`+sshKeyColumns+`) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (fingerprint) DO UPDATE SET public_key = excluded.public_key, created_at = excluded.created_at
		WHERE ssh_keys.person = excluded.person AND ssh_keys.enrolment = excluded.enrolment`,
		k.Fingerprint, k.Person, k.Enrolment, k.PublicKey, nanos(k.CreatedAt))
}

func (s identityStore) SSHKey(ctx context.Context, fingerprint string) (identity.SSHKey, error) {
	return row(ctx, s.db, scanSSHKey, identity.ErrNotFound,
		`SELECT `+sshKeyColumns+` FROM ssh_keys WHERE fingerprint = $1`, fingerprint)
}

func (s identityStore) SSHKeys(ctx context.Context, person string) ([]identity.SSHKey, error) {
	return all(ctx, s.db, scanSSHKey, `SELECT `+sshKeyColumns+` FROM ssh_keys WHERE person = $1 ORDER BY seq`, person)
}

func (s identityStore) Revoke(ctx context.Context, r identity.Revocation) error {
	return s.db.change(ctx, nil, `INSERT INTO revocations (kind, id, reason, by, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING`, r.Kind, r.ID, r.Reason, r.By, nanos(r.At))
}

func scanRevocation(columns scan) (r identity.Revocation, err error) {
	err = columns(&r.Kind, &r.ID, &r.Reason, &r.By, readAt(&r.At))
	return r, err
}

func (s identityStore) Revocations(ctx context.Context) ([]identity.Revocation, error) {
	return all(ctx, s.db, scanRevocation, `SELECT kind, id, reason, by, at FROM revocations ORDER BY seq`)
}

const webSessionColumns = `id_hash, person, vendor, host, cert_sha256, mfa, created_at, seen_at, expires`

func scanWebSession(columns scan) (w identity.WebSession, err error) {
	err = columns(&w.IDHash, &w.Person, &w.Vendor, &w.Host, &w.CertSHA256, jsonText{&w.MFA}, readAt(&w.CreatedAt),
		readAt(&w.SeenAt), readAt(&w.Expires))
	return w, err
}

// maxOwnWebSessions bounds what one person has open: the console's and one for each app, in a few browsers.
const maxOwnWebSessions = 64

// PutWebSession also forgets the sessions that were over when this one was last seen, and those of the same person that
// were seen longest ago, so that their number stays bounded.
func (s identityStore) PutWebSession(ctx context.Context, w identity.WebSession) error {
	mfa, err := encode(w.MFA)
	if err != nil {
		return err
	}
	return s.db.inside(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM web_sessions WHERE expires <= $1 AND id_hash <> $2`, nanos(w.SeenAt), w.IDHash)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM web_sessions WHERE id_hash IN (SELECT id_hash FROM web_sessions
			WHERE person = $1 AND id_hash <> $2 ORDER BY seen_at DESC, id_hash LIMIT 1000000 OFFSET $3)`,
			w.Person, w.IDHash, maxOwnWebSessions-1)
		if err != nil {
			return err
		}
		return touched(errNotYours)(tx.ExecContext(ctx, `INSERT INTO web_sessions (`+webSessionColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (id_hash) DO UPDATE SET mfa = excluded.mfa, seen_at = excluded.seen_at, expires = excluded.expires
			WHERE web_sessions.person = excluded.person AND web_sessions.host = excluded.host
				AND web_sessions.cert_sha256 = excluded.cert_sha256`,
			w.IDHash, w.Person, w.Vendor, w.Host, w.CertSHA256, mfa, nanos(w.CreatedAt), nanos(w.SeenAt), nanos(w.Expires)))
	})
}

func (s identityStore) WebSession(ctx context.Context, idHash string) (identity.WebSession, error) {
	row := s.db.read.QueryRowContext(ctx, `SELECT `+webSessionColumns+` FROM web_sessions WHERE id_hash = $1`, idHash)
	return one(row, scanWebSession, identity.ErrNotFound)
}

func (s identityStore) DeleteWebSession(ctx context.Context, idHash string) error {
	return s.db.change(ctx, nil, `DELETE FROM web_sessions WHERE id_hash = $1`, idHash)
}

func (s identityStore) DeleteWebSessions(ctx context.Context, person string) error {
	return s.db.change(ctx, nil, `DELETE FROM web_sessions WHERE person = $1`, person)
}
