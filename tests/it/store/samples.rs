//! Calls for tests.

use tallyd::domain::attribution::{Attribution, AttributionProvenance, KeyRef};
use tallyd::domain::call::{Call, CallState, CapturedBy};
use tallyd::domain::facts::{Facts, Provenance};
use tallyd::domain::ids::{CallId, GenerationId, KeyFingerprint};
use tallyd::domain::money::Money;
use tallyd::domain::observation::{ErrorFacts, Told};
use tallyd::domain::settling::Settling;
use tallyd::domain::tally_key::TallyKeyId;
use tallyd::domain::time::Timestamp;

/// A quarter of an hour, and the start of a UTC day.
pub(crate) const NOON: Timestamp = Timestamp(1_785_844_800_000);

pub(crate) fn generation(n: u32) -> GenerationId {
    format!("gen-{n:08}").parse().unwrap()
}

pub(crate) fn call_id(n: u32) -> CallId {
    CallId::new(NOON, u128::from(n))
}

/// A settled call of `n` cents, made `n` seconds after noon.
pub(crate) fn settled(n: u32) -> Call {
    let at = NOON.plus_millis(i64::from(n) * 1_000);
    let mut call = told(n, at);
    call.state = CallState::Settled;
    call.settled_at = Some(at.plus_millis(500));
    call.settling = Settling::default();
    call.facts.settled_cost = Some(Money::from_picos(i64::from(n) * 10_000_000_000));
    call.facts.tokens_prompt = Some(i64::from(n));
    call
}

/// A call whose ID was told at `at` and of which nothing else is known.
pub(crate) fn told(n: u32, at: Timestamp) -> Call {
    Call::told(&Told {
        call_id: call_id(n),
        at,
        generation_id: generation(n),
        key: None,
        tally_key: None,
        attribution: Attribution::default(),
    })
}

pub(crate) fn key(name: &str, secret: &str) -> KeyRef {
    KeyRef { name: name.to_owned(), fingerprint: Some(KeyFingerprint::of(secret)) }
}

/// A call of which everything is known.
pub(crate) fn complete(n: u32) -> Call {
    let mut call = told(n, NOON);
    let money = |picos| Some(Money::from_picos(picos));
    call.state = CallState::Settled;
    call.captured_by = CapturedBy::Gateway;
    call.under_way_in = Some("journal-1".to_owned());
    call.recorded_at = NOON.plus_millis(1);
    call.seen_at = NOON.plus_millis(2);
    call.settled_at = Some(NOON.plus_millis(3));
    call.key = Some(key("default", "sk-or-v1-secret"));
    call.tally_key = Some(TallyKeyId::new(NOON, 7));
    call.attribution = Attribution {
        app: Some("growth-bot".to_owned()),
        user: Some("üser".to_owned()),
        session: Some("s-1".to_owned()),
        tags: [("env".to_owned(), "prod".to_owned()), ("te\"am".to_owned(), "a, b".to_owned())].into(),
    };
    call.attribution_provenance = AttributionProvenance::from_text("wtgbw", &call.attribution);
    call.requested_model = Some("openai/gpt-4o-mini".to_owned());
    call.routing = Some(r#"{"order":["a"]}"#.to_owned());
    call.requested_models = vec!["openai/gpt-4o-mini".to_owned(), "a/b".to_owned()];
    call.endpoint = Some("chat/completions".to_owned());
    call.http_status = Some(200);
    call.error = Some(ErrorFacts {
        code: Some("502".to_owned()),
        error_type: Some("provider_unavailable".to_owned()),
        message: Some("it's gone".to_owned()),
    });
    call.facts = Facts {
        created_at: Some(NOON.plus_millis(123)),
        reply_model: Some("openai/gpt-4o-mini".to_owned()),
        permaslug: Some("openai/gpt-4o-mini-2024-07-18".to_owned()),
        provider: Some("OpenAI".to_owned()),
        finish_reason: Some("stop".to_owned()),
        streamed: Some(true),
        cancelled: Some(false),
        is_byok: Some(true),
        tokens_prompt: Some(1),
        tokens_completion: Some(2),
        native_tokens_prompt: Some(3),
        native_tokens_completion: Some(4),
        native_tokens_reasoning: Some(5),
        native_tokens_cached: Some(6),
        cache_write_tokens: Some(7),
        inline_cost: money(8),
        inline_upstream_cost: money(9),
        settled_cost: money(1_500_000_000_010),
        settled_upstream_cost: money(11),
        cache_discount: money(-12),
        latency_ms: Some(13),
        generation_time_ms: Some(14),
        attempts: Some(2),
        failed_attempts: Some(1),
        job_id: Some("job-1".to_owned()),
    };
    call.provenance = Provenance::from_text("ggrrrrttteeebbbrrggggg");
    call.first_byte_ms = Some(15);
    call.duration_ms = Some(16);
    call.flags = ["cost_differs".to_owned(), "cut".to_owned()].into();
    call.settling = Settling {
        due: Some(NOON.plus_millis(17)),
        since: Some(NOON.plus_millis(18)),
        step: 19,
        attempts: 20,
        failures: 21,
        zero_readings: 22,
        reason: Some("429".to_owned()),
    };
    call.record_json = None;
    call
}

/// The parts of `Facts` beyond `settled`, so that a test's calls differ in every dimension.
pub(crate) fn varied(n: u32) -> Call {
    let mut call = complete(n);
    call.under_way_in = None;
    call.generation_id = Some(generation(n));
    call.facts.created_at = Some(NOON.plus_millis(i64::from(n) * 61_000));
    call.attribution.app = (!n.is_multiple_of(5)).then(|| format!("app-{}", n % 3));
    call.attribution.user = (!n.is_multiple_of(4)).then(|| format!("user-{}", n % 7));
    call.facts.provider = Some(format!("Provider {}", n % 2));
    call.facts.is_byok = Some(n.is_multiple_of(6));
    call.facts.settled_cost = Some(Money::from_picos(i64::from(n) * 1_234_567_891_011));
    call.facts.inline_cost = Some(Money::from_picos(i64::from(n) * 1_000));
    match n % 4 {
        0 => call.state = CallState::Failed,
        1 => {
            call.state = CallState::Pending;
            call.settled_at = None;
            call.facts.settled_cost = None;
        }
        2 => {
            call.state = CallState::Unsettled;
            call.facts.settled_cost = None;
            call.facts.inline_cost = None;
        }
        _ => {}
    }
    call
}
