//! What is taken away: completions over the API and as files, and the description of the API.

mod described;
mod exports;
mod paged;
mod watching;

use std::collections::BTreeMap;

use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::facts::Facts;
use tallyd::domain::money::Money;
use tallyd::domain::observation::{Ending, Observation, Outcome, Sent};
use tallyd::ledger::Work;

use crate::pages::fixture::Scene;

/// Calls that the usual past lacks: on a key of one's own, of unknown cost there, and with none at all.
fn unusual(scene: &Scene) -> Work {
    let mut work = Work { as_of: Some(scene.now), ..Work::default() };
    let picos = |picos| Some(Money::from_picos(picos));
    let kinds = [
        (1, Some(true), picos(1_234_567), picos(98_765_432_101)),
        (2, Some(true), picos(5), None),
        (3, None, None, None),
        (4, Some(false), picos(0), None),
    ];
    for (number, is_byok, inline_cost, inline_upstream_cost) in kinds {
        let at = scene.now.plus_millis(-60_000 * number);
        let sent = Sent {
            call_id: tallyd::domain::ids::CallId::new(at, u128::from(number.unsigned_abs())),
            at,
            endpoint: "chat/completions".to_owned(),
            key: KeyRef { name: "default".to_owned(), fingerprint: None },
            tally_key: None,
            attribution: Attribution {
                app: Some("=cmd|' /C calc'!A0".to_owned()),
                tags: BTreeMap::from([("team".to_owned(), "a,\n\"b\"".to_owned())]),
                ..Attribution::default()
            },
            requested_model: Some("openai/gpt-4o".to_owned()),
            models: Vec::new(),
            routing: Some(r#"{"order":["azure"],"allow_fallbacks":false}"#.to_owned()),
            streamed: Some(true),
            flags: Vec::new(),
            estimate: None,
        };
        let facts = Facts {
            is_byok,
            inline_cost,
            inline_upstream_cost,
            provider: Some("Azure".to_owned()),
            ..Facts::default()
        };
        let outcome = Outcome {
            call_id: sent.call_id,
            at,
            head_at: None,
            ending: Ending::Complete,
            status: Some(200),
            generation_id: Some(format!("gen-179509000{number}-unusual").parse().unwrap()),
            facts,
            error: None,
            first_byte_ms: Some(10),
            duration_ms: 20,
            response_cache_hit: false,
            flags: Vec::new(),
        };
        work.observations.push(Observation::Sent(Box::new(sent)));
        work.observations.push(Observation::Outcome(Box::new(outcome)));
    }
    work
}
