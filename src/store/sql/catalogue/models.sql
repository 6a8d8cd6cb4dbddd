SELECT model_id, permaslug, name, context_length, first_seen_ms, last_seen_ms FROM models
