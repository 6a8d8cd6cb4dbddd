//! List prices, exact: what a unit costs as an integer of 10⁻¹⁸ dollars, and what tokens would cost at a list.
//!
//! A token of a cheap model costs less than a thousandth of a millionth of a cent, so pico-dollars are too coarse for a
//! price. Tokens are multiplied and summed in 128 bits, and only the sum is rounded, once, to pico-dollars. What comes
//! out is an estimate: OpenRouter's list price is not the bill.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::money::{Money, parse_scaled};
use super::time::{DAY_MS, Timestamp};

/// Decimal places of a price.
const SCALE: i64 = 18;

/// 10⁻¹⁸ dollars in a dollar.
const ATTOS_PER_USD: i128 = 1_000_000_000_000_000_000;

/// 10⁻¹⁸ dollars in a pico-dollar.
const ATTOS_PER_PICO: i128 = 1_000_000;

/// The highest price believed, of one unit: a thousand dollars.
const MAX_ATTOS: i128 = 1_000 * ATTOS_PER_USD;

/// Most tokens of one kind that a cost is computed for; far beyond any call.
const MAX_TOKENS: i64 = 1_000_000_000_000;

/// Milliseconds in a minute.
const MINUTE_MS: i64 = 60_000;

/// What one unit (a token, a request) costs, in 10⁻¹⁸ US dollars; never negative, at most $1,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitPrice(i128);

impl UnitPrice {
    /// Reads a decimal text, plain or with an exponent; digits beyond the eighteenth place are rounded half to even.
    /// `None` for what is no number, is beyond belief, or is negative: routers are listed at `-1`, which means that the
    /// price is that of the model they choose.
    pub fn parse(text: &str) -> Option<Self> {
        let attos = parse_scaled(text, SCALE, MAX_ATTOS).ok()?;
        (attos >= 0 && !text.trim_start().starts_with('-')).then_some(Self(attos))
    }

    /// In 10⁻¹⁸ dollars.
    pub const fn attos(self) -> i128 {
        self.0
    }
}

impl fmt::Display for UnitPrice {
    /// The exact decimal in dollars, without trailing zeros: `0.00000015`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / ATTOS_PER_USD, self.0 % ATTOS_PER_USD);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let fraction = format!("{fraction:018}");
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl Serialize for UnitPrice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnitPrice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a price"))
    }
}

/// Prices by what they are of, as OpenRouter names it: `prompt`, `completion`, `request`, `input_cache_read`…; what is
/// missing is not priced.
pub type Prices = BTreeMap<String, UnitPrice>;

/// Prices that take the place of others under a condition; all conditions given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// From so many prompt tokens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_prompt_tokens: Option<i64>,
    /// Between these times of the UTC day, in minutes: from inclusive, until exclusive; over midnight if until is not later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_minutes: Option<(i64, i64)>,
    /// The prices that hold then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: Prices,
}

impl Override {
    fn holds(&self, usage: &Usage) -> bool {
        let tokens = self.min_prompt_tokens.is_none_or(|least| usage.prompt >= least);
        let minute = usage.at.millis().rem_euclid(DAY_MS) / MINUTE_MS;
        let time = self.utc_minutes.is_none_or(|(from, until)| {
            if from < until { (from..until).contains(&minute) } else { minute >= from || minute < until }
        });
        tokens && time
    }
}

/// The list prices of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pricing {
    /// What each thing costs.
    #[serde(default)]
    pub prices: Prices,
    /// The part (0 to 1) that is taken off everything, as the list tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<UnitPrice>,
    /// Prices that hold under conditions; later ones win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
}

/// The tokens of one call, native, and when it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The prompt, cached tokens included.
    pub prompt: i64,
    /// The completion, reasoning included; `None` is not known.
    pub completion: Option<i64>,
    /// Of the prompt, read from the provider's cache.
    pub cached: i64,
    /// Of the prompt, written to it.
    pub cache_write: i64,
    /// Of the completion, reasoning.
    pub reasoning: i64,
    /// When.
    pub at: Timestamp,
}

impl Pricing {
    /// Whether everything that has a price costs nothing, under every condition.
    pub fn is_free(&self) -> bool {
        let lists = || self.overrides.iter().map(|change| &change.prices).chain([&self.prices]);
        !self.prices.is_empty() && lists().flat_map(BTreeMap::values).all(|price| price.0 == 0)
    }

