use std::collections::BTreeMap;

use tallyd::domain::call::{Call, CallState};
use tallyd::domain::money::{Money, Total};
use tallyd::domain::rollup;
use tallyd::domain::scope::Scope;
use tallyd::domain::time::DAY_MS;
use tallyd::store::drivers;

use super::calls::save;
use super::rollups::save_with_sums;
use super::samples::{NOON, varied};
use super::{Database, on_both_engines};

on_both_engines! {
    groups_hold_what_the_scope_counts
    the_dearest_come_first
    buckets_sum_what_rows_do
}

fn scopes() -> Vec<Scope> {
    let glob = |text: &str| Some(text.parse().unwrap());
    vec![
        Scope::default(),
        Scope { app: glob("app-?"), ..Scope::default() },
        Scope { user: glob("user-3"), provider: glob("Provider *"), ..Scope::default() },
        Scope { model: glob("openai/gpt-4o-mini-*"), ..Scope::default() },
        Scope { tags: [("env".to_owned(), "pr*".parse().unwrap())].into(), ..Scope::default() },
        Scope { key: glob("DEFAULT"), ..Scope::default() },
        Scope { app: glob("app_1"), ..Scope::default() },
    ]
}

fn rows() -> Vec<Call> {
    (0..40).map(varied).collect()
}

async fn groups_hold_what_the_scope_counts(database: &Database) {
    save(database, &rows()).await;
    for scope in scopes() {
        let until = NOON.plus_millis(30 * 61_000);
        let mut found: BTreeMap<Option<String>, Total> = BTreeMap::new();
        drivers::groups(&database.store, &scope, NOON, until, |group| {
            *found.entry(group.app).or_default() += group.cost;
        })
        .await
        .unwrap();
        let mut expected: BTreeMap<Option<String>, Total> = BTreeMap::new();
        for call in rows().iter().filter(|call| call.created_at() < until && call.cost().is_some()) {
            if let Some((_, _, share)) = rollup::share(&scope, None, call) {
                let cost = Total::from(Money::from_picos(share.cost_picos));
                *expected.entry(call.attribution.app.clone()).or_default() += cost;
            }
        }
        assert_eq!(found, expected, "{scope}");
    }
}

async fn the_dearest_come_first(database: &Database) {
    save(database, &rows()).await;
    for scope in scopes() {
        let until = NOON.plus_millis(40 * 61_000);
        let found = drivers::dearest(&database.store, &scope, NOON, until, 3).await.unwrap();
        let mut expected: Vec<Call> = rows();
        expected.retain(|call| {
            call.state != CallState::Failed
                && call.cost().is_some_and(|cost| cost > Money::ZERO)
                && rollup::share(&scope, None, call).is_some()
        });
        expected.sort_by_key(|call| std::cmp::Reverse(call.cost()));
        let ids = |calls: &[Call]| calls.iter().take(3).map(|call| (call.call_id, call.cost())).collect::<Vec<_>>();
        let found: Vec<_> = found.iter().map(|call| (call.call_id, Some(call.cost))).collect();
        assert_eq!(found, ids(&expected), "{scope}");
    }
}

/// A span of more than two days is read from the buckets where they know what the scope looks at.
async fn buckets_sum_what_rows_do(database: &Database) {
    save_with_sums(database, &rows()).await;
    let short = NOON.plus_millis(DAY_MS);
    let long = NOON.plus_millis(40 * DAY_MS);
    for scope in scopes() {
        let (mut of_rows, mut of_buckets) = (BTreeMap::new(), BTreeMap::new());
        for (until, found) in [(short, &mut of_rows), (long, &mut of_buckets)] {
            let add = |group: drivers::Group| {
                *found.entry((group.app, group.key_name, group.model)).or_insert(Total::ZERO) += group.cost;
            };
            drivers::groups(&database.store, &scope, NOON, until, add).await.unwrap();
        }
        assert_eq!(of_rows, of_buckets, "{scope}");
    }
}
