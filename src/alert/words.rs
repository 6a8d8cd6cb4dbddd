//! The sentences of a mail: what was reached, where it is heading, what happens next.
//!
//! A forecast "would"; a limit "is". Only what is known is said: where there is no forecast there is no sentence about one.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _};
use chrono_tz::Tz;

use super::facts::{Dimension, Driver, Section, Snooze, Span};
use crate::domain::alert::CrossingKind;
use crate::domain::budget::{Origin, Threshold, WhenExceeded};
use crate::domain::forecast::{Outlook, Reach};
use crate::domain::money::Total;
use crate::domain::recipient;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::domain::window::WindowKind;
use crate::report::burn::Course;
use crate::report::format::{self, NBSP};
use crate::report::outlook;
pub(super) use crate::report::words::{listed, threshold, window_noun, window_title};

/// How much of the window has gone, with its label; `None` where a window does not go by.
pub(super) fn gone(section: &Section) -> Option<(&'static str, i64)> {
    let label = match section.budget.window {
        WindowKind::Hour => "Hour gone",
        WindowKind::Day => "Day gone",
        WindowKind::Week => "Week gone",
        WindowKind::Month => "Month gone",
        WindowKind::Quarter => "Quarter gone",
        WindowKind::Year => "Year gone",
        _ => return None,
    };
    section.window.elapsed_share(section.crossed_at).map(|share| (label, share))
}

/// What was reached and when: `80 % reached on Thu 19 Nov at 11:47`.
pub(super) fn headline(section: &Section) -> String {
    let zone = section.budget.zone;
    let (day, time) = (date(section, section.crossed_at), format::minute(section.crossed_at, zone));
    let names = |forecast: bool| {
        let of_kind = section.thresholds.iter().copied().filter(|threshold| threshold.is_forecast() == forecast);
        listed(&of_kind.map(outlook::share_of).collect::<Vec<_>>())
    };
    let (reached, expected) = (names(false), names(true));
    if reached.is_empty() {
        return format!("Forecast to reach {expected}, as of {day} at {time}");
    }
    let and = if expected.is_empty() { String::new() } else { format!(", and forecast to reach {expected}") };
    match section.kind {
        CrossingKind::Found => format!("{reached} found passed on {day} at {time}{and}"),
        CrossingKind::Crossed | CrossingKind::Forecast => format!("{reached} reached on {day} at {time}{and}"),
    }
}

/// Whether the forecast alone is what is told.
pub(super) fn is_forecast(section: &Section) -> bool {
    section.thresholds.iter().all(|threshold| threshold.is_forecast())
}

/// Where the window was heading, while it ran.
pub(super) fn outlook_of(section: &Section) -> Option<Outlook> {
    let ended = section.window.end.is_some_and(|end| end <= section.crossed_at);
    section.outlook.filter(|_| !ended)
}

/// When the limit is likely reached, before the window ends.
pub(super) fn reaches(section: &Section) -> Option<Reach> {
    let limit = Total::from(section.budget.limit);
    outlook_of(section)?.reaches_limit.filter(|reach| reach.likely.is_some() && section.spent < limit)
}

/// Where the spend is heading; `None` where that is not known.
pub(super) fn heading(section: &Section) -> Option<String> {
    let told = outlook_of(section)?;
    let budget = &section.budget;
    let noun = window_noun(budget.window, &section.window, budget.zone);
    let end = outlook::ends_at(&told, &noun);
    let when = reaches(section).and_then(|reach| outlook::reached(&reach, section.crossed_at, budget.zone));
    let first = when.map(|when| format!("100{NBSP}% would be reached {when}. ")).unwrap_or_default();
    let below = if told.high < Total::from(budget.limit) { ", below the limit" } else { "" };
    Some(format!("{first}The forecast is {end}{below} ({}).", outlook::basis(&told)))
}

/// What grew most, by model: `Largest rises: openai/gpt-4o +$21.45, google/gemini-2.5-flash new at $2.80.`; `None` where
/// nothing did, or there is nothing to compare with.
pub(super) fn rises(section: &Section) -> Option<String> {
    section.before?;
    let models = section.drivers.iter().find(|drivers| drivers.by == Dimension::Model)?;
    let risen = risen(&models.rows);
    (!risen.is_empty()).then(|| format!("Largest rises: {}.", risen.join(", ")))
}

