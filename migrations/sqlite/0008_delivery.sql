-- What a webhook is sent, as JSON; NULL for a mail.
ALTER TABLE messages ADD COLUMN payload TEXT;
-- The pictures that a mail's HTML shows by their Content-IDs, as PNG.
CREATE TABLE message_pictures (
    message_id TEXT NOT NULL,
    content_id TEXT NOT NULL,
    png BLOB NOT NULL,
    PRIMARY KEY (message_id, content_id)
);

-- Spans in which a budget mails nobody; ended_ms is set when somebody ends one before its time.
CREATE TABLE snoozes (
    budget TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    PRIMARY KEY (budget, since_ms)
) WITHOUT ROWID;
-- What links in mails are signed with: 64 hex digits, made once for each purpose.
CREATE TABLE signing_keys (
    purpose TEXT NOT NULL PRIMARY KEY,
    secret TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);

-- Reports as they stand in the file. since_ms: from when its schedule counts; runs before it are not made up for.
CREATE TABLE reports (
    name TEXT NOT NULL PRIMARY KEY,
    schedule TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    present BOOLEAN NOT NULL
);
-- One run a row, by the instant its schedule named; the key is what makes it mailed once.
CREATE TABLE report_runs (
    report TEXT NOT NULL,
    scheduled_ms BIGINT NOT NULL,
    covers_since_ms BIGINT NOT NULL,
    covers_until_ms BIGINT NOT NULL,
    made_ms BIGINT NOT NULL,
    PRIMARY KEY (report, scheduled_ms)
) WITHOUT ROWID;
-- Which messages tell which run.
CREATE TABLE report_messages (
    report TEXT NOT NULL,
    scheduled_ms BIGINT NOT NULL,
    message_id TEXT NOT NULL,
    PRIMARY KEY (report, scheduled_ms, message_id)
) WITHOUT ROWID;
