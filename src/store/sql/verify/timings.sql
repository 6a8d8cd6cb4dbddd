-- $1, $2: since and until, which cells of every width begin between.
SELECT timing_parts.*
FROM timing_parts
WHERE whole IN (0, 1) AND minutes IN (15, 60, 360, 1440) AND start_ms >= $1 AND start_ms < $2
