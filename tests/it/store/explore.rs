use std::collections::BTreeMap;

use tallyd::domain::call::{Call, CallState};
use tallyd::domain::money::Total;
use tallyd::domain::rollup::Histogram;
use tallyd::domain::time::{BUCKET_MS, Timestamp};
use tallyd::store::explore::{self, MAX_ROWS, Timing};
use tallyd::store::rollups::{self, Dimension, TotalsQuery};
use tallyd::store::views::{self, View};

use super::calls::save;
use super::rollups::save_with_sums;
use super::samples::{NOON, varied};
use super::{Database, on_both_engines};

on_both_engines! {
    sums_by_the_minute_are_those_of_the_rows
    values_are_told_near_enough_for_percentiles
    tags_are_offered_by_name
    a_question_knows_how_many_rows_it_would_read
    a_view_is_kept_under_its_name
}

const MINUTE_MS: i64 = 60_000;

fn minutes(count: i64) -> Vec<(Timestamp, Timestamp)> {
    (0..count).map(|n| (NOON.plus_millis(n * MINUTE_MS), NOON.plus_millis((n + 1) * MINUTE_MS))).collect()
}

async fn sums_by_the_minute_are_those_of_the_rows(database: &Database) {
    let calls: Vec<Call> = (0..60).map(varied).collect();
    save_with_sums(database, &calls).await;
    // More spans than go to the database at once.
    let query = TotalsQuery { spans: minutes(1_200), by: vec![Dimension::App], ..TotalsQuery::default() };
    let mut told = BTreeMap::new();
    explore::sums(&database.store, &query, |row| {
        let known: &mut rollups::Sums = told.entry((row.span, row.keys)).or_default();
        known.add(&row.sums);
    })
    .await
    .unwrap();
    let totals = rollups::totals(&database.store, &query).await.unwrap();
    assert_eq!(told.len(), totals.len());
    for row in totals {
        assert_eq!(told[&(row.span, row.keys)], row.sums);
    }
    for ((span, keys), sums) in told {
        let (since, until) = query.spans[span];
        let inside = calls.iter().filter(|call| {
            (since..until).contains(&call.created_at())
                && call.attribution.app == keys[0]
                && call.state != CallState::Failed
        });
        assert_eq!(sums.cost, inside.filter_map(Call::cost).map(Total::from).sum());
    }
}

async fn values_are_told_near_enough_for_percentiles(database: &Database) {
    let mut calls: Vec<Call> = (0..200).map(varied).collect();
    for (n, call) in (0_i64..).zip(&mut calls) {
        // From nothing to a quarter of an hour, each magnitude as often.
        call.facts.latency_ms = Some(3_i64.pow(u32::try_from(n % 13).unwrap()) * (n % 5));
        call.facts.generation_time_ms = Some(n % 7 * 100);
        call.facts.native_tokens_completion = (n % 3 > 0).then_some(n);
    }
    save(database, &calls).await;
    let spans = vec![
        (NOON, NOON.plus_millis(100 * MINUTE_MS)),
        (NOON.plus_millis(100 * MINUTE_MS), NOON.plus_millis(9_000 * MINUTE_MS)),
    ];
    let query = TotalsQuery {
        spans: spans.clone(),
        by: vec![Dimension::Provider],
        by_tag: Some("env".to_owned()),
        only: vec![(Dimension::Session, "s-1".to_owned())],
        ..TotalsQuery::default()
    };
    for (timing, of) in [
        (Timing::Latency, (|call| call.facts.latency_ms) as fn(&Call) -> Option<i64>),
        (Timing::FirstByte, |call| call.first_byte_ms),
        (Timing::Speed, |call| {
            let (tokens, ms) = (call.facts.native_tokens_completion?, call.facts.generation_time_ms?);
            (tokens > 0 && ms > 0).then(|| tokens * 1_000_000 / ms)
        }),
    ] {
        let mut told: BTreeMap<(usize, Vec<Option<String>>), Histogram> = BTreeMap::new();
        explore::spreads(&database.store, &query, timing, |row| {
            told.entry((row.span, row.keys)).or_default().add(&row.histogram);
        })
        .await
        .unwrap();
        assert_eq!(told.len(), 4, "{timing:?}");
        for ((span, keys), spread) in told {
            assert_eq!(keys[1].as_deref(), Some("prod"));
            let (since, until) = spans[span];
            let inside = calls.iter().filter(|call| {
                (since..until).contains(&call.created_at())
                    && call.facts.provider == keys[0]
                    && call.state != CallState::Failed
            });
            let mut values: Vec<i64> = inside.filter_map(of).collect();
            values.sort_unstable();
            assert_eq!(spread.values(), i64::try_from(values.len()).unwrap(), "{timing:?}");
            for percent in [1, 5, 50, 95, 99_u8] {
                let exact = values[(values.len() * usize::from(percent)).div_ceil(100).max(1) - 1];
                let near = spread.percentile(percent).unwrap();
                assert!((near - exact).abs() * 100 <= exact * 5, "{timing:?} p{percent}: {exact}, told {near}");
            }
        }
    }
}

