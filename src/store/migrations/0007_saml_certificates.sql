-- The certificate of each SAML key, and its times. A key without a row was never rotated.
CREATE TABLE saml_certificates (
    kid TEXT NOT NULL PRIMARY KEY,
    certificate BLOB NOT NULL,
    signs_from BIGINT NOT NULL,
    removed_at BIGINT NOT NULL
);
