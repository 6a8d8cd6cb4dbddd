//! The generation record (`GET /generation`): what of it is kept, and as what.
//!
//! Records of other ages lack fields and have new ones (openrouter.md section 3), so every field is
//! optional but the cost, without which a record answers nothing. A negative `total_cost` is taken as
//! it is: none has been seen, but it would be OpenRouter's bill, and sums must agree with the bill.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::domain::facts::{Facts, GenerationRecord};
use crate::domain::ids::GenerationId;
use crate::domain::money::Money;
use crate::domain::time::Timestamp;

use super::error::ReadError;
use super::fields::{Fields, number};

/// The named texts without a column; numbers and booleans need no list, they are kept whatever their name.
const TEXTS: [&str; 16] = [
    "api_type",
    "data_region",
    "external_user",
    "http_referer",
    "native_finish_reason",
    "origin",
    "preset_id",
    "request_id",
    "response_cache_source_id",
    "router",
    "service_tier",
    "session_id",
    "upstream_id",
    "user_agent",
    "web_search_engine",
    "workspace_id",
];

/// The named texts of one provider attempt.
const ATTEMPT_TEXTS: [&str; 5] = ["endpoint_id", "id", "model_permaslug", "provider_name", "routed_service_tier"];

/// The named numbers and booleans of one provider attempt.
const ATTEMPT_SCALARS: [&str; 3] = ["is_byok", "latency", "status"];

/// Most provider attempts kept of one record.
const MAX_ATTEMPTS: usize = 16;

/// Most numbers and booleans kept beside the named texts.
const MAX_SCALARS: usize = 96;

/// Longest name of an unknown field kept, in bytes; a name is letters, digits and `_`, so that it is no text.
const MAX_NAME: usize = 64;

/// Reads the body of a 200 to a question for `asked`.
///
/// Fails with [`ReadError::Garbled`] only: no JSON, an error in place of the record, no cost, or one
/// beyond ±$9.2 million.
pub(super) fn decode(body: &[u8], asked: &GenerationId) -> Result<GenerationRecord, ReadError> {
    let envelope =
        Fields::of_body(body).ok_or_else(|| ReadError::garbled("OpenRouter answered with no JSON object"))?;
    let Some(data) = envelope.value("data").and_then(Fields::of_value) else {
        let what = if envelope.value("error").is_some() { "an error" } else { "nothing" };
        return Err(ReadError::garbled(format!("OpenRouter answered 200 with {what} in place of the record")));
    };
    let attempts = attempts(&data);
    let mut record = GenerationRecord {
        facts: facts(&data)?,
        external_user: data.text("external_user"),
        session_id: data.text("session_id"),
        kept_json: String::new(),
        id_differs: data.text("id").is_some_and(|id| id != asked.as_str()),
        response_cache_hit: data.text("response_cache_source_id").is_some(),
        failed_provider_status: failed_status(&attempts),
        tried: attempts.iter().map(|attempt| attempt.text("provider_name")).collect(),
    };
    if !attempts.is_empty() {
        let failed = attempts.iter().filter(|attempt| attempt.count("status").is_some_and(|status| status >= 400));
        record.facts.failed_attempts = i64::try_from(failed.count()).ok();
        record.facts.attempts = i64::try_from(attempts.len()).ok();
    }
    record.kept_json = kept(&data, &record, &attempts);
    Ok(record)
}

fn facts(data: &Fields<'_>) -> Result<Facts, ReadError> {
    Ok(Facts {
        created_at: data.text("created_at").and_then(|at| Timestamp::parse(&at)),
        permaslug: data.text("model"),
        provider: data.text("provider_name"),
        finish_reason: data.text("finish_reason"),
        streamed: data.boolean("streamed"),
        cancelled: data.boolean("cancelled"),
        is_byok: data.boolean("is_byok"),
        tokens_prompt: data.tokens("tokens_prompt"),
        tokens_completion: data.tokens("tokens_completion"),
        native_tokens_prompt: data.tokens("native_tokens_prompt"),
        native_tokens_completion: data.tokens("native_tokens_completion"),
        native_tokens_reasoning: data.tokens("native_tokens_reasoning"),
        native_tokens_cached: data.tokens("native_tokens_cached"),
        settled_cost: Some(cost(data)?),
        settled_upstream_cost: amount(data, "upstream_inference_cost"),
        cache_discount: amount(data, "cache_discount"),
        latency_ms: data.millis("latency"),
        generation_time_ms: data.millis("generation_time"),
        ..Facts::default()
    })
}

