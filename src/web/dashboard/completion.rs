//! `/completions/{id}`: everything the ledger knows of one call.

mod bars;
mod marks;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;

use self::bars::{Attempt, Cost, Lasting, attempts, costs, lasting};
use self::marks::meaning;
use super::DashboardState;
use super::completions::{self, Badge, badge};
use super::frame::{Frame, Page};
use super::query::link;
use super::respond::{PageError, html};
use super::sessions::link_to;
use crate::domain::call::{Call, CallState};
use crate::domain::catalogue::Catalogue;
use crate::domain::routing::Effect;
use crate::domain::time::Timestamp;
use crate::report::{completion, format};
use crate::store::calls::{self, Cursor};
use crate::store::sessions;

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
    lasting: Vec<Lasting>,
    session: Option<Neighbours>,
}

/// The call's place in its session.
struct Neighbours {
    name: String,
    link: String,
    previous: Option<String>,
    next: Option<String>,
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
    let session = neighbours(&call, &state).await?;
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
        lasting: lasting(&call),
        session,
    })
}

async fn neighbours(call: &Call, state: &DashboardState) -> Result<Option<Neighbours>, PageError> {
    let Some(session) = &call.attribution.session else { return Ok(None) };
    let at = Cursor::after(call);
    let (previous, next) = tokio::try_join!(
        sessions::calls(&state.store, session, Some(at), 1),
        sessions::later(&state.store, session, at, 1),
    )
    .map_err(state.unreadable())?;
    let link = |calls: &[Call]| calls.first().map(completions::link_to_row);
    Ok(Some(Neighbours { name: session.clone(), link: link_to(session), previous: link(&previous), next: link(&next) }))
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
