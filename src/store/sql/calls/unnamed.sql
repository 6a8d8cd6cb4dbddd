-- Rows that are called by one of these permaslugs, by the buckets that name it: no index on the rows is needed.
SELECT named.call_id
FROM (
    SELECT DISTINCT bucket_ms
    FROM spend_buckets
    WHERE (completions <> 0 OR failures <> 0) AND model IN (SELECT key FROM json_each($1))
) AS buckets
CROSS JOIN calls AS named
WHERE named.created_ms >= buckets.bucket_ms
    AND named.created_ms < buckets.bucket_ms + 900000
    AND named.reply_model IS NULL
    AND named.model = named.permaslug
    AND named.state <> 'open'
    AND named.model IN (SELECT key FROM json_each($1))
LIMIT $2
