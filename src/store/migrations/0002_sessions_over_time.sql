-- A node of the version before writes sessions without these columns: they have defaults.
ALTER TABLE sessions ADD COLUMN provider_sid TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
CREATE INDEX sessions_provider_sid ON sessions (provider, provider_sid);

CREATE TABLE provider_tokens (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL,
    due_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    leased_until BIGINT NOT NULL,
    failing_since BIGINT NOT NULL
);

CREATE TABLE used_logout_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_logout_tokens_over ON used_logout_tokens (expires_at);

CREATE TABLE nodes (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    catalogue TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);
