-- When a session's user last proved a second factor, and the authentication methods of tokens.
ALTER TABLE sessions ADD COLUMN factor_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE refresh_families ADD COLUMN amr TEXT NOT NULL DEFAULT '';
