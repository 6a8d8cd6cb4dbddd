-- Shares of blocking budgets, where several daemons share one database. SQLite has one daemon: nothing is ever in here.
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
