-- Queries that people keep under a name. parameters: their values as JSON, an object of texts.
CREATE TABLE saved_queries (
    name TEXT NOT NULL PRIMARY KEY,
    query TEXT NOT NULL,
    parameters TEXT NOT NULL,
    saved_ms BIGINT NOT NULL
) WITHOUT ROWID;
