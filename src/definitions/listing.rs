//! Budgets, what became of them and what they told, as the API and the shell list them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::budget::Budget;
use crate::domain::forecast::{NoForecast, Outlook};
use crate::domain::money::Money;
use crate::domain::table::{Cell, Table};
use crate::domain::time::Timestamp;
use crate::report::standing::Standing;
use crate::store::alerts::PastAlert;
use crate::store::budget_changes::Numbered;

/// An override as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverrideRow {
    /// The limit while it holds, in dollars.
    pub limit_usd: String,
    /// Since when.
    pub since: String,
    /// Until when.
    pub until: String,
    /// Why.
    pub reason: String,
}

/// A budget and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BudgetListed)]
pub struct Listed {
    /// The definition, in the words of the configuration; its `limit_usd` is the budget's own limit.
    #[serde(flatten)]
    pub budget: Budget,
    /// Whether it stands behind one of the file with the same name, and counts nothing.
    pub shadowed: bool,
    /// `ok`, `alerting`, `exceeded` or `paused`; `None` for one that is shadowed.
    pub state: Option<String>,
    /// Since when it is paused; `None`: it is not.
    pub paused_at: Option<String>,
    /// The override that holds now.
    #[serde(rename = "override")]
    pub overridden: Option<OverrideRow>,
    /// First instant of its window; `None` for one that is shadowed.
    pub window_start: Option<String>,
    /// First instant after it; `None` where there is none.
    pub window_end: Option<String>,
    /// What may be spent in the window, in dollars: the own limit with what rolled over and was topped up, or the override's.
    pub window_limit_usd: Option<String>,
    /// What the window before left, in dollars.
    pub rolled_over_usd: Option<String>,
    /// What was added to the window, in dollars.
    pub topped_up_usd: Option<String>,
    /// What was spent in it, in dollars; unknown costs left out.
    pub spent_usd: Option<String>,
    /// The part of it that is not yet settled, in dollars.
    pub inline_usd: Option<String>,
    /// What is held back for calls whose cost is not known yet, in dollars.
    pub reserved_usd: Option<String>,
    /// Calls whose cost is not known.
    pub unknown_count: Option<i64>,
    /// Spend in hundredths of a percent of the window's limit; `None` under a limit of zero.
    pub share_basis_points: Option<i64>,
    /// Of a budget of each value, the dearest one: state, spend and what is held back are that value's. `None` for any
    /// other, and before there is one.
    pub top_value: Option<String>,
    /// The values of a budget of each value; `None` for any other.
    pub value_count: Option<i64>,
    /// Where it is heading; `None` for one that is shadowed.
    #[serde(default)]
    pub forecast: Option<ForecastRow>,
    /// Whether its counters are still being filled from the rows.
    pub counting: bool,
}

/// Where a budget is heading, with what `budget_forecast` shows of it; all but the reason are `None` without a forecast.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForecastRow {
    /// From when: the start of a 15-minute step.
    pub as_of: Option<String>,
    /// Why there is none; `None`: there is one.
    pub reason: Option<String>,
    /// What it stands on: `profile` or `run_rate`.
    pub basis: Option<String>,
    /// What will have been spent at the window's end, in dollars, as likely more as less.
    pub projected_usd: Option<String>,
    /// Nine cases in ten end above, in dollars.
    pub low_usd: Option<String>,
    /// Nine cases in ten end below, in dollars.
    pub high_usd: Option<String>,
    /// One case in ten has reached the limit by then; `None`: it is reached already, or in fewer before the window ends.
    pub reaches_early: Option<String>,
    /// Half of all cases have.
    pub reaches_likely: Option<String>,
    /// Nine in ten have.
    pub reaches_late: Option<String>,
}

impl ForecastRow {
    fn new(outlook: &Result<Outlook, NoForecast>) -> Self {
        let told = match outlook {
            Ok(told) => told,
            Err(reason) => return Self { reason: Some(reason.as_str().to_owned()), ..Self::default() },
        };
        let reach = told.reaches_limit;
        Self {
            as_of: Some(told.at.to_iso()),
            reason: None,
            basis: Some(told.basis.as_str().to_owned()),
            projected_usd: Some(told.projected.to_decimal()),
            low_usd: Some(told.low.to_decimal()),
            high_usd: Some(told.high.to_decimal()),
            reaches_early: reach.map(|reach| reach.early.to_iso()),
            reaches_likely: reach.and_then(|reach| reach.likely).map(Timestamp::to_iso),
            reaches_late: reach.and_then(|reach| reach.late).map(Timestamp::to_iso),
        }
    }
}

