//! What went wrong, what it means and how to mend it: the page `/failures` and `tallyd report --failures`.
//!
//! Two kinds: calls that told of an error, grouped by what they told, and silent mistakes: calls that seemed
//! to go well and are flagged.

mod cause;

use std::collections::BTreeMap;

pub use self::cause::Cause;

use crate::domain::catalogue::nearest;
use crate::domain::flags;
use crate::domain::table::{Cell, Table};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::store::failures::{self, Errors, Flagged};
use crate::store::{self, Store, StoreError};

/// Most groups read of either kind; the rarest are left out beyond that.
const MAX_GROUPS: u32 = 2_000;

/// Most groups shown of either kind.
pub const MAX_SHOWN: usize = 200;

/// How far back a model may have answered to be suggested, in milliseconds.
const KNOWN_SINCE_MS: i64 = 90 * DAY_MS;

/// Most models looked at for the nearest.
const MAX_MODELS: u32 = 5_000;

/// Errors of one cause, on one path, of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reply's HTTP status; `None` when none came.
    pub status: Option<i64>,
    /// The code of an error that came in a good reply.
    pub code: Option<String>,
    /// The error's type.
    pub error_type: String,
    /// The path below `/api/v1/`.
    pub endpoint: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// How many.
    pub calls: i64,
    /// When the last one was made.
    pub last: Timestamp,
    /// What it comes from.
    pub cause: Cause,
    /// What OpenRouter said, of the most frequent.
    pub message: Option<String>,
    /// Of [`Cause::UnknownModel`]: the nearest model that is there.
    pub nearest: Option<String>,
}

/// Calls with one flag, of one app, on one path, of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The flag.
    pub flag: &'static str,
    /// The application.
    pub app: Option<String>,
    /// The path below `/api/v1/`.
    pub endpoint: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// How many.
    pub calls: i64,
    /// When the last one was made.
    pub last: Timestamp,
}

/// What went wrong in some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Errors, most frequent first, at most [`MAX_SHOWN`].
    pub errors: Vec<Failure>,
    /// Silent mistakes, likewise.
    pub mistakes: Vec<Mistake>,
    /// Calls of all errors.
    pub error_calls: i64,
    /// Flags of all silent mistakes; a call with two counts twice.
    pub mistake_calls: i64,
}

