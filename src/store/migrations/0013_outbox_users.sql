-- The user's number, so that a message does not outlive its user; 0 for one of an older node.
ALTER TABLE outbox ADD COLUMN user_no BIGINT NOT NULL DEFAULT 0;
CREATE INDEX outbox_user ON outbox (user_no);
