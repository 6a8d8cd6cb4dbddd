use tallyd::clock::Clock;
use tallyd::domain::call::Call;
use tallyd::domain::rollup::{self, Deltas};
use tallyd::domain::scope::Scope;
use tallyd::domain::time::{DAY_MS, Timestamp};
use tallyd::store::budgets::SpendDelta;
use tallyd::store::verify::{self, Difference, Verification};
use tallyd::store::{calls, rollups};

use super::budgets::{add, budget, filled, sync, turned};
use super::samples::{NOON, varied};
use super::{Database, on_both_engines};

on_both_engines! {
    sums_that_agree_are_not_reported
    every_sum_that_was_changed_is_named
    a_row_whose_own_columns_disagree_is_named
    a_budget_yet_to_be_filled_is_not_compared
    a_window_that_shows_another_spend_is_named
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
    assert!(found.buckets > 50 && found.counters > 50, "{found:?}");
}

async fn every_sum_that_was_changed_is_named(database: &Database) {
    fill(database).await;
    database
        .tamper(
            "UPDATE spend_buckets SET cost_picos = cost_picos + 1
                 WHERE bucket_ms = (SELECT MAX(bucket_ms) FROM spend_buckets WHERE completions > 0);
             INSERT INTO spend_buckets SELECT bucket_ms + 900000000, app, 'nobody', model, provider, endpoint, is_byok,
                 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM spend_buckets ORDER BY bucket_ms LIMIT 1;
             DELETE FROM budget_buckets WHERE budget = 'wide'
                 AND bucket_ms = (SELECT MIN(bucket_ms) FROM budget_buckets WHERE budget = 'wide');
             INSERT INTO budget_buckets (budget, value, bucket_ms, cost_picos, inline_picos, unknown_count)
                 VALUES ('narrow', '', 0, 5, 0, 0);",
        )
        .await;
    let found = verified(database).await;
    let texts: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    assert_eq!(found.difference_count, 4, "{texts:#?}");
    let buckets = found.differences.iter().filter(|one| matches!(one, Difference::Bucket { .. })).count();
    let counters = found.differences.iter().filter(|one| matches!(one, Difference::Budget { .. })).count();
    assert_eq!((buckets, counters), (2, 2), "{texts:#?}");
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
