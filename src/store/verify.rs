//! Sums and counters recomputed from the rows, at one snapshot, and compared with what is stored.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::budget::{Budget, BudgetName, OTHER};
use crate::domain::call::Call;
use crate::domain::money::{Money, Total};
use crate::domain::rollup::{self, Cell, Deltas, Level, Series, Share, Spread, Sums};
use crate::domain::time::{DAY_MS, Timestamp};

use super::budgets::{self, Counter, Spent};
use super::calls::{self, CallRow, Cursor};
use super::rollups::{CellKey, KnownSeries, SumsRow, TimingsRow};
use super::statements as sql;
use super::tx::in_tx;
use super::{Store, StoreError, Tx};

/// Rows read in one piece.
const PAGE: u32 = 2_000;

/// Most differences named one by one; beyond it they are counted.
pub const MAX_NAMED: usize = 1_000;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A roll-up holds something else than its rows sum to.
    Cell {
        /// How wide it is.
        level: Level,
        /// Its start.
        start: Timestamp,
        /// Of which calls; `None`: all together.
        series: Option<Box<Series>>,
        /// What is stored.
        stored: Box<Cell>,
        /// What the rows sum to.
        rows: Box<Cell>,
    },
    /// A budget's counter holds something else than the rows it counts sum to.
    Budget {
        /// The budget.
        budget: BudgetName,
        /// The value whose account it is; empty for a budget that is one account.
        value: Arc<str>,
        /// Start of the bucket.
        bucket: Timestamp,
        /// What is stored.
        stored: Share,
        /// What the rows sum to.
        rows: Share,
    },
    /// `budget_status` shows something else for a budget's window than its counters sum to.
    Status {
        /// The budget.
        budget: BudgetName,
        /// What is shown.
        stored: Spent,
        /// What the counters of the window sum to.
        counters: Spent,
    },
    /// A column that is derived from the row's others holds something else than they say.
    Row {
        /// The row.
        call_id: String,
        /// The column.
        column: &'static str,
        /// What is stored.
        stored: String,
        /// What the other columns say.
        derived: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cell { level, start, series, stored, rows } => {
                write!(f, "roll-up {start} of {} min", level.minutes())?;
                match series {
                    None => write!(f, ", all calls")?,
                    Some(series) => {
                        let names = [
                            ("app", &series.app),
                            ("key", &series.key_name),
                            ("model", &series.model),
                            ("provider", &series.provider),
                            ("endpoint", &series.endpoint),
                        ];
                        for (name, value) in names.into_iter().filter(|(_, value)| !value.is_empty()) {
                            write!(f, " {name}={value}")?;
                        }
                        if series.is_byok {
                            write!(f, " byok")?;
                        }
                    }
                }
                let (has, is) = (&stored.sums, &rows.sums);
                write!(
                    f,
                    ": stored {} completions, {} failures, {} unknown, ${}; the rows sum to {}, {}, {}, ${}",
                    has.completions,
                    has.failures,
                    has.unknown,
                    has.cost,
                    is.completions,
                    is.failures,
                    is.unknown,
                    is.cost,
                )?;
                let others = |sums: &Sums| Sums { completions: 0, failures: 0, unknown: 0, cost: Total::ZERO, ..*sums };
                if others(has) != others(is) {
                    write!(f, "; tokens or other amounts differ too")?;
                }
                if stored.timings != rows.timings {
                    write!(f, "; timings differ")?;
                }
                Ok(())
            }
            Self::Budget { budget, value, bucket, stored, rows } => write!(
                f,
                "budget {budget}{}{value} {bucket}: stored ${} (${} not settled), {} unknown; the rows sum to ${} (${}), {}",
                if value.is_empty() { "" } else { " of " },
                Money::from_picos(stored.cost_picos),
                Money::from_picos(stored.inline_picos),
                stored.unknown,
                Money::from_picos(rows.cost_picos),
                Money::from_picos(rows.inline_picos),
                rows.unknown,
            ),
            Self::Status { budget, stored, counters } => write!(
                f,
                "budget {budget}, its current window: stored ${} (${} not settled), {} unknown; its counters sum to ${} (${}), {}",
                stored.cost, stored.inline, stored.unknown, counters.cost, counters.inline, counters.unknown,
            ),
            Self::Row { call_id, column, stored, derived } => {
                write!(f, "call {call_id}: {column} is {stored}, its other columns say {derived}")
            }
        }
    }
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// The first [`MAX_NAMED`] differences.
    pub differences: Vec<Difference>,
    /// All differences.
    pub difference_count: u64,
    /// Rows read.
    pub rows: u64,
    /// Roll-ups compared.
    pub cells: u64,
    /// Budget counters compared.
    pub counters: u64,
    /// How long the snapshot was held.
    pub held: Duration,
}

