//! The same model at several providers: what was paid, how fast it came, and what another choice would have cost.
//!
//! A row tells what a call cost, not what its prompt and its completion cost. So a provider's prices are the list's, times what
//! was paid for its calls over what the list says of their tokens: exact where provider and list keep the same ratio between
//! input and output, and told with “≈”. What pinning would have cost is computed the same way.

use std::collections::BTreeMap;

use crate::domain::call::Call;
use crate::domain::catalogue::Catalogue;
use crate::domain::flags;
use crate::domain::money::Total;
use crate::domain::price::{Pricing, UnitPrice, Usage};
use crate::domain::rollup::{Histogram, Timing};
use crate::domain::time::Timestamp;
use crate::store::explore;
use crate::store::rollups::{self, Dimension, Sums, TimedRow, TotalsQuery};
use crate::store::{Store, StoreError, calls};

/// Fewer completions than these are no ground to pin a model upon.
pub const LEAST_COMPLETIONS: i64 = 20;

/// Most calls with another model or provider than the first that are looked at: the last ones.
pub const MAX_FALLBACKS: u32 = 5_000;

/// One provider of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The provider; `None`: it was not told.
    pub provider: Option<String>,
    /// Its calls.
    pub sums: Sums,
    /// What was paid for a million prompt tokens, about; `None` where no list prices the model.
    pub price_in: Option<Total>,
    /// And for a million completion tokens.
    pub price_out: Option<Total>,
    /// What was paid for a million tokens, in and out together.
    pub price: Option<Total>,
    /// Latency as OpenRouter reports it, in milliseconds.
    pub latency: Histogram,
    /// Thousandths of completion tokens in a second of generating.
    pub speed: Histogram,
    /// What all calls of the model would have cost here, less what they did; `None`: too few calls to say.
    pub pinned: Option<Total>,
    /// What its tokens come to by which offers are weighed.
    weight: i128,
}

impl Offer {
    /// The middle latency, in milliseconds.
    pub fn usual_latency(&self) -> Option<i64> {
        self.latency.percentile(50)
    }

    /// The middle speed, in thousandths of tokens a second.
    pub fn usual_speed(&self) -> Option<i64> {
        self.speed.percentile(50)
    }
}

/// A model, and who serves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Market {
    /// The model, as `usage.model` shows it.
    pub model: String,
    /// All its calls.
    pub sums: Sums,
    /// Its providers, that with the highest spend first.
    pub offers: Vec<Offer>,
    /// The place of the cheapest among those with enough calls, where there are several.
    pub cheapest: Option<usize>,
    /// The place of that which generates fastest, likewise.
    pub fastest: Option<usize>,
}

/// Calls that another model or provider answered than the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// How many there were; at most [`MAX_FALLBACKS`].
    pub calls: i64,
    /// What they cost, unknown ones left out.
    pub cost: Total,
    /// Of how many the cost is known, and what the model asked for would have cost by the list.
    pub compared: i64,
    /// What those cost more than they would have by the list; negative: less.
    pub more: Total,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Economics {
    /// Models by spend.
    pub markets: Vec<Market>,
    /// All of it.
    pub total: Sums,
    /// Another model answered than was asked for.
    pub models: Fallback,
    /// A provider failed before the one that served; what it would have cost is not known.
    pub providers: Fallback,
}

impl Economics {
    /// What pinning every model that has several providers would have cost, less what it did: to the cheapest, and to the
    /// fastest.
    pub fn pinned(&self) -> (Total, Total) {
        let of = |place: fn(&Market) -> Option<usize>| {
            self.markets.iter().filter_map(|market| market.offers[place(market)?].pinned).sum()
        };
        (of(|market| market.cheapest), of(|market| market.fastest))
    }
}

