//! What admission costs: the time to ask all budgets and hold back what a call may cost, and to let go again.
//!
//! `cargo bench --bench admission`. Five budgets count the call, however many there are; the window they look at holds
//! more and more rows, and more and more calls are under way.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tallyd::budget::{Accounts, Book, CallChange, Standing, Wish};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::budget::{BudgetSpec, Origin};
use tallyd::domain::call::Call;
use tallyd::domain::catalogue::{Catalogue, Model, Priced};
use tallyd::domain::estimate::Size;
use tallyd::domain::money::{Money, Total};
use tallyd::domain::observation::{Ending, Outcome, Sent};
use tallyd::domain::price::{Pricing, UnitPrice};
use tallyd::domain::scope::AdmissionSubject;
use tallyd::domain::time::Timestamp;

/// Admissions measured in one run.
const CALLS: usize = 100_000;

/// Runs, of which the median counts.
const RUNS: usize = 5;

/// Budgets that count the call, where there are so many.
const MATCHING: usize = 5;

fn main() -> anyhow::Result<()> {
    println!("budgets  rows in the window  calls under way  µs an admission");
    for budgets in [1, 5, 10, 100, 1_000] {
        measure(budgets, 10_000, 0)?;
    }
    for rows in [10_000, 100_000, 1_000_000, 10_000_000] {
        measure(1_000, rows, 0)?;
    }
    for under_way in [64, 1_000, 10_000] {
        measure(1_000, 10_000, under_way)?;
    }
    Ok(())
}

/// So many budgets, of which [`MATCHING`] count the call.
fn standings(count: usize, now: Timestamp) -> anyhow::Result<Vec<Standing>> {
    let matching = [
        serde_json::json!({}),
        serde_json::json!({ "app": "growth-bot" }),
        serde_json::json!({ "app": "growth-*", "model": "openai/*" }),
        serde_json::json!({ "key": "default", "user": "*" }),
        serde_json::json!({ "tag": { "team": "growth" } }),
    ];
    let fields = ["app", "key", "user", "session", "model"];
    (0..count)
        .map(|place| {
            let other = || {
                let glob = if place % 2 == 0 { format!("other-{place}") } else { format!("other-{place}-*") };
                serde_json::json!({ fields[place % fields.len()]: glob })
            };
            let scope = matching.get(place).cloned().unwrap_or_else(other);
            let spec = serde_json::json!({
                "name": format!("b{place}"), "scope": scope, "window": "month", "limit_usd": 9_000_000, "when_exceeded": "block",
            });
            let budget = serde_json::from_value::<BudgetSpec>(spec)?.into_budget(Origin::File, chrono_tz::UTC)?;
            Ok(Standing {
                window: budget.window.window_at(budget.zone, now),
                limit: budget.limit,
                next_limit: budget.limit,
                paused: false,
                spent: Total::ZERO,
                frees_at: None,
                inline: Total::ZERO,
                unknown: 0,
                budget: Arc::new(budget),
            })
        })
        .collect()
}

fn catalogue() -> Catalogue {
    let price = UnitPrice::parse("0.0000006").unwrap_or_default();
    let prices = ["prompt", "completion"].map(|name| (name.to_owned(), price)).into();
    let pricing = Pricing { prices, ..Pricing::default() };
    let model = Model {
        permaslug: None,
        name: None,
        context_length: None,
        first_seen: Timestamp(0),
        last_seen: Timestamp(0),
        prices: vec![Priced { from: Timestamp(0), until: None, pricing }],
    };
    Catalogue::new(None, [("openai/gpt-4o-mini".to_owned(), model)].into())
}

/// A row whose cost is known.
fn row(entropy: &Entropy, now: Timestamp) -> Call {
    let call_id = entropy.call_id(now);
    let mut call = Call::sent(
        &Sent {
            call_id,
            at: now,
            endpoint: "chat/completions".to_owned(),
            key: KeyRef { name: "default".to_owned(), fingerprint: None },
            tally_key: None,
            attribution: Attribution { app: Some("growth-bot".to_owned()), ..Attribution::default() },
            requested_model: Some("openai/gpt-4o-mini".to_owned()),
            models: Vec::new(),
            routing: None,
            streamed: Some(true),
            flags: Vec::new(),
            estimate: None,
        },
        "bench",
    );
    call.outcome(&Outcome {
        call_id,
        at: now,
        head_at: None,
        ending: Ending::Complete,
        status: Some(200),
        generation_id: None,
        facts: tallyd::domain::facts::Facts {
            inline_cost: Some(Money::from_picos(83_160_000)),
            ..tallyd::domain::facts::Facts::default()
        },
        error: None,
        first_byte_ms: None,
        duration_ms: 1,
        response_cache_hit: false,
        flags: Vec::new(),
    });
    call
}

fn measure(budgets: usize, rows: usize, under_way: usize) -> anyhow::Result<()> {
    let (clock, entropy, catalogue) = (Clock::system(), Entropy::seeded(1), catalogue());
    let now = clock.now();
    let book = Arc::new(Book::default());
    let mut standings = standings(budgets, now)?;
    let accounts = |standings: &[Standing]| standings.iter().cloned().map(Accounts::whole).collect();
    book.publish(accounts(&standings), &[]);
    // What the writer tells of rows; it tells their sum, however many there are.
    let batch: Vec<CallChange> = (0..1_000).filter_map(|_| CallChange::found(&row(&entropy, now))).collect();
    for _ in 0..rows / batch.len() {
        book.publish(accounts(&standings), &batch);
    }
    let of_rows = i128::try_from(rows)? * 83_160_000;
    for standing in &mut standings {
        standing.spent = Total::from_picos(of_rows);
    }
    book.publish(accounts(&standings), &[]);

    let tags = BTreeMap::from([("team".to_owned(), "growth".to_owned())]);
    let subject = AdmissionSubject {
        app: Some("growth-bot"),
        key_name: Some("default"),
        end_user: Some("lena"),
        session: Some("a session of a person"),
        model: Some("openai/gpt-4o-mini"),
        models: &[],
        models_unread: false,
        tags: &tags,
        opaque_body: false,
    };
    let size = Size { bytes: Some(3_000), max_tokens: Some(1_000), text_only: true };
    let admit = || book.admit(&Wish { call_id: entropy.call_id(now), subject, size }, &catalogue, now);
    let held: Vec<_> = (0..under_way).map(|_| admit()).collect();
    anyhow::ensure!(held.iter().all(|admitted| matches!(admitted, Ok(Some(_)))), "a call that fits was refused");
    let matching = book.standings().iter().filter(|(.., reserved)| *reserved > Total::ZERO).count();
    anyhow::ensure!(under_way == 0 || matching == MATCHING.min(budgets), "{matching} budgets count the call");

    let mut runs: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let began = clock.elapsed();
            for _ in 0..CALLS {
                drop(black_box(admit()));
            }
            clock.elapsed().saturating_sub(began)
        })
        .collect();
    runs.sort_unstable();
    let nanos = runs[RUNS / 2].as_nanos() / CALLS as u128;
    println!("{budgets:>7}  {rows:>18}  {under_way:>15}  {:>12}.{:02}", nanos / 1_000, nanos % 1_000 / 10);
    Ok(())
}
