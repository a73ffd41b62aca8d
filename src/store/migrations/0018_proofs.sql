-- Keys to which codes and refresh tokens are bound, and used DPoP proofs and client assertions.

ALTER TABLE authorization_codes ADD COLUMN dpop_jkt TEXT NOT NULL DEFAULT '';
ALTER TABLE refresh_families ADD COLUMN dpop_jkt TEXT NOT NULL DEFAULT '';

CREATE TABLE used_proofs (
    id TEXT NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_proofs_over ON used_proofs (expires_at);