    /// What `usage` would cost by this list; `None` where the list does not price it (a router; tokens of a kind without
    /// a price), where the completion's tokens are not known and would cost something, or beyond ±$9.2 million.
    pub fn cost(&self, usage: &Usage) -> Option<Money> {
        let price = |name: &str| {
            let changed = self.overrides.iter().rev().filter(|change| change.holds(usage));
            changed.map(|change| &change.prices).chain([&self.prices]).find_map(|prices| prices.get(name)).copied()
        };
        let prompt_price = price("prompt");
        let [prompt, cached, written] =
            [usage.prompt, usage.cached, usage.cache_write].map(|tokens| tokens.clamp(0, MAX_TOKENS));
        let cached = cached.min(prompt);
        let written = written.min(prompt - cached);
        // A kind of prompt token without a price of its own costs what the others cost.
        let of_prompt = |name: &str| price(name).filter(|price| price.0 > 0).or(prompt_price);
        let parts = [
            (prompt - cached - written, prompt_price),
            (cached, of_prompt("input_cache_read")),
            (written, of_prompt("input_cache_write")),
        ];
        let completion_price = price("completion");
        let completion = match usage.completion {
            Some(tokens) => tokens.clamp(0, MAX_TOKENS),
            None if completion_price.is_none_or(|price| price.0 == 0) => 0,
            None => return None,
        };
        let reasoning = usage.reasoning.clamp(0, completion);
        let of_reasoning = price("internal_reasoning").filter(|price| price.0 > 0).or(completion_price);
        let parts = parts.into_iter().chain([(completion - reasoning, completion_price), (reasoning, of_reasoning)]);
        // The bounds keep the sum below 10³⁵: a call's tokens times a unit's price.
        let mut attos = price("request").map_or(0, |price| price.0);
        let mut priced = price("request").is_some() || prompt_price.is_some() || completion_price.is_some();
        for (tokens, price) in parts {
            match price {
                Some(price) => attos += i128::from(tokens) * price.0,
                None if tokens > 0 => priced = false,
                None => {}
            }
        }
        if !priced {
            return None;
        }
        let off = self.discount.filter(|off| off.0 > 0 && off.0 < ATTOS_PER_USD);
        // Divided before it is multiplied: the sum times 10¹⁸ would not fit. Less than a pico-dollar is lost.
        let attos = off.map_or(attos, |off| {
            let left = ATTOS_PER_USD - off.0;
            attos / ATTOS_PER_USD * left + divided_half_even(attos % ATTOS_PER_USD * left, ATTOS_PER_USD)
        });
        i64::try_from(divided_half_even(attos, ATTOS_PER_PICO)).ok().map(Money::from_picos)
    }
}