/// What went wrong in `since..until`.
pub async fn failures(
    store: &Store,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<Failures, StoreError> {
    let mut errors = grouped(failures::errors(store, since, until, MAX_GROUPS).await?);
    let mut mistakes = flagged(&failures::flagged(store, since, until, MAX_GROUPS).await?);
    let error_calls = errors.iter().map(|failure| failure.calls).sum();
    let mistake_calls = mistakes.iter().map(|mistake| mistake.calls).sum();
    errors.truncate(MAX_SHOWN);
    mistakes.truncate(MAX_SHOWN);
    if errors.iter().any(|failure| failure.cause == Cause::UnknownModel) {
        let catalogue = store::catalogue::load(store).await?;
        // Where no list was ever read, the models that answered are known to exist.
        let answered = if catalogue.models().is_empty() { answering_models(store, now).await? } else { Vec::new() };
        let nearest = |model: &str| {
            catalogue.nearest(model).or_else(|| nearest(model, answered.iter().map(String::as_str))).map(str::to_owned)
        };
        for failure in errors.iter_mut().filter(|failure| failure.cause == Cause::UnknownModel) {
            failure.nearest = failure.model.as_deref().and_then(nearest);
        }
    }
    Ok(Failures { errors, mistakes, error_calls, mistake_calls })
}

/// The models that answered of late.
async fn answering_models(store: &Store, now: Timestamp) -> Result<Vec<String>, StoreError> {
    failures::models(store, now.plus_millis(-KNOWN_SINCE_MS), MAX_MODELS).await
}

fn grouped(rows: Vec<Errors>) -> Vec<Failure> {
    type Key = (Cause, Option<i64>, Option<String>, String, Option<String>, Option<String>);
    let mut groups: BTreeMap<Key, Failure> = BTreeMap::new();
    for row in rows {
        let cause = Cause::of(&row);
        let good = row.http_status.is_none_or(|status| status < 400);
        let code = row.error_code.filter(|_| good);
        let key = (
            cause,
            row.http_status,
            code.clone(),
            row.error_type.clone(),
            row.endpoint.clone(),
            row.requested_model.clone(),
        );
        let last = Timestamp(row.last_ms);
        // Rows come most frequent first, so the first message is the most frequent one's.
        let group = groups.entry(key).or_insert_with(|| Failure {
            status: row.http_status,
            code,
            error_type: row.error_type,
            endpoint: row.endpoint,
            model: row.requested_model,
            calls: 0,
            last,
            cause,
            message: row.error_message,
            nearest: None,
        });
        group.calls += row.calls;
        group.last = group.last.max(last);
    }
    let mut list: Vec<Failure> = groups.into_values().collect();
    list.sort_by_key(|failure| (std::cmp::Reverse(failure.calls), std::cmp::Reverse(failure.last)));
    list
}

fn flagged(rows: &[Flagged]) -> Vec<Mistake> {
    type Key<'a> = (&'static str, Option<&'a str>, Option<&'a str>, Option<&'a str>);
    let mut groups: BTreeMap<Key<'_>, (i64, i64)> = BTreeMap::new();
    for row in rows {
        for (flag, ..) in MISTAKES.iter().filter(|(flag, ..)| row.flags.split(',').any(|name| name == *flag)) {
            let key = (*flag, row.app.as_deref(), row.endpoint.as_deref(), row.requested_model.as_deref());
            let group = groups.entry(key).or_insert((0, row.last_ms));
            group.0 += row.calls;
            group.1 = group.1.max(row.last_ms);
        }
    }
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let mut list: Vec<Mistake> = groups
        .into_iter()
        .map(|((flag, app, endpoint, model), (calls, last))| Mistake {
            flag,
            app: owned(app),
            endpoint: owned(endpoint),
            model: owned(model),
            calls,
            last: Timestamp(last),
        })
        .collect();
    list.sort_by_key(|mistake| (std::cmp::Reverse(mistake.calls), std::cmp::Reverse(mistake.last)));
    list
}

impl Failure {
    /// How to mend it.
    pub fn mend(&self) -> String {
        match &self.nearest {
            Some(nearest) => format!("Did you mean {nearest}? {}", self.cause.mend()),
            None => self.cause.mend().to_owned(),
        }
    }

    /// Status and, where the error came in a good reply, its code: `429`, `200, then 502`, `no reply`.
    pub fn status_text(&self) -> String {
        match (self.status, &self.code) {
            (Some(status), Some(code)) => format!("{status}, then {code}"),
            (Some(status), None) if status < 400 => format!("{status}, then an error"),
            (Some(status), None) => status.to_string(),
            (None, _) => "no reply".to_owned(),
        }
    }
}

/// Silent mistakes: the flag, its name, what it means, how to mend it.
const MISTAKES: [(&str, &str, &str, &str); 5] = [
    (
        flags::EXTRA_BODY,
        "A literal extra_body",
        "The request’s body holds a field extra_body, which OpenRouter ignores: what stands in it had no effect.",
        "extra_body is an option of OpenAI’s Python client, which puts its contents into the body. Everywhere else \
         (curl, TypeScript, plain HTTP) write provider, models and the others at the top of the body.",
    ),
    (
        flags::NO_CONTENT,
        "A stream without an answer",
        "The stream came to its proper end without a piece of an answer; it may have been billed.",
        "Often reasoning used up max_tokens (finish reason length): raise it, or lower reasoning.effort. Otherwise look \
         at the finish reason, and try another provider.",
    ),
    (
        flags::STALLED,
        "A stall of more than 30 s",
        "The stream told nothing for more than 30 s between two chunks; keep-alive comments do not count.",
        "Prefer fast providers (provider.sort \"throughput\"), and let clients and proxies wait longer. `tallyd check \
         --stream` tells whether something on the way holds chunks back.",
    ),
    (
        flags::CUT,
        "Cut without an end",
        "The reply stopped without its end: its client has a part of it, and all of it may have been billed.",
        "Let the client notice (no [DONE], no message_stop) and ask again. If it happens often, look for a proxy or load \
         balancer with a short idle timeout, and avoid the provider with provider.ignore.",
    ),
    (
        flags::ROUTING_NO_EFFECT,
        "A preference without effect",
        "Somebody served whom the request’s provider preferences do not ask for; the row’s page says which.",
        "Check the slugs in provider.order and provider.only, and set allow_fallbacks to false if nobody else may serve.",
    ),
];

impl Mistake {
    fn told(&self) -> (&'static str, &'static str, &'static str) {
        MISTAKES
            .iter()
            .find(|(flag, ..)| *flag == self.flag)
            .map_or(("", "", ""), |(_, name, means, mend)| (name, means, mend))
    }

    /// Its name for people.
    pub fn name(&self) -> &'static str {
        self.told().0
    }

    /// What it means.
    pub fn means(&self) -> &'static str {
        self.told().1
    }

    /// How to mend it.
    pub fn mend(&self) -> &'static str {
        self.told().2
    }
}

impl Failures {
    /// What the last line says.
    pub fn closing(&self) -> String {
        format!("{} errors, {} silent mistakes", self.error_calls, self.mistake_calls)
    }

    /// As one table: errors, then silent mistakes.
    pub fn table(&self) -> Table {
        let text = |text: &Option<String>| Cell::from(text.as_deref());
        let errors = self.errors.iter().map(|failure| {
            vec![
                Cell::Text(failure.status_text()),
                Cell::Text(failure.error_type.clone()),
                text(&failure.endpoint),
                text(&failure.model),
                Cell::Integer(failure.calls),
                Cell::Text(failure.last.to_iso()),
                Cell::Text(failure.cause.means().to_owned()),
                Cell::Text(failure.mend()),
            ]
        });
        let mistakes = self.mistakes.iter().map(|mistake| {
            vec![
                Cell::Null,
                Cell::Text(mistake.flag.to_owned()),
                text(&mistake.endpoint),
                text(&mistake.model),
                Cell::Integer(mistake.calls),
                Cell::Text(mistake.last.to_iso()),
                Cell::Text(mistake.means().to_owned()),
                Cell::Text(mistake.mend().to_owned()),
            ]
        });
        Table {
            columns: ["status", "error_type", "endpoint", "model", "calls", "last_at", "means", "mend"]
                .map(str::to_owned)
                .to_vec(),
            rows: errors.chain(mistakes).collect(),
            ..Table::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_model_is_one_that_is_like_it() {
        let known = ["anthropic/claude-sonnet-4", "openai/gpt-4o", "openai/gpt-4o-mini"].map(str::to_owned);
        for (model, near) in [
            ("openai/gpt-4o-mni", Some("openai/gpt-4o-mini")),
            ("gpt-4o-mini", Some("openai/gpt-4o-mini")),
            ("claude-sonnet-4:free", Some("anthropic/claude-sonnet-4")),
            ("antropic/claude-sonet-4", Some("anthropic/claude-sonnet-4")),
            ("acme/fake-1.0", None),
        ] {
            assert_eq!(nearest(model, known.iter().map(String::as_str)), near, "{model}");
        }
        assert_eq!(nearest("x", []), None);
    }
}
