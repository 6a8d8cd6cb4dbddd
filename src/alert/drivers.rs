//! What drives a budget's spend: the names whose cost rose most against the window before.

use std::collections::BTreeMap;

use chrono::TimeZone as _;
use chrono_tz::Tz;

use super::facts::{Change, Dimension, Driver, Drivers, Others, Span};
use crate::domain::budget::Budget;
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::domain::window::Window;
use crate::store::drivers::Group;

/// Names a table of drivers shows.
const ROWS: usize = 3;

/// Names told apart while summing; what comes after is counted among the others.
const MAX_NAMES: usize = 10_000;

/// The part of the window before that compares with `window` until `until`: to the same date and time of day.
///
/// `None` for `total`, which has no window before it.
pub(super) fn span_before(budget: &Budget, window: &Window, until: Timestamp) -> Option<Span> {
    let previous = budget.window_before(window)?;
    let elapsed = until.millis() - window.start.millis();
    let until = match (window.end, previous.end) {
        (Some(end), Some(previous_end)) if until >= end => previous_end,
        _ if budget.window.is_rolling() => previous.start.plus_millis(elapsed),
        (_, previous_end) => {
            let same = same_local(budget.zone, window.start, until, previous.start);
            let same = same.unwrap_or(previous.start.plus_millis(elapsed));
            previous_end.map_or(same, |end| end.min(same))
        }
    };
    Some(Span { since: previous.start, until })
}

/// The instant that lies as far after `other` as `until` after `start`, on the zone's clock; `None` where that time is skipped.
fn same_local(zone: Tz, start: Timestamp, until: Timestamp, other: Timestamp) -> Option<Timestamp> {
    let local = |at: Timestamp| at.to_utc().with_timezone(&zone).naive_local();
    let wanted = local(other).checked_add_signed(local(until) - local(start))?;
    zone.from_local_datetime(&wanted).earliest().map(|at| at.to_utc().into())
}

/// Which side of the comparison a sum belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// Sums by name, for each dimension a mail shows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    all: Change,
    models: Names,
    apps: Names,
    keys: Names,
}

#[derive(Debug, Default)]
struct Names {
    known: BTreeMap<Option<String>, Change>,
    beyond: Others,
}

impl Tally {
    /// Adds the calls of one kind.
    pub(super) fn add(&mut self, side: Side, group: Group) {
        let cost = match side {
            Side::Before => Change { before: group.cost, after: Total::ZERO },
            Side::After => Change { before: Total::ZERO, after: group.cost },
        };
        self.all.add(&cost);
        self.models.add(group.model, &cost);
        self.apps.add(group.app, &cost);
        self.keys.add(group.key_name, &cost);
    }

    /// Whether anything was spent in the span before.
    pub(super) fn has_before(&self) -> bool {
        self.all.before != Total::ZERO
    }

    /// The tables worth showing: models always, apps and keys where there is more than one.
    pub(super) fn tables(self) -> Vec<Drivers> {
        let all = self.all;
        if all == Change::default() {
            return Vec::new();
        }
        let tables = [(Dimension::Model, self.models), (Dimension::App, self.apps), (Dimension::Key, self.keys)];
        let worth = tables.into_iter().filter(|(by, names)| *by == Dimension::Model || names.known.len() > 1);
        worth.map(|(by, names)| names.into_table(by, all)).collect()
    }
}

impl Names {
    fn add(&mut self, name: Option<String>, cost: &Change) {
        if self.known.len() >= MAX_NAMES && !self.known.contains_key(&name) {
            self.beyond.names += 1;
            self.beyond.cost.add(cost);
        } else {
            self.known.entry(name).or_default().add(cost);
        }
    }