/// Reads it, from `since` until before `until`: sums and times from the roll-ups, fallbacks from the rows that carry their flags.
pub async fn economics(
    store: &Store,
    catalogue: &Catalogue,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<Economics, StoreError> {
    let by = vec![Dimension::Model, Dimension::Provider];
    let query = TotalsQuery { spans: vec![(since, until)], by, ..TotalsQuery::default() };
    let (rows, models, providers) = tokio::try_join!(
        rollups::totals(store, &query),
        calls::flagged(store, flags::FALLBACK_MODEL, since, until, MAX_FALLBACKS),
        calls::flagged(store, flags::FALLBACK_PROVIDER, since, until, MAX_FALLBACKS),
    )?;
    let mut offers: BTreeMap<(String, Option<String>), Offer> = BTreeMap::new();
    for row in rows {
        let mut keys = row.keys.into_iter();
        let (Some(Some(model)), provider) = (keys.next(), keys.next().flatten()) else { continue };
        let offer = offers.entry((model, provider.clone())).or_default();
        offer.provider = provider;
        offer.sums.add(&row.sums);
    }
    for timing in [Timing::Latency, Timing::Speed] {
        let told = |row: TimedRow| {
            let mut keys = row.keys.into_iter();
            let (Some(Some(model)), provider) = (keys.next(), keys.next().flatten()) else { return };
            let Some(offer) = offers.get_mut(&(model, provider)) else { return };
            match timing {
                Timing::Speed => offer.speed.add(&row.histogram),
                _ => offer.latency.add(&row.histogram),
            }
        };
        explore::spreads(store, &query, timing, told).await?;
    }
    let mut markets: BTreeMap<String, Market> = BTreeMap::new();
    let mut total = Sums::default();
    for ((model, _), offer) in offers {
        total.add(&offer.sums);
        let market = markets.entry(model.clone()).or_insert_with(|| Market { model, ..Market::default() });
        market.sums.add(&offer.sums);
        market.offers.push(offer);
    }
    let mut markets: Vec<Market> = markets.into_values().collect();
    for market in &mut markets {
        price(market, catalogue.pricing(&market.model, now));
    }
    markets.sort_by(|a, b| (b.sums.cost, &a.model).cmp(&(a.sums.cost, &b.model)));
    Ok(Economics {
        markets,
        total,
        models: fallback(&models, catalogue),
        providers: Fallback { compared: 0, more: Total::ZERO, ..fallback(&providers, catalogue) },
    })
}

/// Prices the offers of a market, and finds the cheapest and the fastest.
fn price(market: &mut Market, list: Option<&Pricing>) {
    // Conditions hold for calls, not for their sums.
    let list = list.map(|list| Pricing { overrides: Vec::new(), ..list.clone() });
    let by_list: Vec<Option<Total>> = market.offers.iter().map(|offer| by_list(&offer.sums, list.as_ref()?)).collect();
    let tokens = |sums: &Sums| i128::from(sums.native_tokens_prompt) + i128::from(sums.native_tokens_completion);
    let all_listed = by_list.iter().all(Option::is_some);
    for (offer, listed) in market.offers.iter_mut().zip(&by_list) {
        let (paid, tokens) = (offer.sums.cost.picos(), tokens(&offer.sums));
        offer.weight = if all_listed { listed.map_or(0, Total::picos) } else { tokens };
        offer.price = (tokens > 0).then(|| Total::from_picos(paid.saturating_mul(1_000_000) / tokens));
        let unit = |name: &str| list.as_ref()?.prices.get(name).copied();
        let scaled = |price: Option<UnitPrice>| {
            // 10⁻¹⁸ dollars a token are pico-dollars a million tokens.
            let (price, listed) = (price?.attos(), listed.filter(|listed| *listed > Total::ZERO)?.picos());
            Some(Total::from_picos(price.checked_mul(paid)? / listed))
        };
        offer.price_in = scaled(unit("prompt"));
        offer.price_out = scaled(unit("completion"));
    }
    let weight: i128 = market.offers.iter().map(|offer| offer.weight).sum();
    let several = market.offers.len() > 1;
    for offer in &mut market.offers {
        let known = offer.sums.completions - offer.sums.unknown;
        if several && known >= LEAST_COMPLETIONS && offer.weight > 0 && offer.provider.is_some() {
            let cost = offer.sums.cost.picos().checked_mul(weight).map(|cost| cost / offer.weight);
            offer.pinned = cost.map(|cost| Total::from_picos(cost) - market.sums.cost);
        }
    }
    market.offers.sort_by(|a, b| (b.sums.cost, &a.provider).cmp(&(a.sums.cost, &b.provider)));
    let enough = || market.offers.iter().enumerate().filter(|(_, offer)| offer.pinned.is_some());
    // One alone is no choice.
    if enough().count() < 2 {
        return;
    }
    market.cheapest = enough().min_by_key(|(_, offer)| offer.pinned).map(|(place, _)| place);
    let measured = enough().filter(|(_, offer)| offer.speed.values() >= LEAST_COMPLETIONS);
    market.fastest = measured.max_by_key(|(_, offer)| offer.usual_speed()).map(|(place, _)| place);
}

/// What the tokens of all these calls cost by the list.
fn by_list(sums: &Sums, list: &Pricing) -> Option<Total> {
    let usage = Usage {
        prompt: sums.native_tokens_prompt,
        completion: Some(sums.native_tokens_completion),
        cached: sums.native_tokens_cached,
        cache_write: 0,
        reasoning: sums.native_tokens_reasoning,
        at: Timestamp(0),
    };
    let requests = list.prices.get("request").map_or(0, |price| price.attos() / 1_000_000);
    let others = Total::from_picos(requests * i128::from((sums.completions - 1).max(0)));
    Some(Total::from(list.cost(&usage)?) + others)
}

fn fallback(calls: &[Call], catalogue: &Catalogue) -> Fallback {
    let mut found = Fallback { calls: i64::try_from(calls.len()).unwrap_or(i64::MAX), ..Fallback::default() };
    for call in calls {
        let Some(cost) = call.cost() else { continue };
        found.cost += cost.into();
        let facts = &call.facts;
        let asked = call.requested_model.as_deref().and_then(|asked| catalogue.pricing(asked, call.created_at()));
        let usage = facts.native_tokens_prompt.map(|prompt| Usage {
            prompt,
            completion: facts.native_tokens_completion,
            cached: facts.native_tokens_cached.unwrap_or(0),
            cache_write: facts.cache_write_tokens.unwrap_or(0),
            reasoning: facts.native_tokens_reasoning.unwrap_or(0),
            at: call.created_at(),
        });
        if let Some(would) = asked.zip(usage).and_then(|(list, usage)| list.cost(&usage)) {
            found.compared += 1;
            found.more += Total::from(cost) - Total::from(would);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(provider: &str, completions: i64, tokens: (i64, i64), picos: i128, speed: i64) -> Offer {
        let sums = Sums {
            completions,
            native_tokens_prompt: tokens.0,
            native_tokens_completion: tokens.1,
            cost: Total::from_picos(picos),
            ..Sums::default()
        };
        let mut offer = Offer { provider: Some(provider.to_owned()), sums, ..Offer::default() };
        offer.speed.count(speed, completions);
        offer
    }

    fn market(offers: Vec<Offer>) -> Market {
        let mut market = Market { model: "m".to_owned(), offers, ..Market::default() };
        for offer in &market.offers {
            market.sums.add(&offer.sums);
        }
        market
    }

    #[test]
    fn a_provider_at_twice_the_list_has_twice_its_prices_and_pinning_costs_what_it_must() {
        let prices = [("prompt", "0.000001"), ("completion", "0.000004")];
        let prices = prices.map(|(name, text)| (name.to_owned(), UnitPrice::parse(text).unwrap()));
        let list = Pricing { prices: prices.into(), ..Pricing::default() };
        // By the list both come to $5: a million in at $1, a million out at $4.
        let usd = 1_000_000_000_000;
        let mut found = market(vec![
            offer("dear", 50, (1_000_000, 1_000_000), 10 * usd, 90_000),
            offer("cheap", 50, (1_000_000, 1_000_000), 5 * usd, 30_000),
            offer("once", 1, (1_000, 1_000), 1, 900_000),
        ]);
        price(&mut found, Some(&list));
        assert_eq!(found.offers[0].price_in, Some(Total::from_picos(2 * usd)));
        assert_eq!(found.offers[0].price_out, Some(Total::from_picos(8 * usd)));
        assert_eq!(found.offers[1].price_in, Some(Total::from_picos(usd)));
        assert_eq!((found.cheapest, found.fastest), (Some(1), Some(0)), "one call is no ground");
        // 10.005 by the list in all.
        assert_eq!(found.offers[1].pinned, Some(Total::from_picos(10_005 * usd / 1_000 - 15 * usd - 1)));
        assert_eq!(found.offers[0].pinned, Some(Total::from_picos(20_010 * usd / 1_000 - 15 * usd - 1)));
    }

    #[test]
    fn without_a_list_tokens_are_weighed_and_one_provider_alone_is_no_choice() {
        let mut found = market(vec![offer("a", 50, (1_000, 0), 3_000, 1), offer("b", 50, (3_000, 0), 3_000, 2)]);
        price(&mut found, None);
        assert_eq!(found.offers[0].price_in, None);
        let pinned: Vec<_> = found.offers.iter().map(|offer| offer.pinned.unwrap().picos()).collect();
        assert_eq!(pinned, [6_000, -2_000]);
        let mut alone = market(vec![offer("a", 50, (1_000, 0), 3_000, 1)]);
        price(&mut alone, None);
        assert_eq!((alone.cheapest, alone.offers[0].pinned), (None, None));
    }
}
