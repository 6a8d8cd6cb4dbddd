SELECT value
FROM tallyd_meta
WHERE name = $1
