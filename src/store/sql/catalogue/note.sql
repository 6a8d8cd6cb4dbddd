INSERT INTO catalogue_state (what, fetched_ms)
VALUES ('models', $1)
ON CONFLICT (what) DO UPDATE SET fetched_ms = excluded.fetched_ms
