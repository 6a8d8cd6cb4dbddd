SELECT state, COUNT(*) AS messages FROM messages GROUP BY state
UNION ALL
SELECT 'uncomposed', COUNT(*) FROM alert_recipients WHERE message_id IS NULL
