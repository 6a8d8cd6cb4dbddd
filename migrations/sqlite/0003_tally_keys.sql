-- Keys that callers bring in place of an OpenRouter key. Rows stay when a key ends: that one was ever made ends open mode.
CREATE TABLE tally_keys (
    id TEXT NOT NULL PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    tail TEXT NOT NULL,
    app TEXT,
    end_user TEXT,
    session TEXT,
    tags TEXT,
    upstream TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    last_used_ms BIGINT
);

-- The tally key that a call came with. The index holds all that the sums of a key's calls need.
ALTER TABLE calls ADD COLUMN tally_key_id TEXT;
CREATE INDEX calls_tally_key ON calls (tally_key_id, created_ms, state, cost_picos) WHERE tally_key_id IS NOT NULL;
