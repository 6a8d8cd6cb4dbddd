//! `/completions/{id}`: everything the ledger knows of one call.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;

use super::DashboardState;
use super::completions::{Badge, badge, estimated};
use super::frame::{Frame, Page};
use super::query::link;
use super::respond::{PageError, html};
use crate::domain::call::{Call, CallState};
use crate::domain::catalogue::Catalogue;
use crate::domain::flags;
use crate::domain::money::{Money, Total};
use crate::domain::routing::Effect;
use crate::domain::time::Timestamp;
use crate::report::completion;
use crate::report::format::{self, MINUS};
use crate::report::scale::{Hundredths, along};
use crate::store::calls;

/// A line of "what it cost": a badge or a word, the amount, its bar, where it comes from.
struct Cost {
    badge: Badge,
    amount: String,
    /// Left edge and width of the bar, in percent.
    left: Hundredths,
    width: Hundredths,
    /// `solid`, `hatched` or `diff`.
    fill: &'static str,
    text: String,
    last: bool,
}

struct Tokens {
    name: &'static str,
    native: Option<String>,
    normalised: Option<String>,
}

/// A name and what stands beside it.
struct Fact {
    name: &'static str,
    value: String,
    link: Option<String>,
    note: &'static str,
}

impl Fact {
    fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), link: None, note: "" }
    }

    fn filter(name: &'static str, key: &str, value: &str) -> Self {
        Self { link: Some(link("/completions", [(key, value)])), ..Self::new(name, value) }
    }

    fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }
}

struct Attempt {
    provider: String,
    model: String,
    status: String,
    failed: bool,
    duration: String,
    left: Hundredths,
    width: Hundredths,
}

/// What the request asked of providers, and what became of it.
struct Asking {
    name: &'static str,
    asked: String,
    badge: Badge,
    says: String,
}

struct Flag {
    name: String,
    meaning: &'static str,
}

#[derive(Template)]
#[template(path = "completion.html")]
struct CompletionPage {
    frame: Frame,
    id: String,
    when: String,
    badge: Badge,
    sentence: String,
    exact: String,
    costs: Vec<Cost>,
    attempts: Vec<Attempt>,
    routing: Vec<Asking>,
    served: String,
    tokens: Vec<Tokens>,
    times: Vec<Fact>,
    whose: Vec<Fact>,
    call: Vec<Fact>,
    error: Vec<Fact>,
    settling: Vec<Fact>,
    flags: Vec<Flag>,
    record: Option<String>,
}

/// The page.
pub(super) async fn page(State(state): State<DashboardState>, Path(id): Path<String>) -> Result<Response, PageError> {
    let found = calls::find(&state.store, &id).await.map_err(state.unreadable())?;
    let Some((call, record)) = found.filter(|(call, _)| completion::is_told(call)) else {
        return Err(PageError::NotFound(
            Box::new(state),
            "The ledger has no completion with this ID. A call under way is shown once its ID is known.",
        ));
    };
    let record = completion::record(record.as_deref());
    let now = state.clock.now();
    html(&CompletionPage {
        frame: Frame::new(&state, "Completion", Page::Completions),
        id: call.generation_id.as_ref().map_or_else(|| call.call_id.to_string(), ToString::to_string),
        when: format::moment(call.created_at(), now, state.zone),
        badge: badge(&call),
        sentence: sentence(&call, &state.catalogue.load()),
        exact: exact(&call),
        costs: costs(&call, &state),
        attempts: attempts(record.as_ref()),
        routing: routing(&call, record.as_ref()),
        served: call
            .facts
            .provider
            .clone()
            .map_or_else(|| "who served is not known".to_owned(), |name| format!("served by {name}")),
        tokens: tokens(&call),
        times: times(&call, &state),
        whose: whose(&call),
        call: asked(&call),
        error: error(&call),
        settling: settling(&call, &state),
        flags: call.flags.iter().map(|name| Flag { name: name.clone(), meaning: meaning(name) }).collect(),
        record: record.and_then(|record| serde_json::to_string_pretty(&record).ok()).filter(|text| text != "{}"),
    })
}

fn sentence(call: &Call, catalogue: &Catalogue) -> String {
    let who = call.attribution.app.as_deref().unwrap_or("A caller");
    let model = call.model();
    let requested = call.requested_model.as_deref();
    let asked = match (requested, model) {
        (Some(requested), Some(model)) if requested != model => {
            format!("{who} asked for {requested}, was served by {model}")
        }
        (Some(one), _) | (None, Some(one)) => format!("{who} asked for {one}"),
        (None, None) => format!("{who} made a call whose model is not known"),
    };
    let provider = call.facts.provider.as_deref().map(|name| format!(" at {name}")).unwrap_or_default();
    let took = call.duration_ms.map(|ms| format!(", in {}", format::duration(ms))).unwrap_or_default();
    let cost = match (call.state, call.cost()) {
        (CallState::Failed, _) => "; it failed and cost nothing.".to_owned(),
        (_, Some(cost)) => format!(", for {}.", format::call_usd(cost)),
        (_, None) => {
            let about = catalogue.estimate(call).map(|cost| format!(": about {} by the list", format::call_usd(cost)));
            format!("; what it cost is not known{}.", about.unwrap_or_default())
        }
    };
    format!("{asked}{provider}{took}{cost}")
}