async fn tags_are_offered_by_name(database: &Database) {
    assert!(explore::tag_names(&database.store).await.unwrap().is_empty());
    assert_eq!(explore::first(&database.store).await.unwrap(), None);
    save(database, &(0..20).map(varied).collect::<Vec<_>>()).await;
    assert_eq!(explore::tag_names(&database.store).await.unwrap(), ["env", "te\"am"]);
    assert_eq!(explore::first(&database.store).await.unwrap(), Some(NOON));
}

async fn a_question_knows_how_many_rows_it_would_read(database: &Database) {
    let calls: Vec<Call> = (0..60).map(varied).collect();
    save_with_sums(database, &calls).await;
    for (since, until) in [(0, 60 * MINUTE_MS), (1, 20 * MINUTE_MS), (40 * MINUTE_MS, 41 * MINUTE_MS), (0, 0)] {
        let (since, until) = (NOON.plus_millis(since), NOON.plus_millis(until));
        let (first, last) = (since.bucket(), until.plus_millis(BUCKET_MS - 1).bucket());
        let inside = calls.iter().filter(|call| (first..last).contains(&call.created_at())).count();
        let rows = explore::rows(&database.store, since, until).await.unwrap();
        assert_eq!(rows, i64::try_from(inside).unwrap());
    }
    const { assert!(MAX_ROWS > 2 * 30 * (10_000_000 / 365), "a month of ten million calls a year, and the one before") };
}

async fn a_view_is_kept_under_its_name(database: &Database) {
    let view = |name: &str, query: &str, ms| View {
        name: name.to_owned(),
        query: query.to_owned(),
        saved_at: NOON.plus_millis(ms),
    };
    let mut tx = database.store.write().await.unwrap();
    for kept in [view("b", "by=app", 1), view("a", "", 2), view("b", "by=key", 3)] {
        views::save(&mut tx, &kept).await.unwrap();
    }
    assert_eq!(views::others(&mut tx, "b").await.unwrap(), 1);
    assert_eq!(views::others(&mut tx, "c").await.unwrap(), 2);
    assert!(!views::rename(&mut tx, "a", "b").await.unwrap());
    assert!(!views::rename(&mut tx, "none", "c").await.unwrap());
    assert!(views::rename(&mut tx, "a", "c").await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(views::list(&database.store, 9).await.unwrap(), [view("b", "by=key", 3), view("c", "", 2)]);
    assert_eq!(views::list(&database.store, 1).await.unwrap().len(), 1);
    let mut tx = database.store.write().await.unwrap();
    views::remove(&mut tx, "b").await.unwrap();
    views::remove(&mut tx, "none").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(views::list(&database.store, 9).await.unwrap(), [view("c", "", 2)]);
}
