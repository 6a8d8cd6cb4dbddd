//! A report's subject, text and HTML, and what a webhook is told, made of facts alone.

use std::cmp::Ordering;

use askama::Template;
use chrono::Timelike as _;
use serde_json::{Map, Value, json};

use super::facts::Digest;
use crate::alert::facts::Span;
use crate::alert::lines::{Lines, bar};
use crate::alert::render::{DriversView, RenderError, Rendered, Tone, percent, plain};
use crate::alert::words;
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::report::failures::Failure;
use crate::report::format;
use crate::report::outlook;
use crate::report::scale::along;
use crate::report::standing::Standing;
use crate::report::words::counted;
use crate::webhook::{Event, Told};

/// Errors that a report names; the page has the rest.
const FAILURES: usize = 5;

/// Budgets that a report shows, those nearest to their limits first.
const BUDGETS: usize = 20;

/// Writes the report.
pub(super) fn render(digest: &Digest) -> Result<Rendered, RenderError> {
    let subject = plain(&subject(digest));
    let html = Page::new(digest, &subject).render()?;
    let event = event(digest, &subject);
    Ok(Rendered { text: text(digest), html, subject, pictures: Vec::new(), event })
}

/// `weekly: $217.40 in 16–22 Nov, +12 % against 9–15 Nov`.
fn subject(digest: &Digest) -> String {
    let figure = format!("{}: {} in {}", digest.name, format::usd(digest.sums.cost), named(digest, &digest.covers));
    match against(digest) {
        Some(against) => format!("{figure}, {against}"),
        None => figure,
    }
}

/// `+12 % against 9–15 Nov`; `None` where nothing was recorded then.
fn against(digest: &Digest) -> Option<String> {
    let before = digest.sums_before.cost;
    (before > Total::ZERO)
        .then(|| format!("{} against {}", format::change(before, digest.sums.cost), named(digest, &digest.before)))
}

/// A span as its readers know it: by its days, or by its hours where it is not whole days.
fn named(digest: &Digest, span: &Span) -> String {
    let zone = digest.zone;
    let local = |at: Timestamp| at.to_utc().with_timezone(&zone);
    let starts_day = |at: Timestamp| local(at).hour() == 0 && local(at).minute() == 0;
    if starts_day(span.since) && starts_day(span.until) {
        return words::days(span, zone);
    }
    format!(
        "{} {}–{}",
        local(span.since).format("%a %-d %b"),
        format::minute(span.since, zone),
        format::minute(span.until, zone)
    )
}

/// What the sums hold, sentence by sentence.
fn sentences(digest: &Digest) -> Vec<String> {
    let sums = &digest.sums;
    let mut sentences = vec![format!(
        "{}, {}.",
        counted(sums.completions, "completion", "completions"),
        counted(sums.failures, "failure", "failures")
    )];
    match sums.unknown {
        ..=0 => {}
        1 => sentences.push("The cost of 1 call is unknown and in no sum.".to_owned()),
        more => sentences.push(format!("The costs of {} calls are unknown and in no sum.", format::count(more))),
    }
    if sums.inline_cost > Total::ZERO {
        sentences.push(format!("{} of it is inline and not yet settled.", format::usd(sums.inline_cost)));
    }
    sentences.extend(cache(digest));
    sentences
}

/// What the cache saved; `None` where nothing was read from one.
fn cache(digest: &Digest) -> Option<String> {
    let sums = &digest.sums;
    if sums.native_tokens_cached <= 0 {
        return None;
    }
    let share = (i128::from(sums.native_tokens_cached) * 10_000)
        .checked_div(i128::from(sums.native_tokens_prompt))
        .and_then(|share| i64::try_from(share).ok());
    let read = format!(
        "{} of prompt tokens were read from a cache",
        share.map_or_else(|| format::short_count(sums.native_tokens_cached), format::share)
    );
    let saved = sums.cache_discount;
    Some(match saved.cmp(&Total::ZERO) {
        Ordering::Greater => format!("{read}, which saved {}.", format::usd(saved)),
        Ordering::Less => {
            format!("{read}; writing them cost {} more than reading saved.", format::usd(Total::ZERO - saved))
        }
        Ordering::Equal => format!("{read}."),
    })
}

/// `36 calls met an error`: those that broke in the middle are among them, and are no failures.
fn met_errors(digest: &Digest) -> String {
    format!("{} met an error", counted(digest.failures.error_calls, "call", "calls"))
}

/// What one error is: `429 rate_limit_exceeded, openai/gpt-4o`.
fn error(failure: &Failure) -> String {
    let model = failure.model.as_deref().map(|model| format!(", {model}")).unwrap_or_default();
    format!("{} {}{model}", failure.status_text(), failure.error_type)
}

