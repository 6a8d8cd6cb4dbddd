//! The answer as tables: which columns there are, and what each holds, on the page and taken away.

use super::answer::{Answer, Group};
use super::measure::{Kind, Measure};
use super::question::{By, Question};
use crate::domain::money::Total;
use crate::domain::table::{Cell, Table};
use crate::report::format;
use crate::report::scale::Unit;

/// A column of the table of groups, beside their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// What is measured.
    Value,
    /// Its part of the whole.
    Share,
    /// Its course, as a small picture.
    Course,
    /// One of the percentiles.
    Percentile(u8),
    /// How many values there are.
    Measured,
    /// Completions.
    Completions,
    /// What they cost.
    Spend,
    /// What a thousand of them cost.
    PerThousand,
    /// Which part of all calls failed.
    FailedShare,
    /// What it was in the time before.
    Before,
    /// How it changed since.
    Change,
}

/// The columns of a measure.
pub fn columns(measure: Measure) -> Vec<Column> {
    use Column::{
        Before, Change, Completions, Course, FailedShare, Measured, PerThousand, Percentile, Share, Spend, Value,
    };
    match measure.kind() {
        Kind::Spread(_) => {
            let [first, second, third] = measure.percentiles();
            vec![Percentile(first), Percentile(second), Percentile(third), Course, Measured, Before, Change]
        }
        Kind::Sum => match measure {
            Measure::Spend => vec![Value, Share, Course, Completions, PerThousand, Before, Change],
            Measure::Completions => vec![Value, Share, Course, Spend, Before, Change],
            Measure::Failures => vec![Value, Share, Course, Completions, FailedShare, Before, Change],
            _ => vec![Value, Share, Course, Completions, Spend, Before, Change],
        },
    }
}

impl Column {
    /// As URLs name it, to sort by.
    pub fn key(self) -> String {
        match self {
            Self::Value => "value".to_owned(),
            Self::Share => "share".to_owned(),
            Self::Course => "course".to_owned(),
            Self::Percentile(percent) => format!("p{percent}"),
            Self::Measured => "measured".to_owned(),
            Self::Completions => "completions".to_owned(),
            Self::Spend => "spend".to_owned(),
            Self::PerThousand => "per_thousand".to_owned(),
            Self::FailedShare => "failed".to_owned(),
            Self::Before => "before".to_owned(),
            Self::Change => "change".to_owned(),
        }
    }

    /// As people name it.
    pub fn head(self, measure: Measure) -> String {
        match self {
            Self::Value => measure.name().to_owned(),
            Self::Share => "Share".to_owned(),
            Self::Course => "Course".to_owned(),
            Self::Percentile(percent) => format!("p{percent}"),
            Self::Measured => "Measured".to_owned(),
            Self::Completions => "Completions".to_owned(),
            Self::Spend => "Spend".to_owned(),
            Self::PerThousand => "per 1,000".to_owned(),
            Self::FailedShare => "of all calls".to_owned(),
            Self::Before => "Before".to_owned(),
            Self::Change => "Change".to_owned(),
        }
    }

    /// Whether the table can be sorted by it: a share sorts as the value does, a course not at all.
    pub const fn sorts(self) -> bool {
        !matches!(self, Self::Share | Self::Course)
    }

    /// What it holds of a group, in a unit of its own; `None`: unknown, or nothing.
    pub(super) fn figure(self, measure: Measure, group: &Group) -> Option<i128> {
        let sums = &group.sums;
        match self {
            Self::Value | Self::Share | Self::Course => group.value,
            Self::Percentile(percent) => {
                let place = measure.percentiles().iter().position(|known| *known == percent)?;
                group.percentiles[place]
            }
            Self::Measured => Some(group.measured.into()),
            Self::Completions => Some(sums.completions.into()),
            Self::Spend => (!super::answer::is_unknown(Measure::Spend, sums)).then(|| sums.cost.picos()),
            Self::PerThousand => {
                let known = i128::from(sums.completions - sums.unknown);
                (known > 0).then(|| sums.cost.picos() * 1_000 / known)
            }
            Self::FailedShare => {
                let calls = i128::from(sums.completions) + i128::from(sums.failures);
                (calls > 0).then(|| i128::from(sums.failures) * 10_000 / calls)
            }
            Self::Before => group.before,
            Self::Change => change_points(group.before, group.value),
        }
    }

