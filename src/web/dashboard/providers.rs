//! `/providers`: the same model by provider: what was paid, how fast it came, what pinning it would have saved or cost; and
//! what caches and fallbacks did to the bill.

use std::fmt::Write as _;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::DashboardState;
use super::explore;
use super::frame::{Frame, Page};
use super::query::link;
use super::respond::{PageError, html};
use crate::domain::flags;
use crate::domain::money::Total;
use crate::report::format::{self, MINUS, NBSP};
use crate::report::providers::{self, Economics, Fallback, LEAST_COMPLETIONS, Market, Offer};
use crate::report::range::Range;
use crate::report::words;

/// The range without one in the URL.
const USUAL: Range = Range::Week;

/// Ranges that are offered.
const RANGES: [Range; 4] = [Range::Day, Range::Week, Range::ThirtyDays, Range::Month];

/// Models with several providers that are shown, and models with one.
const MOST_SHOWN: usize = 20;
const MOST_ALONE: usize = 40;

/// What the URL says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    range: Option<String>,
}

struct Choice {
    link: String,
    name: &'static str,
    current: bool,
}

struct Figure {
    label: &'static str,
    whole: String,
    cents: String,
    text: String,
}

struct Line {
    /// Of a table of several models.
    model: String,
    model_link: String,
    provider: String,
    link: String,
    completions: String,
    share: String,
    spend: String,
    price_in: String,
    price_out: String,
    price: String,
    latency: String,
    slow: String,
    speed: String,
    failures: String,
    saved: String,
    pinned: String,
    /// `cheapest`, `fastest`, both, or nothing.
    mark: &'static str,
}

struct Table {
    id: usize,
    model: String,
    link: String,
    about: String,
    rows: Vec<Line>,
}

