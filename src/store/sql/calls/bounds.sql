-- Each by itself: the index answers one at either end, and a query for both reads all of it.
SELECT
    (SELECT MIN(created_ms) FROM calls) AS first_ms,
    (SELECT MAX(created_ms) FROM calls) AS last_ms
