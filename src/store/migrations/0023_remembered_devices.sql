-- The remembered devices of users. `verifier` is the encrypted verifier of the device's secret, and
-- `session` the encrypted sign-in that waits for it; empty without one.
CREATE TABLE remembered_devices (
    user_no BIGINT NOT NULL,
    device_key TEXT NOT NULL,
    name TEXT NOT NULL,
    verifier BLOB NOT NULL,
    is_remembered BIGINT NOT NULL,
    address TEXT NOT NULL,
    session TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (user_no, device_key)
) WITHOUT ROWID;
