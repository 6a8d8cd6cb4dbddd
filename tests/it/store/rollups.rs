use std::collections::BTreeMap;

use proptest::prelude::*;
use tallyd::domain::call::Call;
use tallyd::domain::money::{Money, Total};
use tallyd::domain::rollup::{Deltas, Histogram, Timing};
use tallyd::domain::time::{BUCKET_MS, DAY_MS, Timestamp};
use tallyd::report::span::Step;
use tallyd::store::explore;
use tallyd::store::rollups::{self, Dimension, Sums, TotalsQuery};

use super::calls::save;
use super::samples::{NOON, settled, varied};
use super::{Database, on_both_engines};

on_both_engines! {
    buckets_and_rows_give_the_same_sums
    sums_beyond_nine_million_dollars_are_exact
    a_bucket_is_exact_beyond_nine_million_dollars
    days_of_any_zone_and_any_other_span_are_what_the_rows_sum_to
    percentiles_are_near_those_of_the_rows
    cells_follow_rows_that_move_and_settle
    spans_divide_what_they_cover
    values_restrict_sums
}

pub(crate) async fn save_with_sums(database: &Database, calls: &[Call]) {
    save(database, calls).await;
    let mut deltas = Deltas::default();
    for call in calls {
        deltas.moved(None, Some(call));
    }
    add(database, &deltas).await;
}

async fn add(database: &Database, deltas: &Deltas) {
    let mut tx = database.store.write().await.unwrap();
    rollups::add(&mut tx, deltas).await.unwrap();
    tx.commit().await.unwrap();
}

fn always() -> (Timestamp, Timestamp) {
    (NOON, NOON.plus_millis(1_000 * BUCKET_MS))
}

async fn total(database: &Database, query: TotalsQuery) -> Sums {
    let rows = rollups::totals(&database.store, &query).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].sums
}

async fn buckets_and_rows_give_the_same_sums(database: &Database) {
    let mut calls: Vec<Call> = (0..60).map(varied).collect();
    // Over three days, as rows are read day by day.
    for (n, call) in (0..).zip(&mut calls) {
        call.facts.created_at = Some(NOON.plus_millis(n * DAY_MS / 20));
    }
    save_with_sums(database, &calls).await;
    let by = vec![Dimension::App, Dimension::Provider, Dimension::Byok, Dimension::Key, Dimension::Endpoint];
    let of_buckets = TotalsQuery { spans: vec![always()], by: by.clone(), ..TotalsQuery::default() };
    // A session that all rows have restricts nothing, but the buckets do not know it.
    let only = vec![(Dimension::Session, "s-1".to_owned())];
    let of_rows = TotalsQuery { only, ..of_buckets.clone() };
    let mut from_buckets = rollups::totals(&database.store, &of_buckets).await.unwrap();
    let mut from_rows = rollups::totals(&database.store, &of_rows).await.unwrap();
    assert!(from_buckets.len() > 5);
    assert!(from_buckets.windows(2).all(|pair| pair[0].sums.cost >= pair[1].sums.cost));
    from_buckets.sort_by(|a, b| a.keys.cmp(&b.keys));
    from_rows.sort_by(|a, b| a.keys.cmp(&b.keys));
    assert_eq!(from_buckets, from_rows);

    // What was added and is taken away again is gone.
    let mut deltas = Deltas::default();
    for call in &calls[1..] {
        deltas.moved(Some(call), None);
    }
    add(database, &deltas).await;
    let left = total(database, TotalsQuery { spans: vec![always()], ..TotalsQuery::default() }).await;
    assert_eq!(left, Sums { failures: 1, ..Sums::default() });
}

async fn sums_beyond_nine_million_dollars_are_exact(database: &Database) {
    let mut calls: Vec<Call> = (0..20).map(settled).collect();
    for (n, call) in (0_i64..).zip(&mut calls) {
        call.facts.settled_cost = Some(Money::from_picos(i64::MAX - n));
        // Each in a bucket of its own, as a bucket holds no more than one such amount.
        call.facts.created_at = Some(NOON.plus_millis(n * BUCKET_MS));
    }
    calls[19].facts.settled_cost = Some(Money::from_picos(i64::MIN + 1));
    save_with_sums(database, &calls).await;
    let expected: Total = calls.iter().map(|call| Total::from(call.cost().unwrap())).sum();
    let query = TotalsQuery { spans: vec![always()], ..TotalsQuery::default() };
    assert_eq!(total(database, query.clone()).await.cost, expected);
    let of_rows = TotalsQuery { only: vec![(Dimension::State, "settled".to_owned())], ..query };
    assert_eq!(total(database, of_rows).await.cost, expected);
}

