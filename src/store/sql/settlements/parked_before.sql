SELECT call_id
FROM calls
WHERE state = 'pending'
    AND settle_due_ms IS NULL
    AND under_way_in IS NULL
    AND settle_since_ms < $1
ORDER BY settle_since_ms, call_id
LIMIT $2
