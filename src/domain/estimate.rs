//! What a call may cost, before it is sent: what a blocking budget holds back for it until its cost is known.
//!
//! An estimate enters no sum of costs and is shown as what it is. Whatever it says, a call that fits is not refused, and
//! what calls cost beyond their estimates is all that a budget can be overshot by.

use super::catalogue::Catalogue;
use super::money::Money;
use super::price::{Pricing, Usage};
use super::time::Timestamp;

/// Completion tokens of a call that sets no lower bound itself.
pub const ASSUMED_TOKENS: i64 = 4_096;

/// Bytes of a prompt that are taken for one token.
pub const BYTES_A_TOKEN: i64 = 3;

/// Calls of a key and model that are needed to judge the next one by; and most that are looked at.
pub const LEAST_CALLS: usize = 20;

/// What a call is taken to cost where nothing is known: a cent.
pub const UNKNOWN: Money = Money::from_picos(10_000_000_000);

/// Of a call that is not free at least so much is held back, so that a budget that is spent refuses it.
const LEAST: Money = Money::from_picos(1);

/// What a request says of its own size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The body's length in bytes; `None` when it was not read.
    pub bytes: Option<u64>,
    /// The most completion tokens it allows; `None` when it names no bound.
    pub max_tokens: Option<i64>,
    /// Nothing but text goes in and comes out, once: its bytes and tokens bound its cost.
    pub text_only: bool,
}

/// What OpenRouter's list says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByList {
    /// It costs nothing.
    Free,
    /// The list does not price it.
    Unpriced,
    /// It is priced.
    Priced {
        /// What it may well cost.
        likely: Money,
        /// What it can not cost more than; `None` where there is no such bound.
        most: Option<Money>,
    },
}

/// Looks a call up in the list. `model` is the one it asks for first; `others` are its fallbacks, which a call that is
/// free must all be.
pub fn by_list(catalogue: &Catalogue, model: Option<&str>, others: &[String], size: &Size, at: Timestamp) -> ByList {
    let Some(model) = model else { return ByList::Unpriced };
    let pricing = |model: &str| catalogue.pricing(model, at);
    let is_free = |model: &str| model.ends_with(":free") || pricing(model).is_some_and(Pricing::is_free);
    if is_free(model) && others.iter().all(|other| is_free(other)) {
        return ByList::Free;
    }
    let (Some(pricing), Some(bytes)) = (pricing(model), size.bytes) else { return ByList::Unpriced };
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let cost =
        |prompt, completion| pricing.cost(&Usage { prompt, completion: Some(completion), at, ..Usage::default() });
    let assumed = size.max_tokens.map_or(ASSUMED_TOKENS, |most| most.min(ASSUMED_TOKENS));
    let Some(likely) = cost(bytes / BYTES_A_TOKEN, assumed) else { return ByList::Unpriced };
    let most = size.max_tokens.filter(|_| size.text_only).and_then(|most| cost(bytes, most));
    ByList::Priced { likely, most }
}

/// The estimate; `None` for a call that is free, which no budget refuses.
///
/// `usual` is what the last calls of its key and model cost ([`usual`]), `mean` the mean call of the budget; each is
/// `None` where there is none.
pub fn estimate(listed: ByList, usual: Option<Money>, mean: Option<Money>) -> Option<Money> {
    let (likely, most) = match listed {
        ByList::Free => return None,
        ByList::Priced { likely, most } => (Some(likely), most),
        ByList::Unpriced => (None, None),
    };
    let estimate = usual.or(likely).or(mean).unwrap_or(UNKNOWN);
    Some(most.map_or(estimate, |most| estimate.min(most)).max(LEAST))
}

