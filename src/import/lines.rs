//! One line of NDJSON: a generation ID, a reply, or a generation record, told by its own form.

use std::fmt;

use http::HeaderMap;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Teller;
use crate::capture::allowance::Allowance;
use crate::capture::observe::{ObserveLimits, Observer};
use crate::domain::attribution::{Attribution, KeyRef};
use crate::domain::facts::Facts;
use crate::domain::ids::GenerationId;
use crate::domain::observation::{Replied, Tidings, Told};
use crate::domain::time::Timestamp;
use crate::ledger::intake;
use crate::openrouter;

/// What an object's members say of what it is.
#[derive(Default)]
struct Shape<'a> {
    data: Option<&'a RawValue>,
    usage: Option<&'a RawValue>,
    total_cost: bool,
    reply: bool,
    created: Option<&'a RawValue>,
}

type Read = (GenerationId, Option<KeyRef>, Attribution, Tidings);

/// Reads a line without white space around it; in words why it can not be.
pub(super) fn read(text: &[u8], teller: &Teller) -> Result<Told, String> {
    let (generation_id, key, attribution, tidings) = what(text, teller)?;
    let at = teller.clock.now();
    Ok(Told { call_id: teller.entropy.call_id(at), at, generation_id, key, tally_key: None, attribution, tidings })
}

fn what(text: &[u8], teller: &Teller) -> Result<Read, String> {
    let plain = |text: &str| {
        let id = text.parse::<GenerationId>().map_err(|error| error.to_string())?;
        Ok((id, None, Attribution::default(), Tidings::ImportedId))
    };
    match text.first() {
        Some(b'{') => object(text, teller),
        Some(b'"') => plain(&serde_json::from_slice::<String>(text).map_err(|_| "this is no JSON text".to_owned())?),
        Some(b'[') => Err("this is a JSON list; write each of its elements on a line of its own".to_owned()),
        _ => plain(std::str::from_utf8(text).map_err(|_| "this is not UTF-8".to_owned())?),
    }
}

fn object(text: &[u8], teller: &Teller) -> Result<Read, String> {
    let shape = Shape::of(text).map_err(|error| format!("this is no JSON object (column {})", error.column()))?;
    let is_object = |value: Option<&RawValue>| value.is_some_and(|value| value.get().starts_with('{'));
    if shape.total_cost || is_object(shape.data) {
        let (id, record) = openrouter::decode_imported(text).map_err(|error| error.to_string())?;
        let attribution = Attribution {
            user: record.external_user.clone(),
            session: record.session_id.clone(),
            ..Attribution::default()
        };
        return Ok((id, None, attribution, Tidings::Record(Box::new(record))));
    }
    if shape.reply || is_object(shape.usage) {
        return reply(text, &shape);
    }
    let text = std::str::from_utf8(text).map_err(|_| "this is not UTF-8".to_owned())?;
    let (id, key, attribution) = intake::read(text, &teller.keys, None)?;
    Ok((id, key, attribution, Tidings::ImportedId))
}

/// Reads a reply as the gateway's observer does.
fn reply(text: &[u8], shape: &Shape<'_>) -> Result<Read, String> {
    // Plain text is bounded by whoever hands it in; nothing is unpacked.
    let limits = ObserveLimits { decoded: 0, memory: Allowance::new(0) };
    let mut observer = Observer::new(&HeaderMap::new(), &limits);
    observer.push(text);
    let reading = observer.finish(true).reading;
    let Some(id) = reading.generation_id else {
        return Err(
            "the reply names no generation ID (gen-…); the header X-Generation-Id had it: import that".to_owned()
        );
    };
    let created = shape.created.and_then(|created| created.get().parse::<i64>().ok()).filter(|seconds| *seconds > 0);
    let facts =
        Facts { created_at: created.and_then(|seconds| seconds.checked_mul(1_000)).map(Timestamp), ..reading.facts };
    let flags = reading.flags.into_iter().map(str::to_owned).collect();
    let replied = Replied { facts, error: reading.error, flags };
    Ok((id, None, Attribution::default(), Tidings::Reply(Box::new(replied))))
}

