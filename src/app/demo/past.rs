//! The simulated past, told to the ledger as the gateway and the settler would have told it.

use std::collections::BTreeMap;

use crate::clock::Entropy;
use crate::domain::attribution::{Attribution, KeyRef};
use crate::domain::facts::{Facts, GenerationRecord};
use crate::domain::ids::KeyFingerprint;
use crate::domain::money::Money;
use crate::domain::observation::{Ending, ErrorFacts, Head, Observation, Outcome, Reading, Sent};
use crate::domain::time::Timestamp;
use crate::ledger::{ReadingOf, Work};
use crate::sim::picos::Picos;
use crate::sim::traffic::{Ended, SimCall};
use crate::sim::truth;

/// Adds one call of the past to `work`: sent, answered, over, and settled if its record came before `now`.
pub(super) fn tell(
    work: &mut Work,
    call: &SimCall,
    keys: &BTreeMap<&str, KeyFingerprint>,
    entropy: &Entropy,
    now: Timestamp,
) {
    let call_id = entropy.call_id(call.created_at);
    work.observations.push(Observation::Sent(Box::new(Sent {
        call_id,
        at: call.created_at,
        endpoint: call.endpoint.path().to_owned(),
        key: KeyRef { name: call.key_name.to_owned(), fingerprint: keys.get(call.key_name).cloned() },
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
    let head_at = call.created_at.plus_millis(i64::from(call.first_byte_ms));
    let over_at = call.created_at.plus_millis(i64::from(call.duration_ms));
    let status = match call.ended {
        Ended::Replied(_) => 200,
        Ended::Refused { status, .. } => status,
    };
    if call.id.is_some() {
        work.observations.push(Observation::Head(Head {
            call_id,
            at: head_at,
            generation_id: call.id.clone(),
            status,
        }));
    }
    work.observations.push(Observation::Outcome(Box::new(Outcome {
        call_id,
        at: over_at,
        head_at: None,
        ending: match call.ended {
            Ended::Replied(truth::Outcome::Cancelled) => Ending::ClientLeft,
            Ended::Replied(truth::Outcome::Failed) => Ending::Cut,
            Ended::Replied(truth::Outcome::Complete) | Ended::Refused { .. } => Ending::Complete,
        },
        status: Some(status),
        generation_id: call.id.clone(),
        facts: reply(call),
        error: error(call),
        first_byte_ms: call.id.is_some().then_some(i64::from(call.first_byte_ms)),
        duration_ms: i64::from(call.duration_ms),
        response_cache_hit: false,
        flags: Vec::new(),
    })));
    let settled_at = call.settled_after_ms.map(|after| over_at.plus_millis(i64::from(after)));
    if let Some(at) = settled_at.filter(|at| call.id.is_some() && *at <= now) {
        work.readings.push(ReadingOf { call_id, at, reading: Reading::Record(Box::new(record(call))) });
    }
}

fn reply(call: &SimCall) -> Facts {
    let Ended::Replied(outcome) = call.ended else { return Facts::default() };
    let said = call.inline_cost.is_some();
    let tokens = |count: u32| said.then_some(i64::from(count));
    Facts {
        reply_model: Some(call.model.id.to_owned()),
        provider: Some(call.provider.name.to_owned()),
        finish_reason: call.finish_reason.filter(|_| outcome == truth::Outcome::Complete).map(str::to_owned),
        streamed: Some(call.streamed),
        is_byok: said.then_some(call.upstream.is_some()),
        native_tokens_prompt: tokens(call.tokens.prompt),
        native_tokens_completion: tokens(call.tokens.completion),
        native_tokens_reasoning: tokens(call.tokens.reasoning),
        native_tokens_cached: tokens(call.tokens.cached),
        cache_write_tokens: tokens(call.tokens.cache_write),
        inline_cost: call.inline_cost.and_then(money),
        inline_upstream_cost: call.upstream.filter(|_| said).and_then(money),
        ..Facts::default()
    }
}

fn error(call: &SimCall) -> Option<ErrorFacts> {
    match call.ended {
        Ended::Refused { status, error_type } => {
            Some(ErrorFacts { code: Some(status.to_string()), error_type: Some(error_type.to_owned()), message: None })
        }
        Ended::Replied(truth::Outcome::Failed) => Some(ErrorFacts {
            code: Some("502".to_owned()),
            error_type: Some("provider_unavailable".to_owned()),
            message: Some("Provider disconnected".to_owned()),
        }),
        Ended::Replied(_) => None,
    }
}

fn record(call: &SimCall) -> GenerationRecord {
    // GPT-style normalised counts lie a little below the native ones.
    let normalised = |native: u32| i64::from(native) * 49 / 50;
    let attempts: Vec<_> = call
        .attempts
        .iter()
        .map(|attempt| {
            serde_json::json!({
                "provider_name": attempt.provider.name,
                "model_permaslug": attempt.model.permaslug,
                "status": attempt.status,
                "latency": attempt.latency_ms,
            })
        })
        .collect();
    GenerationRecord {
        facts: Facts {
            created_at: Some(call.created_at),
            permaslug: Some(call.model.permaslug.to_owned()),
            provider: Some(call.provider.name.to_owned()),
            finish_reason: call.finish_reason.map(str::to_owned),
            streamed: Some(call.streamed),
            cancelled: Some(call.ended == Ended::Replied(truth::Outcome::Cancelled)),
            is_byok: Some(call.upstream.is_some()),
            tokens_prompt: Some(normalised(call.tokens.prompt)),
            tokens_completion: Some(normalised(call.tokens.completion)),
            native_tokens_prompt: Some(i64::from(call.tokens.prompt)),
            native_tokens_completion: Some(i64::from(call.tokens.completion)),
            native_tokens_reasoning: Some(i64::from(call.tokens.reasoning)),
            native_tokens_cached: Some(i64::from(call.tokens.cached)),
            settled_cost: money(call.cost),
            settled_upstream_cost: call.upstream.and_then(money),
            cache_discount: call.cache_discount.and_then(money),
            latency_ms: Some(i64::from(call.latency_ms)),
            generation_time_ms: Some(i64::from(call.generation_ms)),
            ..Facts::default()
        },
        kept_json: serde_json::json!({ "api_type": call.endpoint.api_type(), "provider_responses": attempts })
            .to_string(),
        failed_provider_status: call
            .attempts
            .iter()
            .map(|attempt| attempt.status)
            .filter(|status| *status >= 400)
            .max()
            .filter(|_| call.attempts.iter().all(|attempt| attempt.status >= 400)),
        ..GenerationRecord::default()
    }
}

fn money(picos: Picos) -> Option<Money> {
    i64::try_from(picos.0).ok().map(Money::from_picos)
}
