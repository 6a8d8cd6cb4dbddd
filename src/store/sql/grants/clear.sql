DELETE FROM budget_grants WHERE daemon = $1 OR expires_ms < $2
