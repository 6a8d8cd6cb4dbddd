//! Spend by whatever is asked: `tallyd report` and `/tally/v1/spend`.

use std::collections::HashMap;

use chrono_tz::Tz;

use super::estimates;
use super::span::{self, SpanError, Step};
use crate::domain::call::Call;
use crate::domain::money::Total;
use crate::domain::table::{Cell, Table};
use crate::domain::time::Timestamp;
use crate::domain::window::WindowKind;
use crate::store::rollups::{self, Dimension, Sums, TotalsQuery, TotalsRow};
use crate::store::{self, Store, StoreError};

/// Most things a report is grouped by.
pub const MAX_BY: usize = 4;

/// What a report is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// What to group by, in order.
    pub by: Vec<Group>,
    /// Beginning, inclusive.
    pub since: Timestamp,
    /// End, exclusive.
    pub until: Timestamp,
    /// The zone of days and weeks.
    pub zone: Tz,
}

/// One thing to group by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// A column of the ledger.
    Dimension(Dimension),
    /// The value of a tag.
    Tag(String),
    /// A step of time.
    Step(Step),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SpendError {
    /// The question can not be understood.
    #[error("{0}")]
    Question(String),
    /// Its times can not.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a report answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The group's keys, then the sums.
    pub table: Table,
    /// What each of its rows cost, as far as it is known.
    pub costs: Vec<Total>,
    /// The sums of all rows.
    pub total: Sums,
    /// What the rows of unknown cost may have cost by the list, as far as they can be estimated; in no sum.
    pub estimate: Option<Total>,
}

const GROUPS: &str = "model, provider, app, key, user, session, endpoint, byok, requested_model, error_type, tag.NAME, minute, 5min, 15min, hour, day, week, month";

impl Group {
    /// Reads a group's name.
    pub fn parse(text: &str) -> Result<Self, SpendError> {
        let dimension = match text {
            "model" => Dimension::Model,
            "provider" => Dimension::Provider,
            "app" => Dimension::App,
            "key" => Dimension::Key,
            "user" => Dimension::User,
            "session" => Dimension::Session,
            "endpoint" => Dimension::Endpoint,
            "byok" => Dimension::Byok,
            "requested_model" => Dimension::RequestedModel,
            "error_type" => Dimension::ErrorType,
            _ => {
                if let Some(step) = Step::parse(text) {
                    return Ok(Self::Step(step));
                }
                return match text.strip_prefix("tag.") {
                    Some(name) if !name.is_empty() => Ok(Self::Tag(name.to_owned())),
                    _ => Err(SpendError::Question(format!(
                        "\"{text}\" is nothing to group by; write one or more of {GROUPS}"
                    ))),
                };
            }
        };
        Ok(Self::Dimension(dimension))
    }

    fn column(&self) -> String {
        match self {
            Self::Dimension(dimension) => dimension.as_str().to_owned(),
            Self::Tag(name) => format!("tag.{name}"),
            Self::Step(step) => step.as_str().to_owned(),
        }
    }
}

impl Question {
    /// Reads the texts that a command line or a URL gives; without a beginning the current month, without an end up to now.
    pub fn parse(
        by: &str,
        since: Option<&str>,
        until: Option<&str>,
        zone: Tz,
        now: Timestamp,
    ) -> Result<Self, SpendError> {
        let by: Vec<Group> =
            by.split(',').map(str::trim).filter(|text| !text.is_empty()).map(Group::parse).collect::<Result<_, _>>()?;
        if by.len() > MAX_BY {
            return Err(SpendError::Question(format!("group by at most {MAX_BY} things")));
        }
        let count = |matches: fn(&Group) -> bool| by.iter().filter(|group| matches(group)).count();
        if count(|group| matches!(group, Group::Step(_))) > 1 || count(|group| matches!(group, Group::Tag(_))) > 1 {
            return Err(SpendError::Question("group by one step of time and one tag at most".to_owned()));
        }
        let since = match since {
            Some(text) => span::parse_time(text, zone, now)?,
            None => WindowKind::Month.window_at(zone, now).start,
        };
        let until = match until {
            Some(text) => span::parse_time(text, zone, now)?,
            // The bucket that is being filled counts.
            None => now.bucket().plus_millis(crate::domain::time::BUCKET_MS),
        };
        if until < since {
            return Err(SpanError::Backwards { since, until }.into());
        }
        Ok(Self { by, since, until, zone })
    }
}