    /// What the page shows of a group.
    pub fn written(self, answer: &Answer, group: &Group) -> String {
        let measure = answer.measure();
        let figure = self.figure(measure, group);
        let count = |number: i128| format::count(i64::try_from(number).unwrap_or(i64::MAX));
        let usd = |picos: i128| format::usd(Total::from_picos(picos));
        match self {
            Self::Value if figure.is_none() => "unknown".to_owned(),
            Self::Spend => figure.map_or_else(|| "unknown".to_owned(), usd),
            Self::Value | Self::Percentile(_) | Self::Before => {
                figure.map_or_else(String::new, |figure| measure.written(figure))
            }
            Self::Share => share_points(answer, group).map_or_else(String::new, format::share),
            Self::Course => String::new(),
            Self::Measured | Self::Completions => figure.map_or_else(String::new, count),
            Self::PerThousand => figure.map_or_else(String::new, usd),
            Self::FailedShare => {
                figure.map_or_else(String::new, |points| format::share(i64::try_from(points).unwrap_or(i64::MAX)))
            }
            Self::Change => match (group.before, group.value) {
                (Some(before), Some(value)) if before >= 0 && value >= 0 => {
                    format::change(Total::from_picos(before), Total::from_picos(value))
                }
                (None, Some(value)) if answer.question.compare && value > 0 => "new".to_owned(),
                _ => String::new(),
            },
        }
    }

    fn export(self, measure: Measure) -> Vec<String> {
        let own = measure.column();
        match self {
            Self::Value => vec![own.to_owned()],
            Self::Share => vec!["share_percent".to_owned()],
            Self::Course => Vec::new(),
            Self::Percentile(percent) => vec![format!("{own}_p{percent}")],
            Self::Measured => vec!["measured".to_owned()],
            Self::Completions => vec!["completions".to_owned()],
            Self::Spend => vec!["cost_usd".to_owned()],
            Self::PerThousand => vec!["cost_usd_per_1000".to_owned()],
            Self::FailedShare => vec!["failed_percent".to_owned()],
            Self::Before => vec![format!("{own}_before")],
            Self::Change => vec!["change_percent".to_owned()],
        }
    }

    fn cell(self, answer: &Answer, group: &Group) -> Option<Cell> {
        let measure = answer.measure();
        let figure = self.figure(measure, group);
        Some(match self {
            Self::Course => return None,
            Self::Value | Self::Percentile(_) | Self::Before => cell(measure.unit(), figure),
            Self::Spend | Self::PerThousand => cell(Unit::Dollars, figure),
            Self::Measured | Self::Completions => cell(Unit::Count, figure),
            Self::Share => hundredths(share_points(answer, group).map(i128::from)),
            Self::FailedShare | Self::Change => hundredths(figure),
        })
    }
}

/// The part of the whole in basis points; `None` where there is no whole, or parts below nothing.
pub fn share_points(answer: &Answer, group: &Group) -> Option<i64> {
    let (value, whole) = (group.value?, answer.total.value?);
    if whole <= 0 || value < 0 {
        return None;
    }
    i64::try_from(value.saturating_mul(10_000) / whole).ok()
}

/// The change in basis points; `None` where there was nothing before.
fn change_points(before: Option<i128>, now: Option<i128>) -> Option<i128> {
    let (before, now) = (before.filter(|before| *before > 0)?, now?);
    Some((now - before).saturating_mul(10_000) / before)
}

/// A figure as exports hold it: amounts exact to the pico-dollar.
fn cell(unit: Unit, figure: Option<i128>) -> Cell {
    let Some(figure) = figure else { return Cell::Null };
    match unit {
        Unit::Dollars => Cell::Decimal(Total::from_picos(figure).to_decimal()),
        Unit::Count | Unit::Millis => i64::try_from(figure).map_or(Cell::Null, Cell::Integer),
        Unit::Speed => thousandths(figure),
    }
}

#[expect(clippy::cast_precision_loss, reason = "speeds and shares are far below the places that are lost")]
fn thousandths(figure: i128) -> Cell {
    Cell::Real(figure as f64 / 1_000.0)
}

