-- E-mail and text messages that are to be sent. `sealed` has the recipient and the text. A row is deleted when it was sent.
CREATE TABLE outbox (
    id TEXT NOT NULL PRIMARY KEY,
    pool TEXT NOT NULL,
    channel TEXT NOT NULL,
    event TEXT NOT NULL,
    sealed BLOB NOT NULL,
    state TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    claimed_until BIGINT NOT NULL,
    sending_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    failure TEXT NOT NULL
);
CREATE INDEX outbox_due ON outbox (channel, state, due_at);
CREATE INDEX outbox_over ON outbox (expires_at);
-- The theoretical arrival time of the next message of a channel, in microseconds.
CREATE TABLE outbox_rates (
    channel TEXT NOT NULL PRIMARY KEY,
    next_at BIGINT NOT NULL
);
INSERT INTO outbox_rates (channel, next_at) VALUES ('email', 0), ('sms', 0);
-- The same for each limit, in milliseconds. `name` is a keyed digest: no user or address can be read.
CREATE TABLE message_limits (
    name BLOB NOT NULL PRIMARY KEY,
    next_at BIGINT NOT NULL
);
CREATE INDEX message_limits_over ON message_limits (next_at);