/// Those that cost more than before, each with its rise.
pub(super) fn risen(drivers: &[Driver]) -> Vec<String> {
    let risen = drivers.iter().filter(|driver| driver.cost.rise() > Total::ZERO);
    risen
        .map(|driver| {
            let name = driver.name.as_deref().unwrap_or("unnamed");
            if driver.cost.before == Total::ZERO {
                format!("{name} new at {}", format::usd(driver.cost.after))
            } else {
                format!("{name} {}", format::usd_change(driver.cost.rise()))
            }
        })
        .collect()
}

/// What the link that silences the budget says: `Snooze until 1 Dec`, `Snooze until 14:00`.
pub(super) fn snooze(section: &Section, snooze: &Snooze) -> String {
    let zone = section.budget.zone;
    let until = local(snooze.until, zone);
    if snooze.until.millis() - section.crossed_at.millis() < HOUR_TOLD_WITHIN_MS {
        format!("Snooze until {} {}", until.format("%a"), format::minute(snooze.until, zone))
    } else {
        format!("Snooze until {}", until.format("%-d %b"))
    }
}

/// How near the end of a snooze must be for its time of day to be told.
const HOUR_TOLD_WITHIN_MS: i64 = 2 * DAY_MS;

/// The picture of the course, for those who do not see it.
pub(super) fn course(section: &Section, course: &Course) -> String {
    let budget = &section.budget;
    let since = format::date_time(course.drawn.0, section.crossed_at, budget.zone);
    let spent = format::usd(course.spent);
    let mut said = format!("Spend since {since}: {spent} against the limit of {}", format::usd(budget.limit));
    if let Some(told) = outlook_of(section) {
        let _ = write!(said, "; the forecast is {} at its end", outlook::band(&told));
    }
    said.push('.');
    said
}

/// What must be known to read the headline rightly: why it comes now, and what has changed since.
pub(super) fn notes(section: &Section) -> Vec<String> {
    let budget = &section.budget;
    let mut notes = Vec::new();
    if section.kind == CrossingKind::Found {
        notes.push("This much had been spent already when the budget or its limit was set.".to_owned());
    }
    if let Some(end) = section.window.end.filter(|end| *end <= section.crossed_at && !budget.window.is_rolling()) {
        let title = window_title(budget.window, &section.window, budget.zone);
        notes.push(format!(
            "The window ({title}) ended on {} at {}; costs that came in after its end brought it here.",
            date(section, end),
            format::minute(end, budget.zone)
        ));
    }
    let by_spend = section.thresholds.iter().filter(|threshold| !threshold.is_forecast());
    let lowest = by_spend.map(|threshold| threshold.amount(budget.limit)).min();
    if lowest.is_some_and(|amount| section.now.spent < amount) && !budget.window.is_rolling() {
        notes.push(format!(
            "Costs have been corrected since: the window now stands at {}, below what was reached.",
            format::usd(section.now.spent)
        ));
    }
    notes
}

/// What happens at the limit, when the next mail comes, and when the budget begins anew.
pub(super) fn next(section: &Section) -> Vec<String> {
    let budget = &section.budget;
    let ended = section.window.end.is_some_and(|end| end <= section.crossed_at) && !budget.window.is_rolling();
    if ended {
        return vec!["A new window has begun since; nothing of this one is refused or mailed again.".to_owned()];
    }
    let exceeded = section.spent >= Total::from(budget.limit);
    let mut sentences = vec![match (budget.when_exceeded, exceeded) {
        (WhenExceeded::Alert, false) => "At 100\u{a0}% calls go on: this budget alerts and does not block.".to_owned(),
        (WhenExceeded::Alert, true) => "Calls go on: this budget alerts and does not block.".to_owned(),
        (WhenExceeded::Block, false) => "At 100\u{a0}% further calls are refused with status 402.".to_owned(),
        (WhenExceeded::Block, true) => format!(
            "Further calls are refused with status 402 until it resets or its limit is raised {}.",
            owner(budget.origin)
        ),
    }];
    let by_spend = budget.alert_at.iter().filter(|threshold| !threshold.is_forecast());
    let ahead = by_spend.into_iter().find(|threshold| !threshold.is_reached(section.spent, budget.limit));
    let noun = window_noun(budget.window, &section.window, budget.zone);
    sentences.push(match ahead {
        Some(next @ Threshold::Percent(_)) => {
            format!("The next mail comes at {} ({}).", threshold(*next), format::usd(next.amount(budget.limit)))
        }
        Some(next) => format!("The next mail comes at {}.", threshold(*next)),
        None if budget.window.is_rolling() => "No threshold lies ahead.".to_owned(),
        None => format!("No further mail comes for {noun}."),
    });
    sentences.push(match (budget.window, section.window.end) {
        (WindowKind::Total, _) | (_, None) => "It never resets.".to_owned(),
        (kind, Some(_)) if kind.is_rolling() => format!(
            "It looks at {noun}: what is older leaves it in steps of 15 minutes, and a threshold tells again once \
             spend was below 90{NBSP}% of it."
        ),
        (_, Some(end)) => format!(
            "It resets on {} at {} {}, in {}.",
            date(section, end),
            format::minute(end, budget.zone),
            budget.zone.name(),
            format::left(end.millis() - section.crossed_at.millis())
        ),
    });
    sentences
}

