DELETE FROM tallyd_meta
WHERE name = $1