async fn a_bucket_is_exact_beyond_nine_million_dollars(database: &Database) {
    let calls = [settled(1), settled(2)].map(|mut call| {
        call.facts.settled_cost = Some(Money::from_picos(i64::MAX));
        call
    });
    for call in &calls {
        save_with_sums(database, std::slice::from_ref(call)).await;
    }
    let sums = total(database, TotalsQuery { spans: vec![always()], ..TotalsQuery::default() }).await;
    assert_eq!(sums.cost, Total::from_picos(2 * i128::from(i64::MAX)));
    assert_eq!(sums.completions, 2);
}

/// Rows over some weeks, each with timings of its own.
fn timed() -> Vec<Call> {
    let mut calls: Vec<Call> = (0..400).map(varied).collect();
    for (n, call) in (0_i64..).zip(&mut calls) {
        call.facts.created_at = Some(NOON.plus_millis((n * n * 79_190) % (40 * DAY_MS)));
        call.facts.latency_ms = (n % 7 != 0).then_some(n * n % 5_000);
        call.facts.generation_time_ms = Some(n * 31 % 9_000);
        call.facts.native_tokens_completion = Some(n % 900);
        call.first_byte_ms = Some(n % 700);
    }
    calls
}

async fn days_of_any_zone_and_any_other_span_are_what_the_rows_sum_to(database: &Database) {
    let calls = timed();
    save_with_sums(database, &calls).await;
    for (zone, step) in [
        ("Europe/Berlin", Step::Day),
        ("America/Los_Angeles", Step::Day),
        ("Asia/Kathmandu", Step::Week),
        ("Pacific/Auckland", Step::Hour),
        ("Asia/Kolkata", Step::Month),
    ] {
        let zone = tallyd::domain::zone::parse(zone).unwrap();
        // Whole quarters of an hour, and the ends of what somebody wrote down.
        let since = NOON.plus_millis(13 * BUCKET_MS + if step == Step::Day { 77_777 } else { 0 });
        let spans = step.spans(zone, since, since.plus_millis(31 * DAY_MS)).unwrap();
        let by = vec![Dimension::Model, Dimension::App];
        let of_cells = TotalsQuery { spans, by, ..TotalsQuery::default() };
        assert!(of_cells.is_of_cells());
        // Tags are known to the rows alone.
        let of_rows = TotalsQuery { by_tag: Some("none".to_owned()), ..of_cells.clone() };
        let mut from_rows = rollups::totals(&database.store, &of_rows).await.unwrap();
        for row in &mut from_rows {
            row.keys.pop();
        }
        let key = |row: &rollups::TotalsRow| (row.span, row.keys.clone());
        let mut from_cells = rollups::totals(&database.store, &of_cells).await.unwrap();
        from_cells.sort_by_key(key);
        from_rows.sort_by_key(key);
        assert!(from_cells.len() > 5, "{}", from_cells.len());
        assert_eq!(from_cells, from_rows, "{zone} by {}", step.as_str());
        let whole = TotalsQuery { by: Vec::new(), ..of_cells };
        for row in rollups::totals(&database.store, &whole).await.unwrap() {
            let mut sums = Sums::default();
            for other in from_rows.iter().filter(|other| other.span == row.span) {
                sums.add(&other.sums);
            }
            assert_eq!(row.sums, sums);
        }
    }
}

/// The timings of each span, of all groups together.
async fn timed_by(database: &Database, query: &TotalsQuery, timing: Timing) -> BTreeMap<usize, Histogram> {
    let mut spreads: BTreeMap<usize, Histogram> = BTreeMap::new();
    explore::spreads(&database.store, query, timing, |row| spreads.entry(row.span).or_default().add(&row.histogram))
        .await
        .unwrap();
    spreads
}

async fn percentiles_are_near_those_of_the_rows(database: &Database) {
    let calls = timed();
    save_with_sums(database, &calls).await;
    let berlin = tallyd::domain::zone::parse("Europe/Berlin").unwrap();
    // The first begins within a quarter of an hour, of which the cells know nothing.
    let spans = Step::Week.spans(berlin, NOON.plus_millis(78_001), NOON.plus_millis(40 * DAY_MS)).unwrap();
    for timing in Timing::ALL {
        for only in [vec![], vec![(Dimension::App, "app-1".to_owned())]] {
            let query = TotalsQuery { spans: spans.clone(), only: only.clone(), ..TotalsQuery::default() };
            let spreads = timed_by(database, &query, timing).await;
            assert!(spreads.len() >= 5, "{spreads:?}");
            // Tags are known to the rows alone.
            let of_rows = TotalsQuery { by_tag: Some("none".to_owned()), ..query };
            assert_eq!(timed_by(database, &of_rows, timing).await, spreads, "{timing:?}");
            for (span, histogram) in spreads {
                let (since, until) = spans[span];
                let inside = calls.iter().filter(|call| (since..until).contains(&call.created_at()));
                let inside = inside.filter(|call| only.is_empty() || call.attribution.app.as_deref() == Some("app-1"));
                let mut values: Vec<i64> = inside.filter_map(|call| timing.of(call)).collect();
                values.sort_unstable();
                assert_eq!(histogram.values(), i64::try_from(values.len()).unwrap());
                for percent in [50, 95, 99] {
                    let truth = values[(values.len() * percent).div_ceil(100) - 1];
                    let told = histogram.percentile(u8::try_from(percent).unwrap()).unwrap();
                    assert!((told - truth).abs() * 20 <= truth, "p{percent} {timing:?}: {told} for {truth}");
                }
            }
        }
    }
}

