//! Models, list prices, estimates, and what OpenRouter counted beside the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tallyd::clock::{Clock, Entropy};
use tallyd::domain::catalogue::{Catalogue, Changes, Listed};
use tallyd::domain::comparison::{Balance, KeyDay};
use tallyd::domain::money::Money;
use tallyd::domain::price::{Pricing, UnitPrice};
use tallyd::domain::time::{DAY_MS, Timestamp};
use tallyd::sim::picos::Picos;
use tallyd::sim::{SimConfig, SimKey, Simulator, Target};
use tallyd::store::{catalogue, comparisons};

use crate::store::engines::{Database, on_a_postgres_of_its_own, on_both_engines};
use crate::support::caller::Caller;
use crate::support::installation::{Installation, KEY, QUICK, text};
use crate::support::pacer::Pacer;
use crate::support::running::Running;
use crate::support::{PATIENCE, until};

/// Thursday, 19 November 2026, 10:00 UTC.
const START: Timestamp = Timestamp(1_795_082_400_000);

const MANAGEMENT_KEY: &str = "sk-or-v1-management-0002";

/// How far the clock is set forward, ...
const STRIDE: Duration = Duration::from_mins(30);

/// ... and looks between two such steps, during which it keeps real time, so that what has begun is answered in time.
const LOOKS_A_STRIDE: u32 = 20;

const MINI: &str = "openai/gpt-4o-mini";
const MINI_PERMASLUG: &str = "openai/gpt-4o-mini-2024-07-18";

on_both_engines! {
    prices_are_kept_with_the_time_each_was_valid
    comparisons_and_balances_are_kept_by_key
}

fn listed(id: &str, permaslug: Option<&str>, prompt: &str) -> Listed {
    let prices = BTreeMap::from([("prompt".to_owned(), UnitPrice::parse(prompt).unwrap())]);
    Listed {
        id: id.to_owned(),
        permaslug: permaslug.map(str::to_owned),
        name: Some("A \"model\"\0".to_owned()),
        context_length: Some(8_000),
        pricing: Pricing { prices, ..Pricing::default() },
    }
}

async fn prices_are_kept_with_the_time_each_was_valid(database: &Database) {
    let store = &database.store;
    assert_eq!(catalogue::load(store).await.unwrap().fetched_at, None);
    let at = |minutes: i64| START.plus_millis(minutes * 60_000);
    let first = [listed("a/one", Some("a/one-1"), "0.0000001"), listed("b/two", None, "0"), listed("a/one", None, "9")];
    let changes = catalogue::save(store, &first, at(0)).await.unwrap();
    assert_eq!(changes, Changes { new_models: 2, new_prices: 2 });
    let same = [listed("a/one", Some("a/one-1"), "1e-7"), listed("b/two", None, "0.0")];
    assert_eq!(
        catalogue::save(store, &same, at(1)).await.unwrap(),
        Changes::default(),
        "another notation is no change"
    );
    // b/two is no longer listed; a/one costs more, and then again what it did.
    catalogue::save(store, &[listed("a/one", Some("a/one-2"), "0.000000000000000003")], at(2)).await.unwrap();
    let changes = catalogue::save(store, &[listed("a/one", Some("a/one-2"), "0.0000001")], at(3)).await.unwrap();
    assert_eq!(changes, Changes { new_models: 0, new_prices: 1 });
    let read = catalogue::load(&database.reopen().await).await.unwrap();
    assert_eq!(read.fetched_at, Some(at(3)));
    let one = &read.models()["a/one"];
    assert_eq!((one.first_seen, one.last_seen, one.context_length), (at(0), at(3), Some(8_000)));
    assert_eq!(one.permaslug.as_deref(), Some("a/one-2"));
    let history: Vec<_> = one
        .prices
        .iter()
        .map(|priced| (priced.from, priced.until, priced.pricing.prices["prompt"].to_string()))
        .collect();
    let price = |from: i64, until: Option<i64>, text: &str| (at(from), until.map(at), text.to_owned());
    assert_eq!(
        history,
        [price(0, Some(2), "0.0000001"), price(2, Some(3), "0.000000000000000003"), price(3, None, "0.0000001")]
    );
    let two = &read.models()["b/two"];
    assert_eq!((two.last_seen, two.prices.len(), two.prices[0].until), (at(1), 1, None));
}

