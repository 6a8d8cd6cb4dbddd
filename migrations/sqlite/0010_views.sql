-- Views of Explore that people keep: a name, and the query of its URL.
CREATE TABLE saved_views (
    name TEXT NOT NULL PRIMARY KEY,
    query TEXT NOT NULL,
    saved_ms BIGINT NOT NULL
) WITHOUT ROWID;