impl Listed {
    /// A budget in force.
    pub fn of_standing(standing: &Standing) -> Self {
        let held = standing.terms.overridden.as_ref().filter(|_| standing.made_of.overridden.is_some());
        Self {
            budget: standing.budget.clone(),
            shadowed: false,
            state: Some(standing.state.as_str().to_owned()),
            paused_at: standing.terms.paused_at.map(Timestamp::to_iso),
            overridden: held.map(|one| OverrideRow {
                limit_usd: one.limit.to_decimal(),
                since: one.since.to_iso(),
                until: one.until.to_iso(),
                reason: one.reason.clone(),
            }),
            window_start: Some(standing.window.start.to_iso()),
            window_end: standing.window.end.map(Timestamp::to_iso),
            window_limit_usd: Some(standing.limit.to_decimal()),
            rolled_over_usd: Some(standing.made_of.rolled_over.to_decimal()),
            topped_up_usd: Some(standing.made_of.topped_up.to_decimal()),
            spent_usd: Some(standing.spent.cost.to_decimal()),
            inline_usd: Some(standing.spent.inline.to_decimal()),
            reserved_usd: Some(standing.reserved.to_decimal()),
            unknown_count: Some(standing.spent.unknown),
            share_basis_points: standing.share,
            top_value: standing.top.as_ref().map(ToString::to_string),
            value_count: standing.budget.each.as_ref().map(|_| standing.values),
            forecast: Some(ForecastRow::new(&standing.outlook)),
            counting: standing.counting,
        }
    }

    /// One of our own that stands behind one of the file.
    pub fn shadowed(budget: Budget) -> Self {
        Self {
            budget,
            shadowed: true,
            state: None,
            paused_at: None,
            overridden: None,
            window_start: None,
            window_end: None,
            window_limit_usd: None,
            rolled_over_usd: None,
            topped_up_usd: None,
            spent_usd: None,
            inline_usd: None,
            reserved_usd: None,
            unknown_count: None,
            share_basis_points: None,
            top_value: None,
            value_count: None,
            forecast: None,
            counting: false,
        }
    }

