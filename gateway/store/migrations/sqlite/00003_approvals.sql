-- +goose Up
-- Requests that several people answer, that may be asked ahead and that answers make smaller; where leases come from and how
-- they ended. What was filed before stays as it is: a request without scopes asks for its needs.

ALTER TABLE requests ADD COLUMN asked         TEXT   NOT NULL DEFAULT 'null'; -- JSON
ALTER TABLE requests ADD COLUMN scopes        TEXT   NOT NULL DEFAULT 'null'; -- JSON
ALTER TABLE requests ADD COLUMN minutes       BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN ticket        TEXT   NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN from_at       BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN every         TEXT   NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN times         BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN escalated_at  BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN answers       TEXT   NOT NULL DEFAULT 'null'; -- JSON
ALTER TABLE requests ADD COLUMN answer_scopes TEXT   NOT NULL DEFAULT 'null'; -- JSON
CREATE INDEX requests_person ON requests (person, seq);

ALTER TABLE leases ADD COLUMN vendor        TEXT   NOT NULL DEFAULT ''; -- '' in older ones: any
ALTER TABLE leases ADD COLUMN login         TEXT   NOT NULL DEFAULT ''; -- likewise
ALTER TABLE leases ADD COLUMN from_at       BIGINT NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN granted_by    TEXT   NOT NULL DEFAULT 'null'; -- JSON
ALTER TABLE leases ADD COLUMN granted_at    BIGINT NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN revoked_by    TEXT   NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN revoked_at    BIGINT NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN revoke_reason TEXT   NOT NULL DEFAULT '';
