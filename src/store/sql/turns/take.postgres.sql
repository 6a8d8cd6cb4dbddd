-- 7117 is tallyd's; 1: the turn to write, 2: the turn to change budgets. Ends with the transaction.
SELECT pg_advisory_xact_lock(7117, $1)
