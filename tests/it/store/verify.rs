use tallyd::clock::Clock;
use tallyd::domain::call::Call;
use tallyd::domain::rollup::{self, Deltas};
use tallyd::domain::scope::Scope;
use tallyd::domain::time::{DAY_MS, Timestamp};
use tallyd::store::budgets::SpendDelta;
use tallyd::store::verify::{self, Difference, Verification};
use tallyd::store::{Store, StoreError, StoreOptions, calls, notes, rollups};

use super::budgets::{add, budget, filled, sync, turned};
use super::samples::{NOON, varied};
use super::{Database, on_both_engines};

on_both_engines! {
    sums_that_agree_are_not_reported
    every_sum_that_was_changed_is_named
    a_row_whose_own_columns_disagree_is_named
    a_budget_yet_to_be_filled_is_not_compared
    a_window_that_shows_another_spend_is_named
    sums_of_an_older_database_are_filled_from_its_rows
    a_fill_that_was_cut_goes_on_where_it_was
}

async fn verified(database: &Database) -> Verification {
    verify::run(&database.store, &Clock::system()).await.unwrap()
}

/// Rows over five days, their roll-ups, and a budget for each scope.
async fn fill(database: &Database) {
    let calls: Vec<Call> = (0..80)
        .map(|n| {
            let mut call = varied(n);
            call.facts.created_at = Some(NOON.plus_millis(i64::from(n) * DAY_MS / 17));
            call
        })
        .collect();
    let mut tx = database.store.write().await.unwrap();
    calls::upsert(&mut tx, &calls.iter().collect::<Vec<_>>()).await.unwrap();
    let mut deltas = Deltas::default();
    for call in &calls {
        deltas.moved(None, Some(call));
    }
    rollups::add(&mut tx, &deltas).await.unwrap();
    tx.commit().await.unwrap();
    let mut narrow = budget("narrow");
    narrow.scope.app = Some("app-1".parse().unwrap());
    let mut wide = budget("wide");
    wide.scope = Scope::default();
    let mut wide_each = budget("each");
    wide_each.scope = Scope::default();
    wide_each.each = Some("app".parse().unwrap());
    sync(database, &[narrow.clone(), wide.clone(), wide_each.clone()], NOON).await;
    for budget in [narrow, wide, wide_each] {
        let shares = calls.iter().filter_map(|call| rollup::share(&budget.scope, budget.each.as_ref(), call));
        for (value, bucket, share) in shares {
            let delta = SpendDelta {
                budget: budget.name.clone(),
                value: value.into(),
                bucket,
                cost_picos: share.cost_picos,
                inline_picos: share.inline_picos,
                unknown: share.unknown,
            };
            add(database, &[delta]).await;
        }
        filled(database, budget.name.as_str(), Timestamp(0)).await;
    }
}

async fn sums_that_agree_are_not_reported(database: &Database) {
    assert_eq!(verified(database).await.rows, 0);
    fill(database).await;
    let found = verified(database).await;
    assert_eq!(found.differences, []);
    assert_eq!((found.rows, found.difference_count), (80, 0));
    assert!(found.cells > 400 && found.counters > 50, "{found:?}");
}

async fn every_sum_that_was_changed_is_named(database: &Database) {
    fill(database).await;
    database
        .tamper(
            "UPDATE spend_cells SET cost_picos = cost_picos + 1
                 WHERE whole = 0 AND minutes = 15
                     AND start_ms = (SELECT MAX(start_ms) FROM spend_cells WHERE minutes = 15 AND completions > 0);
             UPDATE spend_cells SET tokens_prompt = tokens_prompt + 1
                 WHERE whole = 1 AND minutes = 360
                     AND start_ms = (SELECT MIN(start_ms) FROM spend_cells WHERE minutes = 360);
             UPDATE timing_parts SET speed = first_byte
                 WHERE whole = 1 AND minutes = 1440
                     AND start_ms = (SELECT MAX(start_ms) FROM timing_parts WHERE minutes = 1440);
             INSERT INTO spend_series (series, identity, app, key_name, model, provider, endpoint, is_byok)
                 SELECT 9999, 'of nobody', app, 'nobody', model, provider, endpoint, is_byok FROM spend_series WHERE series = 1;
             INSERT INTO spend_cells SELECT 0, 15, MIN(start_ms), 9999, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
                 FROM spend_cells WHERE minutes = 15;
             DELETE FROM budget_buckets WHERE budget = 'wide'
                 AND bucket_ms = (SELECT MIN(bucket_ms) FROM budget_buckets WHERE budget = 'wide');
             INSERT INTO budget_buckets (budget, value, bucket_ms, cost_picos, inline_picos, unknown_count)
                 VALUES ('narrow', '', 0, 5, 0, 0);",
        )
        .await;
    let found = verified(database).await;
    let texts: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    assert_eq!(found.difference_count, 6, "{texts:#?}");
    let cells = found.differences.iter().filter(|one| matches!(one, Difference::Cell { .. })).count();
    let counters = found.differences.iter().filter(|one| matches!(one, Difference::Budget { .. })).count();
    assert_eq!((cells, counters), (4, 2), "{texts:#?}");
    assert!(
        texts.iter().any(|text| text.contains("1440 min, all calls") && text.ends_with("timings differ")),
        "{texts:#?}"
    );
    assert!(texts.iter().any(|text| text.contains("key=nobody")), "{texts:#?}");
    assert!(texts.iter().any(|text| text.contains("budget narrow 1970-01-01")), "{texts:#?}");
}