/// The quotient rounded half to even; neither is negative.
fn divided_half_even(amount: i128, by: i128) -> i128 {
    let (whole, rest) = (amount / by, amount % by);
    let twice = rest * 2;
    if twice > by || (twice == by && whole % 2 == 1) { whole + 1 } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pricing(prices: &[(&str, &str)]) -> Pricing {
        let prices = prices.iter().map(|(name, text)| ((*name).to_owned(), UnitPrice::parse(text).unwrap())).collect();
        Pricing { prices, ..Pricing::default() }
    }

    fn usage(prompt: i64, completion: i64) -> Usage {
        Usage { prompt, completion: Some(completion), ..Usage::default() }
    }

    #[test]
    fn a_call_costs_its_tokens_by_kind_and_the_request() {
        let list = pricing(&[
            ("prompt", "0.000003"),
            ("completion", "0.000015"),
            ("input_cache_read", "3e-7"),
            ("input_cache_write", "0.00000375"),
            ("request", "0.01"),
        ]);
        let usage = Usage { cached: 600, cache_write: 100, reasoning: 5, ..usage(1_000, 20) };
        // 300 × 3 µ$ + 600 × 0.3 µ$ + 100 × 3.75 µ$ + 20 × 15 µ$ + 1 ct
        assert_eq!(list.cost(&usage), Money::parse("0.011755").ok());
        let separate = pricing(&[("prompt", "0"), ("completion", "0.000008"), ("internal_reasoning", "0.000003")]);
        assert_eq!(separate.cost(&usage), Money::parse("0.000135").ok());
    }

    #[test]
    fn what_the_list_does_not_price_has_no_cost() {
        assert_eq!(UnitPrice::parse("-1"), None);
        assert_eq!(UnitPrice::parse("-0"), None);
        assert_eq!(UnitPrice::parse("1e9"), None);
        assert_eq!(UnitPrice::parse("free"), None);
        assert_eq!(Pricing::default().cost(&usage(1, 1)), None);
        assert_eq!(pricing(&[("prompt", "0.1")]).cost(&usage(1, 1)), None, "its completion has no price");
        assert_eq!(pricing(&[("prompt", "0.1")]).cost(&usage(2, 0)), Money::parse("0.2").ok());
        let unknown = Usage { completion: None, ..usage(2, 0) };
        assert_eq!(pricing(&[("prompt", "0.1"), ("completion", "0.1")]).cost(&unknown), None);
        assert_eq!(pricing(&[("prompt", "0.1"), ("completion", "0")]).cost(&unknown), Money::parse("0.2").ok());
        assert_eq!(pricing(&[("prompt", "0"), ("completion", "0")]).cost(&usage(9, 9)), Some(Money::ZERO));
    }

    #[test]
    fn overrides_hold_from_so_many_tokens_and_at_their_hours() {
        let mut list = pricing(&[("prompt", "1"), ("completion", "2")]);
        let prices = |text| pricing(&[("prompt", text)]).prices;
        list.overrides = vec![
            Override { min_prompt_tokens: Some(10), prices: prices("3"), ..Override::default() },
            Override { utc_minutes: Some((22 * 60, 6 * 60)), prices: prices("0.5"), ..Override::default() },
        ];
        let at = |hour: i64, prompt| {
            list.cost(&Usage { at: Timestamp(DAY_MS * 9 + hour * 60 * MINUTE_MS), ..usage(prompt, 1) }).unwrap()
        };
        assert_eq!(at(12, 9), Money::from_usd(11).unwrap());
        assert_eq!(at(12, 10), Money::from_usd(32).unwrap());
        assert_eq!([at(22, 10), at(5, 10)], [Money::from_usd(7).unwrap(); 2]);
        assert_eq!(at(6, 9), Money::from_usd(11).unwrap());
    }

    #[test]
    fn a_discount_is_taken_off_once() {
        let mut list = pricing(&[("prompt", "0.00000585"), ("completion", "0")]);
        list.discount = UnitPrice::parse("0.01");
        assert_eq!(list.cost(&usage(1, 0)), Money::parse("0.0000057915").ok());
        list.discount = UnitPrice::parse("1");
        assert_eq!(
            list.cost(&usage(1, 0)),
            Money::parse("0.00000585").ok(),
            "a whole discount is no discount of theirs"
        );
    }

    #[test]
    fn a_list_reads_back_from_its_text() {
        let mut list = pricing(&[("prompt", "0.00000015"), ("completion", "6e-7")]);
        list.overrides =
            vec![Override { min_prompt_tokens: Some(1), utc_minutes: Some((1, 2)), ..Override::default() }];
        let text = serde_json::to_string(&list).unwrap();
        assert!(text.contains(r#""completion":"0.0000006""#), "{text}");
        assert_eq!(serde_json::from_str::<Pricing>(&text).unwrap(), list);
    }

    proptest! {
        /// The cost is within half a pico-dollar of the exact product, however small the price and however large the call.
        #[test]
        fn the_cost_is_exact_but_for_one_rounding(
            prompt in 0_u64..10_000_000_000, completion in 0_u64..10_000_000,
            prompt_digits in 0_u64..1_000_000, completion_digits in 0_u64..1_000_000,
            prompt_place in 6_u32..=18, completion_place in 6_u32..=18,
        ) {
            let list = pricing(&[
                ("prompt", &format!("{prompt_digits}e-{prompt_place}")),
                ("completion", &format!("{completion_digits}e-{completion_place}")),
            ]);
            let signed = |tokens: u64| i64::try_from(tokens).unwrap();
            let cost = list.cost(&usage(signed(prompt), signed(completion)));
            // In units of 10^-18, from the digits themselves.
            let exact = i128::from(prompt) * i128::from(prompt_digits) * 10_i128.pow(18 - prompt_place)
                + i128::from(completion) * i128::from(completion_digits) * 10_i128.pow(18 - completion_place);
            match cost {
                Some(cost) => {
                    let off = i128::from(cost.picos()) * ATTOS_PER_PICO - exact;
                    prop_assert!(off.abs() * 2 <= ATTOS_PER_PICO, "{cost} is {off} off");
                }
                None => prop_assert!(exact / ATTOS_PER_PICO > i128::from(i64::MAX) - 1),
            }
        }

        /// A price's text reads back as the same price, and parts of a call cost what the whole does.
        #[test]
        fn prices_keep_every_digit(digits in 0_u64..=u64::MAX, place in 15_u32..=18, a in 0_i64..1_000_000, b in 0_i64..1_000_000) {
            let text = format!("{digits}e-{place}");
            let Some(price) = UnitPrice::parse(&text) else { return Ok(()) };
            prop_assert_eq!(UnitPrice::parse(&price.to_string()), Some(price));
            prop_assert_eq!(price.attos(), i128::from(digits) * 10_i128.pow(18 - place));
            let list = Pricing { prices: [("prompt".to_owned(), price)].into(), ..Pricing::default() };
            let cost = |tokens| list.cost(&usage(tokens, 0)).map(|cost| i128::from(cost.picos()));
            if let (Some(first), Some(second), Some(both)) = (cost(a), cost(b), cost(a + b)) {
                prop_assert!((first + second - both).abs() <= 1);
            }
        }
    }
}
