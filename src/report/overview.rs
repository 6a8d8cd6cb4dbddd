//! What the overview shows: today, the month and its forecast, and the spend of a range by model, app and key.
//!
//! Read from the buckets alone, whatever the number of rows; never from the rows.

use chrono::Days;
use chrono_tz::Tz;

use super::outlook;
use super::range::{Range, Stretch};
use super::series::{self, Stack};
use super::span::{SpanError, Step, day_start, month_start};
use crate::domain::forecast::{NoForecast, Outlook};
use crate::domain::money::{Money, Total};
use crate::domain::time::{BUCKET_MS, Timestamp};
use crate::domain::window::{Window, WindowKind};
use crate::store::rollups::{self, Dimension, Sums, TotalsQuery, TotalsRow};
use crate::store::{Store, StoreError};

/// Names in the tables of apps and keys.
pub const TOP_NAMES: usize = 8;

/// Why there is no overview.
#[derive(Debug, thiserror::Error)]
pub enum OverviewError {
    /// The range is too long for its steps.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A period that runs, beside the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The period.
    pub window: Window,
    /// Its sums so far.
    pub sums: Sums,
    /// What the one before had cost by the same time.
    pub before_by_now: Total,
    /// Where the one before began.
    pub before_start: Timestamp,
    /// Cost in each of its steps, those to come included.
    pub steps: Vec<Total>,
    /// How many of the steps have begun.
    pub begun: usize,
    /// Cost in each step of the one before.
    pub before_steps: Vec<Total>,
    /// Where it is heading, as of the last 15-minute step, or why that cannot be told.
    pub outlook: Result<Outlook, NoForecast>,
}

/// Everything the overview shows of spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Today by the hour, beside the same weekday a week ago.
    pub today: Running,
    /// This month by the day, beside the last.
    pub month: Running,
    /// The range that is shown.
    pub stretch: Stretch,
    /// It by model.
    pub models: Stack<Sums, Total>,
    /// It by app, as one step.
    pub apps: Stack<Sums, Total>,
    /// It by key, as one step.
    pub keys: Stack<Sums, Total>,
}

/// Reads the overview; `open` shows every model instead of the most expensive ones.
pub async fn read(
    store: &Store,
    range: Range,
    open: bool,
    now: Timestamp,
    zone: Tz,
) -> Result<Overview, OverviewError> {
    let stretch = range.at(now, zone)?;
    let (model_steps, model_before, names, names_before, running) = tokio::try_join!(
        by(store, stretch.steps.clone(), &[Dimension::Model]),
        by(store, vec![stretch.before], &[Dimension::Model]),
        by(store, whole(&stretch), &[Dimension::App, Dimension::Key]),
        by(store, vec![stretch.before], &[Dimension::App, Dimension::Key]),
        running(store, now, zone),
    )?;
    let (today, month) = running;
    let top = if open { series::TOP_OPEN } else { series::TOP };
    let of = |place: usize| {
        let keyed = |rows: &[TotalsRow]| -> Vec<TotalsRow> {
            rows.iter()
                .map(|row| TotalsRow { keys: vec![row.keys.get(place).cloned().flatten()], ..row.clone() })
                .collect()
        };
        series::costs(1, &keyed(&names), &keyed(&names_before), TOP_NAMES)
    };
    let models = series::costs(stretch.steps.len(), &model_steps, &model_before, top);
    Ok(Overview { today, month, stretch, models, apps: of(0), keys: of(1) })
}

fn whole(stretch: &Stretch) -> Vec<(Timestamp, Timestamp)> {
    let ends = stretch.steps.first().zip(stretch.steps.last());
    ends.map(|(first, last)| vec![(first.0, last.1)]).unwrap_or_default()
}

async fn by(
    store: &Store,
    spans: Vec<(Timestamp, Timestamp)>,
    by: &[Dimension],
) -> Result<Vec<TotalsRow>, OverviewError> {
    let query = TotalsQuery { spans, by: by.to_vec(), ..TotalsQuery::default() };
    Ok(rollups::totals(store, &query).await?)
}

