-- Until when the provider's last complete answer about the person is good. 0, the default for a node of the version
-- before, means: as long as the access token.
ALTER TABLE provider_tokens ADD COLUMN confirmed_until BIGINT NOT NULL DEFAULT 0;
