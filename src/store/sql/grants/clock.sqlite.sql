-- Never asked: one daemon shares nothing.
SELECT CAST(UNIXEPOCH('subsec') * 1000 AS BIGINT)
