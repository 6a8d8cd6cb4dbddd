DELETE FROM refusals_recent WHERE seq <= (SELECT MAX(seq) FROM refusals_recent) - $1
