ALTER TABLE user_identities ADD COLUMN attributes TEXT;
ALTER TABLE user_identities ADD COLUMN provider_groups TEXT;
