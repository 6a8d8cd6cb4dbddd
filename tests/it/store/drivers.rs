use std::collections::BTreeMap;

use tallyd::domain::call::Call;
use tallyd::domain::money::{Money, Total};
use tallyd::domain::rollup::share;
use tallyd::domain::scope::Scope;
use tallyd::domain::time::{DAY_MS, Timestamp};
use tallyd::store::drivers;

use super::calls::save;
use super::rollups::save_with_sums;
use super::samples::{NOON, varied};
use super::{Database, on_both_engines};

on_both_engines! {
    groups_sum_what_each_scope_counts
    the_dearest_calls_are_those_of_the_scope
    buckets_sum_what_rows_do
}

/// Scopes of every field, some of which need what LIKE itself would read otherwise.
fn scopes() -> Vec<Scope> {
    [
        "{}",
        r#"{"app":"app-?"}"#,
        r#"{"app":"app_1"}"#,
        r#"{"app":"APP-1"}"#,
        r#"{"app":"app-1","user":"user-*"}"#,
        r#"{"key":"def*","provider":"Provider 1"}"#,
        r#"{"model":"openai/gpt-4o-mini"}"#,
        r#"{"model":"openai/gpt-4o-mini-2024*"}"#,
        r#"{"model":"google/*"}"#,
        r#"{"session":"s-1","tag":{"env":"pro?","te\"am":"a*"}}"#,
        r#"{"tag":{"env":"test"}}"#,
    ]
    .map(|text| serde_json::from_str(text).unwrap())
    .into()
}

fn rows() -> Vec<Call> {
    (0..60).map(varied).collect()
}

fn cost(scope: &Scope, call: &Call) -> Option<Money> {
    share(scope, call).and(call.cost())
}

async fn groups_sum_what_each_scope_counts(database: &Database) {
    let rows = rows();
    save(database, &rows).await;
    let until = NOON.plus_millis(DAY_MS);
    for scope in scopes() {
        let mut expected: BTreeMap<Option<String>, Total> = BTreeMap::new();
        for (call, cost) in
            rows.iter().filter_map(|call| Some((call, cost(&scope, call)?))).filter(|(_, c)| *c > Money::ZERO)
        {
            *expected.entry(call.attribution.app.clone()).or_default() += cost.into();
        }
        let mut found: BTreeMap<Option<String>, Total> = BTreeMap::new();
        let add = |group: drivers::Group| *found.entry(group.app).or_default() += group.cost;
        drivers::groups(&database.store, &scope, NOON, until, add).await.unwrap();
        assert_eq!(found, expected, "{scope}");
    }
    let nothing = |group| panic!("{group:?} lies outside the span");
    drivers::groups(&database.store, &Scope::default(), until, Timestamp(i64::MAX), nothing).await.unwrap();
}

async fn the_dearest_calls_are_those_of_the_scope(database: &Database) {
    let rows = rows();
    save(database, &rows).await;
    for scope in scopes() {
        let mut expected: Vec<Money> = rows.iter().filter_map(|call| cost(&scope, call)).collect();
        expected.retain(|cost| *cost > Money::ZERO);
        expected.sort_unstable_by(|a, b| b.cmp(a));
        expected.truncate(5);
        let until = NOON.plus_millis(DAY_MS);
        let dearest = drivers::dearest(&database.store, &scope, NOON, until, 5).await.unwrap();
        assert_eq!(dearest.iter().map(|call| call.cost).collect::<Vec<_>>(), expected, "{scope}");
        for call in dearest {
            let row = rows.iter().find(|row| row.call_id == call.call_id).unwrap();
            assert_eq!((call.created_at, call.end_user), (row.created_at(), row.attribution.user.clone()));
            assert_eq!((call.tokens_in, call.tokens_out), (row.facts.tokens_prompt, row.facts.tokens_completion));
        }
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