/// Today and the month, each beside the one before: one question.
async fn running(store: &Store, now: Timestamp, zone: Tz) -> Result<(Running, Running), OverviewError> {
    let day = WindowKind::Day.window_at(zone, now);
    let week_ago = now.to_utc().with_timezone(&zone).date_naive();
    let week_ago = day_start(week_ago.checked_sub_days(Days::new(7)).unwrap_or(week_ago), zone);
    let month = WindowKind::Month.window_at(zone, now);
    let month_ago = month_start(zone, now, 1);
    let plans = [
        Plan::new(WindowKind::Day, day, WindowKind::Day.window_at(zone, week_ago), Step::Hour, now, zone)?,
        Plan::new(WindowKind::Month, month, WindowKind::Month.window_at(zone, month_ago), Step::Day, now, zone)?,
    ];
    let spans: Vec<_> = plans.iter().flat_map(Plan::spans).collect();
    let mut sums = vec![Sums::default(); spans.len()];
    let (rows, hours) =
        tokio::try_join!(by(store, spans, &[]), async { Ok(outlook::hours_of_all(store, now.bucket()).await?) })?;
    for row in rows {
        if let Some(sum) = sums.get_mut(row.span) {
            *sum = row.sums;
        }
    }
    let (first, second) = sums.split_at(plans[0].spans().count());
    Ok((plans[0].running(first, &hours, now), plans[1].running(second, &hours, now)))
}

struct Plan {
    kind: WindowKind,
    window: Window,
    before: Window,
    steps: Vec<(Timestamp, Timestamp)>,
    before_steps: Vec<(Timestamp, Timestamp)>,
    before_by_now: (Timestamp, Timestamp),
    /// The 15 minutes that run.
    this_step: (Timestamp, Timestamp),
    zone: Tz,
}

impl Plan {
    fn new(
        kind: WindowKind,
        window: Window,
        before: Window,
        step: Step,
        now: Timestamp,
        zone: Tz,
    ) -> Result<Self, SpanError> {
        let end = |window: &Window| window.end.unwrap_or(now);
        let gone = now.bucket().plus_millis(BUCKET_MS).millis() - window.start.millis();
        let by_now = before.start.plus_millis(gone).bucket().clamp(before.start, end(&before));
        Ok(Self {
            kind,
            window,
            before,
            steps: step.spans(zone, window.start, end(&window))?,
            before_steps: step.spans(zone, before.start, end(&before))?,
            before_by_now: (before.start, by_now),
            this_step: (now.bucket(), now.bucket().plus_millis(BUCKET_MS)),
            zone,
        })
    }

    fn spans(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.steps.iter().chain(&self.before_steps).copied().chain([self.before_by_now, self.this_step])
    }

    fn running(&self, sums: &[Sums], hours: &[(Timestamp, Total)], now: Timestamp) -> Running {
        let (steps, rest) = sums.split_at(self.steps.len());
        let (before_steps, rest) = rest.split_at(self.before_steps.len());
        let (by_now, this_step) = rest.split_at(1);
        let mut total = Sums::default();
        for step in steps {
            total.add(step);
        }
        let step = self.this_step.0;
        let before_step = total.cost - this_step.iter().map(|sums| sums.cost).sum();
        let forecast = outlook::of_window(self.kind, self.zone, self.window, hours, before_step, step);
        let costs = |sums: &[Sums]| sums.iter().map(|sums| sums.cost).collect();
        Running {
            window: self.window,
            before_by_now: by_now.first().map_or(Total::ZERO, |sums| sums.cost),
            before_start: self.before.start,
            steps: costs(steps),
            begun: self.steps.iter().filter(|(start, _)| *start <= now).count(),
            before_steps: costs(before_steps),
            outlook: forecast.map(|forecast| forecast.outlook(Money::ZERO).at_least(total.cost)),
            sums: total,
        }
    }
}
