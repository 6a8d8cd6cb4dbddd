//! `/budgets/-/changes` and `/budgets/{name}/history`: the audit trail, of all budgets and of one.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::DashboardState;
use super::budget;
use super::frame::{Frame, Page};
use super::query::{link, segment};
use super::respond::{PageError, html};
use crate::definitions::Wanted;
use crate::domain::budget::change::{Action, Actor, Door, Entry};
use crate::domain::budget::{Budget, BudgetName};
use crate::domain::time::Timestamp;
use crate::domain::window::WindowKind;
use crate::report::format;
use crate::store::budget_changes::{self, Numbered};

/// Entries on one page.
const ROWS: u32 = 50;

/// Where the page goes on.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    before: Option<i64>,
}

/// An entry.
pub(super) struct ChangeLine {
    at: String,
    at_iso: String,
    budget: String,
    link: String,
    what: &'static str,
    /// What is another, a line each: `limit $500.00 → $600.00`.
    details: Vec<String>,
    note: String,
    who: String,
}

#[derive(Template)]
#[template(path = "budget_changes.html")]
struct ChangesPage {
    frame: Frame,
    title: String,
    /// The budget whose changes these are; `None`: all.
    of: Option<(String, String)>,
    changes: Vec<ChangeLine>,
    csv: String,
    newest: Option<String>,
    older: Option<String>,
    zone: &'static str,
}

/// Of all budgets.
pub(super) async fn all(
    State(state): State<DashboardState>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    show(&state, None, asked.before).await
}

/// Of one, whether it is in force or not.
pub(super) async fn of_one(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let name = budget::named(&state, &name)?;
    show(&state, Some(name), asked.before).await
}

async fn show(state: &DashboardState, of: Option<BudgetName>, before: Option<i64>) -> Result<Response, PageError> {
    let (now, zone) = (state.clock.now(), state.zone);
    let mut entries =
        budget_changes::page(&state.store, of.as_ref(), before, ROWS + 1).await.map_err(state.unreadable())?;
    if let (Some(_), true, None) = (&of, entries.is_empty(), before) {
        return Err(PageError::NotFound(Box::new(state.clone()), "There never was a budget of this name."));
    }
    let rows = usize::try_from(ROWS).unwrap_or(usize::MAX);
    let more = entries.len() > rows;
    entries.truncate(rows);
    let path = of
        .as_ref()
        .map_or_else(|| "/budgets/-/changes".to_owned(), |name| format!("/budgets/{}/history", segment(name.as_str())));
    let older = entries.last().filter(|_| more).map(|last| link(&path, [("before", last.seq.to_string().as_str())]));
    let csv = "/tally/v1/budget-changes.csv";
    html(&ChangesPage {
        frame: Frame::new(state, "Changes of budgets", Page::Budgets),
        title: of.as_ref().map_or_else(|| "Changes of budgets".to_owned(), |name| format!("Changes of {name}")),
        csv: match &of {
            Some(name) => link(csv, [("budget", name.as_str())]),
            None => csv.to_owned(),
        },
        of: of.map(|name| (name.to_string(), format!("/budgets/{}", segment(name.as_str())))),
        changes: entries.iter().map(|entry| line(entry, now, zone)).collect(),
        newest: before.map(|_| path),
        older,
        zone: zone.name(),
    })
}

fn line(Numbered { entry, .. }: &Numbered, now: Timestamp, zone: chrono_tz::Tz) -> ChangeLine {
    ChangeLine {
        at: format::date_time(entry.at, now, zone),
        at_iso: entry.at.to_iso(),
        budget: entry.budget.to_string(),
        link: format!("/budgets/{}/history", segment(entry.budget.as_str())),
        what: match entry.action {
            Action::Made => "made",
            Action::Changed => "changed",
            Action::Removed => "removed",
            Action::Paused => "paused",
            Action::Resumed => "resumed",
            Action::Overridden => "overridden",
            Action::OverrideEnded => "override ended",
            Action::ToppedUp => "topped up",
        },
        details: details(entry),
        note: entry.note.clone(),
        who: who(&entry.by),
    }
}

/// `page, signed in`; of the file, on what occasion.
fn who(by: &Actor) -> String {
    match by.door {
        Door::File => format!("tallyd.toml, at {}", by.who),
        Door::Clock => "by itself, at its end".to_owned(),
        door => format!("{}, {}", door.as_str(), by.who),
    }
}

/// What is another than before.
fn details(entry: &Entry) -> Vec<String> {
    match (&entry.before, &entry.after) {
        (Some(before), Some(after)) => differences(before, after),
        (None, Some(made)) => {
            vec![format!("limit {} {}, counts {}", format::usd(made.limit), a_window(made.window), made.scope)]
        }
        (Some(removed), None) => {
            vec![format!("its limit was {} {}", format::usd(removed.limit), a_window(removed.window))]
        }
        (None, None) => match (entry.limit_before, entry.limit_after) {
            (Some(before), Some(after)) => {
                vec![format!("limit of the window {} → {}", format::usd(before), format::usd(after))]
            }
            _ => Vec::new(),
        },
    }
}

/// `a month`, `an hour`, `in total`, `in any 7 days`.
fn a_window(kind: WindowKind) -> String {
    match kind {
        WindowKind::Hour => "an hour".to_owned(),
        WindowKind::Total => "in total".to_owned(),
        WindowKind::Rolling24h => "in any 24 hours".to_owned(),
        WindowKind::Rolling7d => "in any 7 days".to_owned(),
        WindowKind::Rolling30d => "in any 30 days".to_owned(),
        other => format!("a {other}"),
    }
}

/// Field by field, in the words of the form.
fn differences(before: &Budget, after: &Budget) -> Vec<String> {
    let mut told = Vec::new();
    if before.limit != after.limit {
        told.push(format!("limit {} → {}", format::usd(before.limit), format::usd(after.limit)));
    }
    if before.origin != after.origin {
        told.push(format!("owner {} → {}", before.origin.as_str(), after.origin.as_str()));
    }
    let (old, new) = (Wanted::of(before), Wanted::of(after));
    let switch = |text: &str| if text.is_empty() { "off".to_owned() } else { text.to_owned() };
    let fields: [(&str, String, String); 11] = [
        ("counts", before.scope.to_string(), after.scope.to_string()),
        ("one limit for each", old.each, new.each),
        ("window", old.window, new.window),
        ("time zone", old.time_zone, new.time_zone),
        ("weeks begin on", old.week_starts, new.week_starts),
        ("months begin on day", old.billing_day, new.billing_day),
        ("rollover", switch(&old.rollover), switch(&new.rollover)),
        ("alert at", old.alert_at, new.alert_at),
        ("tell", old.notify, new.notify),
        ("at the limit", old.when_exceeded, new.when_exceeded),
        ("if the ledger fails", old.on_ledger_failure, new.on_ledger_failure),
    ];
    let or_nothing = |text: String| if text.is_empty() { "nothing".to_owned() } else { text };
    told.extend(
        fields
            .into_iter()
            .filter(|(_, before, after)| before != after)
            .map(|(name, before, after)| format!("{name} {} → {}", or_nothing(before), or_nothing(after))),
    );
    told
}
