//! The reader of requests: any cut tells the same, and what a JSON parser reads, it reads too.

#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tallyd::capture::request::{Asked, RequestReader};
use tallyd::domain::attribution::Attribution;
use tallyd_fuzz::{pieces, within};

/// What one reader may have at once, in bytes, reading what it kept included.
const BOUND: usize = 2 << 20;

fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Option<Asked> {
    within(BOUND, || {
        let mut reader = RequestReader::default();
        for part in parts {
            reader.push(part);
        }
        reader.finish()
    })
}

/// The members of an object in their order, those that are named twice too.
struct Members(Vec<(String, Value)>);

impl Members {
    fn of(body: &[u8]) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let members = deserializer.deserialize_map(Object).ok()?;
        deserializer.end().ok().map(|()| members)
    }

    /// The member's value, if it is there once.
    fn only(&self, name: &str) -> Option<&Value> {
        let mut named = self.0.iter().filter(|(known, _)| known == name);
        let (_, value) = named.next()?;
        named.next().is_none().then_some(value)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

fuzz_target!(|body: &[u8]| {
    let asked = read([body]);
    assert_eq!(asked, read(pieces(body)));
    assert_eq!(asked, read(body.chunks(1)));
    let Some(members) = Members::of(body) else { return };
    let asked = asked.expect("a parser reads it");
    if let Some(Value::String(model)) = members.only("model") {
        assert_eq!(asked.model, Attribution::label(model));
    }
    if let Some(Value::String(user)) = members.only("user") {
        assert_eq!(asked.user, Attribution::label(user));
    }
    if let Some(stream) = members.only("stream") {
        assert_eq!(asked.streamed, *stream == Value::Bool(true));
    }
});