    /// What it is doing, in a word.
    pub fn word(&self) -> &str {
        if self.shadowed { "shadowed" } else { self.state.as_deref().unwrap_or_default() }
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn decimal(text: Option<&String>) -> Cell {
    text.map_or(Cell::Null, |text| Cell::Decimal(text.clone()))
}

fn columns<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

/// Budgets as rows and columns; lists as JSON text.
pub fn table(budgets: &[Listed]) -> Table {
    let row = |listed: &Listed| {
        let budget = &listed.budget;
        let list = |value: serde_json::Result<String>| Cell::Text(value.unwrap_or_default());
        vec![
            text(budget.name.as_str()),
            text(budget.origin.as_str()),
            text(listed.word()),
            list(serde_json::to_string(&budget.scope)),
            text(budget.window.as_str()),
            text(budget.zone.name()),
            Cell::Decimal(budget.limit.to_decimal()),
            decimal(listed.window_limit_usd.as_ref()),
            decimal(listed.spent_usd.as_ref()),
            listed.unknown_count.map_or(Cell::Null, Cell::Integer),
            text(budget.when_exceeded.as_str()),
            listed.window_start.as_deref().into(),
            listed.window_end.as_deref().into(),
            list(serde_json::to_string(&budget.alert_at)),
            list(serde_json::to_string(&budget.notify)),
        ]
    };
    Table {
        columns: columns([
            "name",
            "origin",
            "state",
            "scope",
            "window",
            "time_zone",
            "limit_usd",
            "window_limit_usd",
            "spent_usd",
            "unknown_count",
            "when_exceeded",
            "window_start",
            "window_end",
            "alert_at",
            "notify",
        ]),
        rows: budgets.iter().map(row).collect(),
        cut: None,
    }
}

/// What of budgets fits a terminal.
pub fn short_table(budgets: &[Listed]) -> Table {
    let row = |listed: &Listed| {
        let budget = &listed.budget;
        let percent = listed.share_basis_points.map(|share| format!("{}.{:02}", share / 100, share % 100));
        vec![
            text(budget.name.as_str()),
            text(budget.origin.as_str()),
            text(listed.word()),
            text(&budget.scope.to_string()),
            text(budget.window.as_str()),
            decimal(listed.window_limit_usd.as_ref()),
            decimal(listed.spent_usd.as_ref()),
            percent.map_or(Cell::Null, Cell::Decimal),
            listed.window_end.as_deref().into(),
        ]
    };
    Table {
        columns: columns([
            "name",
            "origin",
            "state",
            "counts",
            "window",
            "limit_usd",
            "spent_usd",
            "percent",
            "resets",
        ]),
        rows: budgets.iter().map(row).collect(),
        cut: None,
    }
}

/// An entry of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeRow {
    /// Its number; higher for later ones.
    pub change_id: i64,
    /// From when on it applies.
    pub changed_at: String,
    /// The budget.
    pub budget: String,
    /// What became of it.
    pub action: String,
    /// Through which door.
    pub door: String,
    /// With what right.
    pub who: String,
    /// The limit before, in dollars.
    pub limit_before_usd: Option<String>,
    /// The limit after, in dollars.
    pub limit_after_usd: Option<String>,
    /// The definition before.
    pub definition_before: Option<Budget>,
    /// The definition after.
    pub definition_after: Option<Budget>,
    /// A reason or a note.
    pub note: Option<String>,
}

/// Entries of the audit trail as they are shown.
pub fn change_rows(entries: Vec<Numbered>) -> Vec<ChangeRow> {
    let row = |Numbered { seq, entry }: Numbered| ChangeRow {
        change_id: seq,
        changed_at: entry.at.to_iso(),
        budget: entry.budget.to_string(),
        action: entry.action.as_str().to_owned(),
        door: entry.by.door.as_str().to_owned(),
        who: entry.by.who,
        limit_before_usd: entry.limit_before.map(Money::to_decimal),
        limit_after_usd: entry.limit_after.map(Money::to_decimal),
        definition_before: entry.before,
        definition_after: entry.after,
        note: Some(entry.note).filter(|note| !note.is_empty()),
    };
    entries.into_iter().map(row).collect()
}

/// The audit trail as rows and columns; definitions as JSON text.
pub fn changes_table(rows: &[ChangeRow]) -> Table {
    let definition = |budget: &Option<Budget>| {
        budget.as_ref().map_or(Cell::Null, |budget| Cell::Text(serde_json::to_string(budget).unwrap_or_default()))
    };
    let row = |row: &ChangeRow| {
        vec![
            Cell::Integer(row.change_id),
            text(&row.changed_at),
            text(&row.budget),
            text(&row.action),
            text(&row.door),
            text(&row.who),
            decimal(row.limit_before_usd.as_ref()),
            decimal(row.limit_after_usd.as_ref()),
            definition(&row.definition_before),
            definition(&row.definition_after),
            row.note.as_deref().into(),
        ]
    };
    Table {
        columns: columns([
            "change_id",
            "changed_at",
            "budget",
            "action",
            "door",
            "who",
            "limit_before_usd",
            "limit_after_usd",
            "definition_before",
            "definition_after",
            "note",
        ]),
        rows: rows.iter().map(row).collect(),
        cut: None,
    }
}

/// A crossing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertRow {
    /// Ours, unique.
    pub alert_id: String,
    /// The budget.
    pub budget: String,
    /// First instant of its window.
    pub window_start: String,
    /// First instant after it; `None` where there is none.
    pub window_end: Option<String>,
    /// The threshold.
    pub threshold: String,
    /// What kind of crossing.
    pub kind: String,
    /// When it was seen.
    pub crossed_at: String,
    /// The limit that held, in dollars.
    pub limit_usd: String,
    /// What was spent when it was seen, in dollars.
    pub spent_usd: String,
    /// Where its mail stands.
    pub mail_state: String,
    /// When the last of its mails was sent.
    pub sent_at: Option<String>,
}

/// Crossings as they are shown.
pub fn alert_rows(alerts: &[PastAlert]) -> Vec<AlertRow> {
    let row = |past: &PastAlert| AlertRow {
        alert_id: past.alert.alert_id.clone(),
        budget: past.alert.budget.to_string(),
        window_start: past.alert.window_start.to_iso(),
        window_end: past.alert.window_end.map(Timestamp::to_iso),
        threshold: past.alert.threshold.to_string(),
        kind: past.alert.kind.clone(),
        crossed_at: past.alert.crossed_at.to_iso(),
        limit_usd: past.alert.limit.to_decimal(),
        spent_usd: past.alert.spent.to_decimal(),
        mail_state: past.mail_state.as_str().to_owned(),
        sent_at: past.sent_at.map(Timestamp::to_iso),
    };
    alerts.iter().map(row).collect()
}

/// Crossings as rows and columns.
pub fn alerts_table(rows: &[AlertRow]) -> Table {
    let row = |row: &AlertRow| {
        vec![
            text(&row.alert_id),
            text(&row.budget),
            text(&row.window_start),
            row.window_end.as_deref().into(),
            text(&row.threshold),
            text(&row.kind),
            text(&row.crossed_at),
            Cell::Decimal(row.limit_usd.clone()),
            Cell::Decimal(row.spent_usd.clone()),
            text(&row.mail_state),
            row.sent_at.as_deref().into(),
        ]
    };
    Table {
        columns: columns([
            "alert_id",
            "budget",
            "window_start",
            "window_end",
            "threshold",
            "kind",
            "crossed_at",
            "limit_usd",
            "spent_usd",
            "mail_state",
            "sent_at",
        ]),
        rows: rows.iter().map(row).collect(),
        cut: None,
    }
}
