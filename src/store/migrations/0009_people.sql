-- Users of pools. Numbers identify rows inside; texts identify them outside. Folded names and keys are BLOBs, which both
-- engines compare byte by byte. `WITHOUT ROWID` is SQLite's, and is removed for PostgreSQL.

CREATE TABLE pools (
    no BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    settings TEXT NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX pools_state ON pools (state, no);

-- A counter is the sum of its shards, so that transactions of one pool rarely wait for one row.
CREATE TABLE pool_counters (
    pool BIGINT NOT NULL,
    kind TEXT NOT NULL,
    shard BIGINT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (pool, kind, shard)
) WITHOUT ROWID;

-- A node of the version before writes users without these columns: they have defaults. `indexed_version` is the version
-- whose number, counter and keys are written; a user with another one waits for the background job.
ALTER TABLE users ADD COLUMN no BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN status TEXT NOT NULL DEFAULT 'EXTERNAL_PROVIDER';
ALTER TABLE users ADD COLUMN indexed_version BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX users_no ON users (no) WHERE no > 0;
CREATE INDEX users_pool ON users (pool_id, no);
CREATE INDEX users_status ON users (pool_id, status, no);
CREATE INDEX users_enabled ON users (pool_id, enabled, no);
CREATE INDEX users_unindexed ON users (id) WHERE indexed_version <> version;

CREATE TABLE sign_in_names (
    pool BIGINT NOT NULL,
    name BLOB NOT NULL,
    user_no BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    PRIMARY KEY (pool, name)
) WITHOUT ROWID;
CREATE INDEX sign_in_names_user ON sign_in_names (user_no);

CREATE TABLE user_keys (
    user_no BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    pool BIGINT NOT NULL,
    k BLOB NOT NULL,
    PRIMARY KEY (user_no, kind)
) WITHOUT ROWID;
CREATE INDEX user_keys_search ON user_keys (pool, kind, k, user_no);

CREATE TABLE user_groups (
    no BIGINT NOT NULL PRIMARY KEY,
    pool BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    role TEXT NOT NULL,
    precedence BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (pool, name)
);
CREATE INDEX user_groups_pool ON user_groups (pool, no);

CREATE TABLE group_members (
    group_no BIGINT NOT NULL,
    user_no BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (group_no, user_no)
) WITHOUT ROWID;
CREATE INDEX group_members_user ON group_members (user_no, group_no);

CREATE TABLE passwords (
    user_no BIGINT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL,
    set_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE password_history (
    user_no BIGINT NOT NULL,
    set_at BIGINT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (user_no, set_at)
);

CREATE TABLE password_failures (
    user_no BIGINT NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_failure_at BIGINT NOT NULL,
    locked_until BIGINT NOT NULL
);

CREATE TABLE srp_verifiers (
    user_no BIGINT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
);

CREATE TABLE account_codes (
    user_no BIGINT NOT NULL,
    purpose TEXT NOT NULL,
    target TEXT NOT NULL,
    hash BLOB NOT NULL,
    attempts BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    sent_at BIGINT NOT NULL,
    PRIMARY KEY (user_no, purpose, target)
);
CREATE INDEX account_codes_over ON account_codes (expires_at);

CREATE TABLE refresh_families (
    id TEXT NOT NULL PRIMARY KEY,
    user_no BIGINT NOT NULL,
    client_id TEXT NOT NULL,
    generation BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    auth_time BIGINT NOT NULL,
    scope TEXT NOT NULL,
    device_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX refresh_families_user ON refresh_families (user_no, created_at);
CREATE INDEX refresh_families_over ON refresh_families (expires_at);
CREATE INDEX identities_user ON identities (user_id);
