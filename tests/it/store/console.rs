use std::time::Duration;

use tallyd::clock::Clock;
use tallyd::domain::table::{Cell, Table};
use tallyd::store::console::{self, SqlError, SqlLimits, VIEWS};

use super::calls::save;
use super::samples::{complete, settled, varied};
use super::{Database, on_both_engines};

on_both_engines! {
    the_views_have_the_documented_columns_in_their_order
    a_row_of_usage_says_what_is_known
    only_the_views_can_be_read
    nothing_can_be_written_or_called
    a_query_is_bounded_in_time_rows_and_bytes
    every_kind_of_value_has_its_cell
}

pub(crate) async fn ask(database: &Database, query: &str) -> Table {
    console::run(&database.url, query, &SqlLimits::default(), &Clock::system()).await.unwrap()
}

async fn refuse(database: &Database, query: &str) -> SqlError {
    match console::run(&database.url, query, &SqlLimits::default(), &Clock::system()).await {
        Ok(table) => panic!("{query} gave {table:?}"),
        Err(error) => error,
    }
}

/// Each row as text, with `|` between its cells; a whole float as an integer.
pub(crate) fn text(table: &Table) -> Vec<String> {
    let cell = |cell: &Cell| match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Decimal(text) | Cell::Text(text) => text.clone(),
        Cell::Boolean(truth) => truth.to_string(),
    };
    table.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("|")).collect()
}

async fn the_views_have_the_documented_columns_in_their_order(database: &Database) {
    let documented = [
        "call_id, generation_id, created_at, created_ms, state, captured_by, app, key_name, end_user, session, tags, \
         requested_model, model, provider, routing, endpoint, streamed, cancelled, http_status, error_type, finish_reason, \
         tokens_prompt, tokens_completion, native_tokens_prompt, native_tokens_completion, native_tokens_reasoning, \
         native_tokens_cached, cache_write_tokens, inline_cost_usd, settled_cost_usd, upstream_cost_usd, charged_usd, cost_usd, \
         cost_picousd, cache_discount_usd, is_byok, latency_ms, generation_time_ms, first_byte_ms, duration_ms, flags, \
         recorded_at, settled_at, settled_ms, requested_models, variant, attempts, failed_attempts, job_id",
        "call_id, name, value",
        "day, app, key_name, model, provider, completions, failures, tokens_prompt, tokens_completion, cost_usd, unknown",
        "bucket_ms, app, key_name, model, provider, endpoint, is_byok, completions, failures, tokens_prompt, \
         tokens_completion, native_tokens_prompt, native_tokens_completion, native_tokens_reasoning, native_tokens_cached, \
         cost_usd, cost_picousd, unknown",
        "name, origin, scope, window_kind, time_zone, window_start, window_end, limit_usd, spent_usd, reserved_usd, \
         unknown_count, percent, state, when_exceeded, as_of, each_by, top_value, value_count",
        "name, each_by, value, window_start, window_end, limit_usd, spent_usd, reserved_usd, unknown_count, percent, \
         state, as_of",
        "name, limit_usd, own_limit_usd, rolled_over_usd, topped_up_usd, override_usd, override_since, override_until, \
         override_reason, paused_at",
        "change_id, changed_at, changed_ms, budget, action, door, who, limit_before_usd, limit_after_usd, \
         definition_before, definition_after, note",
        "budget, window_start, as_of, reason, basis, projected_usd, low_usd, high_usd, reaches_early, reaches_likely, \
         reaches_late",
        "alert_id, budget, window_start, window_end, threshold, kind, crossed_at, limit_usd, spent_usd, mail_state, sent_at, \
         value",
        "spike_id, kind, dimension, name, since, until, found_at, cost_usd, usual_usd, recipients",
        "minute_at, minute_ms, cause, budget, app, key_name, refused",
    ];
    let pages = std::fs::read_to_string("docs/sql.md").unwrap();
    assert_eq!(VIEWS.len(), documented.len());
    for (view, columns) in VIEWS.into_iter().zip(documented) {
        let table = ask(database, &format!("SELECT * FROM {view}")).await;
        assert_eq!(table.columns.join(", "), columns, "{view}");
        let page = pages.split("\n## ").find(|page| page.lines().next() == Some(view)).unwrap();
        for column in table.columns {
            assert!(page.contains(&format!("`{column}`")), "docs/sql.md: {view} lacks {column}");
        }
    }
}

async fn a_row_of_usage_says_what_is_known(database: &Database) {
    save(database, &[complete(1)]).await;
    let table = ask(
        database,
        "SELECT created_at, recorded_at, settled_at, tags, streamed, is_byok, cost_picousd, flags, end_user FROM usage",
    )
    .await;
    assert_eq!(
        text(&table),
        [
            r#"2026-08-04T12:00:00.123Z|2026-08-04T12:00:00.001Z|2026-08-04T12:00:00.003Z|{"env":"prod","te\"am":"a, b"}|true|true|1500000000021|cost_differs,cut|üser"#
        ]
    );
    let table = ask(database, "SELECT cost_usd, upstream_cost_usd, cache_discount_usd FROM usage").await;
    assert_eq!(text(&table), ["1.500000000021|0.000000000011|-0.000000000012"]);
    let table = ask(database, "SELECT name, value FROM usage_tags ORDER BY name").await;
    assert_eq!(text(&table), ["env|prod", "te\"am|a, b"]);
}

