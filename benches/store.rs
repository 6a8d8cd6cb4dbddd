//! How fast the ledger is written, read and opened.
//!
//! `cargo bench --bench store [-- URL]`: by default a SQLite file in the temporary folder; with a
//! `postgres://` URL the empty database it names.

use std::time::Duration;

use tallyd::clock::Clock;
use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::call::{Call, CallState};
use tallyd::domain::facts::Facts;
use tallyd::domain::ids::{CallId, GenerationId, KeyFingerprint};
use tallyd::domain::money::Money;
use tallyd::domain::observation::{Ending, Outcome, Sent};
use tallyd::domain::rollup::Deltas;
use tallyd::domain::time::{BUCKET_MS, DAY_MS, Timestamp};
use tallyd::store::calls::{self, CompletionFilter};
use tallyd::store::rollups::{self, Dimension, TotalsQuery};
use tallyd::store::{Store, StoreOptions, settlements};

/// Rows written in one transaction, as the ledger's writer does under load.
const BATCH: u32 = 4_000;
const BATCHES: u32 = 50;
const START: Timestamp = Timestamp(1_785_844_800_000);
/// Time between two calls: the batches cover some two days.
const STEP_MS: i64 = 1_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite:{}", folder.path().join("tallyd.db").display());
    let url = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or(file);
    let options = StoreOptions::new(&*url);
    let clock = Clock::system();
    let store = Store::open(&options).await?;

    let mut new = Duration::ZERO;
    let mut settled = Duration::ZERO;
    for batch in 0..BATCHES {
        let mut rows: Vec<Call> = (batch * BATCH..(batch + 1) * BATCH).map(call).collect();
        new += timed(&clock, write(&store, &rows, &[])).await?;
        let before = rows.clone();
        rows.iter_mut().for_each(settle);
        settled += timed(&clock, write(&store, &rows, &before)).await?;
    }
    println!("new rows with roll-ups: {}", rate(new));
    println!("the same rows settled:  {}", rate(settled));

    let filter = CompletionFilter::default();
    let took = timed(&clock, async { calls::page(&store, &filter, None, 50).await }).await?;
    println!("newest page of 50:      {} µs", took.as_micros());
    let days = (0..3).map(|n| (START.plus_millis(n * DAY_MS), START.plus_millis((n + 1) * DAY_MS))).collect();
    let by_model = TotalsQuery { spans: days, by: vec![Dimension::Model], ..TotalsQuery::default() };
    let took = timed(&clock, async { rollups::totals(&store, &by_model).await }).await?;
    println!("sums by model and day:  {} µs from the buckets", took.as_micros());
    let by_user = TotalsQuery { by: vec![Dimension::User], ..by_model };
    let took = timed(&clock, async { rollups::totals(&store, &by_user).await }).await?;
    println!("sums by user and day:   {} ms from the rows", took.as_millis());
    let took = timed(&clock, async { settlements::backlog(&store, START).await }).await?;
    println!("the backlog:            {} µs", took.as_micros());
    let took = timed(&clock, tallyd::store::verify::run(&store, &clock)).await?;
    println!("verify:                 {} ms", took.as_millis());
    store.close().await;
    let took = timed(&clock, async { Store::open(&options).await.map(drop) }).await?;
    println!("open again:             {} ms", took.as_millis());
    Ok(())
}

fn rate(took: Duration) -> String {
    let rows = u128::from(BATCH * BATCHES);
    format!("{} rows/s, {} µs a row", rows * 1_000_000 / took.as_micros().max(1), took.as_micros() / rows)
}

async fn timed<T, E>(clock: &Clock, work: impl Future<Output = Result<T, E>>) -> Result<Duration, E> {
    let began = clock.elapsed();
    work.await?;
    Ok(clock.elapsed().saturating_sub(began))
}

/// What the ledger's writer does with rows: looks for them, writes them, moves the sums.
async fn write(store: &Store, rows: &[Call], before: &[Call]) -> anyhow::Result<()> {
    let mut tx = store.write().await?;
    let ids: Vec<CallId> = rows.iter().map(|call| call.call_id).collect();
    let generations: Vec<GenerationId> = rows.iter().filter_map(|call| call.generation_id.clone()).collect();
    let known = calls::load(&mut tx, &ids, &generations).await?;
    anyhow::ensure!(known.len() == before.len());
    calls::upsert(&mut tx, &rows.iter().collect::<Vec<_>>()).await?;
    let mut deltas = Deltas::default();
    for (at, call) in rows.iter().enumerate() {
        deltas.moved(before.get(at), Some(call));
    }
    rollups::add(&mut tx, &deltas).await?;
    tx.commit().await?;
    Ok(())
}

/// Call `n` as the gateway leaves it.
fn call(n: u32) -> Call {
    let at = START.plus_millis(i64::from(n) * STEP_MS);
    // Call IDs are random below the millisecond, as in life.
    let random = u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834);
    let call_id = CallId::new(at, random);
    let model = format!("maker-{}/model-{}", n % 4, n % 12);
    let sent = Sent {
        call_id,
        at,
        endpoint: "chat/completions".to_owned(),
        key: KeyRef { name: "default".to_owned(), fingerprint: Some(KeyFingerprint::of("sk-or-v1-bench")) },
        tally_key: None,
        attribution: Attribution {
            app: Some(format!("app-{}", n % 5)),
            user: Some(format!("user-{}", n % 500)),
            session: Some(format!("session-{}", n / 20)),
            tags: [("env".to_owned(), "prod".to_owned())].into(),
        },
        requested_model: Some(model.clone()),
        models: Vec::new(),
        routing: None,
        streamed: Some(true),
        flags: Vec::new(),
        estimate: None,
    };
    let mut call = Call::sent(&sent, "bench");
    call.outcome(&Outcome {
        call_id,
        at: at.plus_millis(900),
        head_at: None,
        ending: Ending::Complete,
        status: Some(200),
        generation_id: format!("gen-{}-{n:020}", at.millis() / 1_000).parse().ok(),
        facts: Facts {
            reply_model: Some(model),
            provider: Some(format!("Provider {}", n % 3)),
            finish_reason: Some("stop".to_owned()),
            native_tokens_prompt: Some(1_200),
            native_tokens_completion: Some(300),
            inline_cost: Some(Money::from_picos(1_234_567_890)),
            ..Facts::default()
        },
        error: None,
        first_byte_ms: Some(400),
        duration_ms: 900,
        response_cache_hit: false,
        flags: Vec::new(),
    });
    call
}

/// What the generation record adds.
fn settle(call: &mut Call) {
    call.state = CallState::Settled;
    call.settled_at = Some(call.seen_at.plus_millis(BUCKET_MS));
    call.settling.finish();
    call.facts.created_at = Some(call.seen_at.plus_millis(50));
    call.facts.permaslug = call.facts.reply_model.clone();
    call.facts.settled_cost = call.facts.inline_cost;
    call.facts.tokens_prompt = Some(1_000);
    call.facts.tokens_completion = Some(280);
    call.facts.latency_ms = Some(390);
    call.facts.generation_time_ms = Some(480);
}
