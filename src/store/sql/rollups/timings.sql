-- $1: pieces: cells of one width that follow each other. $2: 1 for cells of all calls together, 0 for those of each series.
SELECT
    CAST(piece.key AS BIGINT) AS piece,
    c.part,
    c.latency, c.first_byte, c.speed
FROM json_each($1) AS piece
CROSS JOIN timing_parts AS c
WHERE c.whole = $2
    AND c.minutes = CAST(piece.value ->> 'minutes' AS BIGINT)
    AND c.start_ms >= CAST(piece.value ->> 'from' AS BIGINT)
    AND c.start_ms < CAST(piece.value ->> 'until' AS BIGINT)
