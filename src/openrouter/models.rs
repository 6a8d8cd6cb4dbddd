//! The list of models (`GET /models`): IDs, permaslugs, prices. What can not be read of a model is left out; a model
//! without an ID is none.

use serde_json::value::RawValue;

use crate::domain::catalogue::Listed;
use crate::domain::price::{Override, Prices, Pricing, UnitPrice};

use super::error::ReadError;
use super::fields::{Fields, list, number, string};

/// Most models of one list; today's has about 500.
pub(super) const MAX_MODELS: usize = 20_000;

/// Most prices of one model, and most overrides.
const MAX_PRICES: usize = 64;
const MAX_OVERRIDES: usize = 32;

/// Longest ID and longest name of a price, in bytes.
const MAX_ID: usize = 256;
const MAX_PRICE_NAME: usize = 64;

/// Longest link to the next page, in bytes.
const MAX_LINK: usize = 2_048;

/// One page of the list.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Its models.
    pub(super) listed: Vec<Listed>,
    /// Where it goes on; `None`: nowhere.
    pub(super) next: Option<String>,
}

/// Reads the body of a 200. A list without models is no list: it would say that all models are gone.
pub(super) fn decode(body: &[u8]) -> Result<Listing, ReadError> {
    let envelope =
        Fields::of_body(body).ok_or_else(|| ReadError::garbled("OpenRouter answered with no JSON object"))?;
    let data = envelope.value("data").and_then(|data| list(data, MAX_MODELS + 1));
    let listed: Vec<Listed> = data.into_iter().flatten().filter_map(model).collect();
    if listed.is_empty() {
        return Err(ReadError::garbled("OpenRouter answered 200 with no list of models"));
    }
    let links = envelope.value("links").and_then(Fields::of_value);
    let next = links.and_then(|links| string(links.value("next")?)).filter(|next| !next.is_empty());
    match next {
        Some(next) if next.len() > MAX_LINK => {
            Err(ReadError::garbled("the link to the next page of models is too long"))
        }
        next => Ok(Listing { listed, next }),
    }
}

fn model(value: &RawValue) -> Option<Listed> {
    let fields = Fields::of_value(value)?;
    let name = |name: &str| fields.text(name).filter(|text| text.len() <= MAX_ID);
    Some(Listed {
        id: name("id")?,
        permaslug: name("canonical_slug"),
        name: fields.text("name"),
        context_length: fields.count("context_length"),
        pricing: fields.value("pricing").and_then(pricing).unwrap_or_default(),
    })
}

fn pricing(value: &RawValue) -> Option<Pricing> {
    let fields = Fields::of_value(value)?;
    let overrides = fields.value("overrides").and_then(|value| list(value, MAX_OVERRIDES)).unwrap_or_default();
    Some(Pricing {
        prices: prices(&fields, &["discount", "overrides"]),
        discount: fields.value("discount").and_then(price),
        overrides: overrides.into_iter().filter_map(change).collect(),
    })
}

fn change(value: &RawValue) -> Option<Override> {
    let fields = Fields::of_value(value)?;
    let minutes = |name: &str| fields.value(name).map(|value| minute(&string(value).unwrap_or(value.get().to_owned())));
    let utc_minutes = match (minutes("utc_start"), minutes("utc_end")) {
        (None, None) => None,
        // A time that can not be read is a condition that is not known to hold.
        (from, until) => Some((from??, until??)),
    };
    let least = match fields.value("min_prompt_tokens") {
        Some(_) => Some(fields.count("min_prompt_tokens")?),
        None => None,
    };
    let prices = prices(&fields, &["min_prompt_tokens", "utc_start", "utc_end"]);
    (!prices.is_empty()).then_some(Override { min_prompt_tokens: least, utc_minutes, prices })
}

/// The minute of the day of `HHMM` or `HH:MM`; the end of the day is `2400`.
fn minute(text: &str) -> Option<i64> {
    let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    let (hour, minute) = (number / 100, number % 100);
    (minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
}

/// The prices among `fields`; those that are no price (`"-1"` of a router) are left out, as if they were not listed.
fn prices(fields: &Fields<'_>, without: &[&str]) -> Prices {
    fields
        .iter()
        .filter(|(name, _)| !without.contains(name) && name.len() <= MAX_PRICE_NAME)
        .filter_map(|(name, value)| Some((name.to_owned(), price(value)?)))
        .take(MAX_PRICES)
        .collect()
}

fn price(value: &RawValue) -> Option<UnitPrice> {
    match number(value) {
        Some(text) => UnitPrice::parse(text),
        None => UnitPrice::parse(&string(value)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_read_with_every_price_and_routers_without_any() {
        let Listing { listed, next } =
            decode(include_bytes!("../../tests/fixtures/payloads/models_excerpt.json")).unwrap();
        assert!(listed.len() >= 4);
        let model = |id: &str| listed.iter().find(|model| model.id == id).unwrap();
        let sonnet = model("anthropic/claude-sonnet-4");
        assert_eq!(sonnet.permaslug.as_deref(), Some("anthropic/claude-4-sonnet-20250522"));
        assert_eq!(sonnet.context_length, Some(1_000_000));
        assert_eq!(sonnet.pricing.prices["input_cache_write_1h"].to_string(), "0.000006");
        assert_eq!(sonnet.pricing.overrides[0].min_prompt_tokens, Some(200_000));
        assert_eq!(sonnet.pricing.overrides[0].prices["completion"].to_string(), "0.0000225");
        assert!(model("openrouter/auto").pricing.prices.is_empty());
        assert_eq!(next, None);
    }

    #[test]
    fn what_is_odd_is_left_out_and_a_list_of_nothing_is_none() {
        let body = br#"{"data":[{"id":"a/b","pricing":{"prompt":1e-7,"completion":"x","discount":0.25,
            "overrides":[{"utc_start":"2200","utc_end":"06:00","prompt":"0"},{"utc_start":"99","prompt":"0"},7,{"min_prompt_tokens":-1,"prompt":"0"}]}},
            {"canonical_slug":"no/id"},{"id":7},null,"x",{"id":"c/d"}],"links":{"next":"/api/v1/models?offset=2"}}"#;
        let Listing { listed, next } = decode(body).unwrap();
        assert_eq!(listed.iter().map(|model| model.id.as_str()).collect::<Vec<_>>(), ["a/b", "c/d"]);
        let pricing = &listed[0].pricing;
        assert_eq!(pricing.prices.keys().collect::<Vec<_>>(), ["prompt"]);
        assert_eq!(pricing.discount.unwrap().to_string(), "0.25");
        assert_eq!(pricing.overrides.len(), 1);
        assert_eq!(pricing.overrides[0].utc_minutes, Some((22 * 60, 6 * 60)));
        assert_eq!(listed[1].pricing, Pricing::default());
        assert_eq!(next.as_deref(), Some("/api/v1/models?offset=2"));
        for body in [&b"<html>"[..], b"{}", br#"{"data":[]}"#, br#"{"data":{}}"#, br#"{"data":[{}]}"#] {
            assert!(decode(body).is_err());
        }
    }
}
