//! The same completions through the gateway, Broadcast, telling and imports, by any of these ways and in every order: the
//! same rows, and nothing counted twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::facts::Facts;
use tallyd::domain::ids::{CallId, KeyFingerprint};
use tallyd::domain::money::Money;
use tallyd::domain::observation::{Ending, Head, Observation, Outcome, Sent};
use tallyd::domain::table::Cell;
use tallyd::domain::time::Timestamp;
use tallyd::ledger::Work;
use tallyd::store::verify;

use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::Caller;
use crate::support::installation::{Installation, KEY};
use crate::support::pacer::Pacer;
use crate::support::running::Running;

/// Thursday, 19 November 2026, 10:00 UTC.
const NOW: Timestamp = Timestamp(1_795_082_400_000);

/// The second at which OpenRouter made the generations: two days before.
const MADE: i64 = 1_794_900_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// All that the gateway sees of it, at once.
    Gateway,
    /// The parts of that, at three times.
    Sent,
    Head,
    Outcome,
    Broadcast,
    BroadcastAgain,
    Told,
    Export,
    Record,
}

/// A call through the gateway that is told of while it is under way.
const UNDER_WAY: [Way; 7] = [Way::Sent, Way::Head, Way::Outcome, Way::Broadcast, Way::Told, Way::Export, Way::Record];

const WAYS: [Way; 6] = [Way::Gateway, Way::Broadcast, Way::BroadcastAgain, Way::Told, Way::Export, Way::Record];

/// What kind of completion it was; each way tells it in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The reply's cost is the bill.
    Plain,
    /// The caller's own provider key paid.
    Byok,
    /// It failed in the middle; the reply said another cost than the bill.
    Failed,
}

const KINDS: [Kind; 3] = [Kind::Plain, Kind::Byok, Kind::Failed];

/// One completion, and the ways it takes in their order.
struct Case {
    number: usize,
    kind: Kind,
    ways: Vec<Way>,
    /// The gateway's.
    call_id: CallId,
    /// The reply's head did not name the generation; its body did.
    named_late: bool,
}

impl Kind {
    /// Charged in the end, paid to the provider, and what the reply said was charged; in dollars.
    fn costs(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Plain => ("0.00008316", "0", "0.00008316"),
            Self::Byok => ("0.0001", "0.036078", "0.0001"),
            Self::Failed => ("0.00002", "0", "0.000031"),
        }
    }

    fn finish(self) -> &'static str {
        if self == Self::Failed { "error" } else { "stop" }
    }
}

impl Case {
    fn id(&self) -> String {
        format!("gen-{MADE}-{:020}", self.number)
    }

    /// What the gateway sees of it.
    fn observations(&self) -> [Observation; 3] {
        let call_id = self.call_id;
        let (_, upstream, inline) = self.kind.costs();
        let money = |text: &str| Money::parse(text).ok();
        let facts = Facts {
            reply_model: Some("openai/gpt-4o-mini".to_owned()),
            provider: Some("OpenAI".to_owned()),
            finish_reason: Some(self.kind.finish().to_owned()),
            is_byok: Some(self.kind == Kind::Byok),
            native_tokens_prompt: Some(212),
            native_tokens_completion: Some(87),
            inline_cost: money(inline),
            inline_upstream_cost: money(upstream),
            ..Facts::default()
        };
        let key = KeyRef { name: "default".to_owned(), fingerprint: Some(KeyFingerprint::of(KEY)) };
        let sent = Sent {
            call_id,
            at: NOW,
            endpoint: "chat/completions".to_owned(),
            key,
            tally_key: None,
            attribution: Attribution { app: Some("by-gateway".to_owned()), ..Attribution::default() },
            requested_model: Some("openai/gpt-4o-mini".to_owned()),
            models: Vec::new(),
            routing: None,
            streamed: Some(true),
            flags: Vec::new(),
            estimate: None,
        };
        let id = self.id().parse().ok();
        let (in_head, in_body) = if self.named_late { (None, id) } else { (id, None) };
        let head = Head { call_id, at: NOW, generation_id: in_head, status: 200 };
        let outcome = Outcome {
            call_id,
            at: NOW,
            head_at: None,
            ending: Ending::Complete,
            status: Some(200),
            generation_id: in_body,
            facts,
            error: None,
            first_byte_ms: Some(1),
            duration_ms: 2,
            response_cache_hit: false,
            flags: Vec::new(),
        };
        [Observation::Sent(Box::new(sent)), Observation::Head(head), Observation::Outcome(Box::new(outcome))]
    }

