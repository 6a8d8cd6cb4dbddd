//! `/failures`: what went wrong, what it means, how to mend it, and the rows.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::DashboardState;
use super::frame::{Frame, Page};
use super::query::link;
use super::respond::{PageError, html};
use crate::domain::time::Timestamp;
use crate::report::failures::{self, Failure, MAX_SHOWN, Mistake};
use crate::report::range::Range;
use crate::report::{format, words};

/// The range without one in the URL.
const USUAL: Range = Range::Week;

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

/// A group.
struct Line {
    calls: String,
    /// The status, or the mistake's name.
    what: String,
    /// The error's type, or the flag.
    kind: String,
    model: String,
    place: String,
    last: String,
    last_iso: String,
    means: &'static str,
    mend: String,
    message: Option<String>,
    rows: String,
}

#[derive(Template)]
#[template(path = "failures.html")]
struct FailuresPage {
    frame: Frame,
    summary: String,
    ranges: Vec<Choice>,
    errors: Vec<Line>,
    mistakes: Vec<Line>,
    errors_cut: bool,
    mistakes_cut: bool,
    most: usize,
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let (now, zone) = (state.clock.now(), state.zone);
    let range = asked.range.as_deref().and_then(|text| Range::parse(text, &Range::OF_PAGES)).unwrap_or(USUAL);
    let stretch = range.at(now, zone).map_err(|error| state.no_overview(error.into()))?;
    let since = stretch.steps.first().map_or(now, |step| step.0);
    // Times of OpenRouter's may be a little ahead of ours.
    let until = stretch.steps.last().map_or(now, |step| step.1);
    let found = failures::failures(&state.store, since, until, now).await.map_err(state.unreadable())?;
    let moment = |at: Timestamp| format::moment(at, now, zone);
    let since_iso = since.to_iso();
    html(&FailuresPage {
        frame: Frame::new(&state, "Failures", Page::Failures),
        summary: format!(
            "{}, {}",
            words::counted(found.error_calls, "error", "errors"),
            words::counted(found.mistake_calls, "silent mistake", "silent mistakes")
        ),
        ranges: Range::OF_PAGES
            .map(|choice| Choice {
                link: link("/failures", (choice != USUAL).then_some(("range", choice.as_str()))),
                name: choice.as_str(),
                current: choice == range,
            })
            .into(),
        errors: found.errors.iter().map(|failure| error_line(failure, &since_iso, moment)).collect(),
        mistakes: found.mistakes.iter().map(|mistake| mistake_line(mistake, &since_iso, moment)).collect(),
        errors_cut: found.errors.len() == MAX_SHOWN,
        mistakes_cut: found.mistakes.len() == MAX_SHOWN,
        most: MAX_SHOWN,
    })
}

fn error_line(failure: &Failure, since: &str, moment: impl Fn(Timestamp) -> String) -> Line {
    let status = failure.status.map(|status| status.to_string());
    let mut pairs = vec![("error", failure.error_type.as_str())];
    pairs.extend(status.as_deref().map(|status| ("status", status)));
    pairs.extend(failure.endpoint.as_deref().map(|endpoint| ("endpoint", endpoint)));
    pairs.extend(failure.model.as_deref().map(|model| ("requested", model)));
    pairs.push(("since", since));
    Line {
        calls: format::count(failure.calls),
        what: failure.status_text(),
        kind: failure.error_type.clone(),
        model: failure.model.clone().unwrap_or_default(),
        place: failure.endpoint.clone().unwrap_or_default(),
        last: moment(failure.last),
        last_iso: failure.last.to_iso(),
        means: failure.cause.means(),
        mend: failure.mend(),
        message: failure.message.clone(),
        rows: link("/completions", pairs),
    }
}

fn mistake_line(mistake: &Mistake, since: &str, moment: impl Fn(Timestamp) -> String) -> Line {
    let mut pairs = vec![("flag", mistake.flag)];
    pairs.extend(mistake.app.as_deref().map(|app| ("app", app)));
    pairs.extend(mistake.endpoint.as_deref().map(|endpoint| ("endpoint", endpoint)));
    pairs.extend(mistake.model.as_deref().map(|model| ("requested", model)));
    pairs.push(("since", since));
    let place: Vec<&str> = [&mistake.app, &mistake.endpoint].into_iter().flatten().map(String::as_str).collect();
    Line {
        calls: format::count(mistake.calls),
        what: mistake.name().to_owned(),
        kind: mistake.flag.to_owned(),
        model: mistake.model.clone().unwrap_or_default(),
        place: place.join(" · "),
        last: moment(mistake.last),
        last_iso: mistake.last.to_iso(),
        means: mistake.means(),
        mend: mistake.mend().to_owned(),
        message: None,
        rows: link("/completions", pairs),
    }
}
