//! A daemon whose ledger holds some weeks of calls, made through its own writer.

use std::collections::BTreeMap;
use std::time::Duration;

use tallyd::clock::{Clock, Entropy};
use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::facts::{Facts, GenerationRecord};
use tallyd::domain::ids::{GenerationId, KeyFingerprint};
use tallyd::domain::money::Money;
use tallyd::domain::observation::{Ending, ErrorFacts, Head, Observation, Outcome, Reading, Refused, Sent};
use tallyd::domain::time::{DAY_MS, Timestamp};
use tallyd::ledger::{ReadingOf, Work};
use tallyd::sim::picos::Picos;
use tallyd::sim::traffic::{self, Ended, SimCall};
use tallyd::sim::truth::Attempt;

use crate::support::caller::Caller;
use crate::support::installation::Installation;
use crate::support::pacer::Pacer;
use crate::support::running::Running;

/// When the pages are looked at: a Thursday afternoon, far into its month.
pub const NOW: &str = "2026-11-19T14:32:07Z";

/// Calls of the past, and over how many days.
const CALLS: u32 = 1_500;
const DAYS: i64 = 48;

/// Calls so young are not settled.
const SETTLED_AFTER_MS: i64 = 3_600_000;

/// Calls in one transaction.
const AT_ONCE: usize = 500;

/// An app's name as an attacker would choose it.
pub const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{202e}gro.live\u{202c}";

const BUDGETS: &str = r#"
[[budgets]]
name = "everything"
window = "month"
limit_usd = "60.00"
notify = ["finance@example.com"]
[[budgets]]
name = "support-bot"
scope = { app = "support-bot" }
window = "month"
time_zone = "Europe/Berlin"
limit_usd = "8.00"
notify = ["care@example.com", "lena@example.com"]
[[budgets]]
name = "code-review"
scope = { app = "code-review" }
window = "week"
limit_usd = "1.00"
when_exceeded = "block"
[[budgets]]
name = "rolling"
scope = { model = "anthropic/*" }
window = "rolling 7d"
limit_usd = "10.00"
[[reports]]
name = "weekly"
schedule = "0 8 * * mon"
notify = ["finance@example.com"]
"#;

/// A daemon to look at.
pub struct Scene {
    pub at: Installation,
    pub running: Running,
    pub caller: Caller,
    pub now: Timestamp,
    entropy: Entropy,
    _pacer: Pacer,
}

impl Scene {
    /// A daemon that has recorded nothing.
    pub async fn empty(tables: &str) -> Self {
        Self::on(Installation::new("http://127.0.0.1:9/api/v1", tables)).await
    }

    /// The same on an installation.
    pub async fn on(at: Installation) -> Self {
        let now = Timestamp::parse(NOW).unwrap();
        let clock = Clock::manual(now);
        let pacer = Pacer::start(&clock);
        let running = Running::start(&at, &clock).await;
        let caller = Caller::new(running.address());
        Self { at, running, caller, now, entropy: Entropy::seeded(5), _pacer: pacer }
    }

    /// A daemon with a past.
    pub async fn full() -> Self {
        let scene = Self::empty(BUDGETS).await;
        scene.fill().await;
        scene
    }

    /// Gives it that past.
    pub async fn fill(&self) {
        let scene = self;
        let from = scene.now.plus_millis(-DAYS * DAY_MS);
        let calls: Vec<SimCall> = traffic::history(7, from, scene.now, CALLS).collect();
        for some in calls.chunks(AT_ONCE) {
            let mut work = Work { as_of: some.last().map(|call| call.created_at), ..Work::default() };
            for call in some {
                scene.tell(&mut work, call);
            }
            scene.submit(work).await;
        }
        scene.submit(scene.odd_ones()).await;
    }

    /// Writes `work`.
    pub async fn submit(&self, work: Work) {
        self.running.ledger().submit(work, Duration::from_mins(1)).await.unwrap();
    }

    /// Calls that come after all others: those of a higher `turn` later.
    pub fn fresh(&self, turn: u8, calls: u32) -> Work {
        let mut work = Work { as_of: Some(self.now), ..Work::default() };
        let from = self.now.plus_millis(-DAY_MS);
        for (place, mut call) in (0_i64..).zip(traffic::history(90 + u64::from(turn), from, self.now, calls)) {
            call.created_at = self.now.plus_millis(i64::from(turn) * 5_000 + place * 100);
            call.first_byte_ms = 1;
            self.tell(&mut work, &call);
        }
        work
    }

    /// One call as a hostile caller labels it, and one that tallyd refused.
    pub fn odd_ones(&self) -> Work {
        let at = self.now.plus_millis(-1_000);
        let tags = BTreeMap::from([("<b>".to_owned(), "x".repeat(512)), ("plain".to_owned(), HOSTILE.to_owned())]);
        let long = format!("{HOSTILE}{}", "W".repeat(400));
        let attribution =
            Attribution { app: Some(HOSTILE.to_owned()), user: Some(long.clone()), session: Some(long), tags };
        let sent = Sent {
            call_id: self.entropy.call_id(at),
            at,
            endpoint: "chat/completions".to_owned(),
            key: KeyRef { name: "…\"><i>".to_owned(), fingerprint: Some(KeyFingerprint::of("sk-or-v1-odd")) },
            tally_key: None,
            attribution,
            requested_model: Some(format!("evil/{HOSTILE}{}", "m".repeat(300))),
            models: Vec::new(),
            routing: None,
            streamed: Some(false),
            flags: vec!["cut".to_owned()],
            estimate: None,
        };
        let outcome = Outcome {
            call_id: sent.call_id,
            at: self.now,
            head_at: None,
            ending: Ending::Complete,
            status: Some(200),
            generation_id: Some("gen-1795098726-hostile".parse::<GenerationId>().unwrap()),
            facts: Facts { inline_cost: Some(Money::from_picos(437_000_000)), ..Facts::default() },
            error: None,
            first_byte_ms: Some(300),
            duration_ms: 900,
            response_cache_hit: false,
            flags: Vec::new(),
        };
        let refused = Refused {
            at,
            cause: "budget_exceeded".to_owned(),
            budget: Some("code-review".to_owned()),
            app: Some(HOSTILE.to_owned()),
            key_name: None,
            requested_model: None,
            endpoint: "chat/completions".to_owned(),
        };
        let observations = vec![
            Observation::Sent(Box::new(sent)),
            Observation::Outcome(Box::new(outcome)),
            Observation::Refused(Box::new(refused)),
        ];
        Work { observations, as_of: Some(self.now), ..Work::default() }
    }