async fn a_row_whose_own_columns_disagree_is_named(database: &Database) {
    fill(database).await;
    database.tamper("UPDATE calls SET cost_picos = cost_picos + 1 WHERE generation_id = 'gen-00000003'").await;
    let found = verified(database).await;
    let [Difference::Row { column, .. }] = &found.differences[..] else { panic!("{:?}", found.differences) };
    assert_eq!(*column, "cost_picos");
}

async fn a_budget_yet_to_be_filled_is_not_compared(database: &Database) {
    fill(database).await;
    database.tamper("UPDATE budgets SET counted_from_ms = NULL; DELETE FROM budget_buckets;").await;
    assert_eq!(verified(database).await.difference_count, 0);
}

async fn a_window_that_shows_another_spend_is_named(database: &Database) {
    fill(database).await;
    for name in ["narrow", "wide"] {
        turned(database, name, NOON).await;
    }
    assert_eq!(verified(database).await.difference_count, 0);
    for (change, back) in [
        (
            "UPDATE budgets SET spent_picos = spent_picos + 1 WHERE name = 'wide'",
            "UPDATE budgets SET spent_picos = spent_picos - 1 WHERE name = 'wide'",
        ),
        (
            "UPDATE budgets SET unknown_count = unknown_count + 1 WHERE name = 'wide'",
            "UPDATE budgets SET unknown_count = unknown_count - 1 WHERE name = 'wide'",
        ),
    ] {
        database.tamper(change).await;
        let found = verified(database).await;
        let [Difference::Status { budget, .. }] = &found.differences[..] else { panic!("{:?}", found.differences) };
        assert_eq!(budget.as_str(), "wide");
        database.tamper(back).await;
    }
}

/// As an older tallyd left the database: with rows, and without the cells.
const OLDER: &str =
    "DROP VIEW spend_by_day; DROP VIEW spend_by_bucket; DROP TABLE spend_cells; DROP TABLE timing_parts;
     DROP TABLE spend_series; CREATE TABLE spend_buckets (bucket_ms BIGINT);
     DELETE FROM _sqlx_migrations WHERE version IN (12, 20)";

async fn sums_of_an_older_database_are_filled_from_its_rows(database: &Database) {
    fill(database).await;
    let before = verified(database).await;
    database.tamper(OLDER).await;
    let again = database.reopen().await;
    let after = verify::run(&again, &Clock::system()).await.unwrap();
    assert_eq!(after.differences, []);
    assert_eq!((after.cells, after.rows), (before.cells, before.rows));
    again.close().await;
}

async fn a_fill_that_was_cut_goes_on_where_it_was(database: &Database) {
    fill(database).await;
    // The first half is in the cells, and noted to be.
    let all = {
        let mut tx = database.store.write().await.unwrap();
        let all = calls::scan(&mut tx, Timestamp(0), None, 1_000).await.unwrap();
        tx.rollback().await.unwrap();
        all
    };
    let half = all.len() / 2;
    let mut deltas = Deltas::default();
    for call in &all[half..] {
        deltas.moved(Some(call), None);
    }
    let mut tx = database.store.write().await.unwrap();
    rollups::add(&mut tx, &deltas).await.unwrap();
    let last = &all[half - 1];
    let note = format!("{} {}", last.created_at().millis(), last.call_id);
    notes::set(&mut tx, "fill spend_cells", &note).await.unwrap();
    tx.commit().await.unwrap();
    let options = StoreOptions::new(&*database.url);
    let error = Store::open_read_only(&options).await.unwrap_err();
    assert!(matches!(error, StoreError::Older { .. }), "{error}");
    let again = Store::open(&options).await.unwrap();
    assert_eq!(verify::run(&again, &Clock::system()).await.unwrap().differences, []);
    again.close().await;
    Store::open_read_only(&options).await.unwrap().close().await;
}
