CREATE TABLE identities (
    id TEXT NOT NULL PRIMARY KEY,
    identity_pool_id TEXT NOT NULL,
    user_id TEXT,
    merged_into TEXT,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX identities_of_users ON identities (identity_pool_id, user_id);
