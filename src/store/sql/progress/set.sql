INSERT INTO journal_progress (journal_id, segment, segment_offset)
VALUES ($1, $2, $3)
ON CONFLICT (journal_id) DO UPDATE SET segment = excluded.segment, segment_offset = excluded.segment_offset
