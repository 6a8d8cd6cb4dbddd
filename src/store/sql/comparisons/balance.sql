SELECT credits_picos, usage_picos, as_of_ms FROM balances WHERE key_sha256 = $1
