-- Authorization codes of app clients: what was granted, and the tokens that were issued for a code.

ALTER TABLE authorization_codes ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE authorization_codes ADD COLUMN nonce TEXT NOT NULL DEFAULT '';
ALTER TABLE authorization_codes ADD COLUMN family_id TEXT NOT NULL DEFAULT '';