    fn span(&self) -> Value {
        let (charged, ..) = self.kind.costs();
        let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let attempts = format!("[{{\"status\":200,\"is_byok\":{}}}]", self.kind == Kind::Byok);
        json!({
            "name": "LLM Generation",
            "startTimeUnixNano": format!("{MADE}500000000"),
            "status": { "code": if self.kind == Kind::Failed { 2 } else { 1 } },
            "attributes": [
                text("gen_ai.response.id", &self.id()),
                text("gen_ai.request.model", "openai/gpt-4o-mini"),
                text("gen_ai.response.model", "openai/gpt-4o-mini-2024-07-18"),
                text("gen_ai.response.finish_reason", self.kind.finish()),
                json!({ "key": "gen_ai.usage.input_tokens", "value": { "intValue": "212" } }),
                json!({ "key": "gen_ai.usage.output_tokens", "value": { "intValue": "87" } }),
                text("gen_ai.usage.total_cost", charged),
                text("user.id", "by-broadcast"),
                text("session.id", "by-broadcast"),
                text("trace.metadata.team", "by-broadcast"),
                text("trace.metadata.openrouter.provider_name", "OpenAI"),
                text("trace.metadata.openrouter.api_key_name", "prod"),
                text("trace.metadata.provider_responses", &attempts),
            ],
        })
    }

    fn told(&self) -> Value {
        json!({ "id": self.id(), "app": "by-teller", "tags": { "team": "by-teller", "job": "7" } })
    }

    fn export_line(&self) -> String {
        let (charged, upstream, _) = self.kind.costs();
        format!(
            "{},2026-11-17 07:20:00.500,{charged},{upstream},212,87,openai/gpt-4o-mini-2024-07-18,OpenAI,{},by-export,prod,by-export\n",
            self.id(),
            self.kind.finish()
        )
    }

    fn record(&self) -> Value {
        let (charged, upstream, _) = self.kind.costs();
        json!({ "data": {
            "id": self.id(), "created_at": "2026-11-17T07:20:00.612Z", "model": "openai/gpt-4o-mini-2024-07-18",
            "provider_name": "OpenAI", "finish_reason": self.kind.finish(), "streamed": true, "cancelled": false,
            "is_byok": self.kind == Kind::Byok, "native_tokens_prompt": 212, "native_tokens_completion": 87,
            "tokens_prompt": 209, "tokens_completion": 86, "total_cost": charged, "upstream_inference_cost": upstream,
            "external_user": "by-record",
        } })
    }
}

const EXPORT_HEADER: &str = "generation_id,created_at,cost_total,byok_usage_inference,tokens_prompt,tokens_completion,model_permaslug,provider_name,finish_reason_normalized,user,api_key_name,app_name\n";

/// Every order of every choice among the ways.
fn orders() -> Vec<Vec<Way>> {
    fn longer(order: &[Way], all: &mut Vec<Vec<Way>>) {
        for way in WAYS.iter().filter(|way| !order.contains(way)) {
            let order = [order, &[*way]].concat();
            all.push(order.clone());
            longer(&order, all);
        }
    }
    let mut all = Vec::new();
    longer(&[], &mut all);
    all
}

/// Every order of all ways of a call that is told of while it is under way.
fn orders_under_way() -> Vec<Vec<Way>> {
    fn longer(order: &[Way], all: &mut Vec<Vec<Way>>) {
        if order.len() == UNDER_WAY.len() {
            return all.push(order.to_vec());
        }
        for way in UNDER_WAY.iter().filter(|way| !order.contains(way)) {
            let comes_before = match way {
                Way::Head => Some(Way::Sent),
                Way::Outcome => Some(Way::Head),
                _ => None,
            };
            if comes_before.is_none_or(|before| order.contains(&before)) {
                longer(&[order, &[*way]].concat(), all);
            }
        }
    }
    let mut all = Vec::new();
    longer(&[], &mut all);
    all
}