fn exact(call: &Call) -> String {
    match call.cost() {
        Some(cost) => format!("US$, exact: {cost} = {} picodollars", format::count(cost.picos())),
        None => "US$; unknown is in no sum".to_owned(),
    }
}

fn costs(call: &Call, state: &DashboardState) -> Vec<Cost> {
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
fn attempts(record: Option<&Value>) -> Vec<Attempt> {
    let listed = completion::attempts(record);
    let all: i64 = listed.iter().filter_map(|attempt| attempt.latency_ms).sum();
    let mut gone = 0;
    listed
        .into_iter()
        .map(|attempt| {
            let ms = attempt.latency_ms.unwrap_or(0);
            let part = |ms: i64| Hundredths(if all > 0 { ms * 10_000 / all } else { 0 });
            let drawn = Attempt {
                provider: attempt.provider.unwrap_or_default(),
                model: attempt.model.unwrap_or_default(),
                status: attempt.status.map(|status| status.to_string()).unwrap_or_default(),
                failed: attempt.status.is_some_and(|status| status >= 400),
                duration: format::duration(ms),
                left: part(gone),
                width: part(ms),
            };
            gone += ms;
            drawn
        })
        .collect()
}

/// Each preference of the request against the provider that served.
fn routing(call: &Call, record: Option<&Value>) -> Vec<Asking> {
    completion::preferences(call, record)
        .into_iter()
        .map(|preference| {
            let (class, word) = match preference.effect {
                Effect::Kept => ("ok", "held"),
                Effect::None => ("warning", "no effect"),
                Effect::Unknown => ("pending", "not shown"),
            };
            Asking {
                name: preference.name,
                asked: preference.asked,
                badge: Badge { class, word: word.to_owned() },
                says: preference.says,
            }
        })
        .collect()
}

fn tokens(call: &Call) -> Vec<Tokens> {
    let facts = &call.facts;
    let row = |name, native: Option<i64>, normalised: Option<i64>| Tokens {
        name,
        native: native.map(format::count),
        normalised: normalised.map(format::count),
    };
    vec![
        row("Input", facts.native_tokens_prompt, facts.tokens_prompt),
        row("of it read from the provider’s cache", facts.native_tokens_cached, None),
        row("of it written to the cache", facts.cache_write_tokens, None),
        row("Output", facts.native_tokens_completion, facts.tokens_completion),
        row("of it reasoning", facts.native_tokens_reasoning, None),
    ]
}

fn times(call: &Call, state: &DashboardState) -> Vec<Fact> {
    let (now, zone) = (state.clock.now(), state.zone);
    let at = |at: Timestamp| format!("{} {}", format::moment(at, now, zone), zone.name());
    let mut times = vec![Fact::new("Created", at(call.created_at()))];
    for (name, ms) in [("First byte", call.first_byte_ms), ("Last byte", call.duration_ms)] {
        if let Some(ms) = ms {
            times.push(Fact::new(name, format::duration(ms)).note("measured here"));
        }
    }
    for (name, ms) in [("Latency", call.facts.latency_ms), ("Generation time", call.facts.generation_time_ms)] {
        if let Some(ms) = ms {
            times.push(Fact::new(name, format::duration(ms)).note("as reported"));
        }
    }
    if let (Some(tokens), Some(ms)) = (call.facts.native_tokens_completion, call.facts.generation_time_ms)
        && ms > 0
        && tokens > 0
    {
        times.push(Fact::new("Output speed", format!("{} tokens/s", format::count(tokens.saturating_mul(1_000) / ms))));
    }
    times.push(Fact::new("Recorded", at(call.recorded_at)));
    if let Some(settled) = call.settled_at {
        times.push(Fact::new("Settled", at(settled)));
    }
    times
}

fn whose(call: &Call) -> Vec<Fact> {
    let labels = &call.attribution;
    let mut facts = Vec::new();
    for (name, key, value) in
        [("App", "app", &labels.app), ("User", "user", &labels.user), ("Session", "session", &labels.session)]
    {
        facts.push(
            value
                .as_ref()
                .map_or_else(|| Fact::new(name, "").note("not named"), |value| Fact::filter(name, key, value)),
        );
    }
    facts.insert(
        1,
        match &call.key {
            Some(key) => Fact::filter("Key", "key", &key.name),
            None => Fact::new("Key", "").note("not named"),
        },
    );
    if let Some(fingerprint) = call.key.as_ref().and_then(|key| key.fingerprint.as_ref()) {
        facts.insert(2, Fact::new("Key ends in", format!("…{}", fingerprint.tail)));
    }
    for (name, value) in &labels.tags {
        facts.push(Fact { name: "Tag", ..Fact::filter("", "tag", &format!("{name}={value}")) });
    }
    facts
}

fn asked(call: &Call) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| Fact::new(name, value)));
    add("Asked for", call.requested_model.clone());
    add("Fallbacks named", fallbacks(call));
    add("Served by", call.facts.reply_model.clone());
    add("Permaslug", call.facts.permaslug.clone());
    add("Provider", call.facts.provider.clone());
    add("Endpoint", call.endpoint.clone());
    let yes = |truth: bool| if truth { "yes" } else { "no" }.to_owned();
    add("Streamed", call.facts.streamed.map(yes));
    add("Cancelled", call.facts.cancelled.map(yes));
    add("Own provider key (BYOK)", call.facts.is_byok.map(yes));
    add("Stopped because", call.facts.finish_reason.clone());
    add("Job", call.facts.job_id.clone());
    add("HTTP status", call.http_status.map(|status| status.to_string()));
    add("Saved by the cache", call.facts.cache_discount.map(|saved| format!("${}", format::part_usd(saved))));
    add("Captured by", Some(call.captured_by.as_str().to_owned()));
    add("Call ID", Some(call.call_id.to_string()));
    facts
}

