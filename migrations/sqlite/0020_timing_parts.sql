-- How long the calls of a cell took, histograms (src/domain/rollup/histogram.rs): those of 32 series whose cells begin together
-- are one row, as every import and every busy minute changes most of them at once. `part` is the series divided by 32.
DROP TABLE timing_cells;
CREATE TABLE timing_parts (
    whole BIGINT NOT NULL,
    minutes BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    part BIGINT NOT NULL,
    latency BLOB NOT NULL,
    first_byte BLOB NOT NULL,
    speed BLOB NOT NULL,
    PRIMARY KEY (whole, minutes, start_ms, part)
) WITHOUT ROWID;
-- Filled from the rows once more, with the sums.
DELETE FROM spend_cells;
INSERT INTO tallyd_meta (name, value)
SELECT 'fill spend_cells', ''
WHERE EXISTS (SELECT 1 FROM calls)
ON CONFLICT (name) DO UPDATE SET value = '';
