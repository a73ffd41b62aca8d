-- The pools that the configuration file declares are found at the start and at each reload.

CREATE INDEX pools_source ON pools (source, no);
