CREATE TABLE used_assertions (
    id TEXT NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_assertions_over ON used_assertions (expires_at);

CREATE TABLE judged_logins (
    id TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX judged_logins_over ON judged_logins (expires_at);
