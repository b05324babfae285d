-- +goose Up
-- Instants are nanoseconds since 1970 UTC, 0 for none. seq is the order of creation.

CREATE TABLE directory_versions (
    number  BIGINT PRIMARY KEY,
    yaml    BLOB   NOT NULL,
    by      TEXT   NOT NULL,
    reason  TEXT   NOT NULL,
    at      BIGINT NOT NULL
);

CREATE TABLE enrolments (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT   NOT NULL UNIQUE,
    person       TEXT   NOT NULL,
    vendor       TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    token_hash   TEXT   NOT NULL,
    invited_by   TEXT   NOT NULL,
    invited_at   BIGINT NOT NULL,
    expires      BIGINT NOT NULL,
    cert_serial  TEXT   NOT NULL,
    cert_sha256  TEXT   NOT NULL,
    not_after    BIGINT NOT NULL,
    code         TEXT   NOT NULL,
    released_by  TEXT   NOT NULL,
    released_at  BIGINT NOT NULL
);
CREATE INDEX enrolments_person ON enrolments (person, seq);
CREATE UNIQUE INDEX enrolments_token ON enrolments (token_hash) WHERE token_hash <> '';
CREATE UNIQUE INDEX enrolments_serial ON enrolments (cert_serial) WHERE cert_serial <> '';

CREATE TABLE authenticators (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT   NOT NULL UNIQUE,
    person      TEXT   NOT NULL,
    enrolment   TEXT   NOT NULL,
    credential  BLOB   NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX authenticators_person ON authenticators (person, seq);

CREATE TABLE ssh_keys (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint  TEXT   NOT NULL UNIQUE,
    person       TEXT   NOT NULL,
    enrolment    TEXT   NOT NULL,
    public_key   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL
);
CREATE INDEX ssh_keys_person ON ssh_keys (person, seq);

CREATE TABLE revocations (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT   NOT NULL,
    id      TEXT   NOT NULL,
    reason  TEXT   NOT NULL,
    by      TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    UNIQUE (kind, id)
);

CREATE TABLE web_sessions (
    id_hash      TEXT   PRIMARY KEY,
    person       TEXT   NOT NULL,
    vendor       TEXT   NOT NULL,
    host         TEXT   NOT NULL,
    cert_sha256  TEXT   NOT NULL,
    mfa          TEXT   NOT NULL, -- JSON
    created_at   BIGINT NOT NULL,
    seen_at      BIGINT NOT NULL,
    expires      BIGINT NOT NULL
);
CREATE INDEX web_sessions_person ON web_sessions (person);
CREATE INDEX web_sessions_expires ON web_sessions (expires);

CREATE TABLE requests (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT   NOT NULL UNIQUE,
    status          TEXT   NOT NULL,
    person          TEXT   NOT NULL,
    vendor          TEXT   NOT NULL,
    target          TEXT   NOT NULL,
    login           TEXT   NOT NULL,
    session         TEXT   NOT NULL,
    operation       TEXT   NOT NULL,
    command         TEXT   NOT NULL,
    needs           TEXT   NOT NULL, -- JSON
    reason          TEXT   NOT NULL,
    decision        TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    expires         BIGINT NOT NULL,
    answer_status   TEXT   NOT NULL,
    answer_by       TEXT   NOT NULL,
    answer_at       BIGINT NOT NULL,
    answer_minutes  BIGINT NOT NULL,
    answer_reason   TEXT   NOT NULL
);
CREATE INDEX requests_status ON requests (status, seq);

CREATE TABLE leases (
    id       TEXT   PRIMARY KEY,
    request  TEXT   NOT NULL,
    person   TEXT   NOT NULL,
    target   TEXT   NOT NULL,
    "right"  TEXT   NOT NULL,
    pattern  TEXT   NOT NULL,
    until    BIGINT NOT NULL
);
CREATE INDEX leases_until ON leases (until);

CREATE TABLE sessions (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT   NOT NULL UNIQUE,
    person      TEXT   NOT NULL,
    vendor      TEXT   NOT NULL,
    target      TEXT   NOT NULL,
    login       TEXT   NOT NULL,
    protocol    TEXT   NOT NULL,
    source_ip   TEXT   NOT NULL,
    enforced    TEXT   NOT NULL,
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL,
    end_reason  TEXT   NOT NULL,
    recording   TEXT   NOT NULL
);
CREATE INDEX sessions_live ON sessions (seq) WHERE ended_at = 0;
CREATE INDEX sessions_person ON sessions (person, seq);
CREATE INDEX sessions_vendor ON sessions (vendor, seq);

CREATE TABLE cut_offs (
    vendor  TEXT   PRIMARY KEY,
    reason  TEXT   NOT NULL,
    by      TEXT   NOT NULL,
    at      BIGINT NOT NULL
);
