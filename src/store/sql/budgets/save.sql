INSERT INTO budgets (
    name, origin, present, definition, scope, window_kind, time_zone, limit_picos, when_exceeded, defined_ms,
    shaped_ms, counted_from_ms, each_by
)
VALUES ($1, $2, TRUE, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (name) DO UPDATE SET
    origin = excluded.origin,
    present = excluded.present,
    definition = excluded.definition,
    scope = excluded.scope,
    window_kind = excluded.window_kind,
    time_zone = excluded.time_zone,
    limit_picos = excluded.limit_picos,
    when_exceeded = excluded.when_exceeded,
    defined_ms = excluded.defined_ms,
    shaped_ms = excluded.shaped_ms,
    counted_from_ms = excluded.counted_from_ms,
    each_by = excluded.each_by