#[expect(clippy::cast_precision_loss, reason = "speeds and shares are far below the places that are lost")]
fn hundredths(figure: Option<i128>) -> Cell {
    figure.map_or(Cell::Null, |figure| Cell::Real(figure as f64 / 100.0))
}

/// The table of groups: their keys, how many names each row stands for (more than one: the others), the columns of the page,
/// and how many costs are unknown.
pub fn by_group(answer: &Answer) -> Table {
    let measure = answer.measure();
    let columns: Vec<Column> = columns(measure)
        .into_iter()
        .filter(|column| answer.question.compare || !matches!(column, Column::Before | Column::Change))
        .collect();
    let mut heads = keys(answer);
    heads.push("names".to_owned());
    heads.extend(columns.iter().flat_map(|column| column.export(measure)));
    if measure.kind() == Kind::Sum {
        heads.push("unknown".to_owned());
    }
    let row = |group: &Group| {
        let mut cells = key_cells(answer, group);
        cells.push(Cell::Integer(i64::try_from(group.names).unwrap_or(i64::MAX)));
        cells.extend(columns.iter().filter_map(|column| column.cell(answer, group)));
        if measure.kind() == Kind::Sum {
            cells.push(Cell::Integer(group.sums.unknown));
        }
        cells
    };
    Table { columns: heads, rows: answer.groups.iter().map(row).collect(), cut: None }
}

/// All groups together, in the columns of [`by_group`] but for the keys.
pub fn of_all(answer: &Answer) -> Table {
    let question = Question { by: Vec::new(), ..answer.question.clone() };
    let all = Group { names: answer.groups.iter().map(|group| group.names).sum(), ..answer.total.clone() };
    by_group(&Answer { question, groups: vec![all], ..answer.clone() })
}

/// The chart: a row a step and group in which there was anything.
pub fn by_step(answer: &Answer) -> Table {
    let measure = answer.measure();
    let value = match measure.kind() {
        Kind::Sum => measure.column().to_owned(),
        Kind::Spread(_) => format!("{}_p{}", measure.column(), answer.question.drawn_percentile()),
    };
    let mut heads = vec!["step_at".to_owned()];
    heads.extend(keys(answer));
    heads.extend(["names".to_owned(), value]);
    let mut rows = Vec::new();
    for (place, (start, _)) in answer.period.steps.iter().enumerate() {
        for group in &answer.groups {
            let figure = group.steps.get(place).copied().flatten();
            let Some(figure) = figure.filter(|figure| *figure != 0) else { continue };
            let mut cells = vec![Cell::Text(start.to_iso())];
            cells.extend(key_cells(answer, group));
            cells.push(Cell::Integer(i64::try_from(group.names).unwrap_or(i64::MAX)));
            cells.push(cell(measure.unit(), Some(figure)));
            rows.push(cells);
        }
    }
    Table { columns: heads, rows, cut: None }
}

fn keys(answer: &Answer) -> Vec<String> {
    let mut names: Vec<String> = answer.question.by.iter().flat_map(By::columns).collect();
    // A pair of models, and the model beside it, are of one name.
    for place in 1..names.len() {
        if names[..place].contains(&names[place]) {
            names[place].push_str("_2");
        }
    }
    names
}

fn key_cells(answer: &Answer, group: &Group) -> Vec<Cell> {
    let width: usize = answer.question.by.iter().map(By::width).sum();
    (0..width).map(|place| group.keys.get(place).and_then(Option::as_deref).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_sorts_under_a_name_of_its_own() {
        for measure in Measure::ALL {
            let columns = columns(measure);
            let mut keys: Vec<String> = columns.iter().map(|column| column.key()).collect();
            let mut heads: Vec<String> = columns.iter().flat_map(|column| column.export(measure)).collect();
            for names in [&mut keys, &mut heads] {
                let count = names.len();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), count, "{measure:?}: {names:?}");
            }
        }
    }

    #[test]
    fn what_was_nothing_before_has_no_change_in_percent() {
        assert_eq!(change_points(Some(200), Some(250)), Some(2_500));
        assert_eq!(change_points(Some(200), Some(150)), Some(-2_500));
        assert_eq!(change_points(Some(0), Some(150)), None);
        assert_eq!(change_points(None, Some(150)), None);
    }
}
