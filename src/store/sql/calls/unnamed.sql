-- Rows that are called by one of these permaslugs, by the buckets that name it: no index on the rows is needed.
SELECT named.call_id
FROM (
    SELECT DISTINCT cells.start_ms
    FROM spend_series AS series
    CROSS JOIN spend_cells AS cells
    WHERE series.model IN (SELECT key FROM json_each($1))
        AND cells.whole = 0
        AND cells.minutes = 15
        AND cells.series = series.series
        AND (cells.completions <> 0 OR cells.failures <> 0)
) AS buckets
CROSS JOIN calls AS named
WHERE named.created_ms >= buckets.start_ms
    AND named.created_ms < buckets.start_ms + 900000
    AND named.reply_model IS NULL
    AND named.model = named.permaslug
    AND named.state <> 'open'
    AND named.model IN (SELECT key FROM json_each($1))
LIMIT $2
