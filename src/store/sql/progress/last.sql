SELECT segment, segment_offset FROM journal_progress WHERE journal_id = $1
