//! Words that stand beside figures wherever people read them: thresholds, windows, lists.

use chrono::{DateTime, Datelike as _};
use chrono_tz::Tz;

use super::format::{self, NBSP};
use crate::domain::budget::Threshold;
use crate::domain::time::Timestamp;
use crate::domain::window::{Window, WindowKind};

/// A threshold as people read it: `80 %`, `$120.00`.
pub fn threshold(threshold: Threshold) -> String {
    match threshold {
        Threshold::Percent(_) | Threshold::Forecast(_) => threshold.to_string().replace('%', &format!("{NBSP}%")),
        Threshold::Amount(amount) => format::usd(amount),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// A count and its noun: `1 call`, `2,596 calls`; `plural` is the noun for every number but one.
pub fn counted(number: i64, one: &str, plural: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {plural}", format::count(number)) }
}

/// The window's own name: `November 2026`, `week of Mon 16 Nov 2026`, `last 24 hours`.
pub fn window_title(kind: WindowKind, window: &Window, zone: Tz) -> String {
    let start = local(window.start, zone);
    match kind {
        WindowKind::Hour => {
            let end = window.end.unwrap_or(window.start);
            format!("{}, {}–{}", start.format("%a %-d %b %Y"), start.format("%H:%M"), format::minute(end, zone))
        }
        WindowKind::Day => start.format("%a %-d %b %Y").to_string(),
        WindowKind::Week => start.format("week of %a %-d %b %Y").to_string(),
        WindowKind::Month if is_billing(&start) => billing_month(&start, window, zone),
        WindowKind::Month => start.format("%B %Y").to_string(),
        WindowKind::Quarter => format!("Q{} {}", start.month0() / 3 + 1, start.year()),
        WindowKind::Year => start.year().to_string(),
        WindowKind::Total => "all time".to_owned(),
        WindowKind::Rolling24h => "last 24 hours".to_owned(),
        WindowKind::Rolling7d => "last 7 days".to_owned(),
        WindowKind::Rolling30d => "last 30 days".to_owned(),
    }
}

/// The window as a sentence speaks of it: `November`, `the week`.
pub fn window_noun(kind: WindowKind, window: &Window, zone: Tz) -> String {
    let start = local(window.start, zone);
    match kind {
        WindowKind::Hour => "the hour".to_owned(),
        WindowKind::Day => "the day".to_owned(),
        WindowKind::Week => "the week".to_owned(),
        WindowKind::Month if is_billing(&start) => "the billing month".to_owned(),
        WindowKind::Month => start.format("%B").to_string(),
        WindowKind::Quarter => "the quarter".to_owned(),
        WindowKind::Year => start.year().to_string(),
        WindowKind::Total => "all time".to_owned(),
        WindowKind::Rolling24h => "the last 24 hours".to_owned(),
        WindowKind::Rolling7d => "the last 7 days".to_owned(),
        WindowKind::Rolling30d => "the last 30 days".to_owned(),
    }
}

/// Whether a month begins elsewhere than on its first day.
fn is_billing(start: &DateTime<Tz>) -> bool {
    start.day() != 1
}

/// `15 Nov–14 Dec 2026`: from its first date to its last.
fn billing_month(start: &DateTime<Tz>, window: &Window, zone: Tz) -> String {
    let last = local(window.end.unwrap_or(window.start).plus_millis(-1), zone);
    format!("{}–{}", start.format("%-d %b"), last.format("%-d %b %Y"))
}

fn local(at: Timestamp, zone: Tz) -> DateTime<Tz> {
    at.to_utc().with_timezone(&zone)
}
