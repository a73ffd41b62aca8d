-- The look of the sign-in pages that the API sets: of an app client, or of the pool (`ALL`). `digest` is of what follows it.
CREATE TABLE ui_customizations (
    pool BIGINT NOT NULL,
    client_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    css TEXT NOT NULL,
    image_format TEXT NOT NULL,
    image BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (pool, client_id)
);