async fn cells_follow_rows_that_move_and_settle(database: &Database) {
    let mut calls = timed();
    save_with_sums(database, &calls).await;
    let before = calls.clone();
    for call in &mut calls {
        call.facts.created_at = Some(call.created_at().plus_millis(-DAY_MS / 3));
        call.facts.settled_cost = Some(Money::from_picos(77));
        call.facts.latency_ms = Some(9);
    }
    let mut deltas = Deltas::default();
    for (before, after) in before.iter().zip(&calls) {
        deltas.moved(Some(before), Some(after));
    }
    let mut tx = database.store.write().await.unwrap();
    tallyd::store::calls::upsert(&mut tx, &calls.iter().collect::<Vec<_>>()).await.unwrap();
    rollups::add(&mut tx, &deltas).await.unwrap();
    tx.commit().await.unwrap();
    let found = tallyd::store::verify::run(&database.store, &tallyd::clock::Clock::system()).await.unwrap();
    assert_eq!(found.differences, []);
}

async fn spans_divide_what_they_cover(database: &Database) {
    let calls: Vec<Call> = (0..60).map(varied).collect();
    save_with_sums(database, &calls).await;
    let quarter = |n: i64| NOON.plus_millis(n * BUCKET_MS);
    for by_tag in [None, Some("env".to_owned())] {
        let spans = vec![(quarter(0), quarter(2)), (quarter(2), quarter(3)), (quarter(50), quarter(60))];
        let query = TotalsQuery { spans: spans.clone(), by_tag: by_tag.clone(), ..TotalsQuery::default() };
        let rows = rollups::totals(&database.store, &query).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.span).collect::<Vec<_>>(), [0, 1]);
        for row in rows {
            let (since, until) = spans[row.span];
            let inside = calls.iter().filter(|call| (since..until).contains(&call.created_at()));
            let cost: Total = inside.filter_map(Call::cost).map(Total::from).sum();
            assert_eq!(row.sums.cost, cost);
            assert_eq!(row.keys, by_tag.iter().map(|_| Some("prod".to_owned())).collect::<Vec<_>>());
        }
    }
    let none = TotalsQuery::default();
    assert!(rollups::totals(&database.store, &none).await.unwrap().is_empty());
}

async fn values_restrict_sums(database: &Database) {
    let calls: Vec<Call> = (0..60).map(varied).collect();
    save_with_sums(database, &calls).await;
    let count = |app: Option<&str>| {
        let matching = calls.iter().filter(|call| call.attribution.app.as_deref() == app);
        i64::try_from(matching.count()).unwrap()
    };
    for (value, app) in [("app-1", Some("app-1")), ("", None)] {
        for by in [vec![Dimension::App], vec![Dimension::App, Dimension::Session]] {
            let only = vec![(Dimension::App, value.to_owned())];
            let query = TotalsQuery { spans: vec![always()], by, only, ..TotalsQuery::default() };
            let rows = rollups::totals(&database.store, &query).await.unwrap();
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0].keys[0].as_deref(), app);
            assert_eq!(rows[0].sums.completions + rows[0].sums.failures, count(app));
        }
    }
    let only_tag = Some(("env".to_owned(), "dev".to_owned()));
    let query = TotalsQuery { spans: vec![always()], only_tag, ..TotalsQuery::default() };
    assert!(rollups::totals(&database.store, &query).await.unwrap().is_empty());
}

proptest! {
    #[test]
    fn sums_add_as_their_parts_do(a in any::<i32>(), b in any::<i32>()) {
        let sums = |n: i32| Sums { completions: n.into(), cost: Total::from_picos(n.into()), ..Sums::default() };
        let mut both = sums(a);
        both.add(&sums(b));
        prop_assert_eq!(both.completions, i64::from(a) + i64::from(b));
        prop_assert_eq!(both.cost, Total::from_picos(i128::from(a) + i128::from(b)));
    }
}