async fn only_the_views_can_be_read(database: &Database) {
    save(database, &[complete(1)]).await;
    for query in [
        "SELECT * FROM calls",
        "SELECT * FROM \"calls\"",
        "SELECT body FROM generation_records",
        "SELECT text_body FROM messages",
        "SELECT recipient FROM alert_recipients",
        "SELECT definition FROM budgets",
        "SELECT * FROM tallyd_meta",
        "SELECT * FROM _sqlx_migrations",
        "SELECT * FROM alert_mail",
        "SELECT (SELECT key_sha256 FROM calls LIMIT 1) FROM usage",
        "WITH rows AS (SELECT * FROM calls) SELECT * FROM rows",
        "WITH alert_mail AS (SELECT key_sha256 FROM calls) SELECT * FROM alert_mail",
        "SELECT u.call_id FROM usage AS u JOIN calls ON calls.call_id = u.call_id",
        "SELECT * FROM sqlite_master",
        "SELECT name FROM pragma_table_info('calls')",
        "SELECT * FROM pg_roles",
    ] {
        let error = refuse(database, query).await;
        assert!(matches!(error, SqlError::Refused(_)), "{query}: {error:?}");
    }
    assert_eq!(ask(database, "SELECT COUNT(*) FROM usage").await.rows, [[Cell::Integer(1)]]);
    assert_eq!(ask(database, "SELECT COUNT(*) FROM alert_history").await.rows, [[Cell::Integer(0)]]);
    let joined = "WITH u AS (SELECT call_id, app FROM usage) SELECT u.app, t.value FROM u JOIN usage_tags AS t ON t.call_id = u.call_id \
                  WHERE t.name = 'env'";
    assert_eq!(text(&ask(database, joined).await), ["growth-bot|prod"]);
}

async fn nothing_can_be_written_or_called(database: &Database) {
    for query in [
        "DELETE FROM calls",
        "WITH gone AS (DELETE FROM calls RETURNING call_id) SELECT * FROM gone",
        "INSERT INTO usage DEFAULT VALUES",
        "PRAGMA journal_mode = DELETE",
        "ATTACH 'x' AS x",
        "SELECT 1; SELECT 2",
        "SELECT load_extension('x')",
        "SELECT pg_sleep(1)",
        "SELECT set_config('role', 'none', false)",
        "SELECT 1 INTO stolen",
        "SELECT nonsense FROM usage",
        "SELEC 1",
    ] {
        let error = refuse(database, query).await;
        assert!(matches!(error, SqlError::Refused(_)), "{query}: {error:?}");
    }
}

async fn a_query_is_bounded_in_time_rows_and_bytes(database: &Database) {
    save(database, &(0..10).map(settled).collect::<Vec<_>>()).await;
    let limits = SqlLimits { rows: 3, ..SqlLimits::default() };
    let table = console::run(&database.url, "SELECT call_id FROM usage", &limits, &Clock::system()).await.unwrap();
    assert_eq!((table.rows.len(), table.cut.is_some()), (3, true));
    let limits = SqlLimits { rows: 10, ..SqlLimits::default() };
    let table = console::run(&database.url, "SELECT call_id FROM usage", &limits, &Clock::system()).await.unwrap();
    assert_eq!((table.rows.len(), table.cut), (10, None));
    let limits = SqlLimits { bytes: 100, ..SqlLimits::default() };
    let table = console::run(&database.url, "SELECT call_id FROM usage", &limits, &Clock::system()).await.unwrap();
    assert_eq!((table.rows.len(), table.cut.is_some()), (2, true));
    let limits = SqlLimits { time: Duration::from_millis(100), ..SqlLimits::default() };
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";
    let error = console::run(&database.url, endless, &limits, &Clock::system()).await.unwrap_err();
    assert!(matches!(error, SqlError::TimedOut(_)), "{error:?}");
    let long = format!("SELECT '{}'", "x".repeat(console::MAX_QUERY));
    assert!(matches!(refuse(database, &long).await, SqlError::Refused(_)));
}

async fn every_kind_of_value_has_its_cell(database: &Database) {
    save(database, &[varied(7)]).await;
    let table = ask(database, "SELECT NULL AS a, 9007199254740993 AS b, 'x' AS c, is_byok AS d FROM usage").await;
    assert_eq!(table.columns, ["a", "b", "c", "d"]);
    let row = [Cell::Null, Cell::Integer(9_007_199_254_740_993), Cell::Text("x".to_owned()), Cell::Boolean(false)];
    assert_eq!(table.rows, [row]);
    let empty = ask(database, "SELECT app FROM usage WHERE app = 'nobody'").await;
    assert_eq!((empty.columns, empty.rows), (vec!["app".to_owned()], Vec::new()));
}
