-- Names of the tags of the latest calls. $1: how many calls. $2: how many names.
SELECT DISTINCT tag.name
FROM usage_tags AS tag
WHERE tag.call_id IN (
    SELECT call_id FROM calls WHERE state <> 'open' ORDER BY created_ms DESC, call_id DESC LIMIT $1
)
ORDER BY 1
LIMIT $2
