//! A mail's subject, text and HTML, made of facts alone: the same facts give the same bytes.

mod text;
mod view;

use askama::Template as _;

use super::facts::{Letter, Section};
use super::words;
use crate::domain::budget::WhenExceeded;
use crate::domain::money::Total;
use crate::report::format::{self, NBSP};

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
}

/// Why a mail could not be written: a mistake in its template.
#[derive(Debug, thiserror::Error)]
#[error("the mail's template does not take these facts: {0}")]
pub struct RenderError(#[from] askama::Error);

/// Writes the mail.
pub fn render(letter: &Letter) -> Result<Rendered, RenderError> {
    let subject = plain(&subject(letter));
    let html = view::Page::new(letter, &subject).render()?;
    Ok(Rendered { text: text::text(letter), html, subject })
}

/// `support-bot at 80 %: $240.00 of $300.00, at this pace 100 % on Tue 24 Nov`.
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
    match words::pace_of(section).and_then(|pace| pace.reaches_limit_at) {
        Some(reached) => format!("{figures}, at this pace 100{NBSP}% {}", words::reaches(section, reached)),
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

/// `support-bot at 80 %`: the budget and the highest threshold it reached.
fn at(section: &Section) -> String {
    let highest = section.thresholds.last().copied().map(words::threshold).unwrap_or_default();
    format!("{} at {highest}", section.budget.name)
}

/// Plain spaces for the no-break ones: subjects and text parts are read where those are a nuisance.
fn plain(text: &str) -> String {
    text.replace(NBSP, " ")
}

#[cfg(test)]
mod tests;
