-- $1: identities, as keys of an object.
SELECT known.identity, known.series
FROM json_each($1) AS wanted
JOIN spend_series AS known ON known.identity = wanted.key
