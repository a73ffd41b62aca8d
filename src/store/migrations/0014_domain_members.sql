-- What Cognito's API keeps with a domain: the version of the sign-in pages, the certificate.

ALTER TABLE pool_domains ADD COLUMN kept TEXT NOT NULL DEFAULT '{}';
