//! Lenient reading of a JSON object: every field optional, of any type, in any order, told twice.
//!
//! A value is looked at as its own text, so that a number reaches [`Money`] without passing through
//! a float. Nothing here fails: what can not be read is `None`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::attribution::Attribution;
use crate::domain::facts::MAX_TOKENS;
use crate::domain::money::{Money, MoneyError};

/// Most fields of one object looked at; today's records have about 45.
const MAX_FIELDS: usize = 256;

/// Longest number text looked at, in bytes.
const MAX_NUMBER: usize = 64;

/// Largest count (tokens, milliseconds) believed: far beyond any call, far below where sums overflow.
const MAX_COUNT: i64 = MAX_TOKENS;

/// The fields of one JSON object; the last of equal names counts, a `null` is no field.
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// The fields of `body`; `None` unless it is one whole JSON object.
    pub(super) fn of_body(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The fields of a value; `None` unless it is an object.
    pub(super) fn of_value(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok()
    }

    /// The value of `name` as it is on the wire.
    pub(super) fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    /// Every field, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// A text, its control characters made spaces and its length bounded; `None` if nothing is left.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        Attribution::label(&string(self.value(name)?)?)
    }

    /// A boolean, or the text of one.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        let value = self.value(name)?;
        match string(value).as_deref().unwrap_or(value.get()) {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// An amount in dollars, from the number's own text or the text of one.
    pub(super) fn money(&self, name: &str) -> Option<Result<Money, MoneyError>> {
        let value = self.value(name)?;
        match number(value) {
            Some(text) => Some(Money::parse(text)),
            None => string(value).map(|text| Money::parse(&text)),
        }
    }

    /// A count: `12`, `12.0`, `"12"`; `None` if it is negative, broken or beyond belief.
    pub(super) fn count(&self, name: &str) -> Option<i64> {
        self.decimal(name, |number| number.fract() == 0.0)
    }

    /// A count of tokens, as [`Fields::count`] reads it. One beyond belief is the greatest number there is, so that
    /// whoever takes it can say that it was.
    pub(super) fn tokens(&self, name: &str) -> Option<i64> {
        let count = self.count(name);
        if count.is_some() {
            return count;
        }
        let number: f64 = self.digits(name)?.trim().parse().ok()?;
        (number > 1e12).then_some(i64::MAX)
    }

    /// A time in milliseconds, rounded to whole ones; `None` if it is negative or beyond belief.
    pub(super) fn millis(&self, name: &str) -> Option<i64> {
        self.decimal(name, |_| true)
    }

    /// The text of a number, or of a text that may hold one.
    fn digits(&self, name: &str) -> Option<String> {
        let value = self.value(name)?;
        let text = match number(value) {
            Some(text) => text.to_owned(),
            None => string(value)?,
        };
        (text.trim().len() <= MAX_NUMBER).then_some(text)
    }

    fn decimal(&self, name: &str, fits: impl Fn(f64) -> bool) -> Option<i64> {
        let text = self.digits(name)?;
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let count = match text.parse::<i64>() {
            Ok(count) => count,
            Err(_) => rounded(text.parse().ok().filter(|number| fits(*number))?)?,
        };
        (0..=MAX_COUNT).contains(&count).then_some(count)
    }
}

/// The nearest whole number; `None` beyond [`MAX_COUNT`], and for what is no number.
#[expect(clippy::cast_possible_truncation, reason = "held within MAX_COUNT, which every f64 near it represents")]
fn rounded(number: f64) -> Option<i64> {
    // 10¹² as a float is exact.
    (-1.0..=1e12).contains(&number).then(|| number.round() as i64)
}

/// The first `most` values of an array; `None` for every other value.
pub(super) fn list(value: &RawValue, most: usize) -> Option<Vec<&RawValue>> {
    struct Array(usize);
    impl<'de> Visitor<'de> for Array {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut values = Vec::new();
            while values.len() < self.0 {
                let Some(value) = seq.next_element()? else { return Ok(values) };
                values.push(value);
            }
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(values)
        }
    }
    let mut text = serde_json::Deserializer::from_str(value.get());
    text.deserialize_seq(Array(most)).ok()
}

/// The text of a JSON number; `None` for every other value and for numbers of absurd length.
pub(super) fn number(value: &RawValue) -> Option<&str> {
    let text = value.get();
    let first = text.as_bytes().first()?;
    ((first.is_ascii_digit() || *first == b'-') && text.len() <= MAX_NUMBER).then_some(text)
}

/// The content of a JSON string; `None` for every other value.
pub(super) fn string(value: &RawValue) -> Option<String> {
    value.get().starts_with('"').then(|| serde_json::from_str(value.get()).ok())?
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = BTreeMap<String, &'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.len() >= MAX_FIELDS {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let value: &RawValue = map.next_value()?;
                    if value.get() == "null" {
                        fields.remove(&name);
                    } else {
                        fields.insert(name, value);
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_every_form_they_come_in() {
        let body = br#"{"a":12,"b":12.0,"c":"12","d":1.2e1,"e":12.5,"f":-3,"g":null,"h":"twelve","i":[12],
            "j":99999999999999999999,"k":"true","l":false,"m":8.41005e-05,"n":"0.1","o":1e400,"a":13}"#;
        let fields = Fields::of_body(body).unwrap();
        let count = |name| fields.count(name);
        assert_eq!([count("a"), count("b"), count("c"), count("d")], [Some(13), Some(12), Some(12), Some(12)]);
        for name in ["e", "f", "g", "h", "i", "j", "k", "nowhere"] {
            assert_eq!(count(name), None, "{name}");
        }
        assert_eq!([fields.tokens("a"), fields.tokens("j")], [Some(13), Some(i64::MAX)]);
        assert_eq!([fields.tokens("f"), fields.tokens("h"), fields.tokens("nowhere")], [None; 3]);
        assert_eq!(fields.millis("e"), Some(13));
        assert_eq!((fields.boolean("k"), fields.boolean("l"), fields.boolean("a")), (Some(true), Some(false), None));
        assert_eq!(fields.money("m"), Some(Ok(Money::from_picos(84_100_500))));
        assert_eq!(fields.money("n"), Some(Ok(Money::from_picos(100_000_000_000))));
        assert_eq!(fields.money("o"), Some(Err(MoneyError::OutOfRange)));
        assert_eq!(fields.money("h"), Some(Err(MoneyError::NotANumber)));
        assert_eq!((fields.money("g"), fields.money("i")), (None, None));
    }

    #[test]
    fn what_is_not_one_object_has_no_fields() {
        for body in ["", "null", "[]", "{\"a\":1", "{\"a\":1} trailing", "<html>", "\u{feff}{}"] {
            assert!(Fields::of_body(body.as_bytes()).is_none(), "{body}");
        }
        assert!(Fields::of_body(b"{\"a\":\"\xff\"}").is_none());
    }
}