/// Sums the ledger as asked.
pub async fn answer(store: &Store, question: &Question) -> Result<Answer, SpendError> {
    let step = question.by.iter().find_map(|group| if let Group::Step(step) = group { Some(*step) } else { None });
    let spans = match step {
        Some(step) => step.spans(question.zone, question.since, question.until)?,
        None => vec![(question.since, question.until)],
    };
    let query = TotalsQuery {
        spans: spans.clone(),
        by: question
            .by
            .iter()
            .filter_map(|group| if let Group::Dimension(dimension) = group { Some(*dimension) } else { None })
            .collect(),
        by_tag: question
            .by
            .iter()
            .find_map(|group| if let Group::Tag(name) = group { Some(name.clone()) } else { None }),
        ..TotalsQuery::default()
    };
    let rows = rollups::totals(store, &query).await?;
    let mut columns: Vec<String> = question.by.iter().map(Group::column).collect();
    columns.extend(
        ["completions", "failures", "tokens_prompt", "tokens_completion", "cost_usd", "unknown", "estimate_usd"]
            .map(str::to_owned),
    );
    let mut table = Table { columns, ..Table::default() };
    let (mut total, mut costs) = (Sums::default(), Vec::new());
    let estimates = estimated(store, question, &query, &rows).await?;
    for row in rows {
        total.add(&row.sums);
        let estimate = estimates.get(&(row.span, row.keys.clone())).copied();
        let mut keys = row.keys.iter();
        let tag = query.by_tag.as_ref().and_then(|_| row.keys.last());
        let mut cells: Vec<Cell> = question
            .by
            .iter()
            .map(|group| match group {
                Group::Step(step) => Cell::Text(step.label(question.zone, spans[row.span].0)),
                Group::Dimension(_) => keys.next().and_then(Option::as_deref).into(),
                Group::Tag(_) => tag.and_then(Option::as_deref).into(),
            })
            .collect();
        cells.extend([
            Cell::Integer(row.sums.completions),
            Cell::Integer(row.sums.failures),
            Cell::Integer(row.sums.tokens_prompt),
            Cell::Integer(row.sums.tokens_completion),
            cost(&row.sums),
            Cell::Integer(row.sums.unknown),
            estimate.map_or(Cell::Null, |estimate| Cell::Decimal(estimate.to_decimal())),
        ]);
        table.rows.push(cells);
        costs.push(row.sums.cost);
    }
    let estimate = estimates.values().copied().reduce(|sum, next| sum + next);
    Ok(Answer { table, costs, total, estimate })
}

/// A span and the values of what is grouped by.
type Place = (usize, Vec<Option<String>>);

/// What the rows of unknown cost in each group may have cost; groups without an estimate are not there.
async fn estimated(
    store: &Store,
    question: &Question,
    query: &TotalsQuery,
    rows: &[TotalsRow],
) -> Result<HashMap<Place, Total>, SpendError> {
    let mut sums: HashMap<Place, Total> = HashMap::new();
    if rows.iter().all(|row| row.sums.unknown == 0) {
        return Ok(sums);
    }
    let catalogue = store::catalogue::load(store).await?;
    for call in estimates::unknown(store, question.since, question.until).await? {
        let Some(estimate) = catalogue.estimate(&call) else { continue };
        let at = call.created_at();
        let span = query.spans.partition_point(|(since, _)| *since <= at).checked_sub(1);
        let Some(span) = span.filter(|span| at < query.spans[*span].1) else { continue };
        let mut keys: Vec<Option<String>> = query.by.iter().map(|dimension| value(&call, *dimension)).collect();
        keys.extend(query.by_tag.as_ref().map(|name| call.attribution.tags.get(name).cloned()));
        *sums.entry((span, keys)).or_default() += Total::from(estimate);
    }
    Ok(sums)
}