/// Sends what `cases` have to tell by one way.
async fn go(way: Way, cases: &[&Case], running: &Running, caller: &Caller) {
    if cases.is_empty() {
        return;
    }
    let join = |line: fn(&Case) -> String| cases.iter().map(|case| line(case)).collect::<String>();
    let reply = match way {
        Way::Gateway | Way::Sent | Way::Head | Way::Outcome => {
            let part = match way {
                Way::Sent => 0..1,
                Way::Head => 1..2,
                Way::Outcome => 2..3,
                _ => 0..3,
            };
            let observations = cases.iter().flat_map(|case| case.observations()[part.clone()].to_vec()).collect();
            let work = Work { observations, ..Work::default() };
            running.ledger().submit(work, Duration::from_mins(2)).await.unwrap();
            return;
        }
        Way::Broadcast | Way::BroadcastAgain => {
            let spans: Vec<Value> = cases.iter().map(|case| case.span()).collect();
            let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] }).to_string();
            caller.post("/v1/traces", &[("content-type", "application/json")], body).await
        }
        Way::Told => {
            let items: Vec<Value> = cases.iter().map(|case| case.told()).collect();
            caller.post("/tally/v1/record", &[], Value::Array(items).to_string()).await
        }
        Way::Export => {
            let text = EXPORT_HEADER.to_owned() + &join(Case::export_line);
            caller.post("/tally/v1/import", &[("content-type", "text/csv")], text).await
        }
        Way::Record => {
            let text = join(|case| case.record().to_string() + "\n");
            caller.post("/tally/v1/import", &[], text).await
        }
    };
    let good = [StatusCode::OK, StatusCode::ACCEPTED];
    assert!(good.contains(&reply.status), "{way:?}: {}", reply.text());
    let refused = reply.json();
    assert!(refused.get("partialSuccess").is_none(), "{way:?}: {refused}");
    for list in ["refused", "rejected"] {
        assert!(refused.get(list).is_none_or(|list| list == &json!([])), "{way:?}: {refused}");
    }
}

/// The first case of its kind and ways, and what its row says.
type Said<'a> = (&'a Case, Vec<Cell>);

/// What a row says, but for what tells one completion from another and for when we learnt of it.
const SAID: &str = "created_at, state, captured_by, app, key_name, end_user, session, tags, requested_model, model, provider, \
    endpoint, streamed, cancelled, http_status, error_type, finish_reason, CAST(tokens_prompt AS TEXT), \
    CAST(native_tokens_prompt AS TEXT), CAST(native_tokens_completion AS TEXT), CAST(inline_cost_usd AS TEXT), \
    CAST(settled_cost_usd AS TEXT), CAST(cost_picousd AS TEXT), is_byok, flags";

