-- App clients, their secrets, and what else belongs to user pools made at run time. `keeps_verifiers` repeats a part of
-- the settings, so that one read of an index answers whether any client of a pool allows Secure Remote Password.

CREATE TABLE app_clients (
    id TEXT NOT NULL PRIMARY KEY,
    pool BIGINT NOT NULL,
    source TEXT NOT NULL,
    settings TEXT NOT NULL,
    keeps_verifiers BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX app_clients_pool ON app_clients (pool, id);
CREATE INDEX app_clients_verifiers ON app_clients (pool, keeps_verifiers);
CREATE INDEX app_clients_source ON app_clients (source, id);

CREATE TABLE client_secrets (
    client_id TEXT NOT NULL,
    id TEXT NOT NULL,
    pool BIGINT NOT NULL,
    sealed BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (client_id, id)
);
CREATE INDEX client_secrets_pool ON client_secrets (pool);

CREATE TABLE pool_domains (
    domain TEXT NOT NULL PRIMARY KEY,
    pool BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX pool_domains_pool ON pool_domains (pool, domain);

CREATE TABLE resource_servers (
    pool BIGINT NOT NULL,
    identifier TEXT NOT NULL,
    source TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (pool, identifier)
);

CREATE TABLE identity_providers (
    pool BIGINT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (pool, name)
);

CREATE TABLE provider_identifiers (
    pool BIGINT NOT NULL,
    identifier TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (pool, identifier)
) WITHOUT ROWID;
CREATE INDEX provider_identifiers_name ON provider_identifiers (pool, name, identifier);

-- The refresh tokens of a client that is removed.
CREATE INDEX refresh_families_client ON refresh_families (client_id, id);