/// `total_cost`, else `usage`, which equals it in every record seen.
fn cost(data: &Fields<'_>) -> Result<Money, ReadError> {
    match (data.money("total_cost"), data.money("usage")) {
        (Some(Ok(cost)), _) | (_, Some(Ok(cost))) => Ok(cost),
        (None, None) => Err(ReadError::garbled("the record names no cost")),
        (Some(Err(error)), _) | (_, Some(Err(error))) => {
            Err(ReadError::garbled(format!("the record's cost can not be read: {error}")))
        }
    }
}

fn amount(data: &Fields<'_>, name: &str) -> Option<Money> {
    data.money(name)?.ok()
}

/// The provider attempts, oldest first, each reduced to its named fields.
fn attempts<'a>(data: &Fields<'a>) -> Vec<Fields<'a>> {
    let Some(list) = data.value("provider_responses") else { return Vec::new() };
    let list: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
    list.into_iter().take(MAX_ATTEMPTS).filter_map(Fields::of_value).collect()
}

/// The highest status if every attempt failed; an attempt without a status is not known to have.
fn failed_status(attempts: &[Fields<'_>]) -> Option<u16> {
    let statuses = attempts.iter().map(|attempt| u16::try_from(attempt.count("status")?).ok());
    let highest = statuses.collect::<Option<Vec<u16>>>()?.into_iter();
    if highest.clone().all(|status| status >= 400) { highest.max() } else { None }
}

/// Promise 8: the named fields that have no column, and of unknown ones only numbers and booleans.
fn kept(data: &Fields<'_>, record: &GenerationRecord, attempts: &[Fields<'_>]) -> String {
    let mut kept: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (name, value) in data.iter() {
        if kept.len() < MAX_SCALARS && is_name(name) && !has_column(name, &record.facts) && is_scalar(value) {
            kept.insert(name, value.to_owned());
        }
    }
    for name in TEXTS {
        if let Some(text) = data.text(name) {
            kept.insert(name, raw(&text));
        }
    }
    if record.id_differs
        && let Some(id) = data.text("id")
    {
        kept.insert("id", raw(&id));
    }
    if !attempts.is_empty() {
        kept.insert("provider_responses", raw(&attempts.iter().map(kept_attempt).collect::<Vec<_>>()));
    }
    raw(&kept).get().to_owned()
}

