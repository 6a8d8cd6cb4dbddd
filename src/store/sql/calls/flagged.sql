-- The last rows of a time that carry a flag; the index on flagged rows leads.
SELECT calls.*
FROM calls
WHERE flags <> ''
    AND created_ms >= $1
    AND created_ms < $2
    AND state <> 'open'
    AND (',' || flags || ',') LIKE ('%,' || $3 || ',%') ESCAPE '\'
ORDER BY created_ms DESC
LIMIT $4
