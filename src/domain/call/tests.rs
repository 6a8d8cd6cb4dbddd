use super::*;
use crate::domain::observation::{Tidings, Told};
use crate::domain::rollup::Deltas;
use proptest::prelude::*;

const GIVE_UP: i64 = 72 * 3_600_000;

fn id() -> GenerationId {
    "gen-1789000001-A1b2C3d4E5f6G7h8I9j0".parse().unwrap()
}

fn sent() -> Sent {
    Sent {
        call_id: CallId::new(Timestamp(1_000), 1),
        at: Timestamp(1_000),
        endpoint: "chat/completions".to_owned(),
        key: KeyRef { name: "default".to_owned(), fingerprint: None },
        tally_key: None,
        attribution: Attribution { app: Some("bot".to_owned()), ..Attribution::default() },
        requested_model: Some("openai/gpt-4o-mini".to_owned()),
        models: Vec::new(),
        routing: None,
        streamed: Some(true),
        flags: Vec::new(),
        estimate: None,
    }
}

fn outcome(ending: Ending, status: Option<u16>, generation_id: Option<GenerationId>) -> Outcome {
    Outcome {
        call_id: CallId::new(Timestamp(1_000), 1),
        at: Timestamp(3_000),
        head_at: None,
        ending,
        status,
        generation_id,
        facts: Facts::default(),
        error: None,
        first_byte_ms: None,
        duration_ms: 2_000,
        response_cache_hit: false,
        flags: Vec::new(),
    }
}

fn record(cost: i64) -> Reading {
    let facts = Facts {
        settled_cost: Some(Money::from_picos(cost)),
        native_tokens_prompt: Some(cost / 10),
        permaslug: Some("openai/gpt-4o-mini-2024-07-18".to_owned()),
        ..Facts::default()
    };
    Reading::Record(Box::new(GenerationRecord {
        facts,
        external_user: Some("u".to_owned()),
        ..GenerationRecord::default()
    }))
}

#[test]
fn a_call_without_an_id_is_failed_only_when_it_can_not_have_cost_anything() {
    for (ending, status, state) in [
        (Ending::Complete, Some(400), CallState::Failed),
        (Ending::Complete, Some(307), CallState::Failed),
        (Ending::NeverSent, None, CallState::Failed),
        (Ending::NoReply, None, CallState::Unsettled),
        (Ending::Complete, Some(200), CallState::Unsettled),
    ] {
        let mut call = Call::sent(&sent(), "j");
        call.outcome(&outcome(ending, status, None));
        assert_eq!(call.state, state, "{ending:?} {status:?}");
        assert_eq!(call.cost().is_some(), state == CallState::Failed);
    }
}

#[test]
fn an_error_status_whose_id_never_shows_is_failed_at_give_up() {
    let mut call = Call::sent(&sent(), "j");
    call.outcome(&outcome(Ending::Complete, Some(502), Some(id())));
    assert_eq!(call.state, CallState::Pending);
    call.read(&Reading::NotYet, Timestamp(3_000 + GIVE_UP), GIVE_UP);
    assert_eq!(call.state, CallState::Failed);
    assert_eq!(call.error.unwrap().error_type.as_deref(), Some("provider_unavailable"));
}

#[test]
fn a_redirect_with_an_id_is_settled_if_there_is_a_record_and_failed_if_there_never_is() {
    let mut call = Call::sent(&sent(), "j");
    call.outcome(&outcome(Ending::Complete, Some(307), Some(id())));
    assert_eq!((call.state, call.cost()), (CallState::Pending, None));
    let mut real = call.clone();
    real.read(&record(5), Timestamp(4_000), GIVE_UP);
    assert_eq!((real.state, real.cost()), (CallState::Settled, Some(Money::from_picos(5))));
    call.read(&Reading::NotYet, Timestamp(3_000 + GIVE_UP), GIVE_UP);
    assert_eq!((call.state, call.cost()), (CallState::Failed, Some(Money::ZERO)));
}

#[test]
fn the_model_is_the_replys_else_the_catalogues_else_the_permaslug() {
    let mut call = Call::sent(&sent(), "j");
    let id_of = |permaslug: &str| (permaslug == "acme/one-20260101").then(|| "acme/one".to_owned());
    call.name_model(id_of);
    assert_eq!(call.model(), None);
    call.facts.permaslug = Some("acme/one-20260101".to_owned());
    call.name_model(|_| None);
    assert_eq!(call.model(), Some("acme/one-20260101"));
    call.name_model(id_of);
    assert_eq!(call.model(), Some("acme/one"));
    call.name_model(|_| Some("acme/renamed".to_owned()));
    assert_eq!(call.model(), Some("acme/one"), "history keeps its name");
    call.facts.reply_model = Some("acme/one:free".to_owned());
    call.name_model(id_of);
    assert_eq!((call.model(), call.catalogue_model.as_deref()), (Some("acme/one:free"), None));
}