/// The budgets, those nearest to their limits first.
fn budgets(digest: &Digest) -> Vec<&Standing> {
    let mut budgets: Vec<&Standing> = digest.budgets.iter().collect();
    budgets.sort_by_key(|standing| std::cmp::Reverse(standing.share.unwrap_or(i64::MAX)));
    budgets.truncate(BUDGETS);
    budgets
}

/// Where a budget's window leads: `forecast $376–402 at its end`; nothing where that cannot be told.
fn leads(standing: &Standing) -> String {
    match &standing.outlook {
        Ok(told) => format!("forecast {} at its end", outlook::band(told)),
        Err(_) => String::new(),
    }
}

fn small_print(digest: &Digest) -> String {
    let late = digest.made_at.millis() - digest.scheduled_at.millis();
    // A run that waited for more than a look or two made up for time without a daemon.
    let made_up = if late > LATE_MS {
        format!(" It was due on {}.", format::date_time(digest.scheduled_at, digest.made_at, digest.zone))
    } else {
        String::new()
    };
    format!(
        "Figures at {} {}, budgets as they stood then.{made_up} Sent on the schedule \"{}\", to the {} named in tallyd.toml.",
        format::date_time(digest.made_at, digest.scheduled_at, digest.zone),
        digest.zone.name(),
        digest.schedule,
        counted(i64::try_from(digest.recipients).unwrap_or(i64::MAX), "recipient", "recipients")
    )
}

/// How late a run may be before its report says so, in milliseconds.
const LATE_MS: i64 = 10 * 60 * 1000;

fn text(digest: &Digest) -> String {
    let mut page = Lines::default();
    let covers = named(digest, &digest.covers);
    page.paragraph(&format!("{}: {covers} ({})", digest.name, digest.zone.name()));
    let against = against(digest)
        .map(|against| format!(" ({against}: {})", format::usd(digest.sums_before.cost)))
        .unwrap_or_default();
    page.paragraph(&format!("{}{against}", format::usd(digest.sums.cost)));
    page.paragraph(&sentences(digest).join(" "));
    let most = digest.steps.iter().map(|(_, cost)| *cost).max().unwrap_or(Total::ZERO);
    let width = digest.steps.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    for (label, cost) in &digest.steps {
        let share = along(*cost, most, 10_000);
        page.line(&format!("  {label:width$}  [{}]  {:>10}", bar(percent(share)), format::usd(*cost)));
    }
    if digest.steps_left_out > 0 {
        page.line(&format!("  and {} before these", digest.steps_left_out));
    }
    page.gap();
    let compared = format!("{covers} against {}", named(digest, &digest.before));
    for drivers in &digest.movers {
        let is_compared = digest.sums_before.cost > Total::ZERO;
        page.drivers(drivers, is_compared, "all", &compared);
    }
    failures_text(&mut page, digest);
    if !digest.budgets.is_empty() {
        page.line("BUDGETS");
        for standing in budgets(digest) {
            let share = standing.share.map(format::share).unwrap_or_default();
            let of = format!("{} of {}", format::usd(standing.spent.cost), format::usd(standing.limit));
            page.columns(standing.budget.name.as_str(), &format!("{share:>8}  {of}"));
            let leads = leads(standing);
            if !leads.is_empty() {
                page.line(&format!("    {leads}"));
            }
        }
        page.gap();
    }
    page.line(&format!("Open the overview  {}/", digest.dashboard_url));
    page.line(&format!("All reports        {}/reports", digest.dashboard_url));
    page.gap();
    page.line("-- ");
    page.paragraph(&small_print(digest));
    page.finish()
}

fn failures_text(page: &mut Lines, digest: &Digest) {
    let found = &digest.failures;
    if found.error_calls == 0 {
        return;
    }
    page.line(&format!("WHAT WENT WRONG ({})", met_errors(digest)));
    for failure in found.errors.iter().take(FAILURES) {
        page.columns(&error(failure), &format!("{:>8}", format::count(failure.calls)));
    }
    page.gap();
}