#[derive(Template)]
#[template(path = "providers.html")]
struct ProvidersPage {
    frame: Frame,
    ranges: Vec<Choice>,
    figures: Vec<Figure>,
    markets: Vec<Table>,
    more: usize,
    alone: Vec<Line>,
    /// What happened, in a sentence, and the rows if there are any.
    fallbacks: Vec<(&'static str, String, Option<String>)>,
    least: String,
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let (now, zone) = (state.clock.now(), state.zone);
    let range = asked.range.as_deref().and_then(|text| Range::parse(text, &RANGES)).unwrap_or(USUAL);
    let (since, until) = range.bounds(now, zone);
    let catalogue = state.catalogue.load();
    let found = providers::economics(&state.store, &catalogue, since, until, now).await.map_err(state.unreadable())?;
    let (several, alone): (Vec<&Market>, Vec<&Market>) =
        found.markets.iter().partition(|market| market.offers.len() > 1);
    let flagged = |flag: &str, found: &Fallback| {
        (found.calls > 0).then(|| link("/completions", [("flag", flag), ("since", since.to_iso().as_str())]))
    };
    html(&ProvidersPage {
        frame: Frame::new(&state, "Providers", Page::Overview),
        ranges: RANGES
            .map(|choice| Choice {
                link: link("/providers", (choice != USUAL).then_some(("range", choice.as_str()))),
                name: choice.name(),
                current: choice == range,
            })
            .into(),
        figures: figures(&found),
        more: several.len().saturating_sub(MOST_SHOWN),
        markets: several.iter().take(MOST_SHOWN).enumerate().map(|(id, market)| table(id, market, range)).collect(),
        alone: alone
            .iter()
            .take(MOST_ALONE)
            .flat_map(|market| market.offers.iter().map(|offer| line(offer, market, range)))
            .collect(),
        fallbacks: vec![
            ("Another model answered", of_models(&found.models), flagged(flags::FALLBACK_MODEL, &found.models)),
            (
                "A provider failed first",
                of_providers(&found.providers),
                flagged(flags::FALLBACK_PROVIDER, &found.providers),
            ),
        ],
        least: format::count(LEAST_COMPLETIONS),
    })
}

fn figures(found: &Economics) -> Vec<Figure> {
    let (cheapest, fastest) = found.pinned();
    let figure = |label, amount: Total, text: String| {
        let (whole, cents) = format::usd_parts(amount);
        Figure { label, whole, cents, text }
    };
    let compared = |change: Total, to: &str| {
        let share = format::share_of(change, found.total.cost).unwrap_or_default();
        let share = share.trim_start_matches(MINUS).to_owned();
        match change.cmp(&Total::ZERO) {
            std::cmp::Ordering::Less => {
                format!("would have been saved ({share}) with each model pinned to its {to} provider.")
            }
            std::cmp::Ordering::Equal => format!("is what pinning each model to its {to} provider would have changed."),
            std::cmp::Ordering::Greater => {
                format!("more ({share}) would have been paid with each model pinned to its {to} provider.")
            }
        }
    };
    let magnitude = |change: Total| if change < Total::ZERO { -change } else { change };
    let cached = format::share_of(
        Total::from_picos(found.total.native_tokens_cached.into()),
        Total::from_picos(found.total.native_tokens_prompt.into()),
    );
    vec![
        figure(
            "Spend",
            found.total.cost,
            format!(
                "for {}, at every provider together.",
                words::counted(found.total.completions, "completion", "completions")
            ),
        ),
        figure("Pinned to the cheapest", magnitude(cheapest), compared(cheapest, "cheapest")),
        figure("Pinned to the fastest", magnitude(fastest), compared(fastest, "fastest")),
        figure(
            "Caches",
            found.total.cache_discount,
            match cached {
                Some(share) => format!(
                    "saved by prompt caches, what writing them cost taken off; {share} of the prompt tokens came from one."
                ),
                None => "saved by prompt caches.".to_owned(),
            },
        ),
    ]
}

fn table(id: usize, market: &Market, range: Range) -> Table {
    let served = i64::try_from(market.offers.len()).unwrap_or(i64::MAX);
    let pinned = |place: Option<usize>, to: &str| {
        let change = market.offers.get(place?)?;
        let (name, amount) = (change.provider.as_deref()?, change.pinned?);
        let amount = match amount.cmp(&Total::ZERO) {
            std::cmp::Ordering::Less => format!("{} less", format::usd(-amount)),
            std::cmp::Ordering::Equal => "no change".to_owned(),
            std::cmp::Ordering::Greater => format!("{} more", format::usd(amount)),
        };
        Some(format!("{name}, the {to}: {amount}"))
    };
    let pins: Vec<String> =
        [pinned(market.cheapest, "cheapest"), pinned(market.fastest, "fastest")].into_iter().flatten().collect();
    let rest = if pins.is_empty() { String::new() } else { format!("; all at {}", pins.join(", all at ")) };
    Table {
        id,
        model: market.model.clone(),
        link: in_explore(&market.model, range),
        about: format!("{}, {}{rest}", format::usd(market.sums.cost), words::counted(served, "provider", "providers")),
        rows: market.offers.iter().map(|offer| line(offer, market, range)).collect(),
    }
}

fn in_explore(model: &str, range: Range) -> String {
    link(explore::PATH, [("by", "provider"), ("range", range.as_str()), ("model", model)])
}

fn line(offer: &Offer, market: &Market, range: Range) -> Line {
    let is = |place: Option<usize>| place.is_some_and(|place| market.offers.get(place) == Some(offer));
    let duration = |ms: Option<i64>| ms.map(format::duration).unwrap_or_default();
    let about = |price: Option<Total>| price.map(|price| format!("≈{NBSP}{}", format::usd(price))).unwrap_or_default();
    let provider = offer.provider.as_deref();
    Line {
        model: market.model.clone(),
        model_link: in_explore(&market.model, range),
        provider: provider.unwrap_or("not told").to_owned(),
        link: link(
            "/completions",
            [("model", market.model.as_str()), provider.map_or(("none", "provider"), |name| ("provider", name))],
        ),
        completions: format::count(offer.sums.completions),
        share: format::share_of(offer.sums.cost, market.sums.cost).unwrap_or_default(),
        spend: format::usd(offer.sums.cost),
        price_in: about(offer.price_in),
        price_out: about(offer.price_out),
        price: offer.price.map(format::usd).unwrap_or_default(),
        latency: duration(offer.usual_latency()),
        slow: duration(offer.latency.percentile(95)),
        speed: offer.usual_speed().map(format::speed).unwrap_or_default(),
        failures: if offer.sums.failures == 0 { String::new() } else { format::count(offer.sums.failures) },
        saved: if offer.sums.cache_discount == Total::ZERO {
            String::new()
        } else {
            format::usd(offer.sums.cache_discount)
        },
        pinned: offer.pinned.map(format::usd_change).unwrap_or_default(),
        mark: match (is(market.cheapest), is(market.fastest)) {
            (true, true) => "cheapest and fastest",
            (true, false) => "cheapest",
            (false, true) => "fastest",
            (false, false) => "",
        },
    }
}

fn of_models(found: &Fallback) -> String {
    if found.calls == 0 {
        return "No call was answered by another model than it asked for.".to_owned();
    }
    let mut text = format!(
        "{} by another model than asked for, for {}.",
        words::counted(found.calls, "call was answered", "calls were answered"),
        format::usd(found.cost)
    );
    if found.compared > 0 {
        let more = if found.more < Total::ZERO {
            format!("{} less", format::usd(-found.more))
        } else {
            format!("{} more", format::usd(found.more))
        };
        let _ = write!(
            text,
            " That is {more} than the model asked for would have cost by the list, for the {} whose prices and tokens are known.",
            format::count(found.compared)
        );
    }
    text
}

fn of_providers(found: &Fallback) -> String {
    match found.calls {
        0 => "No provider failed before the one that served.".to_owned(),
        calls => format!(
            "{} after another provider had failed, for {}. A try that fails is not billed; it costs time.",
            words::counted(calls, "call was served", "calls were served"),
            format::usd(found.cost)
        ),
    }
}
