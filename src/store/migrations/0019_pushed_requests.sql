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