/// The event of a report.
fn event(digest: &Digest, subject: &str) -> Event {
    let mut summary = sentences(digest);
    let risen = digest.movers.first().map(|models| words::risen(&models.rows)).unwrap_or_default();
    if !risen.is_empty() && digest.sums_before.cost > Total::ZERO {
        summary.push(format!("Largest rises: {}.", risen.join(", ")));
    }
    let near: Vec<String> = budgets(digest)
        .iter()
        .take(FAILURES)
        .filter_map(|standing| Some(format!("{} at {}", standing.budget.name, format::share(standing.share?))))
        .collect();
    if !near.is_empty() {
        summary.push(format!("Budgets: {}.", near.join(", ")));
    }
    let movers: Vec<Value> = digest
        .movers
        .iter()
        .map(|drivers| {
            let row = |name: &Option<String>, before: Total, after: Total| {
                json!({ "name": name, "before_usd": before.to_decimal(), "after_usd": after.to_decimal() })
            };
            let rows: Vec<Value> =
                drivers.rows.iter().map(|one| row(&one.name, one.cost.before, one.cost.after)).collect();
            json!({ "by": drivers.by.as_str(), "rows": rows })
        })
        .collect();
    let standings: Vec<Value> = budgets(digest)
        .iter()
        .map(|standing| {
            json!({
                "budget": standing.budget.name.as_str(),
                "spent_usd": standing.spent.cost.to_decimal(),
                "limit_usd": standing.limit.to_decimal(),
                "projected_usd": standing.outlook.ok().map(|told| told.projected.to_decimal()),
            })
        })
        .collect();
    let report = json!({
        "name": digest.name,
        "scheduled_at": digest.scheduled_at.to_iso(),
        "time_zone": digest.zone.name(),
        "since": digest.covers.since.to_iso(),
        "until": digest.covers.until.to_iso(),
        "before_since": digest.before.since.to_iso(),
        "before_until": digest.before.until.to_iso(),
        "cost_usd": digest.sums.cost.to_decimal(),
        "before_usd": digest.sums_before.cost.to_decimal(),
        "completions": digest.sums.completions,
        "failures": digest.sums.failures,
        "unknown": digest.sums.unknown,
        "cache_discount_usd": digest.sums.cache_discount.to_decimal(),
        "movers": movers,
        "budgets": standings,
    });
    Event {
        kind: "report".to_owned(),
        timestamp: digest.made_at.to_iso(),
        data: Told {
            title: subject.to_owned(),
            summary: summary.iter().map(|sentence| plain(sentence)).collect(),
            link: format!("{}/reports", digest.dashboard_url),
            more: Map::from_iter([("report".to_owned(), report)]),
        },
    }
}

#[derive(Template)]
#[template(path = "digest.html")]
struct Page<'a> {
    subject: &'a str,
    preview: String,
    name: &'a str,
    covers: String,
    zone: &'static str,
    spent: String,
    against: Option<String>,
    sentences: Vec<String>,
    steps: Vec<StepView>,
    steps_left_out: usize,
    compared: String,
    drivers: Vec<DriversView>,
    errors_title: Option<String>,
    errors: Vec<(String, String, &'static str)>,
    budgets: Vec<BudgetView>,
    overview_url: String,
    reports_url: String,
    failures_url: String,
    small_print: String,
}

struct StepView {
    label: String,
    cost: String,
    width: i64,
}

struct BudgetView {
    name: String,
    url: String,
    spent: String,
    share: String,
    leads: String,
    tone: Tone,
}

impl<'a> Page<'a> {
    fn new(digest: &'a Digest, subject: &'a str) -> Self {
        let most = digest.steps.iter().map(|(_, cost)| *cost).max().unwrap_or(Total::ZERO);
        let covers = named(digest, &digest.covers);
        let is_compared = digest.sums_before.cost > Total::ZERO;
        let found = &digest.failures;
        Self {
            subject,
            preview: plain(&sentences(digest).join(" ")),
            name: &digest.name,
            zone: digest.zone.name(),
            spent: format::usd(digest.sums.cost),
            against: against(digest).map(|text| format!("{text} ({})", format::usd(digest.sums_before.cost))),
            sentences: sentences(digest),
            steps: digest
                .steps
                .iter()
                .map(|(label, cost)| StepView {
                    label: label.clone(),
                    cost: format::usd(*cost),
                    width: percent(along(*cost, most, 10_000)),
                })
                .collect(),
            steps_left_out: digest.steps_left_out,
            compared: format!("{covers} against {}", named(digest, &digest.before)),
            covers,
            drivers: digest.movers.iter().map(|drivers| DriversView::new(drivers, is_compared, "all")).collect(),
            errors_title: (found.error_calls > 0).then(|| met_errors(digest)),
            errors: found
                .errors
                .iter()
                .take(FAILURES)
                .map(|failure| (error(failure), format::count(failure.calls), failure.cause.means()))
                .collect(),
            budgets: budgets(digest)
                .into_iter()
                .map(|standing| BudgetView::new(standing, &digest.dashboard_url))
                .collect(),
            overview_url: format!("{}/", digest.dashboard_url),
            reports_url: format!("{}/reports", digest.dashboard_url),
            failures_url: format!("{}/failures", digest.dashboard_url),
            small_print: small_print(digest),
        }
    }
}

impl BudgetView {
    fn new(standing: &Standing, dashboard_url: &str) -> Self {
        let budget = &standing.budget;
        Self {
            name: budget.name.to_string(),
            // Budget names need no escaping in a URL.
            url: format!("{dashboard_url}/budgets/{}", budget.name),
            spent: format!("{} of {}", format::usd(standing.spent.cost), format::usd(standing.limit)),
            share: standing.share.map(format::share).unwrap_or_default(),
            leads: leads(standing),
            tone: Tone::of(standing.share.unwrap_or(0)),
        }
    }
}