/// The cost that 95 of 100 of `costs` do not exceed; `None` for fewer than [`LEAST_CALLS`].
pub fn usual(costs: impl ExactSizeIterator<Item = Money>) -> Option<Money> {
    if costs.len() < LEAST_CALLS {
        return None;
    }
    let mut sorted: Vec<Money> = costs.collect();
    let place = (sorted.len() * 95).div_ceil(100) - 1;
    Some(*sorted.select_nth_unstable(place).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalogue::{Model, Priced};
    use crate::domain::price::UnitPrice;
    use proptest::prelude::*;

    fn model(prices: &[(&str, &str)]) -> Model {
        let prices =
            prices.iter().map(|(name, price)| ((*name).to_owned(), UnitPrice::parse(price).unwrap())).collect();
        let pricing = Pricing { prices, ..Pricing::default() };
        Model {
            permaslug: None,
            name: None,
            context_length: None,
            first_seen: Timestamp(0),
            last_seen: Timestamp(0),
            prices: vec![Priced { from: Timestamp(0), until: None, pricing }],
        }
    }

    fn catalogue() -> Catalogue {
        let priced = model(&[("prompt", "0.000001"), ("completion", "0.000002")]);
        let free = model(&[("prompt", "0"), ("completion", "0")]);
        let models = [("a/priced", priced), ("a/given", free), ("a/router", model(&[]))];
        Catalogue::new(None, models.map(|(id, model)| (id.to_owned(), model)).into())
    }

    fn usd(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    #[test]
    fn the_list_prices_a_call_by_its_bytes_and_its_bound() {
        let catalogue = catalogue();
        let list = |size: Size| by_list(&catalogue, Some("a/priced"), &[], &size, Timestamp(5));
        let size = Size { bytes: Some(3_000), max_tokens: None, text_only: true };
        assert_eq!(list(size), ByList::Priced { likely: usd("0.009192"), most: None });
        let bound = Size { max_tokens: Some(100), ..size };
        assert_eq!(list(bound), ByList::Priced { likely: usd("0.0012"), most: Some(usd("0.0032")) });
        let generous = Size { max_tokens: Some(10_000), ..size };
        assert_eq!(list(generous), ByList::Priced { likely: usd("0.009192"), most: Some(usd("0.023")) });
        assert_eq!(list(Size { text_only: false, ..bound }), ByList::Priced { likely: usd("0.0012"), most: None });
        assert_eq!(list(Size { bytes: None, ..bound }), ByList::Unpriced);
        let of = |model| by_list(&catalogue, model, &[], &bound, Timestamp(5));
        assert_eq!([of(None), of(Some("a/router")), of(Some("no/such"))], [ByList::Unpriced; 3]);
    }

    #[test]
    fn only_what_is_free_whoever_answers_is_free() {
        let catalogue = catalogue();
        let of = |model: &str, others: &[&str]| {
            let others: Vec<String> = others.iter().map(|other| (*other).to_owned()).collect();
            by_list(&catalogue, Some(model), &others, &Size::default(), Timestamp(5)) == ByList::Free
        };
        assert!(of("no/such:free", &[]) && of("a/given", &["a/priced:free"]));
        assert!(!of("a/priced", &[]) && !of("a/given", &["a/priced"]) && !of("a/router", &[]));
    }

    #[test]
    fn what_is_known_best_is_taken_and_the_bound_holds_it() {
        let listed = |most: Option<&str>| ByList::Priced { likely: usd("0.3"), most: most.map(usd) };
        let (usual, mean) = (Some(usd("0.5")), Some(usd("0.7")));
        assert_eq!(estimate(ByList::Free, usual, mean), None);
        assert_eq!(estimate(listed(None), usual, mean), usual);
        assert_eq!(estimate(listed(Some("0.4")), usual, mean), Some(usd("0.4")));
        assert_eq!(estimate(listed(None), None, mean), Some(usd("0.3")));
        assert_eq!(estimate(ByList::Unpriced, None, mean), mean);
        assert_eq!(estimate(ByList::Unpriced, None, None), Some(usd("0.01")));
        assert_eq!(estimate(ByList::Unpriced, Some(Money::ZERO), None), Some(LEAST));
    }

    proptest! {
        /// Nineteen calls say nothing; of more, 95 in 100 cost no more, and fewer would at the next lower cost.
        #[test]
        fn the_usual_cost_is_the_ninety_fifth_of_a_hundred(costs in prop::collection::vec(0_i64..1_000, 0..150)) {
            let found = usual(costs.iter().copied().map(Money::from_picos));
            prop_assert_eq!(found.is_some(), costs.len() >= LEAST_CALLS);
            if let Some(found) = found {
                let at_most = |bound: i64| costs.iter().filter(|cost| **cost <= bound).count() * 100;
                prop_assert!(at_most(found.picos()) >= costs.len() * 95);
                prop_assert!(at_most(found.picos() - 1) < costs.len() * 95);
            }
        }
    }
}
