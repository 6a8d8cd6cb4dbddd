-- The consoles' fence knows whose table is read by its columns: so one that every row has is looked at, whatever is asked of
-- the view, its number of rows too.
DROP VIEW refusals;
CREATE VIEW refusals AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', minute_ms / 1000.0, 'unixepoch') AS minute_at,
    minute_ms,
    cause,
    NULLIF(budget, '') AS budget,
    NULLIF(app, '') AS app,
    NULLIF(key_name, '') AS key_name,
    refused
FROM refusals_by_minute
WHERE refused >= 0;