    fn tell(&self, work: &mut Work, call: &SimCall) {
        let call_id = self.entropy.call_id(call.created_at);
        work.observations.push(Observation::Sent(Box::new(Sent {
            call_id,
            at: call.created_at,
            endpoint: call.endpoint.path().to_owned(),
            key: KeyRef { name: call.key_name.to_owned(), fingerprint: None },
            tally_key: None,
            attribution: Attribution {
                app: Some(call.app.to_owned()),
                user: call.user.clone(),
                session: call.session.clone(),
                tags: call.tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            },
            requested_model: Some(call.requested.to_owned()),
            models: Vec::new(),
            routing: call.routing.map(str::to_owned),
            streamed: Some(call.streamed),
            flags: Vec::new(),
            estimate: None,
        })));
        let over_at = call.created_at.plus_millis(i64::from(call.duration_ms));
        let (status, error) = match call.ended {
            Ended::Replied(_) => (200, None),
            Ended::Refused { status, error_type } => {
                (status, Some(ErrorFacts { error_type: Some(error_type.to_owned()), ..ErrorFacts::default() }))
            }
        };
        if let Some(id) = &call.id {
            let at = call.created_at.plus_millis(i64::from(call.first_byte_ms));
            work.observations.push(Observation::Head(Head { call_id, at, generation_id: Some(id.clone()), status }));
        }
        let money = |picos: Picos| i64::try_from(picos.0).ok().map(Money::from_picos);
        let facts = Facts {
            reply_model: call.id.is_some().then(|| call.model.id.to_owned()),
            provider: Some(call.provider.name.to_owned()),
            native_tokens_prompt: call.inline_cost.map(|_| i64::from(call.tokens.prompt)),
            native_tokens_completion: call.inline_cost.map(|_| i64::from(call.tokens.completion)),
            inline_cost: call.inline_cost.and_then(money),
            is_byok: call.inline_cost.map(|_| call.upstream.is_some()),
            inline_upstream_cost: call.upstream.filter(|_| call.inline_cost.is_some()).and_then(money),
            ..Facts::default()
        };
        work.observations.push(Observation::Outcome(Box::new(Outcome {
            call_id,
            at: over_at,
            head_at: None,
            ending: Ending::Complete,
            status: Some(status),
            generation_id: call.id.clone(),
            facts: facts.clone(),
            error,
            first_byte_ms: Some(i64::from(call.first_byte_ms)),
            duration_ms: i64::from(call.duration_ms),
            response_cache_hit: false,
            flags: Vec::new(),
        })));
        if call.id.is_some() && over_at.plus_millis(SETTLED_AFTER_MS) < self.now {
            let facts = Facts {
                created_at: Some(call.created_at),
                settled_cost: money(call.cost),
                settled_upstream_cost: call.upstream.and_then(money),
                inline_cost: None,
                inline_upstream_cost: None,
                is_byok: Some(call.upstream.is_some()),
                permaslug: Some(call.model.permaslug.to_owned()),
                finish_reason: call.finish_reason.map(str::to_owned),
                tokens_prompt: Some(i64::from(call.tokens.prompt) * 49 / 50),
                tokens_completion: Some(i64::from(call.tokens.completion) * 49 / 50),
                native_tokens_prompt: Some(i64::from(call.tokens.prompt.max(1))),
                native_tokens_completion: Some(i64::from(call.tokens.completion)),
                native_tokens_reasoning: Some(i64::from(call.tokens.reasoning)),
                native_tokens_cached: Some(i64::from(call.tokens.cached)),
                cache_discount: call.cache_discount.and_then(money),
                latency_ms: Some(i64::from(call.latency_ms)),
                generation_time_ms: Some(i64::from(call.generation_ms)),
                ..facts
            };
            let attempts: Vec<_> = call.attempts.iter().map(attempt).collect();
            let kept = serde_json::json!({ "api_type": call.endpoint.api_type(), "provider_responses": attempts });
            let record = GenerationRecord { facts, kept_json: kept.to_string(), ..GenerationRecord::default() };
            work.readings.push(ReadingOf { call_id, at: over_at, reading: Reading::Record(Box::new(record)) });
        }
    }
}

/// An attempt at a provider as records tell it.
fn attempt(attempt: &Attempt) -> serde_json::Value {
    serde_json::json!({
        "provider_name": attempt.provider.name,
        "model_permaslug": attempt.model.permaslug,
        "status": attempt.status,
        "latency": attempt.latency_ms,
        "is_byok": false,
    })
}
