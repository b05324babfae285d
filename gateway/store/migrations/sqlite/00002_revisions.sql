-- +goose Up
-- The book of policy revisions only grows: each entry's record (JSON) is signed and names the signature before it.

CREATE TABLE policy_entries (
    seq        BIGINT PRIMARY KEY,
    number     BIGINT NOT NULL, -- of the revision
    record     BLOB   NOT NULL,
    signature  BLOB   NOT NULL
);

CREATE TABLE policy_files (
    sha256   TEXT PRIMARY KEY, -- hex
    content  BLOB NOT NULL
);
