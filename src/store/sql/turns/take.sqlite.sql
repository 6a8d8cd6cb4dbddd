-- Never asked: a transaction that writes is alone here from its beginning.
SELECT $1
