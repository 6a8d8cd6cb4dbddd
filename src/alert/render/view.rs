//! The HTML part: strings ready for the template, which decides nothing but where they stand.

use askama::Template;

use super::{plain, words};
use crate::alert::facts::{Change, DearCall, Dimension, Driver, Drivers, Letter, Section};
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::report::format;

/// Longest name shown whole, in characters.
const MAX_NAME: usize = 72;

/// Where a budget's bar turns from calm to a warning, in basis points of the limit.
const WARNS_FROM: i64 = 8_000;

/// Where it is full.
const FULL: i64 = 10_000;

#[derive(Template)]
#[template(path = "alert.html")]
pub(super) struct Page<'a> {
    subject: &'a str,
    /// What a list of mails shows beside the subject.
    preview: String,
    sections: Vec<SectionView>,
    alerts_url: String,
}

struct SectionView {
    budget: String,
    window: String,
    scope: String,
    tone: Tone,
    headline: String,
    spent: String,
    limit: String,
    heading: Option<String>,
    notes: Vec<String>,
    bars: Vec<Bar>,
    compared: String,
    drivers: Vec<DriversView>,
    dearest: Option<Dearest>,
    next: String,
    budget_url: String,
    small_print: String,
}

/// How loud a thing is; each has a mark of its own, so that colour never speaks alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Calm,
    Warn,
    Bad,
    /// The bar of the time that has gone, which is no state.
    Gone,
}

struct Bar {
    label: &'static str,
    share: String,
    /// Percent of the rail, 0 to 100.
    width: i64,
    fill: Tone,
}

struct DriversView {
    title: &'static str,
    rows: Vec<RowView>,
}

struct RowView {
    name: String,
    spent: String,
    /// `None` where there is nothing to compare with.
    rise: Option<String>,
    change: String,
    bold: bool,
    dim: bool,
    last: bool,
}

struct Dearest {
    title: String,
    share: String,
    calls: Vec<CallView>,
}

struct CallView {
    model: String,
    url: String,
    when: String,
    user: Option<String>,
    tokens: Option<String>,
    cost: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(letter: &Letter, subject: &'a str) -> Self {
        Self {
            subject,
            preview: letter.sections.first().map(preview).unwrap_or_default(),
            sections: letter.sections.iter().map(|section| SectionView::new(section, letter)).collect(),
            alerts_url: format!("{}/alerts", letter.dashboard_url),
        }
    }
}

/// What the mail says in one breath.
fn preview(section: &Section) -> String {
    let heading = words::heading(section).unwrap_or_else(|| words::headline(section));
    let largest = section.drivers.iter().find(|drivers| drivers.by == Dimension::Model).and_then(|by| by.rows.first());
    match largest.filter(|driver| driver.cost.rise() > Total::ZERO) {
        Some(driver) => plain(&format!("{heading} Largest rise: {}.", name(driver))),
        None => plain(&heading),
    }
}

impl SectionView {
    fn new(section: &Section, letter: &Letter) -> Self {
        let budget = &section.budget;
        let share = section.spent.basis_points_of(budget.limit);
        let tone = Tone::of(share.unwrap_or(FULL));
        let mut bars = vec![Bar {
            label: "Spent",
            share: share.map_or_else(|| format::usd(section.spent), format::share),
            width: percent(share.unwrap_or(FULL)),
            fill: tone,
        }];
        if let Some((label, gone)) = words::gone(section) {
            bars.push(Bar { label, share: format::share(gone), width: percent(gone), fill: Tone::Gone });
        }
        Self {
            budget: budget.name.to_string(),
            window: format!(
                "{}, {}",
                words::window_title(budget.window, &section.window, budget.zone),
                budget.zone.name()
            ),
            scope: budget.scope.to_string(),
            tone,
            headline: words::headline(section),
            spent: format::usd(section.spent),
            limit: format::usd(budget.limit),
            heading: words::heading(section),
            notes: words::notes(section),
            bars,
            compared: words::compared(section, letter.composed_at),
            drivers: section.drivers.iter().map(|drivers| DriversView::new(drivers, section)).collect(),
            dearest: Dearest::new(section, &letter.dashboard_url),
            next: words::next(section).join(" "),
            budget_url: budget_url(section, &letter.dashboard_url),
            small_print: words::small_print(section, letter.composed_at),
        }
    }
}

/// Budget names need no escaping in a URL.
pub(super) fn budget_url(section: &Section, dashboard_url: &str) -> String {
    format!("{dashboard_url}/budgets/{}", section.budget.name)
}

impl Tone {
    pub(super) fn of(share: i64) -> Self {
        match share {
            FULL.. => Self::Bad,
            WARNS_FROM.. => Self::Warn,
            _ => Self::Calm,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Gone => "gone",
        }
    }