    fn into_table(self, by: Dimension, all: Change) -> Drivers {
        let mut rows: Vec<Driver> = self.known.into_iter().map(|(name, cost)| Driver { name, cost }).collect();
        // Equal rises keep the order of their names.
        rows.sort_by_key(|driver| std::cmp::Reverse((driver.cost.rise(), driver.cost.after)));
        let mut others = self.beyond;
        for driver in rows.drain(ROWS.min(rows.len())..) {
            others.names += 1;
            others.cost.add(&driver.cost);
        }
        Drivers { by, rows, others, all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::budget::{BudgetSpec, Origin};
    use crate::domain::money::Money;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn budget(window: &str, zone: &str) -> Budget {
        let json = format!(r#"{{"name":"b","window":"{window}","time_zone":"{zone}","limit_usd":1}}"#);
        serde_json::from_str::<BudgetSpec>(&json).unwrap().into_budget(Origin::File, Tz::UTC).unwrap()
    }

    #[test]
    fn the_span_before_ends_at_the_same_date_and_time_of_day() {
        let before = |window: &str, zone: &str, until: &str| {
            let budget = budget(window, zone);
            let window = budget.window_at(at(until));
            span_before(&budget, &window, at(until)).map(|span| (span.since.to_iso(), span.until.to_iso()))
        };
        let span = |since: &str, until: &str| Some((at(since).to_iso(), at(until).to_iso()));
        // Winter time began between the two: 11:47 is 11:47.
        assert_eq!(
            before("month", "Europe/Berlin", "2026-11-19T10:47:00Z"),
            span("2026-09-30T22:00:00Z", "2026-10-19T09:47:00Z")
        );
        // February has no 30th: the whole of it is compared.
        assert_eq!(
            before("month", "UTC", "2026-03-30T12:00:00Z"),
            span("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
        );
        // 02:30 was skipped on the day before.
        assert_eq!(
            before("day", "Europe/Berlin", "2026-03-30T00:30:00Z"),
            span("2026-03-28T23:00:00Z", "2026-03-29T01:30:00Z")
        );
        assert_eq!(
            before("rolling 24h", "UTC", "2026-11-19T10:47:00Z"),
            span("2026-11-17T10:45:00Z", "2026-11-18T10:47:00Z")
        );
        assert_eq!(before("total", "UTC", "2026-11-19T10:47:00Z"), None);
        // A window that has ended is compared whole.
        let month = budget("month", "UTC");
        let november = month.window_at(at("2026-11-19T00:00:00Z"));
        let whole = span_before(&month, &november, at("2026-12-01T09:00:00Z")).unwrap();
        assert_eq!(whole.until, at("2026-11-01T00:00:00Z"));
    }

    #[test]
    fn the_largest_rises_stand_first_and_the_rest_adds_up() {
        let mut tally = Tally::default();
        let mut add = |side, model: &str, app: Option<&str>, usd: i64| {
            let cost = Money::from_usd(usd).unwrap().into();
            let app = app.map(str::to_owned);
            tally.add(side, Group { app, key_name: Some("default".to_owned()), model: Some(model.to_owned()), cost });
        };
        add(Side::Before, "a", Some("x"), 50);
        add(Side::After, "a", Some("x"), 51);
        for (model, usd) in [("b", 9), ("c", 3), ("d", 2), ("e", 0)] {
            add(Side::After, model, None, usd);
        }
        let tables = tally.tables();
        assert_eq!(tables.iter().map(|table| table.by).collect::<Vec<_>>(), [Dimension::Model, Dimension::App]);
        let names: Vec<_> = tables[0].rows.iter().map(|driver| driver.name.clone().unwrap()).collect();
        assert_eq!(names, ["b", "c", "d"]);
        let usd = |usd: i64| Total::from(Money::from_usd(usd).unwrap());
        assert_eq!(tables[0].others, Others { names: 2, cost: Change { before: usd(50), after: usd(51) } });
        assert_eq!(tables[0].all, Change { before: usd(50), after: usd(65) });
        assert_eq!(tables[1].rows[0].name, None);
        assert!(Tally::default().tables().is_empty());
    }
}
