//! The bars of a call: what it cost, the attempts at providers, and how long it took.

use serde_json::Value;

use crate::domain::call::Call;
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::report::completion;
use crate::report::format::{self, MINUS};
use crate::report::scale::{Hundredths, along, portion};
use crate::web::dashboard::DashboardState;
use crate::web::dashboard::completions::{Badge, estimated};

/// A line of "what it cost": a badge or a word, the amount, its bar, where it comes from.
pub(super) struct Cost {
    pub(super) badge: Badge,
    pub(super) amount: String,
    /// Left edge and width of the bar, in percent.
    pub(super) left: Hundredths,
    pub(super) width: Hundredths,
    /// `solid`, `hatched` or `diff`.
    pub(super) fill: &'static str,
    pub(super) text: String,
    pub(super) last: bool,
}

/// An attempt at a provider.
pub(super) struct Attempt {
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) status: String,
    pub(super) failed: bool,
    pub(super) duration: String,
    /// Whether the caller's own key paid for it.
    pub(super) own_key: bool,
    pub(super) left: Hundredths,
    pub(super) width: Hundredths,
}

/// Two times of a call on one bar: until something came, and until all had.
pub(super) struct Lasting {
    pub(super) name: &'static str,
    /// Where the times come from.
    pub(super) source: &'static str,
    pub(super) first: String,
    pub(super) whole: String,
    /// Width of the first part, and of all, in percent.
    pub(super) first_width: Hundredths,
    pub(super) whole_width: Hundredths,
}

/// What it cost, by everybody who told.
pub(super) fn costs(call: &Call, state: &DashboardState) -> Vec<Cost> {
    let facts = &call.facts;
    let (inline, settled, upstream) = (facts.inline_cost, facts.settled_cost, call.upstream());
    let estimate = state.catalogue.load().estimate(call);
    let top = [inline, settled, upstream, call.cost(), estimate].into_iter().flatten().max().unwrap_or(Money::ZERO);
    // The widest bar leaves a tenth free, so that a rise past it is seen.
    let top = Total::from_picos(i128::from(top.picos()) * 11 / 10);
    let along = |amount: Money| along(amount.into(), top, 10_000);
    let now = state.clock.now();
    let at =
        |at: Option<Timestamp>| at.map(|at| format!(", {}", format::moment(at, now, state.zone))).unwrap_or_default();
    let named = |class, word: &str| Badge { class, word: word.to_owned() };
    let bar = |badge, amount: Money, fill, text: String| Cost {
        badge,
        amount: format::completion_usd(amount),
        left: Hundredths(0),
        width: Hundredths(along(amount)),
        fill,
        text,
        last: false,
    };
    let mut costs = Vec::new();
    if let Some(inline) = inline {
        costs.push(bar(named("inline", "inline"), inline, "hatched", "what the reply said".to_owned()));
    }
    if let Some(settled) = settled {
        let text = format!("from OpenRouter’s generation record{}", at(call.settled_at));
        costs.push(bar(named("settled", "settled"), settled, "solid", text));
    }
    if let Some(upstream) = upstream {
        let text = "what the provider charged your own key; counted in budgets".to_owned();
        costs.push(bar(named("settled", "upstream"), upstream, "solid", text));
    }
    if let Some(estimate) = estimate {
        let text = "what its tokens cost by the list price of its time; in no sum and no budget".to_owned();
        costs.push(Cost { amount: estimated(estimate), ..bar(named("", "estimate"), estimate, "hatched", text) });
    }
    if let (Some(inline), Some(settled)) = (inline, settled) {
        let change = Total::from(settled) - Total::from(inline);
        let (low, high) = (along(inline.min(settled)), along(inline.max(settled)));
        let amount =
            format::completion_usd(Money::from_picos(settled.picos().saturating_sub(inline.picos()).saturating_abs()));
        let sign = match change.cmp(&Total::ZERO) {
            std::cmp::Ordering::Less => MINUS.to_string(),
            std::cmp::Ordering::Equal => String::new(),
            std::cmp::Ordering::Greater => "+".to_owned(),
        };
        let text = if change == Total::ZERO {
            "reply and record agree".to_owned()
        } else {
            format!("{}: the record differs from the reply, and counts", format::change(inline.into(), settled.into()))
        };
        costs.push(Cost {
            badge: named("", "difference"),
            amount: format!("{sign}{amount}"),
            left: Hundredths(low),
            width: Hundredths(high - low),
            fill: "diff",
            text,
            last: true,
        });
    }
    costs
}

/// The record's attempts at providers, drawn end to end, as only lengths are reported.
pub(super) fn attempts(record: Option<&Value>) -> Vec<Attempt> {
    let listed = completion::attempts(record);
    let all: i64 = listed.iter().filter_map(|attempt| attempt.latency_ms).sum();
    let own_key = |place: usize| record?.get("provider_responses")?.get(place)?.get("is_byok")?.as_bool();
    let mut gone = 0;
    listed
        .into_iter()
        .enumerate()
        .map(|(place, attempt)| {
            let ms = attempt.latency_ms.unwrap_or(0);
            let part = |ms: i64| Hundredths(if all > 0 { ms * 10_000 / all } else { 0 });
            let drawn = Attempt {
                provider: attempt.provider.unwrap_or_default(),
                model: attempt.model.unwrap_or_default(),
                status: attempt.status.map(|status| status.to_string()).unwrap_or_default(),
                failed: attempt.status.is_some_and(|status| status >= 400),
                duration: format::duration(ms),
                own_key: own_key(place) == Some(true),
                left: part(gone),
                width: part(ms),
            };
            gone += ms;
            drawn
        })
        .collect()
}

/// What was measured here and what OpenRouter reports, on one scale; nothing where neither knows how long all took.
pub(super) fn lasting(call: &Call) -> Vec<Lasting> {
    let told = [
        ("At the gateway", "first byte and last, measured here", call.first_byte_ms, call.duration_ms),
        ("At OpenRouter", "latency and generation, as reported", call.facts.latency_ms, call.facts.generation_time_ms),
    ];
    let longest = told.iter().flat_map(|(_, _, first, whole)| [*first, *whole]).flatten().max().unwrap_or(0);
    let along = |ms: i64| Hundredths(portion(ms.into(), longest.into(), 10_000));
    let told = told.into_iter().filter_map(|(name, source, first, whole)| {
        let whole = whole?;
        Some(Lasting {
            name,
            source,
            first: first.map(format::duration).unwrap_or_default(),
            whole: format::duration(whole),
            first_width: along(first.unwrap_or(0).min(whole)),
            whole_width: along(whole),
        })
    });
    told.collect()
}