async fn comparisons_and_balances_are_kept_by_key(database: &Database) {
    let store = &database.store;
    let money = |text| Money::parse(text).unwrap();
    let day = |name: &str, days: i64, theirs| KeyDay {
        key_name: name.to_owned(),
        key_sha256: format!("sha-{name}"),
        day: Timestamp(20_000 * DAY_MS + days * DAY_MS),
        ours: money("0.000000000001"),
        theirs: money(theirs),
        unknown: 2,
        estimate: money("0.1"),
        waiting: 1,
        dearest: money("3"),
        over_midnight: money("-1"),
        as_of: START,
    };
    for compared in [day("b", 0, "1"), day("a", 0, "1"), day("a", 1, "2"), day("a", 0, "5")] {
        comparisons::save(store, &compared).await.unwrap();
    }
    let read = comparisons::since(store, day("a", 0, "0").day, 10).await.unwrap();
    assert_eq!(read, [day("a", 1, "2"), day("a", 0, "5"), day("b", 0, "1")]);
    assert_eq!(comparisons::since(store, day("a", 1, "0").day, 10).await.unwrap().len(), 1);
    let balance = |usage| Balance { credits: money("60"), usage: money(usage), as_of: START };
    comparisons::save_balance(store, "k", balance("1")).await.unwrap();
    comparisons::save_balance(store, "k", balance("2")).await.unwrap();
    assert_eq!(comparisons::balance(store, "k").await.unwrap(), Some(balance("2")));
    assert_eq!(comparisons::balance(store, "other").await.unwrap(), None);
}

/// A daemon before a simulated OpenRouter, both by one clock.
struct Scene {
    sim: Simulator,
    at: Installation,
    clock: Clock,
    _pacer: Pacer,
    running: Option<Running>,
}

impl Scene {
    async fn new(database: Option<&str>, tables: &str, behaviour: &str) -> Self {
        let clock = Clock::manual(START);
        let keys = vec![SimKey { management: true, ..SimKey::new(MANAGEMENT_KEY) }];
        let config = SimConfig { keys, behaviour: behaviour.to_owned(), ..SimConfig::default() };
        let sim = Simulator::start(config, clock.clone(), Entropy::seeded(3)).await.unwrap();
        let tables = format!("{tables}{QUICK}");
        let at = Installation::on(database.unwrap_or("sqlite:data/tallyd.db"), sim.base_url(), &tables);
        let pacer = Pacer::start(&clock);
        Self { sim, at, clock, _pacer: pacer, running: None }
    }

    async fn start(&mut self) {
        self.running = Some(Running::start(&self.at, &self.clock).await);
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn caller(&self) -> Caller {
        Caller::new(self.running().address())
    }

    async fn page(&self, path: &str) -> String {
        let reply = self.caller().get(path).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text()
    }

    /// A call through the daemon, or past it.
    async fn call(&self, past: bool, body: &str) {
        let caller = if past { Caller::new(self.sim.address()) } else { self.caller() };
        let key = format!("Bearer {KEY}");
        let path = "/api/v1/chat/completions";
        let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
        let reply = caller.post(path, &headers, body.to_owned()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Lets time pass in strides until `look` finds something.
    async fn wait<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let mut looks = 0;
        until(what, async || {
            if looks % LOOKS_A_STRIDE == 0 {
                self.clock.advance(STRIDE);
            }
            looks += 1;
            look().await
        })
        .await
    }

    async fn listed(&self, model: &str) {
        let store = self.running().store().clone();
        until("the list of models", async || {
            catalogue::load(&store).await.unwrap().models().contains_key(model).then_some(())
        })
        .await;
        // It is kept first and taken up after.
        self.running().knows_model(model).await;
    }

    async fn models(&self) -> Vec<(Option<String>, i128)> {
        let rows = self.at.sql("SELECT model, COUNT(*) FROM usage GROUP BY model ORDER BY 1").await;
        rows.iter()
            .map(|row| (text(&row[0]).map(str::to_owned), crate::support::installation::number(&row[1])))
            .collect()
    }

    /// The first row of `/tally/v1/spend`.
    async fn spend(&self) -> serde_json::Value {
        self.caller().get("/tally/v1/spend?by=model,app").await.json()["rows"][0].clone()
    }

    async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.at.verify().await;
        self.sim.stop().await;
    }
}

fn question(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"How far is the moon?"}}]}}"#)
}

