-- An agent run's calls, in the order of their time: those of one are read together, however many others there are.
CREATE INDEX calls_session ON calls (session, created_ms, call_id) WHERE session IS NOT NULL;

-- Rows that were given up: few, and looked for whenever the overview says what needs somebody.
CREATE INDEX calls_unsettled ON calls (created_ms) WHERE state = 'unsettled';
