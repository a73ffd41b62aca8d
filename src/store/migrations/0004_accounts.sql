ALTER TABLE user_identities ADD COLUMN saml BIGINT NOT NULL DEFAULT 0;
ALTER TABLE user_identities ADD COLUMN attributes TEXT;
ALTER TABLE user_identities ADD COLUMN provider_groups TEXT;
