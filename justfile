# Short names for what is done often; `.ci/run` is the gate.

# List the recipes.
default:
    @just --list

# Run the daemon against the simulated OpenRouter.
demo:
    cargo run --release -- demo

# Format, lint, document: what `.ci/run` checks before the tests.
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

# The tests a stranger can run.
test:
    cargo test

# The tests with a PostgreSQL server of yours; databases named tallyd_test_* are made and dropped on it.
test-postgres url="postgres://postgres@127.0.0.1:5432/postgres":
    TEST_POSTGRES_URL={{url}} cargo test

# The whole gate.
ci:
    bash .ci/run

# The tests of losses and of exactness at length: 200 kills, 10,000 completions. With TEST_POSTGRES_URL on PostgreSQL too.
soak:
    TEST_KILLS=200 TEST_COMPLETIONS=10000 cargo test --test it -- --nocapture no_kill the_ledger_says

# Forecasts of many thousand invented windows: prints the tables of docs/forecasts.md.
backtest:
    TEST_SERIES=200 cargo test --release --test it backtest:: -- --nocapture --test-threads=1

# Feed TARGET of fuzz/ with whatever reaches new code, for so many seconds. Wants cargo-fuzz and a nightly toolchain.
fuzz target seconds="600":
    cargo +nightly fuzz run --sanitizer none {{target}} -- -max_total_time={{seconds}} -timeout=20 -rss_limit_mb=2048