#[tokio::test]
async fn rows_are_named_as_the_catalogue_names_their_permaslug_also_when_it_learns_of_it_later() {
    naming(None).await;
    on_a_postgres_of_its_own("catalogue_naming", async |url| naming(Some(url)).await).await;
}

async fn naming(database: Option<&str>) {
    let mut scene = Scene::new(database, "", "").await;
    scene.sim.set_listed(MINI, false);
    scene.sim.set_models_a_page(3);
    scene.start().await;
    scene.listed("openrouter/auto").await;
    // Calls past the daemon, whose IDs are told: their records name permaslugs alone.
    for model in [MINI, MINI, "anthropic/claude-sonnet-4"] {
        scene.call(true, &question(model)).await;
    }
    Clock::system().timeout(PATIENCE, scene.sim.truth().wait_for(3)).await.expect("the calls are billed");
    let ids: Vec<String> =
        scene.sim.truth().all().iter().map(|billed| format!(r#"{{"id":"{}"}}"#, billed.id)).collect();
    let reply = scene.caller().post("/tally/v1/record", &[], format!("[{}]", ids.join(","))).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let settled = "SELECT COUNT(*) FROM usage WHERE state = 'settled'";
    scene.wait("settled rows", async || (scene.at.number(settled).await == 3).then_some(())).await;
    let sonnet = (Some("anthropic/claude-sonnet-4".to_owned()), 1);
    assert_eq!(scene.models().await, [sonnet.clone(), (Some(MINI_PERMASLUG.to_owned()), 2)]);
    scene.sim.set_listed(MINI, true);
    let renamed = (Some(MINI.to_owned()), 2);
    let named = scene.wait("the model's name", async || {
        let models = scene.models().await;
        models.contains(&renamed).then_some(models)
    });
    assert_eq!(named.await, [sonnet, renamed]);
    let days = scene
        .at
        .sql("SELECT model, SUM(completions) FROM spend_by_day GROUP BY model HAVING SUM(completions) > 0 ORDER BY 1");
    assert_eq!(days.await.len(), 2, "sums moved with the rows");
    scene.stop().await;
}

#[tokio::test]
async fn unknown_costs_are_estimated_at_the_price_of_their_time_and_never_summed() {
    // Replies tell tokens and no cost, and no record ever comes.
    let mut scene = Scene::new(None, "", "usage=no_cost;never=1").await;
    scene.start().await;
    scene.listed(MINI).await;
    scene.call(false, &question(MINI)).await;
    let unknown = "SELECT COUNT(*) FROM usage WHERE cost_usd IS NULL AND native_tokens_prompt > 0";
    until("the row", async || (scene.at.number(unknown).await == 1).then_some(())).await;
    let billed = scene.sim.truth().all().remove(0);
    let by_list = |prompt: i128, completion: i128| {
        let picos = i128::from(billed.tokens.prompt) * prompt + i128::from(billed.tokens.completion) * completion;
        Money::from_picos(i64::try_from(picos).unwrap())
    };
    let expected = by_list(150_000, 600_000);
    let row = scene.spend().await;
    let estimate = |row: &serde_json::Value| row["estimate_usd"].to_string().trim_matches('"').to_owned();
    assert_eq!(Money::parse(&estimate(&row)).unwrap(), expected, "{row}");
    assert_eq!((row["unknown"].as_i64(), row["cost_usd"].is_null()), (Some(1), true), "{row}");
    let shown = format!("≈ ${} estimate", tallyd::domain::money::Total::from(expected).to_fixed(6));
    let id = billed.id.to_string();
    for path in ["/completions".to_owned(), format!("/completions/{id}"), "/".to_owned()] {
        assert!(scene.page(&path).await.contains(&shown), "{shown} is not on {path}");
    }
    assert!(scene.page("/").await.contains("1 cost is unknown, about &#60;$0.01"), "{}", scene.page("/").await);
    // The price changes: what was stays, what comes has the new one, also after a start without OpenRouter.
    scene.sim.set_price(MINI, "prompt", Some("0.001"));
    let store = scene.running().store().clone();
    scene
        .wait("the new price", async || {
            (catalogue::load(&store).await.unwrap().models()[MINI].prices.len() == 2).then_some(())
        })
        .await;
    assert_eq!(Money::parse(&estimate(&scene.spend().await)).unwrap(), expected, "history is not repriced");
    scene.running.take().unwrap().stop().await;
    for _ in 0..50 {
        scene.sim.script(Target::Models, "status=503").unwrap();
    }
    scene.start().await;
    scene.call(false, &question(MINI)).await;
    until("the second row", async || (scene.at.number(unknown).await == 2).then_some(())).await;
    let second = scene.sim.truth().all().remove(1);
    let dear = i128::from(second.tokens.prompt) * 1_000_000_000 + i128::from(second.tokens.completion) * 600_000;
    let both = Money::from_picos(expected.picos() + i64::try_from(dear).unwrap());
    assert_eq!(Money::parse(&estimate(&scene.spend().await)).unwrap(), both);
    until("the trouble on the status page", async || {
        let status = scene.page("/status").await;
        (status.contains("not up to date") && status.contains("refresh_catalogue")).then_some(())
    })
    .await;
    assert_eq!(scene.at.number("SELECT COUNT(cost_usd) FROM usage").await, 0, "an estimate is no cost");
    let report = scene.at.run(&["report"]).await;
    assert!(report.out.contains("an estimate)"), "{report:?}");
    scene.stop().await;
}

#[tokio::test]
async fn what_a_key_used_elsewhere_and_the_balance_are_told_everywhere() {
    let tables = format!("management_key = \"{MANAGEMENT_KEY}\"\n");
    let mut scene = Scene::new(None, &tables, "").await;
    scene.start().await;
    scene.call(false, &question(MINI)).await;
    let today = async || scene.caller().get("/tally/v1/reconciliation").await.json();
    let verdict = |told: &serde_json::Value| told["days"][0]["verdict"].as_str().map(str::to_owned);
    // The first comparison comes within seconds; a later one has the call.
    let told = scene.wait("a comparison with the call", async || {
        let told = today().await;
        (told["days"][0]["ours_usd"] != "0.00" && verdict(&told).is_some()).then_some(told)
    });
    let told = told.await;
    assert_eq!(verdict(&told).as_deref(), Some("agrees"), "{told}");
    assert_eq!(told["days"][0]["ours_usd"], told["days"][0]["theirs_usd"]);
    assert!(scene.page("/").await.contains("OpenRouter counted nothing today (UTC) that is not here."));
    // A hundred dollars past the daemon, with the same key.
    let before = scene.sim.truth().totals().charged;
    let long = format!(r#"{{"model":"google/veo-3.1","prompt":"{}"}}"#, "The moon. ");
    let past = Caller::new(scene.sim.address());
    let bearer = format!("Bearer {KEY}");
    for _ in 0..3 {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let reply = past.post("/api/v1/videos", &headers, long.clone()).await;
        assert!(reply.status.is_success(), "{}", reply.text());
    }
    let used = scene.sim.truth().totals().charged - before;
    assert!(used > Picos(1_000_000_000_000), "{used:?}");
    let told = scene.wait("the difference", async || {
        let told = today().await;
        (verdict(&told).as_deref() == Some("elsewhere")).then_some(told)
    });
    let told = told.await;
    let elsewhere = told["days"][0]["used_elsewhere_usd"].as_str().unwrap();
    assert_eq!(i128::from(Money::parse(elsewhere).unwrap().picos()), used.0);
    let shown = tallyd::report::format::usd(Money::parse(elsewhere).unwrap());
    let sentence = format!("Used elsewhere or not captured: {shown} today (key default).");
    assert!(scene.page("/").await.contains(&sentence), "{sentence} is not on the overview");
    assert!(scene.page("/status").await.contains("used elsewhere or not captured"));
    let balance = scene.wait("the balance", async || {
        let told = today().await;
        let left = told["balance"]["balance_usd"].as_str().map(|left| Money::parse(left).unwrap());
        left.filter(|left| i128::from(left.picos()) == 1_000_000_000_000_000 - scene.sim.truth().totals().charged.0)
    });
    let balance = tallyd::report::format::usd(balance.await);
    assert!(scene.page("/").await.contains(&format!("{balance} of credits are left.")));
    let metrics = scene.page("/metrics").await;
    for family in ["tallyd_used_elsewhere_today_usd ", "tallyd_account_balance_usd ", "tallyd_catalogue_age_seconds "] {
        let value = metrics.lines().find_map(|line| line.strip_prefix(family));
        assert!(value.is_some_and(|value| value.parse::<f64>().unwrap() > 0.0), "{family}{value:?}");
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_key_that_is_refused_is_told_on_the_status_page_and_asked_again() {
    let tables = format!("management_key = \"{KEY}-not-management\"\n");
    let mut scene = Scene::new(None, &tables, "").await;
    for status in [401, 429, 503, 401] {
        scene.sim.script(Target::Account, &format!("status={status}")).unwrap();
    }
    scene.start().await;
    scene
        .wait("the trouble of the comparison", async || {
            scene.page("/status").await.contains("key default: OpenRouter").then_some(())
        })
        .await;
    scene
        .wait("a comparison after all", async || {
            let told = scene.caller().get("/tally/v1/reconciliation").await.json();
            told["days"][0]["verdict"].is_string().then_some(())
        })
        .await;
    scene
        .wait("what is wrong with the management key", async || {
            scene.page("/status").await.contains("openrouter.management_key is no management key").then_some(())
        })
        .await;
    let told = scene.caller().get("/tally/v1/reconciliation").await.json();
    assert!(told["balance"].is_null(), "what an inference key is told is not the balance: {told}");
    scene.stop().await;
}

#[tokio::test]
async fn a_day_that_ends_during_the_comparison_is_asked_for_again() {
    let clock = Clock::manual(Timestamp::parse("2026-11-19T23:59:59Z").unwrap());
    let sim = Simulator::start(SimConfig::default(), clock.clone(), Entropy::seeded(3)).await.unwrap();
    let at = Installation::new(sim.base_url(), "");
    let config = at.config();
    let timeouts = tallyd::openrouter::Timeouts { connect: Duration::from_secs(5), reading: Duration::from_secs(5) };
    let client = tallyd::openrouter::Client::new(&config.openrouter.base_url, timeouts, clock.clone()).unwrap();
    let store = tallyd::store::Store::open(&tallyd::store::StoreOptions::new(config.database.url())).await.unwrap();
    let past = Caller::new(sim.address());
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    past.post("/api/v1/chat/completions", &headers, question(MINI)).await;
    let key = KEY.into();
    let waits = Arc::new(std::sync::atomic::AtomicU32::new(0));
    // Midnight falls between the question and the sum.
    let midnight = || {
        let (clock, waits) = (clock.clone(), Arc::clone(&waits));
        async move {
            if waits.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                clock.advance(Duration::from_secs(2));
            }
            true
        }
    };
    let _pacer = Pacer::start(&clock);
    let compared =
        tallyd::reconcile::compare(&client, &store, &Catalogue::default(), ("default", &key), &clock, midnight).await;
    let compared = compared.unwrap();
    assert_eq!(compared.day.to_iso(), "2026-11-20T00:00:00.000Z");
    assert_eq!(compared.theirs, Money::ZERO, "yesterday's figure is not held against today's rows");
    store.close().await;
    sim.stop().await;
}

#[tokio::test]
async fn the_doctor_compares_and_tells_the_balance() {
    let sim = Simulator::start(
        SimConfig { keys: vec![SimKey { management: true, ..SimKey::new(MANAGEMENT_KEY) }], ..SimConfig::default() },
        Clock::system(),
        Entropy::seeded(3),
    )
    .await
    .unwrap();
    let at = Installation::new(sim.base_url(), &format!("management_key = \"{MANAGEMENT_KEY}\"\n"));
    // A daemon was there once.
    Running::start(&at, &Clock::system()).await.stop().await;
    let past = Caller::new(sim.address());
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    past.post("/api/v1/videos", &headers, r#"{"model":"google/veo-3.1","prompt":"The moon."}"#.to_owned()).await;
    let told = at.run(&["check"]).await.out;
    assert!(told.contains("used elsewhere or not captured"), "{told}");
    assert!(told.contains("of credits are left"), "{told}");
    sim.stop().await;
}