/// Recomputes every roll-up and every budget counter from the rows, and what `budget_status` shows from the counters, at
/// one snapshot.
pub async fn run(store: &Store, clock: &Clock) -> Result<Verification, StoreError> {
    let began = clock.elapsed();
    let mut tx = store.snapshot().await?;
    let mut counted = Vec::new();
    let mut found = Verification::default();
    for (stored, status) in budgets::statuses(&mut tx).await? {
        // A budget whose counters are still to be filled has nothing to compare.
        let Some(from) = stored.counted_from else { continue };
        if let Some(status) = status {
            let window = status.window;
            let counters = match (&stored.budget.each, &status.top) {
                (None, _) => budgets::spent(&mut tx, &stored.budget.name, window.start, window.end).await?,
                // What the values beyond those counted by themselves share is no value's counter.
                (Some(_), Some(top)) if **top != *OTHER => {
                    budgets::spent_of(&mut tx, &stored.budget.name, top, window.start, window.end).await?
                }
                (Some(_), _) => status.spent,
            };
            if status.spent != counters {
                let budget = stored.budget.name.clone();
                found.note(Difference::Status { budget, stored: status.spent, counters });
            }
        }
        counted.push((stored.budget, from));
    }
    let known: Vec<KnownSeries> =
        in_tx!(tx, sql::ROLLUPS_SERIES, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    let mut recount = Recount {
        counted,
        day: Timestamp(i64::MIN),
        rows: Deltas::default(),
        series: known.into_iter().map(KnownSeries::into_series).collect(),
        shares: BTreeMap::new(),
    };
    let mut cursor = None;
    loop {
        let page = calls::scan_rows(&mut tx, Timestamp(i64::MIN), cursor, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for row in page {
            let call = row.clone().into_call()?;
            found.derived(&row, &call)?;
            found.rows += 1;
            // The row's place in the order is the column's, and the loop must move on even where that is wrong.
            cursor = Some(Cursor { created_at: Timestamp(row.created_ms), call_id: call.call_id });
            recount.add(&call, Timestamp(row.created_ms), &mut tx, &mut found).await?;
        }
    }
    recount.compare(Timestamp(i64::MAX), &mut tx, &mut found).await?;
    tx.rollback().await?;
    found.held = clock.elapsed().saturating_sub(began);
    Ok(found)
}

/// What the rows of one UTC day sum to.
struct Recount {
    counted: Vec<(Budget, Timestamp)>,
    /// Start of the day; everything before it has been compared.
    day: Timestamp,
    rows: Deltas,
    series: HashMap<i64, Series>,
    shares: BTreeMap<(usize, Timestamp, Arc<str>), Share>,
}

impl Recount {
    async fn add(
        &mut self,
        call: &Call,
        created: Timestamp,
        tx: &mut Tx,
        found: &mut Verification,
    ) -> Result<(), StoreError> {
        let day = Timestamp(created.millis() - created.millis().rem_euclid(DAY_MS));
        if day > self.day {
            self.compare(day, tx, found).await?;
        }
        self.rows.moved(None, Some(call));
        for (index, (budget, from)) in self.counted.iter().enumerate() {
            if let Some((value, bucket, share)) = rollup::share(&budget.scope, budget.each.as_ref(), call)
                && bucket >= *from
            {
                self.shares.entry((index, bucket, value.into())).or_default().add(&share);
            }
        }
        Ok(())
    }

    /// Compares everything from the day on and before `until`, which becomes the day.
    async fn compare(&mut self, until: Timestamp, tx: &mut Tx, found: &mut Verification) -> Result<(), StoreError> {
        let from = std::mem::replace(&mut self.day, until);
        let recounted = std::mem::take(&mut self.rows);
        let Spread { series, cells: mut expected } = recounted.spread();
        let places: HashMap<&Series, usize> = series.iter().zip(0..).map(|(series, place)| (*series, place)).collect();
        for (key, stored) in stored_cells(tx, from, until).await? {
            let level = Level::of_minutes(key.minutes)
                .ok_or_else(|| StoreError::unreadable("spend_cells", &format!("minutes {}", key.minutes)))?;
            let of =
                if key.whole == 1 { None } else { Some(self.series.get(&key.series).cloned().unwrap_or_default()) };
            let start = Timestamp(key.start_ms);
            let rows = match of.as_ref().map(|series| places.get(series)) {
                None => expected.remove(&(level, start, None)),
                Some(Some(place)) => expected.remove(&(level, start, Some(*place))),
                Some(None) => None,
            };
            found.cell(level, start, of, stored, rows.unwrap_or_default());
        }
        for ((level, start, place), rows) in expected {
            let of = place.and_then(|place| series.get(place)).map(|series| (*series).clone());
            found.cell(level, start, of, Cell::default(), rows);
        }
        let mut expected = std::mem::take(&mut self.shares);
        for (index, (budget, counted_from)) in self.counted.iter().enumerate() {
            let from = from.max(*counted_from);
            let stored: Vec<Counter> = in_tx!(tx, sql::BUDGETS_COUNTERS, |text, conn| {
                sqlx::query_as(text)
                    .bind(budget.name.as_str())
                    .bind(from.millis())
                    .bind(until.millis())
                    .fetch_all(conn)
                    .await?
            });
            for delta in stored.into_iter().map(|counter| counter.into_delta(&budget.name)) {
                let share =
                    Share { cost_picos: delta.cost_picos, inline_picos: delta.inline_picos, unknown: delta.unknown };
                let rows = expected.remove(&(index, delta.bucket, Arc::clone(&delta.value))).unwrap_or_default();
                found.counter(&budget.name, delta.value, delta.bucket, share, rows);
            }
        }
        for ((index, bucket, value), rows) in expected {
            found.counter(&self.counted[index].0.name, value, bucket, Share::default(), rows);
        }
        Ok(())
    }
}

/// What is stored of the cells that begin in `from..until`.
async fn stored_cells(tx: &mut Tx, from: Timestamp, until: Timestamp) -> Result<BTreeMap<CellKey, Cell>, StoreError> {
    let sums: Vec<CellSums> = in_tx!(tx, sql::VERIFY_SUMS, |text, conn| {
        sqlx::query_as(text).bind(from.millis()).bind(until.millis()).fetch_all(conn).await?
    });
    let timings: Vec<TimingsRow> = in_tx!(tx, sql::VERIFY_TIMINGS, |text, conn| {
        sqlx::query_as(text).bind(from.millis()).bind(until.millis()).fetch_all(conn).await?
    });
    let mut cells: BTreeMap<CellKey, Cell> = BTreeMap::new();
    for row in sums {
        cells.entry(row.key).or_default().sums = row.sums.sums();
    }
    for row in timings {
        for (key, timings) in row.timings()? {
            cells.entry(key).or_default().timings = timings;
        }
    }
    Ok(cells)
}

#[derive(sqlx::FromRow)]
struct CellSums {
    #[sqlx(flatten)]
    key: CellKey,
    #[sqlx(flatten)]
    sums: SumsRow,
}

impl Verification {
    fn cell(&mut self, level: Level, start: Timestamp, series: Option<Series>, stored: Cell, rows: Cell) {
        self.cells += 1;
        if stored != rows {
            let (stored, rows) = (Box::new(stored), Box::new(rows));
            self.note(Difference::Cell { level, start, series: series.map(Box::new), stored, rows });
        }
    }

    fn counter(&mut self, budget: &BudgetName, value: Arc<str>, bucket: Timestamp, stored: Share, rows: Share) {
        self.counters += 1;
        if stored != rows {
            self.note(Difference::Budget { budget: budget.clone(), value, bucket, stored, rows });
        }
    }

    /// Compares the columns that are derived from others.
    fn derived(&mut self, row: &CallRow, call: &Call) -> Result<(), StoreError> {
        let says = CallRow::of(call)?;
        let amount = |picos: Option<i64>| picos.map_or("NULL".to_owned(), |picos| picos.to_string());
        let columns = [
            ("created_ms", row.created_ms.to_string(), says.created_ms.to_string()),
            ("model", row.model.clone().unwrap_or_default(), says.model.unwrap_or_default()),
            ("charged_picos", amount(row.charged_picos), amount(says.charged_picos)),
            ("upstream_picos", amount(row.upstream_picos), amount(says.upstream_picos)),
            ("cost_picos", amount(row.cost_picos), amount(says.cost_picos)),
        ];
        for (column, stored, derived) in columns {
            if stored != derived {
                self.note(Difference::Row { call_id: row.call_id.clone(), column, stored, derived });
            }
        }
        Ok(())
    }

    fn note(&mut self, difference: Difference) {
        self.difference_count += 1;
        if self.differences.len() < MAX_NAMED {
            self.differences.push(difference);
        }
    }
}