/// The models that might answer in place of the first.
fn fallbacks(call: &Call) -> Option<String> {
    let others = call.requested_models.iter().filter(|model| Some(*model) != call.requested_model.as_ref());
    let others: Vec<&str> = others.map(String::as_str).collect();
    (!others.is_empty()).then(|| others.join(", "))
}

fn error(call: &Call) -> Vec<Fact> {
    let Some(error) = &call.error else { return Vec::new() };
    let fact = |name, value: &Option<String>| value.as_ref().map(|value| Fact::new(name, value.clone()));
    let kind = error.error_type.as_ref().map(|value| Fact::filter("Type", "error", value));
    [kind, fact("Code", &error.code), fact("Message", &error.message)].into_iter().flatten().collect()
}

fn settling(call: &Call, state: &DashboardState) -> Vec<Fact> {
    let settling = &call.settling;
    let (now, zone) = (state.clock.now(), state.zone);
    let mut facts = vec![Fact::new("Readings of the record", format::count(settling.attempts))];
    if let Some(due) = settling.due {
        let when =
            if due <= now { "now".to_owned() } else { format!("{} {}", format::moment(due, now, zone), zone.name()) };
        facts.push(Fact::new("Next reading", when));
    }
    if let Some(reason) = &settling.reason {
        facts.push(Fact::new("Waits because", reason.clone()));
    }
    if call.state == CallState::Unsettled {
        let id = call.generation_id.as_ref();
        let again = id.map_or_else(
            || "it has no generation ID, so its record can not be asked for".to_owned(),
            |id| format!("tallyd record {id}"),
        );
        facts.push(Fact::new("Ask again", again));
    }
    facts
}

/// What a flag says, for people.
fn meaning(flag: &str) -> &'static str {
    match flag {
        flags::ATTRIBUTION_MALFORMED => "A label was malformed and was dropped.",
        flags::REQUEST_NOT_READ => "The request was too large, or no JSON: attributed by key and headers only.",
        flags::REPLY_NOT_READ => "The reply’s coding, size or form could not be read; the rest comes from its record.",
        flags::CUT => "The reply ended without its end: cut by the provider or the network.",
        flags::CLIENT_LEFT => "The client went away before the end.",
        flags::INTERRUPTED => "tallyd stopped while the call was under way; its outcome was not seen.",
        flags::ID_DIFFERS => "The generation record carries another ID than the one asked for.",
        flags::ID_REPEATED => {
            "Upstream gave the ID of another call; this row has none of its own and can not be settled."
        }
        flags::COST_DIFFERS => "The reply’s cost and the record’s differ; the record’s counts.",
        flags::RESPONSE_CACHE_HIT => "The reply came from OpenRouter’s response cache.",
        flags::NOT_SYNCED => "The reply’s end reached the client before the disk had confirmed the record.",
        flags::ZERO_RECORD => "The record showed no tokens and no cost three times, and was believed.",
        flags::EXTRA_BODY => {
            "The body holds a literal extra_body, which OpenRouter ignores: write its fields at the top of the body."
        }
        flags::NO_CONTENT => {
            "The stream came to its end without a piece of an answer. Often reasoning used up max_tokens."
        }
        flags::STALLED => "The stream told nothing for more than 30 s between two chunks; comments do not count.",
        flags::FALLBACK_MODEL => "Another model answered than the one asked for first.",
        flags::FALLBACK_PROVIDER => "A provider was tried and failed before the one that served.",
        flags::ZERO_COMPLETION => "Nothing came, and nothing was charged: OpenRouter’s zero-completion insurance.",
        flags::ROUTING_NO_EFFECT => "A preference about providers took no effect; see “Asked of providers”.",
        flags::COST_NOT_READ => "The reply’s amount was no number, or out of range, and was not taken.",
        flags::TOKENS_NOT_READ => "The reply or the record counted tokens that no call can have; they were not taken.",
        _ => "A mark of another version.",
    }
}