fn kept_attempt(attempt: &Fields<'_>) -> BTreeMap<&'static str, Box<RawValue>> {
    let texts = ATTEMPT_TEXTS.into_iter().filter_map(|name| Some((name, raw(&attempt.text(name)?))));
    let scalars = ATTEMPT_SCALARS.into_iter().filter_map(|name| {
        let value = attempt.value(name)?;
        is_scalar(value).then(|| (name, value.to_owned()))
    });
    texts.chain(scalars).collect()
}

/// Whether the field's value stands in a column; what its column could not take is kept beside it.
fn has_column(name: &str, facts: &Facts) -> bool {
    match name {
        "streamed" => facts.streamed.is_some(),
        "cancelled" => facts.cancelled.is_some(),
        "is_byok" => facts.is_byok.is_some(),
        "tokens_prompt" => facts.tokens_prompt.is_some(),
        "tokens_completion" => facts.tokens_completion.is_some(),
        "native_tokens_prompt" => facts.native_tokens_prompt.is_some(),
        "native_tokens_completion" => facts.native_tokens_completion.is_some(),
        "native_tokens_reasoning" => facts.native_tokens_reasoning.is_some(),
        "native_tokens_cached" => facts.native_tokens_cached.is_some(),
        "total_cost" => facts.settled_cost.is_some(),
        "upstream_inference_cost" => facts.settled_upstream_cost.is_some(),
        "cache_discount" => facts.cache_discount.is_some(),
        "latency" => facts.latency_ms.is_some(),
        "generation_time" => facts.generation_time_ms.is_some(),
        _ => false,
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_scalar(value: &RawValue) -> bool {
    number(value).is_some() || matches!(value.get(), "true" | "false")
}

fn raw<T: serde::Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    // Serialising texts, lists and maps with text keys cannot fail; the default is `null`.
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> GenerationId {
        text.parse().unwrap()
    }

    fn asked() -> GenerationId {
        id("gen-1789000001-A1b2C3d4E5f6G7h8I9j0")
    }

    fn decode_text(body: &str) -> Result<GenerationRecord, ReadError> {
        decode(body.as_bytes(), &asked())
    }

    fn picos(amount: Option<Money>) -> Option<i64> {
        amount.map(Money::picos)
    }

    #[test]
    fn a_settled_record_is_read_whole() {
        let record = decode_text(include_str!("../../tests/fixtures/payloads/generation_settled.json")).unwrap();
        let expected = Facts {
            created_at: Timestamp::parse("2026-09-10T00:26:41.612Z"),
            permaslug: Some("openai/gpt-4o-mini-2024-07-18".to_owned()),
            provider: Some("OpenAI".to_owned()),
            finish_reason: Some("stop".to_owned()),
            streamed: Some(true),
            cancelled: Some(false),
            is_byok: Some(false),
            tokens_prompt: Some(209),
            tokens_completion: Some(86),
            native_tokens_prompt: Some(212),
            native_tokens_completion: Some(87),
            native_tokens_reasoning: Some(0),
            native_tokens_cached: Some(0),
            settled_cost: Some(Money::from_picos(83_160_000)),
            settled_upstream_cost: Some(Money::ZERO),
            latency_ms: Some(412),
            generation_time_ms: Some(1630),
            attempts: Some(1),
            failed_attempts: Some(0),
            ..Facts::default()
        };
        assert_eq!(record.facts, expected);
        assert_eq!(record.external_user.as_deref(), Some("team-billing"));
        assert_eq!((record.id_differs, record.response_cache_hit, record.failed_provider_status), (false, false, None));
        assert_eq!(
            record.kept_json,
            concat!(
                r#"{"api_type":"completions","data_region":"global","external_user":"team-billing","#,
                r#""native_finish_reason":"stop","native_tokens_completion_images":0,"num_media_completion":0,"#,
                r#""provider_responses":[{"endpoint_id":"4f0c1d2e-0000-4000-8000-000000000001","#,
                r#""id":"chatcmpl-DxAmpleSynthetic0001","is_byok":false,"latency":398,"#,
                r#""model_permaslug":"openai/gpt-4o-mini-2024-07-18","provider_name":"OpenAI","status":200}],"#,
                r#""request_id":"req-1789000001-SyNtHeTiCrEqUeStId01","upstream_id":"chatcmpl-DxAmpleSynthetic0001","#,
                r#""usage":0.00008316,"user_agent":"example-client/1.0"}"#
            )
        );
    }

    #[test]
    fn records_of_every_kind_are_read() {
        let byok = include_str!("../../tests/fixtures/payloads/generation_settled_byok.json");
        let byok = decode(byok.as_bytes(), &id("gen-1789000240-ByokKeyGenerationAb1")).unwrap().facts;
        assert_eq!((byok.is_byok, picos(byok.settled_cost)), (Some(true), Some(0)));
        assert_eq!(picos(byok.settled_upstream_cost), Some(36_078_000_000));

        let cached = include_str!("../../tests/fixtures/payloads/generation_settled_cached_nonstream.json");
        let cached = decode(cached.as_bytes(), &id("gen-1789000122-Zy9Xw8Vu7Ts6Rq5Po4Nm")).unwrap();
        assert_eq!(picos(cached.facts.cache_discount), Some(24_764_400_000));
        assert_eq!(cached.facts.native_tokens_cached, Some(9172));
        assert_eq!(cached.failed_provider_status, None, "the second attempt succeeded");
        assert_eq!((cached.facts.attempts, cached.facts.failed_attempts), (Some(2), Some(1)));
        assert_eq!(cached.tried[0].as_deref(), Some("Amazon Bedrock"));
        assert!(cached.kept_json.contains(r#""provider_name":"Amazon Bedrock","status":429"#), "{}", cached.kept_json);
        assert!(cached.kept_json.contains(r#""moderation_latency":58"#), "{}", cached.kept_json);

        let cancelled = include_str!("../../tests/fixtures/payloads/generation_settled_cancelled.json");
        let cancelled = decode(cancelled.as_bytes(), &id("gen-1789000355-CancelledStream00Ab1")).unwrap();
        assert_eq!((cancelled.facts.cancelled, cancelled.facts.finish_reason), (Some(true), None));
        assert_eq!(cancelled.failed_provider_status, Some(499));

        let embeddings = include_str!("../../tests/fixtures/payloads/generation_embeddings.json");
        let embeddings = decode(embeddings.as_bytes(), &id("gen-emb-1789000600-EmbeddingExampleAb1")).unwrap();
        assert_eq!(picos(embeddings.facts.settled_cost), Some(160_000));
        assert!(embeddings.kept_json.contains(r#""api_type":"embeddings""#));
    }

    #[test]
    fn a_live_record_of_early_2026_is_read_and_its_other_id_never_becomes_the_key() {
        let record = decode_text(
            r#"{"data":{"id":"gen-1771967973-0hZ8J5kY7qLMOKbPx0u3","created_at":"2024-07-15T23:33:19.433273+00:00",
            "model":"meta-llama/llama-4-scout-17b-16e-instruct","streamed":true,"cancelled":true,"latency":1016.4,
            "tokens_prompt":"65","tokens_completion":116.0,"native_tokens_prompt":64,"usage":0.00003452,
            "total_cost":3.452E-5,"upstream_inference_cost":-0.5,"cache_discount":-2.16e-4,"api_type":"decisions"}}"#,
        )
        .unwrap();
        assert!(record.id_differs);
        assert_eq!(record.facts.created_at, Timestamp::parse("2024-07-15T23:33:19.433Z"));
        assert_eq!((record.facts.tokens_prompt, record.facts.tokens_completion), (Some(65), Some(116)));
        assert_eq!(record.facts.latency_ms, Some(1016));
        assert_eq!(picos(record.facts.settled_cost), Some(34_520_000));
        assert_eq!(picos(record.facts.settled_upstream_cost), Some(-500_000_000_000));
        assert_eq!(picos(record.facts.cache_discount), Some(-216_000_000));
        assert!(record.kept_json.contains(r#""api_type":"decisions""#));
        assert!(record.kept_json.contains(r#""id":"gen-1771967973-0hZ8J5kY7qLMOKbPx0u3""#));
    }

    #[test]
    fn a_response_cache_hit_and_failed_attempts_are_noticed() {
        let record = decode_text(
            r#"{"data":{"total_cost":0,"response_cache_source_id":"gen-1","provider_responses":
            [{"status":429},{"status":"502"}]}}"#,
        )
        .unwrap();
        assert!(record.response_cache_hit);
        assert_eq!(record.failed_provider_status, Some(502));
        let unknown = r#"{"data":{"total_cost":0,"provider_responses":[{"status":429},{"status":null}]}}"#;
        assert_eq!(decode_text(unknown).unwrap().failed_provider_status, None);
    }

    #[test]
    fn what_is_no_record_is_garbled_and_never_free_of_charge() {
        for body in [
            "",
            "<html>Bad gateway</html>",
            "null",
            "[]",
            "{}",
            r#"{"data":null}"#,
            r#"{"data":[]}"#,
            r#"{"data":{}}"#,
            r#"{"data":{"id":"gen-1","model":"m","native_tokens_prompt":7}}"#,
            r#"{"data":{"total_cost":null}}"#,
            r#"{"data":{"total_cost":"free"}}"#,
            r#"{"data":{"total_cost":1e30}}"#,
            r#"{"data":{"total_cost":0.1},"#,
            include_str!("../../tests/fixtures/payloads/generation_401.json"),
            include_str!("../../tests/fixtures/payloads/generation_403.json"),
            include_str!("../../tests/fixtures/payloads/generation_404.json"),
            include_str!("../../tests/fixtures/payloads/generation_429.json"),
            include_str!("../../tests/fixtures/payloads/generation_500.json"),
        ] {
            assert!(matches!(decode_text(body), Err(ReadError::Garbled { .. })), "{body}");
        }
        assert_eq!(
            picos(decode_text(r#"{"data":{"usage":"0.5"}}"#).unwrap().facts.settled_cost),
            Some(500_000_000_000)
        );
    }

    #[test]
    fn of_unknown_fields_only_numbers_and_booleans_are_kept() {
        let record = decode_text(
            r#"{"data":{"total_cost":1,"usage_web":-0.000216,"is_new":true,"app":{"title":"CANARY","n":1},
            "prompt":"CANARY","messages":["CANARY"],"CANARY says this":1,"moderation_latency":"CANARY",
            "tokens_prompt":12.5,"created_at":"CANARY","provider_responses":[{"status":200,"raw":"CANARY","extra":5,
            "latency":"CANARY","is_byok":"CANARY"},"CANARY",["CANARY"]],"num_fetches":2}}"#,
        )
        .unwrap();
        assert_eq!(
            record.kept_json,
            r#"{"is_new":true,"num_fetches":2,"provider_responses":[{"status":200}],"tokens_prompt":12.5,"usage_web":-0.000216}"#
        );
    }

    /// JSON whose texts, and names of unknown fields, carry the canary.
    fn hostile() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::{Value, json};
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(|text| json!(format!("{text}CANARY"))),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(
                    prop_oneof!["[a-z_]{1,12}", "CANARY [a-z]{0,4}", Just("status".to_owned())],
                    inner,
                    0..4
                )
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// No field of any type, known or not, makes decoding panic, and no text of an unknown field is kept.
        #[test]
        fn hostile_records_neither_panic_nor_leak(
            fields in prop::collection::btree_map(
                prop_oneof![
                    "[a-z_]{1,12}", Just("provider_responses".to_owned()), Just("tokens_prompt".to_owned()),
                    Just("latency".to_owned()), Just("is_byok".to_owned()), Just("created_at".to_owned()),
                    Just("upstream_inference_cost".to_owned()), Just("num_fetches".to_owned()),
                ], hostile(), 0..12),
            cost in -1000.0..1000.0_f64,
        ) {
            let mut data = serde_json::Map::new();
            data.extend(fields.into_iter().filter(|(name, _)| !TEXTS.contains(&name.as_str()) && name != "model" && name != "id"));
            data.insert("total_cost".to_owned(), cost.into());
            let body = serde_json::json!({ "data": data }).to_string();
            let record = decode_text(&body).unwrap();
            // The texts of provider attempts that have a name there are kept, as they are of the record.
            let kept: serde_json::Value = serde_json::from_str(&record.kept_json).unwrap();
            for (name, value) in kept.as_object().unwrap() {
                if let Some(attempts) = value.as_array() {
                    prop_assert_eq!(name, "provider_responses");
                    for (name, value) in attempts.iter().flat_map(|attempt| attempt.as_object().unwrap()) {
                        let text = ATTEMPT_TEXTS.contains(&name.as_str());
                        let scalar = ATTEMPT_SCALARS.contains(&name.as_str()) && (value.is_number() || value.is_boolean());
                        prop_assert!(text || scalar, "{name}: {value}");
                    }
                } else {
                    prop_assert!(!value.to_string().contains("CANARY") && !name.contains("CANARY"), "{name}: {value}");
                }
            }
        }

        /// Any bytes, and any piece of a true record, are an answer or garbled, never a panic.
        #[test]
        fn broken_bodies_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..1600) {
            let _ = decode(&bytes, &asked());
            let whole = include_bytes!("../../tests/fixtures/payloads/generation_settled.json");
            let _ = decode(&whole[..cut.min(whole.len())], &asked());
        }
    }
}
