-- One that is new, returns or runs at other times begins now; others go on from where they were.
INSERT INTO reports (name, schedule, time_zone, since_ms, present) VALUES ($1, $2, $3, $4, TRUE)
ON CONFLICT (name) DO UPDATE SET
    since_ms = CASE
        WHEN reports.present AND reports.schedule = excluded.schedule AND reports.time_zone = excluded.time_zone
            THEN reports.since_ms
        ELSE excluded.since_ms
    END,
    schedule = excluded.schedule,
    time_zone = excluded.time_zone,
    present = TRUE
