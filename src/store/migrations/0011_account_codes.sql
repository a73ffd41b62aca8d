-- The address to which a code was sent, which its entry verifies; empty for a code of an older node.
ALTER TABLE account_codes ADD COLUMN address TEXT NOT NULL DEFAULT '';
-- Failed attempts are also counted for names without a user, under negative numbers.
CREATE INDEX password_failures_over ON password_failures (last_failure_at);
