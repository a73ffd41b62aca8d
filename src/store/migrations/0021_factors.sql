-- The second factors of users. `token` and `pending_token` are encrypted secrets of software tokens:
-- the one that is in use, and one whose first code is awaited; empty without one. `last_step` is the
-- time step of the last code that was right, so that no code is used twice.
CREATE TABLE user_factors (
    user_no BIGINT NOT NULL PRIMARY KEY,
    token BLOB NOT NULL,
    pending_token BLOB NOT NULL,
    last_step BIGINT NOT NULL,
    enabled TEXT NOT NULL,
    preferred TEXT NOT NULL
);

-- Hashes of codes of which each replaces a second factor once.
CREATE TABLE recovery_codes (
    user_no BIGINT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (user_no, hash)
) WITHOUT ROWID;