/// What the row has in that dimension, as the sums name it.
fn value(call: &Call, dimension: Dimension) -> Option<String> {
    let value = match dimension {
        Dimension::App => call.attribution.app.clone(),
        Dimension::Key => call.key.as_ref().map(|key| key.name.clone()),
        Dimension::Model => call.model().map(str::to_owned),
        Dimension::Provider => call.facts.provider.clone(),
        Dimension::Endpoint => call.endpoint.clone(),
        Dimension::Byok => Some((call.facts.is_byok == Some(true)).to_string()),
        Dimension::User => call.attribution.user.clone(),
        Dimension::Session => call.attribution.session.clone(),
        Dimension::RequestedModel => call.requested_model.clone(),
        Dimension::State => Some(call.state.as_str().to_owned()),
        Dimension::ErrorType => call.error.as_ref().and_then(|error| error.error_type.clone()),
    };
    value.filter(|value| !value.is_empty())
}

/// What a group cost; NULL where not one of its costs is known. Unknown is not 0.
fn cost(sums: &Sums) -> Cell {
    if sums.unknown > 0 && sums.unknown == sums.completions {
        return Cell::Null;
    }
    Cell::Decimal(sums.cost.to_decimal())
}

/// The word for a cost that is not known.
const UNKNOWN: &str = "unknown";

/// Cells of the longest bar.
const BAR: i128 = 10;

/// The eighths of a cell, drawn.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A part of a whole as a bar of [`BAR`] cells and percent.
fn bar(part: i128, whole: i128) -> String {
    let eighths = part * BAR * 8 / whole;
    let full = usize::try_from((eighths / 8).clamp(0, BAR)).unwrap_or(0);
    let rest = usize::try_from(eighths % 8).unwrap_or(0);
    let percent = part * 100 / whole;
    format!("{percent:>3} % {}{}", "█".repeat(full), EIGHTHS[rest])
}

impl Answer {
    /// The table for the eye: where all of a group's costs are unknown, it says so.
    pub fn for_people(&self) -> Table {
        let mut table = self.table.clone();
        let Some(at) = table.columns.iter().position(|column| column == "cost_usd") else { return table };
        for cell in table.rows.iter_mut().filter_map(|row| row.get_mut(at)) {
            if *cell == Cell::Null {
                // Among amounts, and aligned like one.
                *cell = Cell::Decimal(UNKNOWN.to_owned());
            }
        }
        table
    }

    /// The same with a bar beside each group: its part of all that is known, where there is more than one.
    pub fn with_bars(&self) -> Table {
        let mut table = self.for_people();
        let whole = self.total.cost.picos();
        if self.table.rows.len() < 2 || whole <= 0 {
            return table;
        }
        table.columns.push("share".to_owned());
        for (row, cost) in table.rows.iter_mut().zip(&self.costs) {
            row.push(Cell::Text(bar(cost.picos().max(0), whole)));
        }
        table
    }

    /// What the last line of a report says.
    pub fn closing(&self) -> String {
        let Sums { completions, failures, unknown, cost, .. } = self.total;
        let unknown = match unknown {
            0 => "every cost is known".to_owned(),
            1 => "the cost of 1 is still unknown and not in it".to_owned(),
            n => format!("the costs of {n} are still unknown and not in it"),
        };
        let about =
            self.estimate.map_or_else(String::new, |sum| format!(" (about ${}, an estimate)", sum.to_decimal()));
        format!("${} in {completions} completions, {failures} failures; {unknown}{about}", Total::to_decimal(cost))
    }
}
