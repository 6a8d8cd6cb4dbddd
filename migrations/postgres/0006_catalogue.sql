-- OpenRouter's list of models, as it was told over time.
CREATE TABLE models (
    model_id TEXT NOT NULL PRIMARY KEY,
    permaslug TEXT,
    name TEXT,
    context_length BIGINT,
    first_seen_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL
);
-- A list price and when it was valid; valid_until_ms NULL is the current one. A row is closed once and never changed.
-- pricing: JSON; prices are decimal texts in dollars a unit, exact to 10^-18, which 64 bits would not hold.
CREATE TABLE model_prices (
    model_id TEXT NOT NULL,
    valid_from_ms BIGINT NOT NULL,
    valid_until_ms BIGINT,
    pricing TEXT NOT NULL,
    PRIMARY KEY (model_id, valid_from_ms)
);
CREATE UNIQUE INDEX model_prices_current ON model_prices (model_id) WHERE valid_until_ms IS NULL;
-- When the list was last told.
CREATE TABLE catalogue_state (
    what TEXT NOT NULL PRIMARY KEY,
    fetched_ms BIGINT NOT NULL
);

-- One key, one UTC day: what the ledger holds of it, and what OpenRouter says, both charged by OpenRouter.
CREATE TABLE key_days (
    key_sha256 TEXT NOT NULL,
    day_ms BIGINT NOT NULL,
    key_name TEXT NOT NULL,
    ours_picos BIGINT NOT NULL,
    theirs_picos BIGINT NOT NULL,
    unknown_count BIGINT NOT NULL,
    estimate_picos BIGINT NOT NULL,
    waiting_count BIGINT NOT NULL,
    dearest_picos BIGINT NOT NULL,
    over_midnight_picos BIGINT NOT NULL,
    as_of_ms BIGINT NOT NULL,
    PRIMARY KEY (key_sha256, day_ms)
);
CREATE INDEX key_days_by_day ON key_days (day_ms);
-- What the account held when it was last asked, by the management key that asked.
CREATE TABLE balances (
    key_sha256 TEXT NOT NULL PRIMARY KEY,
    credits_picos BIGINT NOT NULL,
    usage_picos BIGINT NOT NULL,
    as_of_ms BIGINT NOT NULL
);

-- Rows whose cost is unknown: few, and looked for whenever estimates are shown.
CREATE INDEX calls_unknown ON calls (created_ms)
    WHERE cost_picos IS NULL AND state <> 'open' AND state <> 'failed';