#[test]
fn byok_costs_the_fee_and_the_upstream_and_is_unknown_without_it() {
    let mut call = Call::sent(&sent(), "j");
    let mut over = outcome(Ending::Complete, Some(200), Some(id()));
    over.facts.inline_cost = Some(Money::from_picos(5));
    over.facts.inline_upstream_cost = Some(Money::from_picos(7));
    call.outcome(&over);
    assert_eq!(call.cost(), Some(Money::from_picos(5)), "upstream is not added unless the caller's key paid it");
    call.facts.is_byok = Some(true);
    assert_eq!(call.cost(), Some(Money::from_picos(12)));
    call.facts.inline_upstream_cost = None;
    assert_eq!(call.cost(), None);
}

proptest! {
    /// Whatever the order in which the gateway, a told ID and the record arrive, the row and the sums are the same.
    #[test]
    fn every_order_gives_the_same_row(order in Just([0_usize, 1, 2]).prop_shuffle(), told_twice in any::<bool>()) {
        let told = Told {
            call_id: CallId::new(Timestamp(900), 9),
            at: Timestamp(900),
            generation_id: id(),
            key: None,
            tally_key: None,
            attribution: Attribution { app: Some("other".to_owned()), session: Some("s".to_owned()), ..Attribution::default() },
            tidings: Tidings::Id,
        };
        let mut gateway: Option<Call> = None;
        let mut row: Option<Call> = None;
        let mut deltas = Deltas::default();
        for step in order {
            let before = row.clone();
            match step {
                0 => {
                    let mut call = Call::sent(&sent(), "j");
                    let mut over = outcome(Ending::Complete, Some(200), Some(id()));
                    over.facts.inline_cost = Some(Money::from_picos(100));
                    over.facts.reply_model = Some("openai/gpt-4o-mini".to_owned());
                    call.outcome(&over);
                    if let Some(known) = row.take() { call.absorb(known); }
                    gateway = Some(call.clone());
                    row = Some(call);
                }
                1 => for _ in 0..=u8::from(told_twice) {
                    match row.as_mut() {
                        Some(call) => call.told_again(&told),
                        None => row = Some(Call::told(&told)),
                    }
                },
                _ => {
                    if row.is_none() { row = Some(Call::told(&told)); }
                    row.as_mut().unwrap().read(&record(90), Timestamp(9_000), GIVE_UP);
                }
            }
            deltas.moved(before.as_ref(), row.as_ref());
        }
        let call = row.unwrap();
        prop_assert!(gateway.is_some());
        prop_assert_eq!(call.state, CallState::Settled);
        prop_assert_eq!(call.cost(), Some(Money::from_picos(90)));
        prop_assert_eq!(call.facts.inline_cost, Some(Money::from_picos(100)));
        prop_assert_eq!(call.attribution.app.as_deref(), Some("bot"));
        prop_assert_eq!(call.attribution.user.as_deref(), Some("u"));
        prop_assert_eq!(call.attribution.session.as_deref(), Some("s"));
        prop_assert_eq!(call.model(), Some("openai/gpt-4o-mini"));
        prop_assert_eq!(call.captured_by, CapturedBy::Gateway);
        let mut total = crate::domain::rollup::Sums::default();
        for ((level, _, place), cell) in deltas.spread().cells {
            if level == crate::domain::rollup::Level::Day && place.is_none() { total.add(&cell.sums); }
        }
        prop_assert_eq!((total.completions, total.cost.picos(), total.inline), (1, 90, 0));
    }
}

#[test]
fn counts_that_no_call_can_have_are_dropped_and_flagged() {
    let mut call = Call::sent(&sent(), "j");
    let mut ended = outcome(Ending::Complete, Some(200), Some(id()));
    ended.facts.native_tokens_prompt = Some(i64::MAX);
    ended.facts.native_tokens_completion = Some(crate::domain::facts::MAX_TOKENS);
    ended.facts.native_tokens_cached = Some(-1);
    call.outcome(&ended);
    assert_eq!(call.facts.native_tokens_prompt, None);
    assert_eq!(call.facts.native_tokens_completion, Some(crate::domain::facts::MAX_TOKENS));
    assert_eq!(call.facts.native_tokens_cached, None);
    assert!(call.flags.contains(flags::TOKENS_NOT_READ));

    let mut read = Call::sent(&sent(), "j");
    read.outcome(&outcome(Ending::Complete, Some(200), Some(id())));
    assert!(!read.flags.contains(flags::TOKENS_NOT_READ));
    let Reading::Record(mut record) = record(1_000) else { unreachable!() };
    record.facts.tokens_prompt = Some(i64::MAX);
    read.read(&Reading::Record(record), Timestamp(9_000), GIVE_UP);
    assert_eq!((read.facts.tokens_prompt, read.state), (None, CallState::Settled));
    assert_eq!(read.facts.native_tokens_prompt, Some(100));
    assert!(read.flags.contains(flags::TOKENS_NOT_READ));
}
