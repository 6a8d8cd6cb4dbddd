-- What calls that are summed together have in common; '' where a row names none. `identity` is all of it as one text.
CREATE TABLE spend_series (
    series INTEGER NOT NULL PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    app TEXT NOT NULL,
    key_name TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    is_byok BOOLEAN NOT NULL
);
-- Sums of rows by 15 minutes, by the hour, by six hours and by the UTC day: of each series, and (`whole` is 1, the series 0) of
-- all calls together. Changed in the transaction that changes the rows. *_usd are whole dollars, the *_picos beside them the
-- rest (0 <= rest < 1 dollar).
CREATE TABLE spend_cells (
    whole BIGINT NOT NULL,
    minutes BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    series BIGINT NOT NULL,
    completions BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    inline_completions BIGINT NOT NULL,
    tokens_prompt BIGINT NOT NULL,
    tokens_completion BIGINT NOT NULL,
    native_tokens_prompt BIGINT NOT NULL,
    native_tokens_completion BIGINT NOT NULL,
    native_tokens_reasoning BIGINT NOT NULL,
    native_tokens_cached BIGINT NOT NULL,
    cost_usd BIGINT NOT NULL,
    cost_picos BIGINT NOT NULL,
    inline_usd BIGINT NOT NULL,
    inline_picos BIGINT NOT NULL,
    charged_usd BIGINT NOT NULL,
    charged_picos BIGINT NOT NULL,
    cache_discount_usd BIGINT NOT NULL,
    cache_discount_picos BIGINT NOT NULL,
    PRIMARY KEY (whole, minutes, start_ms, series)
) WITHOUT ROWID;
-- How long the calls of the same cells took: histograms (src/domain/rollup/histogram.rs).
CREATE TABLE timing_cells (
    whole BIGINT NOT NULL,
    minutes BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    series BIGINT NOT NULL,
    latency BLOB NOT NULL,
    first_byte BLOB NOT NULL,
    speed BLOB NOT NULL,
    PRIMARY KEY (whole, minutes, start_ms, series)
) WITHOUT ROWID;
-- Where there are rows, tallyd fills the cells from them before it does anything else.
INSERT INTO tallyd_meta (name, value)
SELECT 'fill spend_cells', ''
WHERE EXISTS (SELECT 1 FROM calls);

-- The consoles' fence knows whose table is read by its columns, and a rowid is none to it: so one that every series has is looked
-- at, whatever is asked.
DROP VIEW IF EXISTS spend_by_day;
CREATE VIEW spend_by_day AS
SELECT
    strftime('%Y-%m-%d', start_ms / 1000, 'unixepoch') AS day,
    NULLIF(app, '') AS app,
    NULLIF(key_name, '') AS key_name,
    NULLIF(model, '') AS model,
    NULLIF(provider, '') AS provider,
    SUM(completions) AS completions,
    SUM(failures) AS failures,
    SUM(tokens_prompt) AS tokens_prompt,
    SUM(tokens_completion) AS tokens_completion,
    SUM(cost_usd + cost_picos / 1000000000000.0) AS cost_usd,
    SUM(unknown) AS unknown
FROM spend_cells
JOIN spend_series ON spend_series.series = spend_cells.series AND spend_series.is_byok IN (FALSE, TRUE)
WHERE whole = 0 AND minutes = 1440
GROUP BY 1, 2, 3, 4, 5;

DROP VIEW IF EXISTS spend_by_bucket;
CREATE VIEW spend_by_bucket AS
SELECT
    start_ms AS bucket_ms,
    NULLIF(app, '') AS app,
    NULLIF(key_name, '') AS key_name,
    NULLIF(model, '') AS model,
    NULLIF(provider, '') AS provider,
    NULLIF(endpoint, '') AS endpoint,
    is_byok,
    completions,
    failures,
    tokens_prompt,
    tokens_completion,
    native_tokens_prompt,
    native_tokens_completion,
    native_tokens_reasoning,
    native_tokens_cached,
    cost_usd + cost_picos / 1000000000000.0 AS cost_usd,
    CAST(cost_usd * 1000000000000 + cost_picos AS BIGINT) AS cost_picousd,
    unknown
FROM spend_cells
JOIN spend_series ON spend_series.series = spend_cells.series AND spend_series.is_byok IN (FALSE, TRUE)
WHERE whole = 0 AND minutes = 15 AND (completions <> 0 OR failures <> 0);

DROP TABLE spend_buckets;
