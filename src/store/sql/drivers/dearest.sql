-- $1, $2: since and until. $3 to $9: LIKE patterns, NULL for any. $10: most rows.
SELECT
    call_id,
    created_ms,
    app,
    key_name,
    provider,
    model,
    reply_model,
    permaslug,
    end_user,
    session,
    tags,
    cost_picos,
    COALESCE(tokens_prompt, native_tokens_prompt) AS tokens_in,
    COALESCE(tokens_completion, native_tokens_completion) AS tokens_out
FROM calls
WHERE created_ms >= $1
    AND created_ms < $2
    AND state NOT IN ('open', 'failed')
    AND cost_picos > 0
    AND (CAST($3 AS TEXT) IS NULL OR app LIKE $3 ESCAPE '\')
    AND (CAST($4 AS TEXT) IS NULL OR key_name LIKE $4 ESCAPE '\')
    AND (CAST($5 AS TEXT) IS NULL OR end_user LIKE $5 ESCAPE '\')
    AND (CAST($6 AS TEXT) IS NULL OR session LIKE $6 ESCAPE '\')
    AND (CAST($7 AS TEXT) IS NULL OR provider LIKE $7 ESCAPE '\')
    AND (CAST($8 AS TEXT) IS NULL OR reply_model LIKE $8 ESCAPE '\' OR permaslug LIKE $8 ESCAPE '\')
    AND (CAST($9 AS TEXT) IS NULL OR tags LIKE $9 ESCAPE '\')
ORDER BY cost_picos DESC, call_id
LIMIT $10
