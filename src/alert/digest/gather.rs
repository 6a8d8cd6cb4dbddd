//! Reads what a report tells: from the sums, except for errors and the movers of short spans.

use chrono_tz::Tz;

use super::DigestError;
use super::facts::Digest;
use crate::alert::drivers::{Side, Tally};
use crate::alert::facts::Span;
use crate::domain::digest::{self, Covers, Report};
use crate::domain::scope::Scope;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::report::span::Step;
use crate::report::{failures, standing};
use crate::store::rollups::{self, Sums, TotalsQuery};
use crate::store::{Store, drivers};

/// Steps shown; those before are counted.
const STEPS: usize = 31;

/// The longest span that is shown by the hour, in milliseconds.
const BY_HOUR_MS: i64 = 36 * 60 * 60 * 1000;

/// The longest span that is shown by the day, in milliseconds; a longer one is shown by the week.
const BY_DAY_MS: i64 = 62 * DAY_MS;

/// Reads everything for the run of `report` that was scheduled at `run`.
pub(super) async fn gather(
    store: &Store,
    report: &Report,
    run: Timestamp,
    covers: Covers,
    made_at: Timestamp,
    dashboard_url: &str,
) -> Result<Digest, DigestError> {
    let zone = report.schedule.zone();
    let before = digest::before(zone, covers);
    let covered_ms = covers.1.millis() - covers.0.millis();
    let step = if covered_ms <= BY_HOUR_MS {
        Step::Hour
    } else if covered_ms <= BY_DAY_MS {
        Step::Day
    } else {
        Step::Week
    };
    let steps = step.spans(zone, covers.0, covers.1)?;
    let spans = [covers, before].into_iter().chain(steps.iter().copied()).collect();
    let mut sums = vec![Sums::default(); steps.len() + 2];
    for row in rollups::totals(store, &TotalsQuery { spans, ..TotalsQuery::default() }).await? {
        if let Some(sum) = sums.get_mut(row.span) {
            *sum = row.sums;
        }
    }
    let by_step = sums.split_off(2);
    let mut tally = Tally::default();
    for (side, (since, until)) in [(Side::Before, before), (Side::After, covers)] {
        drivers::groups(store, &Scope::default(), since, until, |group| tally.add(side, group)).await?;
    }
    let labelled: Vec<_> =
        steps.iter().zip(&by_step).map(|((since, _), sums)| (label(step, zone, *since), sums.cost)).collect();
    let steps_left_out = labelled.len().saturating_sub(STEPS);
    Ok(Digest {
        name: report.name.clone(),
        schedule: report.schedule.to_string(),
        zone,
        recipients: report.notify.len(),
        scheduled_at: run,
        made_at,
        covers: Span { since: covers.0, until: covers.1 },
        before: Span { since: before.0, until: before.1 },
        sums: sums[0],
        sums_before: sums[1],
        steps: labelled.into_iter().skip(steps_left_out).collect(),
        steps_left_out,
        movers: tally.tables(),
        failures: failures::failures(store, covers.0, covers.1, made_at).await?,
        budgets: standing::read(store, made_at).await?,
        dashboard_url: dashboard_url.to_owned(),
    })
}

/// A step's name as a mail's readers know it: `14:00`, `Mon 16 Nov`, `week of 16 Nov`.
fn label(step: Step, zone: Tz, since: Timestamp) -> String {
    let local = since.to_utc().with_timezone(&zone);
    match step {
        Step::Minute | Step::FiveMinutes | Step::QuarterHour | Step::Hour => local.format("%H:%M").to_string(),
        Step::Week => local.format("week of %-d %b").to_string(),
        Step::Day | Step::Month => local.format("%a %-d %b").to_string(),
    }
}