    /// The colour in light; the style sheet has the dark one.
    fn colour(self) -> &'static str {
        match self {
            Self::Calm => "#3c4a55",
            Self::Warn => "#8a5600",
            Self::Bad => "#b0271c",
            Self::Gone => "#84888e",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Calm | Self::Gone => "●",
            Self::Warn => "▲",
            Self::Bad => "■",
        }
    }
}

/// Whole percent of a bar, never empty for something and never full for less.
pub(super) fn percent(basis_points: i64) -> i64 {
    match basis_points {
        ..=0 => 0,
        FULL.. => 100,
        some => ((some + 50) / 100).clamp(1, 99),
    }
}

impl DriversView {
    fn new(drivers: &Drivers, section: &Section) -> Self {
        let compared = section.before.is_some();
        let mut rows: Vec<RowView> =
            drivers.rows.iter().map(|driver| RowView::new(name(driver), &driver.cost, compared)).collect();
        if drivers.others.names > 0 {
            let row = RowView::new(others(drivers), &drivers.others.cost, compared);
            rows.push(RowView { dim: true, ..row });
        }
        let row = RowView::new(section.budget.name.to_string(), &drivers.all, compared);
        rows.push(RowView { bold: true, last: true, ..row });
        Self { title: title(drivers.by), rows }
    }
}

impl RowView {
    fn new(name: String, cost: &Change, compared: bool) -> Self {
        let after = format::usd(cost.after);
        Self {
            name,
            spent: if compared { format!("{} → {after}", format::usd(cost.before)) } else { after },
            rise: compared.then(|| format::usd_change(cost.rise())),
            change: format::change(cost.before, cost.after),
            bold: false,
            dim: false,
            last: false,
        }
    }

    fn rule(&self) -> &'static str {
        if self.last { "" } else { "border-bottom:1px solid #e5e5e1;" }
    }
}

/// What a table of drivers is headed.
pub(super) fn title(by: Dimension) -> &'static str {
    match by {
        Dimension::Model => "What drives it",
        Dimension::App => "By app",
        Dimension::Key => "By key",
    }
}

/// A driver's name, bounded.
pub(super) fn name(driver: &Driver) -> String {
    driver.name.as_deref().map_or_else(|| "(none named)".to_owned(), bounded)
}

/// `3 other models`.
pub(super) fn others(drivers: &Drivers) -> String {
    let what = match drivers.by {
        Dimension::Model => "model",
        Dimension::App => "app",
        Dimension::Key => "key",
    };
    match drivers.others.names {
        1 => format!("1 other {what}"),
        more => format!("{more} other {what}s"),
    }
}

/// At most [`MAX_NAME`] characters of a name that somebody else chose.
fn bounded(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        Some((cut, _)) => format!("{}…", &name[..cut]),
        None => name.to_owned(),
    }
}

impl Dearest {
    fn new(section: &Section, dashboard_url: &str) -> Option<Self> {
        let (title, share) = dearest_title(section)?;
        let calls = section.dearest.iter().map(|call| CallView {
            model: model(call),
            url: format!("{dashboard_url}/completions/{}", call.call_id),
            when: when(section, call.created_at),
            user: end_user(call),
            tokens: tokens(call).map(|(prompt, completion)| format!("{prompt} tokens in, {completion} out")),
            cost: format::call_usd(call.cost),
        });
        Some(Self { title, share, calls: calls.collect() })
    }
}

/// `The five dearest calls` and `$1.74 together, 0.7 % of the spend`; `None` where there are none.
pub(super) fn dearest_title(section: &Section) -> Option<(String, String)> {
    let title = match section.dearest.len() {
        0 => return None,
        1 => "The dearest call".to_owned(),
        2 => "The two dearest calls".to_owned(),
        3 => "The three dearest calls".to_owned(),
        4 => "The four dearest calls".to_owned(),
        5 => "The five dearest calls".to_owned(),
        more => format!("The {more} dearest calls"),
    };
    let sum: Total = section.dearest.iter().map(|call| Total::from(call.cost)).sum();
    let of = format::share_of(sum, section.now.spent).map(|share| format!(", {share} of the spend"));
    Some((title, format!("{} together{}", format::usd(sum), of.unwrap_or_default())))
}

/// The model, bounded.
pub(super) fn model(call: &DearCall) -> String {
    call.model.as_deref().map_or_else(|| "unknown model".to_owned(), bounded)
}

/// The end user, bounded.
pub(super) fn end_user(call: &DearCall) -> Option<String> {
    call.end_user.as_deref().map(bounded)
}

/// When a call was made, in the budget's zone.
pub(super) fn when(section: &Section, at: Timestamp) -> String {
    format::date_time(at, section.crossed_at, section.budget.zone)
}

/// Prompt and completion tokens, where both are known.
pub(super) fn tokens(call: &DearCall) -> Option<(String, String)> {
    Some((format::count(call.tokens_in?), format::count(call.tokens_out?)))
}