impl<'a> Shape<'a> {
    fn of(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Shape<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape<'de>, A::Error> {
                let mut shape = Shape::default();
                while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    match &*name {
                        "data" => shape.data = Some(map.next_value()?),
                        "usage" => shape.usage = Some(map.next_value()?),
                        "created" | "created_at" => shape.created = Some(map.next_value()?),
                        name => {
                            shape.total_cost |= name == "total_cost";
                            shape.reply |= matches!(name, "choices" | "object" | "output" | "content" | "stop_reason");
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(shape)
            }
        }
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let shape = deserializer.deserialize_map(Object)?;
        deserializer.end()?;
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::clock::{Clock, Entropy};
    use crate::domain::money::Money;
    use crate::ledger::intake::NamedKeys;

    fn read_text(text: &str) -> Result<Told, String> {
        let clock = Clock::manual(Timestamp(1_795_082_400_000));
        let teller = Teller { clock, entropy: Entropy::seeded(1), keys: NamedKeys::new() };
        read(text.as_bytes(), &teller)
    }

    fn compact(text: &str) -> String {
        serde_json::from_str::<Value>(text).unwrap().to_string()
    }

    #[test]
    fn ids_come_bare_quoted_and_with_labels() {
        for text in ["gen-1", "\"gen-1\"", "{\"id\":\"gen-1\"}"] {
            let told = read_text(text).unwrap();
            assert_eq!((told.generation_id.as_str(), told.tidings), ("gen-1", Tidings::ImportedId), "{text}");
        }
        let told = read_text("{\"id\":\"gen-1\",\"app\":\"bot\",\"tags\":{\"a\":\"b\"}}").unwrap();
        assert_eq!((told.attribution.app.as_deref(), told.attribution.tags.len()), (Some("bot"), 1));
    }

    #[test]
    fn replies_of_every_dialect_tell_their_cost() {
        for (name, text) in [
            ("chat", include_str!("../../tests/fixtures/payloads/chat_completion.json")),
            ("responses", include_str!("../../tests/fixtures/payloads/responses_nonstream.json")),
            ("messages", include_str!("../../tests/fixtures/payloads/messages_nonstream.json")),
            ("embeddings", include_str!("../../tests/fixtures/payloads/embeddings.json")),
            ("completions", include_str!("../../tests/fixtures/payloads/completions_legacy.json")),
        ] {
            let told = read_text(&compact(text)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let Tidings::Reply(reply) = told.tidings else { panic!("{name}: {:?}", told.tidings) };
            assert!(reply.facts.inline_cost.is_some_and(|cost| cost > Money::ZERO), "{name}: {reply:?}");
        }
    }

    #[test]
    fn records_come_in_their_envelope_and_bare() {
        let text = include_str!("../../tests/fixtures/payloads/generation_settled.json");
        let bare = serde_json::from_str::<Value>(text).unwrap()["data"].to_string();
        for text in [compact(text), bare] {
            let told = read_text(&text).unwrap();
            assert_eq!(told.attribution.user.as_deref(), Some("team-billing"));
            let Tidings::Record(record) = told.tidings else { panic!("{:?}", told.tidings) };
            assert_eq!(record.facts.settled_cost, Some(Money::from_picos(83_160_000)));
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_its_text_is_not() {
        for (text, wanted) in [
            ("SECRET", "gen-"),
            ("{\"id\":\"gen-1\",SECRET}", "column"),
            ("[\"SECRET\"]", "line of its own"),
            ("{\"object\":\"chat.completion\",\"id\":\"chatcmpl-SECRET\"}", "X-Generation-Id"),
            ("{\"data\":{\"id\":\"gen-1\",\"model\":\"SECRET\"}}", "no cost"),
            ("{\"id\":\"gen-1\"} SECRET", "column"),
        ] {
            let reason = read_text(text).unwrap_err();
            assert!(reason.contains(wanted) && !reason.contains("SECRET"), "{text}: {reason}");
        }
    }
}
