-- An agent run's calls, in the order of their time: those of one are read together, however many others there are.
CREATE INDEX calls_session ON calls (session, created_ms, call_id) WHERE session IS NOT NULL;
