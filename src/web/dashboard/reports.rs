//! `/reports`: what is mailed on a schedule, when, what became of it, and what it says.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono_tz::Tz;

use super::DashboardState;
use super::alerts::mail_part;
use super::completions::Badge;
use super::frame::{Frame, Page};
use super::query::segment;
use super::respond::{PageError, html};
use crate::alert::digest::DigestError;
use crate::domain::digest::Report;
use crate::domain::time::Timestamp;
use crate::report::format;
use crate::report::words::counted;
use crate::store::reports::{self, PastRun};

/// Runs of a report that its page shows.
const RUNS: u32 = 30;

struct ReportLine {
    name: String,
    link: String,
    schedule: String,
    zone: &'static str,
    next: String,
    next_iso: String,
    last: Option<RunLine>,
    notify: String,
}

struct RunLine {
    scheduled: String,
    scheduled_iso: String,
    covers: String,
    badge: Badge,
}

#[derive(Template)]
#[template(path = "reports.html")]
struct ReportsPage {
    frame: Frame,
    summary: String,
    reports: Vec<ReportLine>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage {
    frame: Frame,
    report: ReportLine,
    subject: String,
    text: String,
    html_link: String,
    runs: Vec<RunLine>,
}

/// The page.
pub(super) async fn page(State(state): State<DashboardState>) -> Result<Response, PageError> {
    let mut lines = Vec::new();
    for report in state.digests.reports.iter() {
        let last = reports::history(&state.store, &report.name, 1).await.map_err(state.unreadable())?;
        lines.push(line(&state, report, last.first()));
    }
    html(&ReportsPage {
        frame: Frame::new(&state, "Reports", Page::Reports),
        summary: counted(i64::try_from(lines.len()).unwrap_or(i64::MAX), "report", "reports"),
        reports: lines,
    })
}

/// One report: what its last run before now would say, and what became of its runs.
pub(super) async fn preview(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let report = find(&state, &name)?;
    let runs = reports::history(&state.store, &report.name, RUNS).await.map_err(state.unreadable())?;
    let rendered = state.digests.preview(report).await.map_err(|error| unwritten(&state, error))?;
    let (now, zone) = (state.clock.now(), state.zone);
    html(&ReportPage {
        frame: Frame::new(&state, &report.name, Page::Reports),
        report: line(&state, report, runs.first()),
        subject: rendered.subject,
        text: rendered.text,
        html_link: format!("/reports/{}/html", segment(&report.name)),
        runs: runs.iter().map(|run| run_line(run, report.schedule.zone(), now, zone)).collect(),
    })
}

/// The HTML part of what it would say, alone.
pub(super) async fn html_part(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let report = find(&state, &name)?;
    let rendered = state.digests.preview(report).await.map_err(|error| unwritten(&state, error))?;
    Ok(mail_part(rendered.html))
}

fn find<'a>(state: &'a DashboardState, name: &str) -> Result<&'a Report, PageError> {
    let found = state.digests.reports.iter().find(|report| report.name == name);
    found.ok_or_else(|| PageError::NotFound(Box::new(state.clone()), "There is no report of this name in tallyd.toml."))
}

fn unwritten(state: &DashboardState, error: DigestError) -> PageError {
    match error {
        DigestError::Store(error) => PageError::Unreadable(Box::new(state.clone()), error),
        // Mistakes of ours; what a report covers always has few steps.
        DigestError::Span(error) => {
            tracing::error!(%error, "a report could not be made");
            PageError::NotFound(Box::new(state.clone()), "This report could not be made; please report it.")
        }
        DigestError::Render(error) => {
            tracing::error!(%error, "a report could not be written");
            PageError::NotFound(Box::new(state.clone()), "This report could not be written; please report it.")
        }
    }
}

fn line(state: &DashboardState, report: &Report, last: Option<&PastRun>) -> ReportLine {
    let (now, zone) = (state.clock.now(), state.zone);
    let next = report.schedule.next_after(now);
    ReportLine {
        name: report.name.clone(),
        link: format!("/reports/{}", segment(&report.name)),
        schedule: report.schedule.to_string(),
        zone: report.schedule.zone().name(),
        next: next.map_or_else(|| "never".to_owned(), |at| format::date_time(at, now, zone)),
        next_iso: next.map(Timestamp::to_iso).unwrap_or_default(),
        last: last.map(|run| run_line(run, report.schedule.zone(), now, zone)),
        notify: report.notify.join(", "),
    }
}

fn run_line(past: &PastRun, days_of: Tz, now: Timestamp, zone: Tz) -> RunLine {
    let (since, until) = past.run.covers;
    let (class, word) = match (past.messages, past.sent, past.failed) {
        (all, sent, _) if sent == all => ("ok", "sent".to_owned()),
        (all, _, failed) if failed == all => ("failed", "given up".to_owned()),
        (all, sent, failed) if failed > 0 => ("warning", format!("sent to {sent} of {all}, {failed} given up")),
        (all, sent, _) if sent > 0 => ("pending", format!("sent to {sent} of {all}")),
        _ => ("pending", "queued".to_owned()),
    };
    RunLine {
        scheduled: format::date_time(past.run.scheduled_at, now, zone),
        scheduled_iso: past.run.scheduled_at.to_iso(),
        covers: format!("{} – {}", format::date_time(since, now, days_of), format::date_time(until, now, days_of)),
        badge: Badge { class, word },
    }
}