/// How sure the figures are, and why this mail came to this reader.
pub(super) fn small_print(section: &Section, composed_at: Timestamp) -> String {
    let budget = &section.budget;
    let unknown = match section.now.unknown {
        ..=0 => String::new(),
        1 => "; 1 call of unknown cost is in no sum".to_owned(),
        calls => format!("; {} calls of unknown cost are in no sum", format::count(calls)),
    };
    let figures = format!(
        "Figures at {}: {} settled, {} inline and not yet settled{unknown}",
        format::clock_time(composed_at, budget.zone),
        format::usd(section.now.spent - section.now.inline),
        format::usd(section.now.inline),
    );
    let once = if budget.window.is_rolling() {
        "until its threshold tells again".to_owned()
    } else {
        format!("for {}", window_noun(budget.window, &section.window, budget.zone))
    };
    let webhooks = budget.notify.iter().filter(|one| recipient::webhook(one).is_some()).count();
    let addresses = match (budget.notify.len() - webhooks, webhooks) {
        (0 | 1, 0) => "the address".to_owned(),
        (more, 0) => format!("the {more} addresses"),
        (0, 1) => "the webhook".to_owned(),
        (more, hooks) => format!("the {} addresses and webhooks", more + hooks),
    };
    format!("{figures}. Sent once {once}, to {addresses} named {}.", owner(budget.origin))
}

/// The budget, and of one that holds for each value whose account it is: `per-head (user lena)`.
pub(super) fn whose(section: &Section) -> String {
    let name = &section.budget.name;
    section.value.as_ref().map_or_else(|| name.to_string(), |value| format!("{name} ({value})"))
}

/// Where a budget is changed.
fn owner(origin: Origin) -> &'static str {
    match origin {
        Origin::File => "in tallyd.toml",
        Origin::Own => "on the dashboard",
    }
}

/// What the drivers compare: `1–19 Nov against 1–19 Oct, to 11:47`.
pub(super) fn compared(section: &Section, composed_at: Timestamp) -> String {
    let (kind, zone) = (section.budget.window, section.budget.zone);
    let until = section.window.end.map_or(composed_at, |end| end.min(composed_at));
    let now = Span { since: section.window.start, until };
    let Some(before) = section.before else { return "since the first call".to_owned() };
    if kind.is_rolling() {
        let noun = window_noun(kind, &section.window, zone);
        return format!("{noun} against the {} before", noun.trim_start_matches("the last "));
    }
    if kind == WindowKind::Hour {
        return format!("{} against {}", times(&now, zone), times(&before, zone));
    }
    let whole = section.window.end == Some(until);
    let to = if whole { String::new() } else { format!(", to {}", format::minute(until, zone)) };
    format!("{} against {}{to}", days(&now, zone), days(&before, zone))
}

/// `1–19 Nov`, `30 Nov–2 Dec`, `19 Nov`.
pub(super) fn days(span: &Span, zone: Tz) -> String {
    let (first, last) = (local(span.since, zone), local(span.until.plus_millis(-1), zone));
    if first.date_naive() == last.date_naive() {
        return first.format("%-d %b").to_string();
    }
    if (first.year(), first.month()) == (last.year(), last.month()) {
        return format!("{}–{}", first.format("%-d"), last.format("%-d %b"));
    }
    format!("{}–{}", first.format("%-d %b"), last.format("%-d %b"))
}

fn times(span: &Span, zone: Tz) -> String {
    format!("{}–{}", format::minute(span.since, zone), format::minute(span.until, zone))
}

/// A date as this mail's readers know it: the year is told where it is not the crossing's own.
pub(super) fn date(section: &Section, at: Timestamp) -> String {
    format::date(at, section.crossed_at, section.budget.zone)
}

fn local(at: Timestamp, zone: Tz) -> DateTime<Tz> {
    at.to_utc().with_timezone(&zone)
}
