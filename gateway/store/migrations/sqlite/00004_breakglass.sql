-- +goose Up
-- Emergencies that staff have declared and what others said about them afterwards; the audit log has the same.

CREATE TABLE break_glass (
    id          TEXT   PRIMARY KEY,
    person      TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    incident    TEXT   NOT NULL,
    targets     TEXT   NOT NULL, -- JSON
    at          BIGINT NOT NULL,
    until       BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL,
    ended_by    TEXT   NOT NULL,
    end_reason  TEXT   NOT NULL,
    source_ip   TEXT   NOT NULL,
    revision    BIGINT NOT NULL,
    proof       TEXT   NOT NULL, -- JSON
    sessions    TEXT   NOT NULL  -- JSON
);
CREATE INDEX break_glass_at ON break_glass (at);

CREATE TABLE break_glass_reviews (
    emergency  TEXT   NOT NULL,
    by         TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    verdict    TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    PRIMARY KEY (emergency, by)
);
