-- Two questions, as the index answers each at once and both together only by being read whole.
SELECT (SELECT MIN(created_ms) FROM calls) AS first_ms, (SELECT MAX(created_ms) FROM calls) AS last_ms
