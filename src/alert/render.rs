//! A mail's subject, text, HTML and pictures, and what a webhook is told, made of facts alone: the same facts give the
//! same bytes.

mod event;
mod picture;
mod text;
mod view;

use askama::Template as _;

pub(super) use view::{DriversView, Tone, name, others, percent, title};

use super::facts::{Letter, Section};
use super::words;
use crate::domain::budget::WhenExceeded;
use crate::domain::money::Total;
use crate::report::format::{self, NBSP};
use crate::report::outlook;
use crate::store::outbox::Picture;
use crate::webhook::Event;

/// Sections named in a subject before the rest are only counted.
const SUBJECT_NAMES: usize = 2;

/// A mail as it is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The subject; unencoded, without line breaks.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part, a whole document.
    pub html: String,
    /// What the HTML part shows as `cid:…`.
    pub pictures: Vec<Picture>,
    /// What a webhook is told.
    pub event: Event,
}

/// Why a message could not be written: a mistake of ours.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// In the template.
    #[error("the mail's template does not take these facts: {0}")]
    Template(#[from] askama::Error),
    /// In what a webhook is told.
    #[error("the event cannot be written as JSON: {0}")]
    Event(#[from] serde_json::Error),
}

/// Writes the mail, and what a webhook is told in its place.
pub fn render(letter: &Letter) -> Result<Rendered, RenderError> {
    let subject = plain(&subject(letter));
    let mut pictures = Vec::new();
    let html = view::Page::new(letter, &subject, &mut pictures).render()?;
    let event = event::event(letter, &subject);
    Ok(Rendered { text: text::text(letter), html, subject, pictures, event })
}

/// `support-bot at 80 %: $240.00 of $300.00, 100 % expected on Tue 24 Nov`.
fn subject(letter: &Letter) -> String {
    let [section] = letter.sections.as_slice() else {
        return subject_of_many(&letter.sections);
    };
    let budget = &section.budget;
    let figures = format!("{}: {} of {}", at(section), format::usd(section.spent), format::usd(budget.limit));
    let ended = section.window.end.is_some_and(|end| end <= section.crossed_at) && !budget.window.is_rolling();
    if ended {
        return format!("{figures}, {}", words::window_title(budget.window, &section.window, budget.zone));
    }
    if budget.when_exceeded == WhenExceeded::Block && section.spent >= Total::from(budget.limit) {
        return format!("{figures}, calls are refused");
    }
    let likely = words::reaches(section).and_then(|reach| reach.likely);
    match likely.map(|at| outlook::likely(at, section.crossed_at, budget.zone)) {
        Some(when) => format!("{figures}, 100{NBSP}% expected {when}"),
        None => figures,
    }
}

/// `support-bot at 80 %, code-review at 100 % and 2 more`.
fn subject_of_many(sections: &[Section]) -> String {
    let mut named: Vec<String> = sections.iter().take(SUBJECT_NAMES).map(at).collect();
    if sections.len() > SUBJECT_NAMES {
        named.push(format!("{} more", sections.len() - SUBJECT_NAMES));
    }
    words::listed(&named)
}

/// `support-bot at 80 %`: the budget, whose account it is, and the highest threshold it reached.
fn at(section: &Section) -> String {
    let by_spend = section.thresholds.iter().copied().rfind(|threshold| !threshold.is_forecast());
    let whose = words::whose(section);
    match by_spend.or(section.thresholds.last().copied()) {
        Some(expected) if expected.is_forecast() => {
            format!("{whose} forecast to reach {}", outlook::share_of(expected))
        }
        Some(highest) => format!("{whose} at {}", words::threshold(highest)),
        None => whose,
    }
}

/// Plain spaces for the no-break ones: subjects and text parts are read where those are a nuisance.
pub(super) fn plain(text: &str) -> String {
    text.replace(NBSP, " ")
}

#[cfg(test)]
mod tests;