async fn every_order_is_one_row(database_url: &str) {
    let clock = Clock::manual(NOW);
    let tables = "[[budgets]]\nname = \"all\"\nwindow = \"month\"\nlimit_usd = 1000\n";
    let at = Installation::on(database_url, "http://127.0.0.1:9/api/v1", tables);
    let _pacer = Pacer::start(&clock);
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    let entropy = Entropy::seeded(8);
    let ordered = orders();
    let kinds = ordered.iter().flat_map(|ways| KINDS.map(|kind| (kind, ways.clone())));
    let case = |(number, (kind, ways))| Case { number, kind, ways, call_id: entropy.call_id(NOW), named_late: false };
    let cases: Vec<Case> = kinds.enumerate().map(case).collect();
    assert_eq!(cases.len(), 1_956 * KINDS.len());
    for step in 0..WAYS.len() {
        for way in WAYS {
            let now: Vec<&Case> = cases.iter().filter(|case| case.ways.get(step) == Some(&way)).collect();
            go(way, &now, &running, &caller).await;
        }
    }

    let rows = at.sql(&format!("SELECT generation_id, {SAID} FROM usage ORDER BY generation_id")).await;
    assert_eq!(rows.len(), cases.len(), "one row each");
    let mut said: BTreeMap<(Kind, BTreeSet<Way>), Said<'_>> = BTreeMap::new();
    for (case, mut row) in cases.iter().zip(rows) {
        assert_eq!(row.remove(0), Cell::Text(case.id()));
        // The second push says nothing that the first did not.
        let ways =
            case.ways.iter().map(|way| if *way == Way::BroadcastAgain { Way::Broadcast } else { *way }).collect();
        let (other, expected) = said.entry((case.kind, ways)).or_insert_with(|| (case, row.clone()));
        assert_eq!(&row, expected, "{:?}: {:?} and {:?}", case.kind, case.ways, other.ways);
    }
    assert_eq!(said.len(), 31 * KINDS.len());
    let cost = |kind, ways: &[Way]| said[&(kind, ways.iter().copied().collect())].1[22].clone();
    assert_eq!(cost(Kind::Byok, &[Way::Told]), Cell::Null);
    assert_eq!(cost(Kind::Byok, &[Way::Broadcast]), Cell::Null, "what the provider took is not known yet");
    for ways in [&[Way::Export][..], &[Way::Gateway, Way::Told], &[Way::Record, Way::Broadcast], &WAYS[..]] {
        let ways: Vec<Way> = ways.iter().copied().filter(|way| *way != Way::BroadcastAgain).collect();
        assert_eq!(cost(Kind::Byok, &ways), Cell::Text("36178000000".to_owned()), "{ways:?}");
    }
    let all = said[&(Kind::Failed, WAYS.iter().copied().filter(|way| *way != Way::BroadcastAgain).collect())].1.clone();
    let mut shown = String::new();
    for cell in &all {
        let _ = write!(shown, "{cell:?} ");
    }
    for wanted in ["settled", "\"gateway\"", "by-gateway", "by-record", "by-broadcast", "by-teller", "unmapped"] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }

    let seen_and_read = &said[&(Kind::Failed, [Way::Gateway, Way::Record].into())].1;
    assert_eq!(seen_and_read.last(), Some(&Cell::Text("cost_differs".to_owned())));

    // Everything once more: known, and nothing is moved.
    let before = at.sql(&format!("SELECT call_id, {SAID} FROM usage ORDER BY call_id")).await;
    let whole: Vec<&Case> = cases.iter().filter(|case| case.ways.len() == WAYS.len()).collect();
    for way in &WAYS[1..] {
        go(*way, &whole, &running, &caller).await;
    }
    assert_eq!(at.sql(&format!("SELECT call_id, {SAID} FROM usage ORDER BY call_id")).await, before);
    let found = verify::run(running.store(), &Clock::system()).await.unwrap();
    assert_eq!(found.difference_count, 0, "{:?}", found.differences);
    let agree = "SELECT COUNT(*) FROM budget_status WHERE ABS(spent_usd * 1000000000000 - \
                 (SELECT SUM(cost_picousd) FROM usage WHERE created_ms >= 1793491200000)) < 1000";
    assert_eq!(at.number(agree).await, 1);
    drop(caller);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_every_way_is_one_row() {
    every_order_is_one_row("sqlite:data/tallyd.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_every_way_is_one_row_on_postgres() {
    on_a_postgres_of_its_own("orders", async |url| every_order_is_one_row(url).await).await;
}

async fn every_order_under_way_is_one_row(database_url: &str) {
    let clock = Clock::manual(NOW);
    let tables = "[[budgets]]\nname = \"all\"\nwindow = \"month\"\nlimit_usd = 1000\n";
    let at = Installation::on(database_url, "http://127.0.0.1:9/api/v1", tables);
    let _pacer = Pacer::start(&clock);
    let running = Running::start(&at, &clock).await;
    let caller = Caller::new(running.address());
    let entropy = Entropy::seeded(9);
    let mut cases = Vec::new();
    for ways in orders_under_way() {
        for (kind, named_late) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            let number = cases.len();
            cases.push(Case { number, kind, ways: ways.clone(), call_id: entropy.call_id(NOW), named_late });
        }
    }
    assert_eq!(cases.len(), 840 * KINDS.len() * 2);
    for step in 0..UNDER_WAY.len() {
        for way in UNDER_WAY {
            let now: Vec<&Case> = cases.iter().filter(|case| case.ways.get(step) == Some(&way)).collect();
            go(way, &now, &running, &caller).await;
        }
    }

    let rows = at.sql(&format!("SELECT generation_id, {SAID} FROM usage ORDER BY generation_id")).await;
    assert_eq!(rows.len(), cases.len(), "one row each");
    let mut said: BTreeMap<Kind, Said<'_>> = BTreeMap::new();
    for (case, mut row) in cases.iter().zip(rows) {
        assert_eq!(row.remove(0), Cell::Text(case.id()));
        let (other, expected) = said.entry(case.kind).or_insert_with(|| (case, row.clone()));
        assert_eq!(&row, expected, "{:?}: {:?} and {:?}", case.kind, case.ways, other.ways);
    }
    let found = verify::run(running.store(), &Clock::system()).await.unwrap();
    assert_eq!(found.difference_count, 0, "{:?}", found.differences);
    drop(caller);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_every_way_around_a_call_under_way_is_one_row() {
    every_order_under_way_is_one_row("sqlite:data/tallyd.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_every_way_around_a_call_under_way_is_one_row_on_postgres() {
    on_a_postgres_of_its_own("orders_under_way", async |url| every_order_under_way_is_one_row(url).await).await;
}
