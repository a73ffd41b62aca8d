-- Authorization requests that clients have sent to the server themselves (RFC 9126).

CREATE TABLE pushed_requests (
    hash BLOB NOT NULL PRIMARY KEY,
    client_id TEXT NOT NULL,
    parameters TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    started BIGINT NOT NULL,
    used BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX pushed_requests_over ON pushed_requests (expires_at);

-- Devices without a browser that wait for a user's decision (RFC 8628). `state` is 0 until the user
-- decides, 1 when it is allowed, 2 when it is denied, 3 when its tokens were issued.
CREATE TABLE device_requests (
    hash BLOB NOT NULL PRIMARY KEY,
    user_code BLOB NOT NULL UNIQUE,
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    state BIGINT NOT NULL,
    session_id TEXT NOT NULL,
    polled_at BIGINT NOT NULL,
    poll_interval BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX device_requests_over ON device_requests (expires_at);

-- The scopes that users have granted to app clients that ask for them.
CREATE TABLE consents (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, client_id)
);
CREATE INDEX consents_client ON consents (client_id);
