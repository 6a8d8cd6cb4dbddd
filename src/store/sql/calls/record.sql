SELECT body FROM generation_records WHERE call_id = $1
