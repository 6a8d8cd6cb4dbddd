-- $1: parts. What they hold, locked until the end of the transaction, in the order in which all writers lock them.
SELECT c.whole, c.minutes, c.start_ms, c.part, c.latency, c.first_byte, c.speed
FROM json_each($1) AS wanted
CROSS JOIN timing_parts AS c
WHERE c.whole = CAST(wanted.value ->> 'whole' AS BIGINT)
    AND c.minutes = CAST(wanted.value ->> 'minutes' AS BIGINT)
    AND c.start_ms = CAST(wanted.value ->> 'start_ms' AS BIGINT)
    AND c.part = CAST(wanted.value ->> 'part' AS BIGINT)
ORDER BY c.whole, c.minutes, c.start_ms, c.part
