SELECT fetched_ms FROM catalogue_state WHERE what = 'models'
