-- What each daemon may admit of a blocking budget's account without asking again: its share of what is left. It lapses at
-- expires_ms, by this database's clock. updated_ms: when the daemon last measured it; wanted_ms: since when the daemon
-- waits for what others have to spare.
CREATE TABLE budget_grants (
    budget TEXT NOT NULL,
    value TEXT NOT NULL,
    daemon TEXT NOT NULL,
    granted_picos BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    wanted_ms BIGINT,
    PRIMARY KEY (budget, value, daemon)
);
